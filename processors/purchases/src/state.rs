//! What is known of a purchase: a fold of facts and timers.

use events::ids::{PurchaseId, TwinId, UserId};
use events::money::{Amount, Fiat, Portion, Tft, Usdc};
use events::purchases::{Funding, PurchaseRequested};
use events::time::Timestamp;
use pipeline::Timer;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The policy's figures. Durations count from the causing fact's own time.
///
/// Whoever folds the log reads these as they are set at that time, not as they were at the fact's. So
/// a figure that says whether money goes on or back stands in the order itself, as what was agreed:
/// another one here must at most change when somebody is called, or how a request is made.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Whether charges must be of real money; the other kind is quarantined.
    pub livemode: bool,
    /// The Stellar account of the TFChain bridge.
    pub bridge: String,
    /// How long one attempt at Stripe may take.
    pub stripe_deadline: Duration,
    /// How long one attempt on Stellar may take: the transaction's maxTime.
    pub stellar_deadline: Duration,
    /// How long a payment that is being processed is waited for.
    pub process_within: Duration,
    /// When a hand-off without a mint raises an alarm.
    pub mint_within: Duration,
    /// Wait before the second of the delayed attempts; doubles each time.
    pub first_retry: Duration,
    /// The longest wait between attempts.
    pub longest_retry: Duration,
    /// What orders agreed on that do not say it.
    pub unsaid: Unsaid,
}

/// Terms of orders from before they were said in the order: what was set then.
#[derive(Debug, Clone)]
pub struct Unsaid {
    /// How long a person had to pay by card.
    pub pay_within: Duration,
    /// How long after the payment a swap was tried.
    pub give_up_after: Duration,
}

impl Rules {
    /// Minutes for an attempt, a day for a purchase.
    #[must_use]
    pub fn new(bridge: impl Into<String>) -> Self {
        Self {
            livemode: false,
            bridge: bridge.into(),
            stripe_deadline: Duration::from_secs(600),
            stellar_deadline: Duration::from_secs(120),
            process_within: Duration::from_secs(14 * 24 * 3600),
            mint_within: Duration::from_secs(1800),
            first_retry: Duration::from_secs(2),
            longest_retry: Duration::from_secs(600),
            unsaid: Unsaid {
                pay_within: Duration::from_secs(24 * 3600),
                give_up_after: Duration::from_secs(24 * 3600),
            },
        }
    }

    /// When attempt `next` may follow a failure at `failed`: at once for the second and third,
    /// then later and later.
    pub(crate) fn retry_at(&self, failed: Timestamp, next: i32) -> Option<Timestamp> {
        let doublings = u32::try_from(next.saturating_sub(4)).ok();
        doublings.map(|n| {
            failed
                .after((self.first_retry * 2_u32.saturating_pow(n.min(16))).min(self.longest_retry))
        })
    }
}

/// What a person ordered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// The purchase.
    pub purchase: PurchaseId,
    /// Who pays.
    pub user: UserId,
    /// Who receives.
    pub twin: TwinId,
    /// What arrives.
    pub tft: Amount<Tft>,
    /// What is bought: with the fee of the bridge.
    pub swap_tft: Amount<Tft>,
    /// What the swap should cost.
    pub usdc_quoted: Amount<Usdc>,
    /// What the swap may cost at most.
    pub usdc_cap: Amount<Usdc>,
    /// What is paid by USDC; `None`: it is paid by card.
    pub usdc_due: Option<Amount<Usdc>>,
    /// Path of the quote.
    pub path: Vec<String>,
    /// The charge.
    pub charge: Fiat,
    /// When it was ordered.
    pub requested_at: Timestamp,
    /// Until when it is to be paid.
    pub pay_until: Timestamp,
    /// How long after the payment a swap is still tried.
    pub give_up_after: Duration,
    /// Whether it says its terms, as all do since they are said.
    pub says_terms: bool,
}

/// How long an order by USDC that does not say it waits for somebody to tell how it went.
const DEPOSIT_WITHIN: Duration = Duration::from_secs(3600);

impl Order {
    /// The order as it was accepted.
    #[must_use]
    pub fn of(event: &PurchaseRequested, unsaid: &Unsaid) -> Self {
        let (usdc_due, within) = match event.funding {
            Funding::Card => (None, unsaid.pay_within),
            Funding::Usdc => (
                Some(event.usdc_due.unwrap_or(event.usdc_cap)),
                DEPOSIT_WITHIN,
            ),
        };
        let pay_until = event.pay_until;
        let give_up_ms = event.give_up_after_ms.map(u64::try_from);
        Self {
            purchase: event.purchase_id,
            user: event.user_id,
            twin: event.twin_id,
            tft: event.tft,
            swap_tft: event.swap_tft,
            usdc_quoted: event.usdc_quoted,
            usdc_cap: event.usdc_cap,
            usdc_due,
            path: event.path.clone(),
            charge: event.charge,
            requested_at: event.requested_at,
            pay_until: pay_until.unwrap_or_else(|| event.requested_at.after(within)),
            give_up_after: give_up_ms.map_or(unsaid.give_up_after, |ms| {
                Duration::from_millis(ms.unwrap_or_default())
            }),
            says_terms: event.give_up_after_ms.is_some(),
        }
    }

    /// When a purchase that was paid at this time is given up, if its TFT is not there.
    #[must_use]
    pub fn give_up_at(&self, paid_at: Timestamp) -> Timestamp {
        paid_at.after(self.give_up_after)
    }
}

/// A next attempt: at once, or at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// An attempt is under way.
    UnderWay,
    /// The attempt after it waits for this time.
    At(Timestamp),
    /// It waits until a dispute is over.
    Held,
}

/// How far a purchase is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Stage {
    /// Nothing was ordered yet.
    #[default]
    New,
    /// A PaymentIntent is asked for.
    Opened {
        /// The order.
        order: Order,
        /// Attempt under way.
        attempt: i32,
    },
    /// The person is to pay.
    AwaitingPayment {
        /// The order.
        order: Order,
        /// The PaymentIntent.
        intent: String,
    },
    /// USDC is to come.
    AwaitingDeposit {
        /// The order.
        order: Order,
        /// Until when the credit of the twin waits for it.
        until: Timestamp,
        /// Whether the alarm was raised that nobody said how it went.
        alarmed: bool,
    },
    /// The charge is ours; TFT is being bought.
    Paid {
        /// The order.
        order: Order,
        /// The PaymentIntent that paid, or [`USDC`].
        intent: String,
        /// When it was paid.
        paid_at: Timestamp,
        /// The attempt under way, or the last one.
        attempt: i32,
        /// What comes next.
        next: Next,
        /// Path to take.
        path: Vec<String>,
    },
    /// TFT is bought; it goes to the bridge.
    Swapped {
        /// The order.
        order: Order,
        /// The PaymentIntent that paid, or [`USDC`].
        intent: String,
        /// The attempt under way, or the last one.
        attempt: i32,
        /// What comes next.
        next: Next,
        /// How often the bridge sent it back.
        returns: i32,
    },
    /// The bridge has it.
    HandedOff {
        /// The order.
        order: Order,
        /// The PaymentIntent that paid, or [`USDC`].
        intent: String,
        /// Attempt that the bridge has.
        attempt: i32,
        /// Hash of the payment to the bridge.
        transaction: String,
        /// When it was sent.
        sent_at: Timestamp,
        /// Whether the alarm was raised.
        alarmed: bool,
        /// How often the bridge sent it back.
        returns: i32,
    },
    /// The TFT arrived.
    Settled {
        /// The order.
        order: Order,
        /// The PaymentIntent that paid, or [`USDC`].
        intent: String,
        /// Hash of the payment that was minted.
        transaction: String,
    },
    /// The charge goes back.
    Refunding {
        /// The order.
        order: Order,
        /// The PaymentIntent that paid, or [`USDC`].
        intent: String,
    },
    /// The charge went back.
    Refunded {
        /// The order.
        order: Order,
    },
    /// A dispute was lost: the bank took the charge back, and nothing is delivered.
    Lost {
        /// The order.
        order: Order,
        /// The PaymentIntent that had paid.
        intent: String,
    },
    /// Nobody paid in time.
    NotPaid {
        /// The order.
        order: Order,
    },
    /// Money came that is not what was asked for.
    Quarantined {
        /// The order.
        order: Order,
    },
}

impl Stage {
    /// Name of the stage, as in the purchase table.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::New => "–",
            Self::Opened { .. } => "Opened",
            Self::AwaitingPayment { .. } => "AwaitingPayment",
            Self::AwaitingDeposit { .. } => "AwaitingDeposit",
            Self::Paid { .. } => "Paid",
            Self::Swapped { .. } => "Swapped",
            Self::HandedOff { .. } => "HandedOff",
            Self::Settled { .. } => "Settled",
            Self::Refunding { .. } => "Refunding",
            Self::Refunded { .. } => "Refunded",
            Self::Lost { .. } => "Lost",
            Self::NotPaid { .. } => "NotPaid",
            Self::Quarantined { .. } => "Quarantined",
        }
    }
}

/// What became of a sum that we received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Receipt {
    /// It pays for the delivery.
    Kept,
    /// A refund is under way.
    Refunding {
        /// Attempt under way, or the last one.
        attempt: i32,
        /// The next one, if it waits.
        next: Next,
    },
    /// It went back.
    Refunded,
}

/// A purchase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purchase {
    /// How far it is.
    pub stage: Stage,
    /// What came in, by PaymentIntent, with what became of it. A sum is kept or refunded, never
    /// both: so what is delivered and compensated never exceeds what was received.
    pub receipts: BTreeMap<String, (Fiat, Receipt)>,
    /// The USDC that came in, by origin, with what became of it.
    pub portions: Vec<(Portion, Receipt)>,
    /// What swaps have cost.
    pub spent: Amount<Usdc>,
    /// What they have bought.
    pub bought: Amount<Tft>,
    /// The last attempt that bought something; pauses count from it.
    pub bought_by: i32,
    /// What the next swap buys at most; `None`: all that is missing.
    pub part: Option<Amount<Tft>>,
    /// Network fees of swaps and of payments to the bridge, in stroops.
    pub fees: i64,
    /// Why later legs wait: disputes that are open, each with its PaymentIntent, if it is known.
    pub holds: BTreeMap<String, Option<String>>,
    /// Disputes that have ended; what Stripe tells comes in any order.
    pub disputes_closed: BTreeSet<String>,
    /// What else Stripe has told of the charges.
    pub told: Told,
    /// Why operators have its charge go back, if they do: no further leg begins.
    pub ordered: Option<String>,
    /// Whether its books would not have held: nothing follows from any fact any more.
    pub stopped: bool,
}

/// What Stripe has told of PaymentIntents and their charges besides payments, in whatever order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Told {
    /// Refunds that somebody else made, by PaymentIntent.
    pub outside: BTreeMap<String, Outside>,
    /// Refunds of ours that Stripe took on: PaymentIntent and attempt, by refund.
    pub refunds: BTreeMap<String, (String, i32)>,
    /// Refunds of ours that failed, whether or not they were told as taken on.
    pub failed: BTreeSet<String>,
    /// Whether a payment is being processed, by PaymentIntent, with Stripe's time of what says so.
    pub processing: BTreeMap<String, (Timestamp, bool)>,
    /// PaymentIntents that were cancelled.
    pub cancelled: BTreeSet<String>,
    /// Disputes that were lost: PaymentIntent, and what its bank took back, in minor units.
    pub lost: BTreeMap<String, (String, i64)>,
    /// What was booked as a loss, in minor units, by PaymentIntent.
    pub booked: BTreeMap<String, i64>,
}

/// Refunds of one PaymentIntent that somebody else made, in minor units of its currency.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outside {
    /// By refund: its amount, and whether it stands. One that failed never stands again.
    pub refunds: BTreeMap<String, (i64, bool)>,
    /// What Stripe calls refunded of the charge beyond our refunds and these.
    pub unexplained: i64,
}

/// How long a payment that failed after it was processed may still be made otherwise.
const PAY_AGAIN_WITHIN: Duration = Duration::from_secs(3600);

impl Default for Purchase {
    fn default() -> Self {
        Self {
            stage: Stage::New,
            receipts: BTreeMap::new(),
            portions: Vec::new(),
            spent: Amount::ZERO,
            bought: Amount::ZERO,
            bought_by: 0,
            part: None,
            fees: 0,
            holds: BTreeMap::new(),
            disputes_closed: BTreeSet::new(),
            told: Told::default(),
            ordered: None,
            stopped: false,
        }
    }
}

/// Stands for the PaymentIntent of a purchase that USDC pays.
pub const USDC: &str = "usdc";
/// Timer: the person did not pay in time.
pub const EXPIRE: &str = "expire";
/// Timer: whether the USDC came should be known by now.
pub const FUNDING_OVERDUE: &str = "funding_overdue";
/// Timer: the next swap attempt.
pub const RETRY_SWAP: &str = "retry_swap";
/// Timer: the next hand-off attempt.
pub const RETRY_HANDOFF: &str = "retry_handoff";
/// Timer: the mint should have been seen.
pub const MINT_OVERDUE: &str = "mint_overdue";
/// Timer: the next refund attempt, followed by the PaymentIntent.
pub const RETRY_REFUND: &str = "retry_refund:";

impl Purchase {
    /// Whether later legs wait: while a dispute is open, and for good once somebody else has given
    /// back, or a bank has taken back, of what pays for the delivery, or operators have ordered its
    /// refund.
    #[must_use]
    pub fn held(&self) -> bool {
        self.ordered.is_some() || self.doubted()
    }

    /// Whether what pays for the delivery is disputed, or in part no longer ours.
    #[must_use]
    pub fn doubted(&self) -> bool {
        !self.holds.is_empty()
            || self
                .receipts
                .iter()
                .any(|(intent, (_, r))| *r == Receipt::Kept && self.gone(intent) > 0)
    }

    /// What somebody else has refunded of a PaymentIntent, in minor units of its currency.
    #[must_use]
    pub fn outside(&self, intent: &str) -> i64 {
        let Some(outside) = self.told.outside.get(intent) else {
            return 0;
        };
        let standing = outside.refunds.values().filter(|(_, stands)| *stands);
        standing.map(|(minor, _)| minor).sum::<i64>() + outside.unexplained
    }

    /// Whether a dispute over a PaymentIntent is open: meanwhile its charge cannot be refunded.
    #[must_use]
    pub fn disputed(&self, intent: &str) -> bool {
        self.holds.values().any(|of| of.as_deref() == Some(intent))
    }

    /// What the bank took back of a PaymentIntent by disputes that were lost, in minor units.
    #[must_use]
    pub fn disputed_away(&self, intent: &str) -> i64 {
        let lost = self.told.lost.values().filter(|(of, _)| of == intent);
        lost.fold(0, |sum, (_, minor)| sum.saturating_add(*minor))
    }

    /// What of a PaymentIntent is no longer ours without our having refunded it, in minor units.
    #[must_use]
    pub fn gone(&self, intent: &str) -> i64 {
        self.outside(intent)
            .saturating_add(self.disputed_away(intent))
    }

    /// What of a sum received can still be given back, in minor units.
    #[must_use]
    pub fn left(&self, intent: &str, sum: Fiat) -> i64 {
        sum.minor.saturating_sub(self.gone(intent)).max(0)
    }

    /// Until when the person may pay. A payment that is being processed, by a bank debit say, is
    /// waited for; one that failed then may be made otherwise.
    #[must_use]
    pub fn pay_until(&self, order: &Order, rules: &Rules) -> Timestamp {
        self.told
            .processing
            .values()
            .map(|(since, processing)| {
                since.after(if *processing {
                    rules.process_within
                } else {
                    PAY_AGAIN_WITHIN
                })
            })
            .fold(order.pay_until, Timestamp::max)
    }

    /// The timers that run in this state.
    #[must_use]
    pub fn timers(&self, rules: &Rules) -> Vec<Timer> {
        let timer = |name: &str, due| Timer {
            due,
            name: name.to_owned(),
        };
        let mut timers = Vec::new();
        if self.stopped {
            return timers;
        }
        match &self.stage {
            Stage::Opened { order, .. } | Stage::AwaitingPayment { order, .. } => {
                timers.push(timer(EXPIRE, self.pay_until(order, rules)));
            }
            Stage::AwaitingDeposit {
                until,
                alarmed: false,
                ..
            } => timers.push(timer(FUNDING_OVERDUE, until.after(rules.longest_retry))),
            Stage::Paid {
                next: Next::At(due),
                ..
            } => timers.push(timer(RETRY_SWAP, *due)),
            Stage::Swapped {
                next: Next::At(due),
                ..
            } => timers.push(timer(RETRY_HANDOFF, *due)),
            Stage::HandedOff {
                sent_at,
                alarmed: false,
                ..
            } => {
                timers.push(timer(MINT_OVERDUE, sent_at.after(rules.mint_within)));
            }
            Stage::Paid { .. }
            | Stage::AwaitingDeposit { .. }
            | Stage::Swapped { .. }
            | Stage::HandedOff { .. }
            | Stage::New
            | Stage::Settled { .. }
            | Stage::Refunding { .. }
            | Stage::Refunded { .. }
            | Stage::Lost { .. }
            | Stage::NotPaid { .. }
            | Stage::Quarantined { .. } => {}
        }
        for (intent, (_, receipt)) in &self.receipts {
            if let Receipt::Refunding {
                next: Next::At(due),
                ..
            } = receipt
            {
                timers.push(timer(&format!("{RETRY_REFUND}{intent}"), *due));
            }
        }
        timers
    }
}

//! What is counted of a purchase, at the counterparties and in the log.

use crate::check::Books;
use events::ids::DeploymentId;
use invariants::{Contract, Outcome, Purchase};
use std::collections::{BTreeMap, BTreeSet};

/// What is counted of a purchase.
#[derive(Debug, Clone, Default)]
pub struct Counts {
    /// How it ended.
    pub outcomes: Vec<Outcome>,
    /// Alarms that were raised.
    pub alarms: BTreeSet<String>,
    /// PaymentIntents that were asked for, and that there are.
    pub intents: (usize, usize),
    /// The PaymentIntent that pays, once it has.
    pub paid_by: Option<String>,
    /// PaymentIntents that were paid.
    pub charges: Vec<Charge>,
    /// What was booked as a loss because somebody else gave it back.
    pub lost: i64,
    /// What was booked as a loss because a dispute was lost, by PaymentIntent.
    pub disputed: BTreeMap<String, i64>,
    /// TFT that was to be bought, and that swaps have bought.
    pub swapped: (i64, i64),
    /// USDC that was set aside for swaps, and that they have cost.
    pub cost: (i64, i64),
    /// What the log says that they have cost, and what was left over.
    pub accounted: Option<(i64, i64)>,
    /// Payments that reached the bridge.
    pub payments: usize,
    /// What the bridge sent back.
    pub returns: usize,
    /// What the bridge minted.
    pub mints: usize,
    /// What was to be charged.
    pub charge: i64,
    /// What was to be paid by USDC.
    pub usdc_due: i64,
    /// What credit paid, and what of that went back.
    pub usdc: (i64, i64),
    /// Deployments that wait for it.
    pub deployments: Vec<DeploymentId>,
    /// Whether it has open requests.
    pub open: bool,
}

/// A PaymentIntent that was paid. Sums are in minor units.
#[derive(Debug, Clone, Default)]
pub struct Charge {
    /// The PaymentIntent.
    pub intent: String,
    /// What came.
    pub received: i64,
    /// What we refunded.
    pub back: i64,
    /// What somebody else refunded.
    pub outside: i64,
    /// What a bank took back, because a dispute was lost.
    pub taken: i64,
}

impl Counts {
    /// What was booked as lost to disputes: of the charge that pays, and of others.
    fn disputed(&self) -> (i64, i64) {
        let of = |pays: bool| {
            let booked = self.disputed.iter();
            let booked =
                booked.filter(|(intent, _)| (Some(*intent) == self.paid_by.as_ref()) == pays);
            booked.map(|(_, minor)| minor).sum()
        };
        (of(true), of(false))
    }

    /// As the shared rules want it.
    #[must_use]
    pub fn observed(&self, id: &str, books: &Books) -> Purchase {
        let contract = |id: &DeploymentId| {
            let seen = books.deployed.get(id).cloned().unwrap_or_default();
            let mine = books.chain.contracts.iter().filter(|c| c.deployment == *id);
            Contract {
                hash: seen.hash,
                created: number(mine.count()),
                recorded: seen.created,
                given_up: seen.failed,
                cancelled: seen.cancelled,
            }
        };
        let sum = |of: fn(&Charge) -> i64| self.charges.iter().map(of).sum();
        let (disputed_minor, disputed_beside_minor) = self.disputed();
        Purchase {
            id: id.to_owned(),
            outcomes: self.outcomes.clone(),
            alarms: self.alarms.iter().cloned().collect(),
            charge_minor: self.charge,
            charges: number(self.charges.len()),
            charged_minor: sum(|charge| charge.received),
            refunds: number(
                self.charges
                    .iter()
                    .filter(|charge| {
                        let pays = Some(&charge.intent) == self.paid_by.as_ref();
                        charge.back > 0
                            || charge.received == charge.outside
                            || (charge.taken > 0 && !pays)
                    })
                    .count(),
            ),
            refunded_minor: sum(|charge| charge.back + charge.outside),
            outside_minor: sum(|charge| charge.outside),
            taken_minor: sum(|charge| charge.taken),
            lost_minor: self.lost,
            disputed_minor,
            disputed_beside_minor,
            usdc_due: self.usdc_due,
            usdc_paid: self.usdc.0,
            usdc_back: self.usdc.1,
            swap_wanted: self.swapped.0,
            swapped: self.swapped.1,
            swap_aside: self.cost.0,
            swap_cost: self.cost.1,
            accounted: self.accounted,
            bridge_payments: number(self.payments),
            bridge_returns: number(self.returns),
            mints: number(self.mints),
            deployments: self.deployments.iter().map(contract).collect(),
        }
    }
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

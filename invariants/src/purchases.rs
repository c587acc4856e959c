//! The rules of a purchase.

use crate::{Harm, Violation, exactly};

/// How a purchase ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// The TFT arrived.
    Settled,
    /// The charge went back.
    Refunded,
    /// Nobody paid in time.
    NotPaid,
    /// A dispute was lost, and nothing was delivered.
    Lost,
}

/// A deployment that waits for a purchase.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Contract {
    /// Hash of the deployment.
    pub hash: String,
    /// Contracts with it on TFChain, cancelled ones included.
    pub created: u32,
    /// Whether the log says that it was created.
    pub recorded: bool,
    /// Whether the log says that it was given up.
    pub given_up: bool,
    /// Whether the log says that it was cancelled, by its owner or by others.
    pub cancelled: bool,
}

/// What was done for a purchase, counted at the counterparties.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Purchase {
    /// The purchase.
    pub id: String,
    /// Its ends, as the log has them.
    pub outcomes: Vec<Outcome>,
    /// Its alarms, as the log has them.
    pub alarms: Vec<String>,
    /// What was to be charged, in the currency's minor unit.
    pub charge_minor: i64,
    /// Successful charges at Stripe.
    pub charges: u32,
    /// Their sum.
    pub charged_minor: i64,
    /// Charges at Stripe of which we refunded something, or of which nothing is left; of charges
    /// that pay for nothing also those that a bank took back.
    pub refunds: u32,
    /// What went back in all, by whomever.
    pub refunded_minor: i64,
    /// What of it somebody else gave back, not we.
    pub outside_minor: i64,
    /// What of that the log books as a loss.
    pub lost_minor: i64,
    /// What banks took back by disputes that were lost, as Stripe has it.
    pub taken_minor: i64,
    /// What the log books as a loss because a dispute over the charge that pays was lost. That charge
    /// still counts as kept.
    pub disputed_minor: i64,
    /// What the log books as a loss because disputes over other charges were lost.
    pub disputed_beside_minor: i64,
    /// What was to be paid by USDC, in 10^-7 units; 0 for a purchase by card.
    pub usdc_due: i64,
    /// What credit paid for it.
    pub usdc_paid: i64,
    /// What of that went back, to senders and to the credit, without what a swap left over.
    pub usdc_back: i64,
    /// TFT that was to be bought, in 10^-7 units.
    pub swap_wanted: i64,
    /// TFT that swaps in a ledger have bought, all parts together.
    pub swapped: i64,
    /// USDC that was set aside for swaps, in 10^-7 units.
    pub swap_aside: i64,
    /// USDC that swaps in a ledger have cost, all parts together.
    pub swap_cost: i64,
    /// What the log says at the end that swaps have cost, and what was left over.
    pub accounted: Option<(i64, i64)>,
    /// Payments to the bridge in a ledger.
    pub bridge_payments: u32,
    /// Payments that the bridge sent back.
    pub bridge_returns: u32,
    /// Mints on TFChain.
    pub mints: u32,
    /// Deployments that wait for it.
    pub deployments: Vec<Contract>,
}

impl Purchase {
    /// The rules that it breaks.
    #[must_use]
    pub fn violations(&self) -> Vec<Violation> {
        let outcome = match self.outcomes.as_slice() {
            [outcome] => Some(*outcome),
            [] => None,
            ends => {
                return vec![self.found(Harm::Doubled, format!("it ended {} times", ends.len()))];
            }
        };
        let mut found = self.always();
        match outcome {
            Some(outcome) => found.extend(self.at_its_end(outcome)),
            None if !self.handed_over() => {
                found.push(self.found(Harm::Lost, "it neither ended nor was handed to a person"));
            }
            None => {}
        }
        for deployment in &self.deployments {
            found.extend(self.of_deployment(deployment, outcome));
        }
        found
    }

    /// Whether an alarm has left the rest to a person. A dispute has not, whether it is won or lost
    /// ends it; nor has a mint that is overdue, it may come.
    #[must_use]
    pub fn handed_over(&self) -> bool {
        self.alarms.iter().any(|raised| raised == "refund_failed")
    }

    const fn kept_charges(&self) -> u32 {
        self.charges.saturating_sub(self.refunds)
    }

    /// What must hold whatever became of it.
    fn always(&self) -> Vec<Violation> {
        let most = |what: &str, found: u32, most: u32| {
            (found > most)
                .then(|| self.found(Harm::Doubled, format!("{found} {what}, at most {most}")))
        };
        let mut found: Vec<Violation> = [
            most("charges that were kept", self.kept_charges(), 1),
            most("mints", self.mints, 1),
            most("refunds", self.refunds, self.charges),
            most(
                "payments to the bridge that were not sent back",
                self.bridge_payments.saturating_sub(self.bridge_returns),
                1,
            ),
            most(
                "mints and returns",
                self.mints + self.bridge_returns,
                self.bridge_payments,
            ),
        ]
        .into_iter()
        .flatten()
        .collect();
        if self.alarms.iter().any(|alarm| alarm == "books_broken") {
            found.push(self.found(Harm::Unbalanced, "it was stopped: its books would not hold"));
        }
        if self.swapped > self.swap_wanted {
            found.push(self.found(
                Harm::Doubled,
                format!("{} TFT were bought of {}", self.swapped, self.swap_wanted),
            ));
        }
        if self.swap_cost > self.swap_aside.max(self.usdc_due) {
            found.push(self.found(
                Harm::Doubled,
                format!(
                    "swaps have cost {} USDC of {}",
                    self.swap_cost,
                    self.swap_aside.max(self.usdc_due)
                ),
            ));
        }
        if self.refunded_minor > self.charged_minor {
            found.push(self.found(
                Harm::Doubled,
                format!(
                    "{} was refunded of {}",
                    self.refunded_minor, self.charged_minor
                ),
            ));
        }
        let given_back = self.charges > 0 && self.kept_charges() == 0;
        if self.mints > 0 && given_back && self.outside_minor == 0 && self.usdc_due == 0 {
            found.push(self.found(Harm::Doubled, "it was delivered and refunded"));
        }
        if self.usdc_back > self.usdc_paid {
            found.push(self.found(
                Harm::Doubled,
                format!("{} USDC went back of {}", self.usdc_back, self.usdc_paid),
            ));
        }
        if self.usdc_due > 0 && self.mints > 0 && self.usdc_paid - self.usdc_back < self.usdc_due {
            found.push(self.found(
                Harm::Doubled,
                format!(
                    "it was delivered for {} USDC, should be {}",
                    self.usdc_paid - self.usdc_back,
                    self.usdc_due
                ),
            ));
        }
        found
    }

    fn at_its_end(&self, outcome: Outcome) -> Vec<Violation> {
        let count = |what: &str, found: u32, wanted: u32| exactly(&self.id, what, found, wanted);
        let sum = |what: &str, found: i64, wanted: i64| exactly(&self.id, what, found, wanted);
        let kept = i64::from(self.bridge_payments) - i64::from(self.bridge_returns);
        // What pays for it: a charge, or USDC.
        let (charge, usdc) = if self.usdc_due > 0 {
            (0, self.usdc_due)
        } else {
            (self.charge_minor, 0)
        };
        // What is no longer there of charges, but for what a bank took of the one that pays.
        let back = self.refunded_minor + self.disputed_beside_minor;
        let rules = match outcome {
            Outcome::Settled => vec![
                // Who pays twice gets the second charge back. What somebody else gave back of a
                // delivery is a loss.
                count(
                    "charges that were kept",
                    self.kept_charges(),
                    u32::from(usdc == 0),
                )
                .filter(|_| self.outside_minor == 0),
                sum(
                    "charged and kept, or booked as a loss",
                    self.charged_minor - back + self.lost_minor,
                    charge,
                ),
                sum("USDC that was kept", self.usdc_paid - self.usdc_back, usdc),
                sum("TFT that was bought", self.swapped, self.swap_wanted),
                sum("payments that the bridge kept", kept, 1),
                count("mints", self.mints, 1),
                self.leftover(),
            ],
            Outcome::Refunded => vec![
                count(
                    "refunds",
                    self.refunds,
                    self.charges.max(u32::from(usdc == 0)),
                ),
                sum(
                    "refunded, or booked as lost to a dispute over another charge",
                    back,
                    self.charged_minor.max(charge),
                ),
                sum(
                    "USDC that went back",
                    self.usdc_back,
                    self.usdc_paid.max(usdc),
                ),
                sum("payments that the bridge kept", kept, 0),
                count("mints", self.mints, 0),
            ],
            // Who pays after the end gets it back.
            Outcome::NotPaid => vec![
                count("refunds", self.refunds, self.charges),
                sum(
                    "refunded, or booked as lost to a dispute",
                    back,
                    self.charged_minor,
                ),
                sum("USDC that went back", self.usdc_back, self.usdc_paid),
                sum("TFT that was bought", self.swapped, 0),
                count("payments to the bridge", self.bridge_payments, 0),
                count("mints", self.mints, 0),
            ],
            Outcome::Lost => vec![
                sum(
                    "refunded, or booked as lost to a dispute",
                    back + self.disputed_minor,
                    self.charged_minor.max(charge),
                ),
                sum("payments that the bridge kept", kept, 0),
                count("mints", self.mints, 0),
            ],
        };
        let booked = sum(
            "booked as lost to disputes",
            self.disputed_minor + self.disputed_beside_minor,
            self.taken_minor,
        );
        rules.into_iter().flatten().chain(booked).collect()
    }

    /// What swaps did not spend is the buyer's, unless what they paid is disputed or was given back.
    fn leftover(&self) -> Option<Violation> {
        let left = self.swap_aside - self.swap_cost;
        let doubted = ["disputed", "dispute_lost", "refunded_outside"];
        let doubted = self.alarms.iter().any(|a| doubted.contains(&a.as_str()));
        let right = match self.accounted {
            Some((spent, over)) => {
                spent == self.swap_cost && (over == left || (over == 0 && doubted))
            }
            None => false,
        };
        (!right).then(|| {
            self.found(
                Harm::Unbalanced,
                format!(
                    "swaps have cost {} USDC and left {left}, accounted: {:?}",
                    self.swap_cost, self.accounted
                ),
            )
        })
    }

    fn of_deployment(&self, deployment: &Contract, outcome: Option<Outcome>) -> Option<Violation> {
        let about = |detail: String| format!("deployment {}: {detail}", deployment.hash);
        let wanted = match outcome {
            // What was cancelled may have been created before, or never.
            Some(Outcome::Settled) if !deployment.cancelled => 1,
            Some(Outcome::Refunded | Outcome::NotPaid | Outcome::Lost) => 0,
            Some(Outcome::Settled) | None => {
                return (deployment.created > 1).then(|| {
                    self.found(
                        Harm::Doubled,
                        about(format!("{} contracts", deployment.created)),
                    )
                });
            }
        };
        let given_up = deployment.given_up || deployment.cancelled;
        let ended = (deployment.recorded, given_up) == (wanted == 1, wanted == 0);
        exactly(
            &self.id,
            &about("contracts".to_owned()),
            deployment.created,
            wanted,
        )
        .or_else(|| {
            (!ended).then(|| {
                self.found(
                    Harm::Lost,
                    about(format!(
                        "recorded as created: {}, as given up: {}",
                        deployment.recorded, deployment.given_up
                    )),
                )
            })
        })
    }

    fn found(&self, harm: Harm, detail: impl Into<String>) -> Violation {
        Violation::new(harm, &self.id, detail)
    }
}

#[cfg(test)]
mod tests;

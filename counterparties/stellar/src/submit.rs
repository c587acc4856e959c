//! Sending a transaction, and waiting for what comes of it.

use crate::client::{HorizonClient, described};
use crate::fees::{Fees, Offer};
use crate::find::{is_ours, landed};
use crate::outcome::{Hint, hint};
use crate::port::{LandedTransaction, Stellar};
use crate::records;
use crate::signing::SignedTransaction;
use events::outcome::{Attempt, Find};
use serde_json::Value;
use std::time::Duration;
use tokio::sync::{Mutex, watch};

/// How often the last ledger is asked for while submissions wait. A ledger shows a transaction
/// some 50 ms after it closed, the answer to the submission comes 300 to 700 ms after.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// The same while Horizon does not answer.
const LOOK_IN_VAIN: Duration = Duration::from_secs(1);

/// The last ledger that was seen, asked for once for all submissions that wait.
#[derive(Debug)]
pub(crate) struct Ledgers {
    seen: watch::Sender<u32>,
    /// Whoever holds it asks.
    asking: Mutex<()>,
}

impl Default for Ledgers {
    fn default() -> Self {
        Self {
            seen: watch::Sender::new(0),
            asking: Mutex::new(()),
        }
    }
}

impl Ledgers {
    fn last(&self) -> u32 {
        *self.seen.borrow()
    }

    /// Waits until a ledger after `known` has been ingested, and gives its number.
    async fn closed_after(&self, client: &HorizonClient, known: u32) -> u32 {
        let mut seen = self.seen.subscribe();
        loop {
            let last = *seen.borrow_and_update();
            if last > known {
                return last;
            }
            // The one that asks may be dropped at any time: then another takes over.
            tokio::select! {
                biased;
                changed = seen.changed() => if changed.is_err() { return last },
                _asking = self.asking.lock() => {
                    let mut pause = LOOK_EVERY;
                    while self.last() <= known {
                        tokio::time::sleep(pause).await;
                        pause = match client.latest_ledger().await {
                            Ok((ledger, _)) => {
                                self.seen.send_if_modified(|seen| {
                                    let newer = ledger > *seen;
                                    *seen = ledger.max(*seen);
                                    newer
                                });
                                LOOK_EVERY
                            }
                            Err(_) => LOOK_IN_VAIN,
                        };
                    }
                }
            }
        }
    }
}

/// What came of sending one envelope.
enum Sent {
    /// It is answered, or found.
    Ended(Attempt<LandedTransaction>),
    /// Others offer more: it was refused for its fee, or ledgers pass it over.
    Outbid(String),
}

/// A submission without an answer.
enum Unanswered {
    /// Nothing left this machine.
    NotSent(String),
    /// It may have arrived.
    Lost(String),
}

impl HorizonClient {
    /// Sends one envelope and waits until its transaction is answered or found, or passed over by
    /// ledgers that had no place for it.
    async fn send(&self, transaction: &SignedTransaction, offer: &Offer) -> Sent {
        let mut answer = std::pin::pin!(self.post(&offer.envelope));
        let mut looked = self.ledgers.last();
        loop {
            // A look must not outlive the answer, so each is raced against it.
            let look = async {
                looked = self.ledgers.closed_after(self, looked).await;
                let found = self.find(transaction).await;
                let passed_over = match (&found, &self.fees) {
                    (Find::Absent, Some(fees)) => {
                        Fees::passed_over(offer, self.statistics(fees).await)
                    }
                    _ => false,
                };
                (found, passed_over)
            };
            tokio::select! {
                biased;
                answered = &mut answer => {
                    if let Ok((400, answer)) = &answered
                        && code(answer) == Some("tx_insufficient_fee")
                    {
                        return Sent::Outbid("tx_insufficient_fee".to_owned());
                    }
                    return Sent::Ended(meaning(transaction, answered));
                },
                (found, passed_over) = look => match found {
                    Find::Landed(landed) => return Sent::Ended(Attempt::Landed(landed)),
                    Find::Refused(refusal) => return Sent::Ended(Attempt::Refused(refusal)),
                    Find::NeverWill(why) => return Sent::Ended(Attempt::Unknown(why)),
                    Find::Absent if passed_over => {
                        return Sent::Outbid("ledgers pass it over".to_owned());
                    }
                    Find::Absent | Find::Pending(_) | Find::NoAnswer(_) => {}
                },
            }
        }
    }

    async fn post(&self, envelope: &str) -> Result<(u16, Value), Unanswered> {
        let url = self
            .base
            .join("transactions")
            .map_err(|e| Unanswered::NotSent(e.to_string()))?;
        let sent = self
            .http
            .post(url)
            .timeout(self.submit_timeout)
            .form(&[("tx", envelope)])
            .send()
            .await;
        let answer = sent.map_err(|e| {
            if e.is_connect() {
                Unanswered::NotSent(described(e))
            } else {
                Unanswered::Lost(described(e))
            }
        })?;
        let status = answer.status().as_u16();
        let bytes = answer
            .bytes()
            .await
            .map_err(|e| Unanswered::Lost(described(e)))?;
        Ok((
            status,
            serde_json::from_slice(&bytes).unwrap_or(Value::Null),
        ))
    }
}

/// Sends it, raising its fee where that may help, until it is answered or found.
pub(crate) async fn submit(
    client: &HorizonClient,
    transaction: &SignedTransaction,
) -> Attempt<LandedTransaction> {
    let mut offer = match &client.fees {
        Some(fees) => fees.offer(transaction, client.statistics(fees).await),
        None => Offer::plain(transaction),
    };
    loop {
        let why = match client.send(transaction, &offer).await {
            Sent::Ended(attempt) => {
                if let (Some(fees), Attempt::Landed(_) | Attempt::Refused(_)) =
                    (&client.fees, &attempt)
                {
                    fees.settled(transaction);
                }
                return attempt;
            }
            Sent::Outbid(why) => why,
        };
        let higher = match &client.fees {
            Some(fees) => fees.raise(transaction, &offer, client.statistics(fees).await),
            None => None,
        };
        match higher {
            Some(higher) => offer = higher,
            // It may wait in the network's queue still.
            None => {
                return Attempt::Unknown(format!("{why}, and no higher fee may be offered"));
            }
        }
    }
}

/// The code by which the table knows an answer.
fn code(answer: &Value) -> Option<&str> {
    let result = answer["extras"]["result_codes"]["transaction"].as_str();
    result.or_else(|| {
        answer["type"]
            .as_str()
            .and_then(|kind| kind.rsplit('/').next())
    })
}

/// What the answer to a submission means.
fn meaning(
    transaction: &SignedTransaction,
    answered: Result<(u16, Value), Unanswered>,
) -> Attempt<LandedTransaction> {
    let (status, answer) = match answered {
        Ok(answered) => answered,
        Err(Unanswered::NotSent(why)) => {
            return Attempt::NotSent(format!("Horizon could not be reached: {why}"));
        }
        Err(Unanswered::Lost(why)) => {
            return Attempt::NoAnswer(format!("Horizon did not answer: {why}"));
        }
    };
    let code = code(&answer);
    let said = || {
        format!(
            "HTTP {status} {} {}",
            code.unwrap_or_default(),
            answer["extras"]["result_codes"]["operations"]
        )
    };
    match hint(status, code) {
        Hint::Landed => match records::transaction(&answer) {
            Ok(view) if view.successful && is_ours(transaction, &view) && view.ledger > 0 => {
                Attempt::Landed(landed(transaction, &view))
            }
            Ok(view) => Attempt::Unknown(format!(
                "the answer is about {} in ledger {}",
                view.hash, view.ledger
            )),
            Err(error) => Attempt::Unknown(error.to_string()),
        },
        Hint::NotSent => Attempt::NotSent(said()),
        Hint::Misconfigured => {
            tracing::error!(lane = %transaction.lane, sequence = transaction.sequence, answer = said(), "Stellar refuses what we sign: check keys, passphrase, lanes and their lumens");
            Attempt::NotSent(said())
        }
        Hint::Unknown => Attempt::Unknown(said()),
        Hint::NoAnswer => Attempt::NoAnswer(said()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_known_by_its_result_code_or_its_type() {
        let failed = serde_json::json!({"type": "https://stellar.org/horizon-errors/transaction_failed",
            "extras": {"result_codes": {"transaction": "tx_bad_seq"}}});
        assert_eq!(code(&failed), Some("tx_bad_seq"));
        let malformed =
            serde_json::json!({"type": "https://stellar.org/horizon-errors/transaction_malformed"});
        assert_eq!(code(&malformed), Some("transaction_malformed"));
        assert_eq!(code(&Value::Null), None);
    }
}

//! Who pays by USDC, and the operator who looks after what nobody's memo names.

use crate::dice::Dice;
use crate::payments::{Deposit, SetAside};
use crate::people::ids;
use crate::script::Usdc;
use crate::time;
use crate::world::World;
use counterparties_stellar::{AccountId, AssetId, PathAsset, SecretKey};
use events::deposits::{
    AccountOpened, DepositAssigned, DepositEvent, DepositReturnOrdered, credit_key,
};
use events::ids::{EventId, TwinId};
use events::money::UNIT;
use events::schema::EventSet;
use std::collections::BTreeSet;
use std::time::Duration;

/// The twin of a buyer.
pub fn twin_of(number: usize) -> TwinId {
    TwinId(1 + u32::try_from(number).unwrap_or(0))
}

fn sender(number: usize) -> AccountId {
    SecretKey::from_seed(&[100 + u8::try_from(number).unwrap_or(0); 32]).account()
}

/// An asset of the same name, of another issuer.
fn foreign() -> PathAsset {
    PathAsset::Credit(AssetId {
        code: "USDC".to_owned(),
        issuer: SecretKey::from_seed(&[6; 32]).account(),
    })
}

impl World {
    /// Its twin exists: its credit is opened.
    pub fn open_credit(&self, seed: u64, number: usize) {
        let event = DepositEvent::from(AccountOpened {
            twin_id: twin_of(number),
            user_id: ids(seed, number).1,
        });
        let key = credit_key(twin_of(number));
        let id = EventId::derive(&["opened", &key]);
        if let Ok(append) = self.encode(&self.fixture.deposits, &key, id, &event) {
            self.broker.produce(&append);
        }
    }

    /// Pays what is due, in this way.
    pub async fn pay_by_usdc(&self, number: usize, way: Usdc, due: i64, dice: &Dice) {
        let twin = u64::from(twin_of(number).0);
        let pay = |amount: i64| Deposit {
            from: sender(number),
            to: self.treasury.key.account(),
            asset: PathAsset::Credit(self.treasury.usdc.clone()),
            amount,
            memo: Some(twin),
            muxed: None,
        };
        let aside = |amount: i64| SetAside {
            from: sender(number),
            asset: PathAsset::Credit(self.treasury.usdc.clone()),
            amount,
            memo: Some(twin),
            opens: None,
            back_after: None,
        };
        let half = due / 2;
        self.trace
            .say(|| format!("buyer {number} pays {due} USDC: {way:?}"));
        match way {
            Usdc::Exact => self.stellar.deposit(pay(due)),
            Usdc::TooMuch => self.stellar.deposit(pay(due + 3 * UNIT)),
            Usdc::TooLittle => self.stellar.deposit(pay(half)),
            Usdc::Unnamed => self.stellar.deposit(Deposit {
                memo: None,
                ..pay(due)
            }),
            Usdc::InTwo => {
                self.stellar.deposit(pay(half));
                tokio::time::sleep(dice.millis(0, 60_000)).await;
                self.stellar.deposit(Deposit {
                    memo: None,
                    muxed: Some(twin),
                    ..pay(due - half)
                });
            }
            Usdc::Foreign => {
                self.stellar.deposit(Deposit {
                    asset: foreign(),
                    ..pay(due)
                });
                tokio::time::sleep(dice.millis(0, 60_000)).await;
                self.stellar.deposit(pay(due));
            }
            Usdc::SetAside => self.stellar.set_aside(aside(due)),
            Usdc::SetAsideUnnamed => self.stellar.set_aside(SetAside {
                memo: None,
                ..aside(due)
            }),
            Usdc::SetAsideForLater => {
                let wait = i64::try_from(dice.below(120)).unwrap_or_default();
                self.stellar.set_aside(SetAside {
                    opens: Some(time::now().seconds() + wait),
                    ..aside(due)
                });
            }
            Usdc::SetAsideAndTakenBack => {
                let stays = i64::try_from(dice.below(25)).unwrap_or_default();
                self.stellar.set_aside(SetAside {
                    back_after: Some(stays),
                    ..aside(due)
                });
            }
            Usdc::SetAsideForeign => {
                self.stellar.set_aside(SetAside {
                    asset: foreign(),
                    ..aside(due)
                });
                tokio::time::sleep(dice.millis(0, 60_000)).await;
                self.stellar.set_aside(aside(due));
            }
        }
    }

    /// Assigns what is USDC to the twin of its sender, and sends the rest back.
    pub async fn operator(self, buyers: usize) {
        let mut seen = BTreeSet::new();
        loop {
            tokio::time::sleep(Duration::from_secs(20)).await;
            for stored in self.broker.of(DepositEvent::TOPIC) {
                if !seen.insert((stored.partition, stored.offset)) {
                    continue;
                }
                let decoded = self.fixture.deposits.decode(Some(&stored.append.payload));
                let Ok(DepositEvent::DepositUnmatched(unmatched)) = decoded else {
                    continue;
                };
                if unmatched.from.is_empty() {
                    continue;
                }
                let (reason, by) = ("simulated".to_owned(), "operator".to_owned());
                let owner = (0..buyers).find(|n| sender(*n).to_string() == unmatched.from);
                let ours = unmatched.asset == self.treasury.usdc.to_string();
                let event: DepositEvent = match owner.filter(|_| ours) {
                    Some(owner) => DepositAssigned {
                        deposit_id: unmatched.deposit_id.clone(),
                        twin_id: twin_of(owner),
                        reason,
                        by,
                        assigned_at: time::now(),
                    }
                    .into(),
                    None => DepositReturnOrdered {
                        deposit_id: unmatched.deposit_id.clone(),
                        reason,
                        by,
                        ordered_at: time::now(),
                    }
                    .into(),
                };
                let key = unmatched.deposit_id;
                let id = EventId::derive(&["operator", &key, &stored.offset.to_string()]);
                if let Ok(append) = self.encode(&self.fixture.deposits, &key, id, &event) {
                    self.broker.produce(&append);
                    // Operators are impatient.
                    self.broker.produce(&append);
                }
            }
        }
    }
}

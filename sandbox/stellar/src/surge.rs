//! Ledgers that are full: who gets a place, what it costs, and what was said of it.
//!
//! `POST /_control/surge {"capacity": 20, "strangers": 20, "bid": 5000}`: a ledger holds 20
//! operations (0: any number), and strangers want 20 of them each time, at 5,000 stroops each.
//! As in stellar-core: higher rates go first; when somebody is left out, all pay the lowest rate
//! that got in; the queue holds two ledgers' worth, and an offer below all of it is refused; what
//! is refused, pushed out, or left out four times is banned for ten ledgers.

use crate::envelope::Submitted;
use serde::Deserialize;
use std::collections::{HashMap, VecDeque};

/// Fee for an operation where there is room, in stroops.
pub const BASE_FEE: i64 = 100;
/// Ledgers for which a banned envelope is not taken.
const BANNED: u32 = 10;
/// Ledgers that a transaction may be left out of before it is dropped.
const LEFT_OUT: u32 = 4;
/// Ledgers' worth of operations that may wait.
const QUEUE: i64 = 2;
/// Ledgers that fee statistics are about.
const STATISTICS: usize = 5;

/// How full ledgers are.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default)]
pub struct Surge {
    /// Operations that a ledger holds; 0: any number.
    pub capacity: i64,
    /// Operations of strangers that want into each ledger.
    pub strangers: i64,
    /// What the strangers offer for each, in stroops.
    pub bid: i64,
}

/// A transaction that waits.
#[derive(Debug)]
pub struct Waiting {
    /// The transaction.
    pub submitted: Submitted,
    left_out: u32,
}

impl Waiting {
    /// One that has just come.
    pub fn new(submitted: Submitted) -> Self {
        Self {
            submitted,
            left_out: 0,
        }
    }
}

/// Stroops offered for each operation, rounded down.
fn rate(submitted: &Submitted) -> i64 {
    submitted.max_fee() / submitted.fee_operations().max(1)
}

/// What a ledger cost.
#[derive(Debug, Clone)]
struct Price {
    ledger: u32,
    /// Stroops for each operation.
    charged: i64,
    /// Rates that were offered, one for each operation.
    offered: Vec<i64>,
    /// Hundredths of the capacity.
    usage: i64,
}

/// The doorkeeper of ledgers.
#[derive(Debug, Default)]
pub struct Door {
    /// How full ledgers are.
    pub surge: Surge,
    banned: HashMap<[u8; 32], u32>,
    prices: VecDeque<Price>,
}

/// Statistics of the last ledgers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statistics {
    /// Rates charged, ascending, one for each operation; never empty.
    pub charged: Vec<i64>,
    /// Rates offered, ascending, one for each operation; never empty.
    pub offered: Vec<i64>,
    /// Hundredths of the last ledger's capacity.
    pub usage: i64,
}

impl Door {
    /// Whether an envelope is banned when `latest` is the last ledger.
    pub fn bans(&self, hash: &[u8; 32], latest: u32) -> bool {
        self.banned.get(hash).is_some_and(|until| *until > latest)
    }

    fn ban(&mut self, hash: [u8; 32], latest: u32) {
        self.banned.insert(hash, latest + BANNED);
    }

    /// Whether there is room in the queue; offers below this one make room. Otherwise what would
    /// have to be offered in all, in stroops.
    pub fn admit(
        &mut self,
        submitted: &Submitted,
        pending: &mut Vec<Waiting>,
        latest: u32,
    ) -> Result<(), i64> {
        let Surge {
            capacity,
            strangers,
            bid,
        } = self.surge;
        if capacity == 0 {
            return Ok(());
        }
        let (room, offered) = (capacity * QUEUE, rate(submitted));
        let needed = submitted.fee_operations();
        // Strangers stand in the queue as one; `None` is they.
        let strangers = (strangers * QUEUE).min(room);
        let mut queue: Vec<(i64, Option<usize>, i64)> = pending
            .iter()
            .enumerate()
            .map(|(place, other)| {
                let other = &other.submitted;
                (rate(other), Some(place), other.fee_operations())
            })
            .collect();
        queue.push((bid, None, strangers));
        let taken: i64 = queue.iter().map(|(_, _, operations)| operations).sum();
        let mut missing = taken + needed - room;
        // Those who offer least make room, the last to come first.
        queue.retain(|(rate, _, operations)| *rate < offered && *operations > 0);
        queue.sort_by_key(|(rate, place, _)| (*rate, std::cmp::Reverse(*place)));
        let mut out = Vec::new();
        for (_, place, operations) in queue {
            if missing > 0 {
                missing -= operations;
                out.extend(place);
            }
        }
        if missing > 0 {
            self.ban(submitted.outer_hash(), latest);
            let waiting = pending.iter().map(|other| rate(&other.submitted));
            let lowest = waiting.chain((strangers > 0).then_some(bid)).min();
            return Err((lowest.unwrap_or(BASE_FEE) + 1) * needed);
        }
        out.sort_unstable();
        for place in out.into_iter().rev() {
            let gone = pending.remove(place);
            self.ban(gone.submitted.outer_hash(), latest);
        }
        Ok(())
    }

    /// Takes out of `pending` what goes into `ledger`, in the order in which it came, and says
    /// what an operation costs there.
    pub fn open(&mut self, pending: &mut Vec<Waiting>, ledger: u32) -> (Vec<Submitted>, i64) {
        self.banned.retain(|_, until| *until >= ledger);
        let Surge {
            capacity,
            strangers,
            bid,
        } = self.surge;
        let mut order: Vec<usize> = (0..pending.len()).collect();
        order.sort_by_key(|place| (std::cmp::Reverse(rate(&pending[*place].submitted)), *place));
        let mut left = if capacity == 0 { i64::MAX } else { capacity };
        let mut wanted_by_strangers = strangers;
        let (mut lowest, mut somebody_left_out) = (i64::MAX, false);
        let mut offered = Vec::new();
        let mut seats = vec![false; pending.len()];
        let mut seat_strangers = |left: &mut i64, lowest: &mut i64, offered: &mut Vec<i64>| {
            let seated = wanted_by_strangers.min(*left).max(0);
            if seated > 0 {
                *lowest = (*lowest).min(bid);
                offered.extend(std::iter::repeat_n(
                    bid,
                    usize::try_from(seated).unwrap_or(0),
                ));
            }
            *left -= seated;
            let out = seated < wanted_by_strangers;
            wanted_by_strangers = 0;
            out
        };
        for place in order {
            let (ours, needed) = {
                let submitted = &pending[place].submitted;
                (rate(submitted), submitted.fee_operations())
            };
            if ours <= bid {
                somebody_left_out |= seat_strangers(&mut left, &mut lowest, &mut offered);
            }
            if needed > left {
                somebody_left_out = true;
                continue;
            }
            left -= needed;
            lowest = lowest.min(ours);
            offered.extend(std::iter::repeat_n(
                ours,
                usize::try_from(needed).unwrap_or(0),
            ));
            seats[place] = true;
        }
        somebody_left_out |= seat_strangers(&mut left, &mut lowest, &mut offered);
        let charged = if somebody_left_out && lowest < i64::MAX {
            lowest.max(BASE_FEE)
        } else {
            BASE_FEE
        };
        let usage = if capacity == 0 {
            1
        } else {
            (capacity - left) * 100 / capacity
        };
        offered.sort_unstable();
        self.prices.push_back(Price {
            ledger,
            charged,
            offered,
            usage,
        });
        while self.prices.len() > STATISTICS + crate::state::REMEMBERED {
            self.prices.pop_front();
        }
        let (mut inside, mut outside) = (Vec::new(), Vec::new());
        for (mut waiting, seated) in pending.drain(..).zip(seats) {
            if seated {
                inside.push(waiting.submitted);
                continue;
            }
            waiting.left_out += 1;
            if waiting.left_out >= LEFT_OUT {
                self.banned
                    .insert(waiting.submitted.outer_hash(), ledger + BANNED);
            } else {
                outside.push(waiting);
            }
        }
        *pending = outside;
        (inside, charged)
    }

    /// Statistics as of `ledger`.
    pub fn statistics(&self, ledger: u32) -> Statistics {
        let known: Vec<&Price> = self
            .prices
            .iter()
            .rev()
            .filter(|price| price.ledger <= ledger)
            .take(STATISTICS)
            .collect();
        let mut charged: Vec<i64> = known
            .iter()
            .flat_map(|price| std::iter::repeat_n(price.charged, price.offered.len()))
            .collect();
        let mut offered: Vec<i64> = known
            .iter()
            .flat_map(|price| price.offered.clone())
            .collect();
        for rates in [&mut charged, &mut offered] {
            if rates.is_empty() {
                rates.push(BASE_FEE);
            }
            rates.sort_unstable();
        }
        Statistics {
            charged,
            offered,
            usage: known.first().map_or(1, |price| price.usage),
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;
    use stellar_base::xdr::{
        BumpSequenceOp, Memo, MuxedAccount, Operation, OperationBody, Preconditions,
        SequenceNumber, Transaction, TransactionExt, Uint256,
    };

    /// A transaction of one operation; `name` is its account and its hash.
    fn offering(name: u8, fee: u32) -> Submitted {
        let operation = Operation {
            source_account: None,
            body: OperationBody::BumpSequence(BumpSequenceOp {
                bump_to: SequenceNumber(0),
            }),
        };
        Submitted {
            envelope_xdr: String::new(),
            tx: Transaction {
                source_account: MuxedAccount::Ed25519(Uint256([name; 32])),
                fee,
                seq_num: SequenceNumber(1),
                cond: Preconditions::None,
                memo: Memo::None,
                operations: vec![operation].try_into().unwrap(),
                ext: TransactionExt::V0,
            },
            hash: [name; 32],
            signatures: Vec::new(),
            bump: None,
        }
    }

    fn door(capacity: i64, strangers: i64, bid: i64) -> Door {
        Door {
            surge: Surge {
                capacity,
                strangers,
                bid,
            },
            ..Door::default()
        }
    }

    fn put(door: &mut Door, pending: &mut Vec<Waiting>, name: u8, fee: u32) -> Result<(), i64> {
        let offer = offering(name, fee);
        door.admit(&offer, pending, 7)?;
        pending.push(Waiting::new(offer));
        Ok(())
    }

    fn names(inside: &[Submitted]) -> Vec<u8> {
        inside.iter().map(|submitted| submitted.hash[0]).collect()
    }

    #[test]
    fn with_room_everybody_gets_in_at_the_base_fee() {
        let (mut door, mut pending) = (door(0, 0, 0), Vec::new());
        for (name, fee) in [(1, 100), (2, 900), (3, 300)] {
            put(&mut door, &mut pending, name, fee).unwrap();
        }
        let (inside, price) = door.open(&mut pending, 8);
        assert_eq!((names(&inside), price), (vec![1, 2, 3], BASE_FEE));
        assert_eq!(door.statistics(8).charged, [100, 100, 100]);
    }

    #[test]
    fn a_full_ledger_takes_the_highest_rates_and_charges_the_lowest_of_them() {
        let (mut door, mut pending) = (door(3, 1, 500), Vec::new());
        for (name, fee) in [(1, 400), (2, 900), (3, 700)] {
            put(&mut door, &mut pending, name, fee).unwrap();
        }
        let (inside, price) = door.open(&mut pending, 8);
        assert_eq!((names(&inside), price), (vec![2, 3], 500));
        let statistics = door.statistics(8);
        assert_eq!(statistics.charged, [500, 500, 500]);
        assert_eq!(statistics.offered, [500, 700, 900]);
        assert_eq!(statistics.usage, 100);
        // The one that was left out gets in once there is room, or is dropped and banned.
        door.surge.strangers = 3;
        for ledger in 9..11 {
            assert!(door.open(&mut pending, ledger).0.is_empty());
        }
        assert_eq!(pending.len(), 1);
        assert!(door.open(&mut pending, 11).0.is_empty());
        assert!(pending.is_empty());
        assert!(door.bans(&[1; 32], 20) && !door.bans(&[1; 32], 21));
    }

    #[test]
    fn a_full_queue_refuses_the_lowest_and_gives_way_to_higher_ones() {
        let (mut door, mut pending) = (door(2, 0, 0), Vec::new());
        for (name, fee) in [(1, 300), (2, 200), (3, 300), (4, 400)] {
            put(&mut door, &mut pending, name, fee).unwrap();
        }
        // Four operations are two ledgers' worth.
        assert_eq!(put(&mut door, &mut pending, 5, 200), Err(201));
        assert!(door.bans(&[5; 32], 16) && !door.bans(&[5; 32], 17));
        put(&mut door, &mut pending, 6, 250).unwrap();
        assert!(door.bans(&[2; 32], 8), "the cheapest made room");
        assert_eq!(pending.len(), 4);
        // Strangers who offer less give way, those who offer more do not.
        let (mut door, mut pending) = (self::door(2, 2, 500), Vec::new());
        assert_eq!(put(&mut door, &mut pending, 7, 500), Err(501));
        put(&mut door, &mut pending, 8, 501).unwrap();
    }
}

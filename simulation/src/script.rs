//! What happens to a world: chosen by the seed, cut down when a failure is shrunk.

use crate::dice::Dice;
use sandbox_tfchain::runtime::Change as Upgrade;
use std::ops::Range;

/// The processors that run, each in two slots; the last one only where TFChain is over the wire.
pub const PROCESSORS: [&str; 14] = [
    "purchases",
    "payments",
    "swaps",
    "handoffs",
    "tfchain-watcher",
    "reconciler",
    "deployments",
    "contracts",
    "contract-watcher",
    "deposits",
    "deposit-watcher",
    "returns",
    "claims",
    "twins",
];
/// How many of them run where TFChain is modelled: the model makes no twins.
const ANYWHERE: usize = 13;
/// Slots of each.
pub const SLOTS: u32 = 2;

/// Something that befalls the world.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mishap {
    /// When, in milliseconds.
    pub at: u64,
    /// What.
    pub kind: Kind,
}

/// What befalls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// `kill -9`, and a start after some milliseconds.
    Kill {
        /// Processor and slot.
        victim: (usize, u32),
        /// When it is started again.
        back_after: u64,
        /// At an await soon after, instead of at once.
        at_await: bool,
    },
    /// `SIGSTOP`, and `SIGCONT` after some milliseconds.
    Freeze {
        /// Processor and slot.
        victim: (usize, u32),
        /// How long.
        thaw_after: u64,
        /// At an await soon after, instead of at once.
        at_await: bool,
    },
    /// The price moves; `None`: the books are empty.
    Price(Option<i64>),
    /// The books become so thin that one transaction buys no more than this many TFT; `None`: they
    /// are deep again.
    Depth(Option<i64>),
}

/// How somebody pays by USDC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usdc {
    /// The amount, with the memo.
    Exact,
    /// In two halves, the second to the muxed address.
    InTwo,
    /// Three coins too much.
    TooMuch,
    /// Half of it, and nothing more.
    TooLittle,
    /// Without a memo; an operator says whose it is.
    Unnamed,
    /// In an asset of the same name at first, which an operator sends back.
    Foreign,
    /// In a claimable balance.
    SetAside,
    /// In a claimable balance without a memo; an operator says whose it is.
    SetAsideUnnamed,
    /// In a claimable balance that may be claimed only after a while.
    SetAsideForLater,
    /// In a claimable balance that the sender takes back soon, if it is still there.
    SetAsideAndTakenBack,
    /// In an asset of the same name in a claimable balance at first, which nobody claims.
    SetAsideForeign,
}

impl Usdc {
    const ASIDE: [Self; 5] = [
        Self::SetAside,
        Self::SetAsideUnnamed,
        Self::SetAsideForLater,
        Self::SetAsideAndTakenBack,
        Self::SetAsideForeign,
    ];
    const ALL: [Self; 6] = [
        Self::Exact,
        Self::InTwo,
        Self::TooMuch,
        Self::TooLittle,
        Self::Unnamed,
        Self::Foreign,
    ];
}

/// What somebody deploys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// A workload on a node.
    Node,
    /// A name.
    Name,
    /// A whole node.
    Rent,
    /// One of each, all or none.
    Batch,
}

/// What somebody does with a deployment after asking for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// They want another workload, so many milliseconds later.
    Update(u64),
    /// They cancel it, so many milliseconds later.
    Cancel(u64),
}

/// A person's behaviour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Buyer {
    /// When they order, in milliseconds.
    pub at: u64,
    /// How long after their order they pay; `None`: never.
    pub pays_after: Option<u64>,
    /// Whether they pay every PaymentIntent that they ever got.
    pub pays_all: bool,
    /// How often each fact about them is told.
    pub tellings: u64,
    /// Whether the payment is disputed, and then whether that is won.
    pub dispute: Option<bool>,
    /// Whether somebody gives back of the payment in the dashboard: how many milliseconds after it,
    /// and how many percent.
    pub gives_back: Option<(u64, i64)>,
    /// Whether they want a deployment.
    pub deploys: bool,
    /// What that is.
    pub what: What,
    /// What they do with it, one after the other.
    pub changes: Vec<Change>,
    /// How they pay by USDC; `None`: by card.
    pub usdc: Option<Usdc>,
}

impl Buyer {
    /// One who pays by card a second after they ordered, wants this, and does nothing else.
    #[must_use]
    pub const fn prompt(at: u64, what: What) -> Self {
        Self {
            at,
            pays_after: Some(1_000),
            pays_all: true,
            tellings: 2,
            dispute: None,
            gives_back: None,
            deploys: true,
            what,
            changes: Vec::new(),
            usdc: None,
        }
    }
}

/// A record that nobody can read, under the key of a buyer, and its release by an operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Poison {
    /// Whose aggregate.
    pub buyer: usize,
    /// Their deployments, or else their purchase.
    pub deployment: bool,
    /// When it is written, in milliseconds.
    pub at: u64,
    /// When it is discarded.
    pub release_after: u64,
}

/// What befalls TFChain, where it is over the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// The next transaction is dropped from the pool.
    Drop,
    /// Other blocks take the place of those that are not final; their transactions go back to the
    /// pool, or are lost.
    Fork {
        /// How many blocks.
        depth: u32,
        /// Whether their transactions are lost.
        lose: bool,
    },
    /// The node stops, and comes back after so many milliseconds; its pool is lost.
    Restart(u64),
    /// Another runtime. One whose shapes nobody knows is replaced after a while.
    Upgrade(Upgrade),
}

/// A world.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// Who buys.
    pub buyers: Vec<Buyer>,
    /// What befalls.
    pub mishaps: Vec<Mishap>,
    /// What cannot be read.
    pub poisons: Vec<Poison>,
    /// Wrongs that the network may do.
    pub network: u64,
    /// Transactions that may tear.
    pub tears: u64,
    /// Proofs of ownership after which a process may be stopped, so that the answer comes late.
    pub doubts: u64,
    /// Percent of payments that the bridge sends back.
    pub returns: u64,
    /// In how many percent of the blocks the chain does something to a contract by itself.
    pub of_itself: u64,
    /// TFChain is over the wire.
    pub wire: bool,
    /// What befalls it then: when, in milliseconds, and what.
    pub troubles: Vec<(u64, Trouble)>,
    /// When a twin is asked for then, for somebody who wants nothing else, in milliseconds.
    pub newcomers: Vec<u64>,
}

/// One world in so many is over the wire: these cost more.
const WIRE_EACH: u64 = 20;

impl Script {
    /// How many of the processors run.
    #[must_use]
    pub const fn running(&self) -> usize {
        if self.wire {
            PROCESSORS.len()
        } else {
            ANYWHERE
        }
    }

    /// The script of a seed.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        let dice = Dice::new(seed, "script");
        let mut buyers: Vec<Buyer> = (0..=dice.below(3))
            .map(|_| Buyer {
                at: dice.below(20_000),
                pays_after: match dice.below(20) {
                    0 => None,
                    1 => Some(550_000 + dice.below(100_000)),
                    _ => Some(1_000 + dice.below(30_000)),
                },
                pays_all: dice.percent(30),
                tellings: 1 + dice.below(3),
                dispute: dice.percent(20).then(|| dice.percent(50)),
                gives_back: None,
                deploys: dice.percent(80),
                what: What::Node,
                changes: Vec::new(),
                usdc: None,
            })
            .collect();
        let others = Dice::new(seed, "others");
        for buyer in &mut buyers {
            // A disputed charge cannot be refunded.
            if buyer.dispute.is_none() && others.percent(12) {
                let most = if others.percent(50) { 20_000 } else { 900_000 };
                let percent = [10, 60, 100][usize::try_from(others.below(3)).unwrap_or(0)];
                buyer.gives_back = Some((others.below(most), percent));
            }
        }
        let ways = Dice::new(seed, "usdc");
        for buyer in &mut buyers {
            let way = usize::try_from(ways.below(Usdc::ALL.len() as u64)).unwrap_or(0);
            buyer.usdc = ways.percent(40).then_some(Usdc::ALL[way]);
        }
        let asides = Dice::new(seed, "asides");
        for buyer in &mut buyers {
            let way = usize::try_from(asides.below(Usdc::ASIDE.len() as u64)).unwrap_or(0);
            if asides.percent(40) && buyer.usdc.is_some() {
                buyer.usdc = Some(Usdc::ASIDE[way]);
            }
        }
        let minds = Dice::new(seed, "changes");
        for buyer in &mut buyers {
            buyer.changes = changes(&minds);
            buyer.what = match minds.below(10) {
                0..=4 => What::Node,
                5 => What::Name,
                6 => What::Rent,
                _ => What::Batch,
            };
        }
        let mut mishaps: Vec<Mishap> = (0..dice.below(12))
            .map(|_| mishap(&dice, 0..ANYWHERE))
            .collect();
        if dice.percent(30) {
            let at = dice.below(60_000);
            let price = [None, Some(103), Some(300)][usize::try_from(dice.below(3)).unwrap_or(0)];
            mishaps.push(Mishap {
                at,
                kind: Kind::Price(price),
            });
            mishaps.push(Mishap {
                at: at + 5_000 + dice.below(1_500_000),
                kind: Kind::Price(Some(100)),
            });
        }
        let books = Dice::new(seed, "books");
        if books.percent(25) {
            let at = books.below(60_000);
            let most = [4, 20, 40, 60][usize::try_from(books.below(4)).unwrap_or(0)];
            mishaps.push(Mishap {
                at,
                kind: Kind::Depth(Some(most)),
            });
            mishaps.push(Mishap {
                at: at + 5_000 + books.below(1_500_000),
                kind: Kind::Depth(None),
            });
            // So cheap that what is left of a cap would buy more than what is left of an order.
            let bargains = Dice::new(seed, "bargains");
            if bargains.percent(50) {
                mishaps.push(Mishap {
                    at: at + 1_000 + bargains.below(60_000),
                    kind: Kind::Price(Some(40)),
                });
            }
        }
        let strangers = Dice::new(seed, "newcomers");
        let newcomers = (0..strangers.below(4)).map(|_| strangers.below(100_000));
        let newcomers: Vec<u64> = newcomers.collect();
        mishaps.extend(
            (0..strangers.below(4)).map(|_| mishap(&strangers, ANYWHERE..PROCESSORS.len())),
        );
        mishaps.sort_by_key(|m| m.at);
        let letters = Dice::new(seed, "poison");
        let many = if letters.percent(20) {
            letters.below(3)
        } else {
            0
        };
        let poisons = (0..many)
            .map(|_| Poison {
                buyer: usize::try_from(letters.below(buyers.len() as u64)).unwrap_or(0),
                deployment: letters.percent(30),
                at: letters.below(90_000),
                release_after: 1_000 + letters.below(120_000),
            })
            .collect();
        Self {
            buyers,
            mishaps,
            poisons,
            network: [0, 8, 100][usize::try_from(dice.below(3)).unwrap_or(0)],
            tears: [0, 2, 10][usize::try_from(dice.below(3)).unwrap_or(0)],
            doubts: Dice::new(seed, "doubts").below(4),
            returns: if dice.percent(15) { 50 } else { 0 },
            of_itself: [0, 10, 60][usize::try_from(minds.below(3)).unwrap_or(0)],
            wire: seed.is_multiple_of(WIRE_EACH),
            troubles: troubles(&Dice::new(seed, "troubles")),
            newcomers,
        }
    }
}

/// Updates and cancellations: at once, while things are under way, and long after.
fn changes(dice: &Dice) -> Vec<Change> {
    let many = [0, 1, 1, 2, 3][usize::try_from(dice.below(5)).unwrap_or(0)];
    (0..many)
        .map(|_| {
            let most = [1_000, 60_000, 400_000][usize::try_from(dice.below(3)).unwrap_or(0)];
            let after = dice.below(most);
            if dice.percent(60) {
                Change::Update(after)
            } else {
                Change::Cancel(after)
            }
        })
        .collect()
}

/// Drops, forks, restarts, and in some worlds one upgrade.
fn troubles(dice: &Dice) -> Vec<(u64, Trouble)> {
    let many = [0, 2, 10][usize::try_from(dice.below(3)).unwrap_or(0)];
    let mut troubles: Vec<(u64, Trouble)> = (0..many)
        .map(|_| {
            let trouble = match dice.below(10) {
                0..=2 => Trouble::Drop,
                3..=7 => Trouble::Fork {
                    depth: 1 + u32::try_from(dice.below(2)).unwrap_or(0),
                    lose: dice.percent(50),
                },
                _ => Trouble::Restart(dice.below(20_000)),
            };
            (dice.below(200_000), trouble)
        })
        .collect();
    if dice.percent(25) {
        let upgrade = match dice.below(4) {
            0 => Upgrade::Nothing,
            1 => Upgrade::Field,
            _ => Upgrade::Indices,
        };
        troubles.push((dice.below(150_000), Trouble::Upgrade(upgrade)));
    }
    troubles.sort_by_key(|(at, _)| *at);
    troubles
}

/// A mishap of one of these processors.
fn mishap(dice: &Dice, among: Range<usize>) -> Mishap {
    let victim = (
        among.start + usize::try_from(dice.below(among.len() as u64)).unwrap_or(0),
        u32::try_from(dice.below(u64::from(SLOTS))).unwrap_or(0),
    );
    let at = dice.below(120_000);
    let at_await = dice.percent(70);
    let kind = if dice.percent(65) {
        Kind::Kill {
            victim,
            back_after: 100 + dice.below(15_000),
            at_await,
        }
    } else {
        Kind::Freeze {
            victim,
            thaw_after: if dice.percent(20) {
                100_000 + dice.below(700_000)
            } else {
                500 + dice.below(30_000)
            },
            at_await,
        }
    };
    Mishap { at, kind }
}

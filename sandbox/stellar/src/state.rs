//! What the network knows now: accounts, trustlines, offers and claimable balances, with undo.

use crate::envelope::{Key, key_of_id};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use stellar_base::xdr::{Asset, Claimant};

/// Reserve for each entry of an account, in stroops.
pub const BASE_RESERVE: i64 = 5_000_000;

/// A trustline's balance and limit, in stroops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trustline {
    /// What is held.
    pub balance: i64,
    /// The most that may be held.
    pub limit: i64,
    /// Ledger of the last change.
    pub modified: u32,
}

/// An account.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Account {
    /// XLM in stroops.
    pub balance: i64,
    /// The last sequence number used.
    pub sequence: i64,
    /// Ledger and Unix time of the sequence's last use; none if it is still the first one.
    pub sequence_used: Option<(u32, u64)>,
    /// Trustlines by asset.
    pub trustlines: BTreeMap<Asset, Trustline>,
    /// Ids of its offers.
    pub offers: BTreeSet<i64>,
    /// Reserves that it holds for claimants of claimable balances.
    pub sponsoring: i64,
    /// Ledger and Unix time of the last change.
    pub modified: (u32, u64),
}

impl Account {
    /// Trustlines and offers.
    pub fn subentries(&self) -> i64 {
        i64::try_from(self.trustlines.len() + self.offers.len())
            .unwrap_or(i64::MAX / BASE_RESERVE - 2)
    }

    /// XLM that must stay, in stroops.
    pub fn reserve(&self) -> i64 {
        (2 + self.subentries() + self.sponsoring) * BASE_RESERVE
    }
}

/// An offer to sell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// Its id, increasing with creation.
    pub id: i64,
    /// Who sells.
    pub seller: Key,
    /// What is sold.
    pub selling: Asset,
    /// What is bought.
    pub buying: Asset,
    /// Stroops of `selling` left.
    pub amount: i64,
    /// `buying` for one `selling`: numerator, not reduced.
    pub n: i32,
    /// Denominator of the price.
    pub d: i32,
    /// Ledger and Unix time of the last change.
    pub modified: (u32, u64),
}

/// Something set aside for others, until one of them claims it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimableBalance {
    /// Who holds its reserve: whoever created it.
    pub sponsor: Key,
    /// What it holds.
    pub asset: Asset,
    /// Stroops of it.
    pub amount: i64,
    /// Who may claim it; relative times are absolute.
    pub claimants: Vec<Claimant>,
    /// Ledger and Unix time of its creation.
    pub modified: (u32, u64),
}

/// Id of a claimable balance.
pub type BalanceHash = [u8; 32];

#[derive(Debug)]
enum Undo {
    Account(Key, Option<Box<Account>>),
    Balance(BalanceHash, Option<Box<ClaimableBalance>>),
    Offer(i64, Option<Box<Offer>>),
}

/// Accounts and offers. Changes are journalled, so that a failed operation leaves nothing.
#[derive(Debug, Default)]
pub struct State {
    accounts: HashMap<Key, Account>,
    offers: BTreeMap<i64, Offer>,
    books: BTreeMap<(Asset, Asset), BTreeSet<i64>>,
    last_offer_id: i64,
    balances: BTreeMap<BalanceHash, ClaimableBalance>,
    journal: Vec<Undo>,
    /// For each of the last ledgers, accounts as they were before it.
    before: VecDeque<(u32, Accounts)>,
}

/// Accounts as they were at some time; none where there was none.
type Accounts = HashMap<Key, Option<Box<Account>>>;

/// Ledgers that a replica may be behind.
pub const REMEMBERED: usize = 64;

/// Who issues an asset; none for XLM.
pub fn issuer(asset: &Asset) -> Option<Key> {
    match asset {
        Asset::Native => None,
        Asset::CreditAlphanum4(a) => Some(key_of_id(&a.issuer)),
        Asset::CreditAlphanum12(a) => Some(key_of_id(&a.issuer)),
    }
}

impl State {
    /// An account.
    pub fn account(&self, key: &Key) -> Option<&Account> {
        self.accounts.get(key)
    }

    /// An account to be changed; the change can be rolled back.
    pub fn account_mut(&mut self, key: &Key) -> Option<&mut Account> {
        let account = self.accounts.get_mut(key)?;
        self.journal
            .push(Undo::Account(*key, Some(Box::new(account.clone()))));
        Some(account)
    }

    /// Puts a new account.
    pub fn put_account(&mut self, key: Key, account: Account) {
        let before = self.accounts.insert(key, account).map(Box::new);
        self.journal.push(Undo::Account(key, before));
    }

    /// An offer.
    pub fn offer(&self, id: i64) -> Option<&Offer> {
        self.offers.get(&id)
    }

    /// The id for the next new offer. Ids are not given out again after a roll-back.
    pub fn next_offer_id(&mut self) -> i64 {
        self.last_offer_id += 1;
        self.last_offer_id
    }

    /// Puts an offer, or takes it away with `None`; books and the seller's entries follow.
    pub fn set_offer(&mut self, id: i64, offer: Option<Offer>) {
        let seller = offer.as_ref().or(self.offers.get(&id)).map(|o| o.seller);
        if let Some(account) = seller.and_then(|key| self.account_mut(&key)) {
            if offer.is_some() {
                account.offers.insert(id);
            } else {
                account.offers.remove(&id);
            }
        }
        let before = self.replace_offer(id, offer);
        self.journal.push(Undo::Offer(id, before.map(Box::new)));
    }

    fn replace_offer(&mut self, id: i64, offer: Option<Offer>) -> Option<Offer> {
        let before = self.offers.remove(&id);
        if let Some(before) = &before {
            let pair = (before.selling.clone(), before.buying.clone());
            if let Some(book) = self.books.get_mut(&pair) {
                book.remove(&id);
                if book.is_empty() {
                    self.books.remove(&pair);
                }
            }
        }
        if let Some(offer) = offer {
            self.books
                .entry((offer.selling.clone(), offer.buying.clone()))
                .or_default()
                .insert(id);
            self.offers.insert(id, offer);
        }
        before
    }

    /// Offers that sell one asset for another: cheapest first, the older one first at one price.
    pub fn book(&self, selling: &Asset, buying: &Asset) -> Vec<&Offer> {
        let ids = self.books.get(&(selling.clone(), buying.clone()));
        let mut offers: Vec<&Offer> = ids
            .into_iter()
            .flatten()
            .filter_map(|id| self.offers.get(id))
            .collect();
        offers.sort_by(|a, b| {
            let (left, right) = (
                i64::from(a.n) * i64::from(b.d),
                i64::from(b.n) * i64::from(a.d),
            );
            left.cmp(&right).then(a.id.cmp(&b.id))
        });
        offers
    }

    /// What can be had for `selling`: the other sides of the books that sell it.
    pub fn bought_with(&self, selling: &Asset) -> Vec<Asset> {
        self.books
            .keys()
            .filter(|(sold, _)| sold == selling)
            .map(|(_, bought)| bought.clone())
            .collect()
    }

    /// Offers of an account, by id.
    pub fn offers_of(&self, key: &Key) -> Vec<&Offer> {
        let ids = self.accounts.get(key).map(|account| &account.offers);
        ids.into_iter()
            .flatten()
            .filter_map(|id| self.offers.get(id))
            .collect()
    }

    /// What an account's offers promise to take and to give of an asset: (buying, selling).
    pub fn liabilities(&self, key: &Key, asset: &Asset) -> (i64, i64) {
        self.offers_of(key)
            .into_iter()
            .fold((0_i64, 0_i64), |(buying, selling), offer| {
                let bought = if &offer.buying == asset {
                    crate::exchange::proceeds(offer)
                } else {
                    0
                };
                let sold = if &offer.selling == asset {
                    offer.amount
                } else {
                    0
                };
                (buying.saturating_add(bought), selling.saturating_add(sold))
            })
    }

    /// Stroops of `asset` that an account may send: without reserve and liabilities. None without a trustline.
    pub fn spendable(&self, key: &Key, asset: &Asset) -> Option<i64> {
        let account = self.accounts.get(key)?;
        let selling = self.liabilities(key, asset).1;
        match asset {
            Asset::Native => Some(
                (account.balance - account.reserve())
                    .saturating_sub(selling)
                    .max(0),
            ),
            _ if issuer(asset) == Some(*key) => Some(i64::MAX),
            _ => account
                .trustlines
                .get(asset)
                .map(|line| line.balance.saturating_sub(selling).max(0)),
        }
    }

    /// Stroops of `asset` that an account may still take. None without a trustline.
    pub fn receivable(&self, key: &Key, asset: &Asset) -> Option<i64> {
        let account = self.accounts.get(key)?;
        let buying = self.liabilities(key, asset).0;
        match asset {
            Asset::Native => Some((i64::MAX - account.balance).saturating_sub(buying).max(0)),
            _ if issuer(asset) == Some(*key) => Some(i64::MAX),
            _ => account
                .trustlines
                .get(asset)
                .map(|line| (line.limit - line.balance).saturating_sub(buying).max(0)),
        }
    }

    /// Adds `delta` stroops to a balance without regard to limits; an issuer's own asset is boundless.
    /// False if there is no such balance or it would leave the range of 0 to 2^63 − 1.
    pub fn add(&mut self, key: &Key, asset: &Asset, delta: i64, now: (u32, u64)) -> bool {
        if issuer(asset) == Some(*key) {
            return self.accounts.contains_key(key);
        }
        let Some(account) = self.account_mut(key) else {
            return false;
        };
        account.modified = now;
        let balance = match asset {
            Asset::Native => &mut account.balance,
            _ => match account.trustlines.get_mut(asset) {
                Some(line) => {
                    line.modified = now.0;
                    &mut line.balance
                }
                None => return false,
            },
        };
        match balance.checked_add(delta) {
            Some(sum) if sum >= 0 => {
                *balance = sum;
                true
            }
            _ => false,
        }
    }

    /// A claimable balance.
    pub fn claimable_balance(&self, id: &BalanceHash) -> Option<&ClaimableBalance> {
        self.balances.get(id)
    }

    /// All claimable balances, the oldest first.
    pub fn claimable_balances(&self) -> Vec<(BalanceHash, &ClaimableBalance)> {
        let mut all: Vec<(BalanceHash, &ClaimableBalance)> =
            self.balances.iter().map(|(id, b)| (*id, b)).collect();
        all.sort_by_key(|(id, balance)| (balance.modified.0, *id));
        all
    }

    /// Puts a claimable balance, or takes it away with `None`.
    pub fn set_claimable_balance(&mut self, id: BalanceHash, balance: Option<ClaimableBalance>) {
        let before = match balance {
            Some(balance) => self.balances.insert(id, balance),
            None => self.balances.remove(&id),
        };
        self.journal.push(Undo::Balance(id, before.map(Box::new)));
    }

    /// A point to roll back to.
    pub fn mark(&self) -> usize {
        self.journal.len()
    }

    /// Undoes everything since `mark`.
    pub fn roll_back(&mut self, mark: usize) {
        while self.journal.len() > mark {
            match self.journal.pop() {
                Some(Undo::Account(key, Some(account))) => {
                    drop(self.accounts.insert(key, *account));
                }
                Some(Undo::Account(key, None)) => drop(self.accounts.remove(&key)),
                Some(Undo::Balance(id, Some(balance))) => {
                    drop(self.balances.insert(id, *balance));
                }
                Some(Undo::Balance(id, None)) => drop(self.balances.remove(&id)),
                Some(Undo::Offer(id, offer)) => drop(self.replace_offer(id, offer.map(|o| *o))),
                None => {}
            }
        }
    }

    /// Makes all changes so far lasting, as those of `ledger`.
    pub fn commit(&mut self, ledger: u32) {
        let mut before = HashMap::new();
        for undo in self.journal.drain(..) {
            if let Undo::Account(key, account) = undo {
                before.entry(key).or_insert(account);
            }
        }
        self.before.push_back((ledger, before));
        if self.before.len() > REMEMBERED {
            self.before.pop_front();
        }
    }

    /// An account as it was after `ledger`, which is one of the last [`REMEMBERED`].
    pub fn account_after(&self, key: &Key, ledger: u32) -> Option<&Account> {
        let mut then = None;
        for (closed, before) in self.before.iter().rev() {
            if *closed <= ledger {
                break;
            }
            then = before.get(key).or(then);
        }
        then.map_or_else(|| self.account(key), Option::as_deref)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_shows_an_account_as_it_was() {
        let key = [1; 32];
        let mut state = State::default();
        state.commit(1);
        state.put_account(key, Account::default());
        state.commit(2);
        for ledger in 3..=4 {
            if let Some(account) = state.account_mut(&key) {
                account.sequence = i64::from(ledger);
            }
            state.commit(ledger);
        }
        let sequence = |ledger| state.account_after(&key, ledger).map(|a| a.sequence);
        assert_eq!(sequence(1), None);
        assert_eq!(sequence(2), Some(0));
        assert_eq!(sequence(3), Some(3));
        assert_eq!(sequence(4), Some(4));
        assert_eq!(sequence(9), Some(4));
    }
}

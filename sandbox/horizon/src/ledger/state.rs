//! What the ledger holds now: accounts, trustlines, offers; with an undo log, so that a
//! transaction that fails leaves nothing behind.

use super::exchange::{self, Limits, Round};
use crate::address::{Address, issuer};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use stellar_base::xdr::{Asset, Price};

/// Stroops that an account must keep for each entry; two for itself.
pub const BASE_RESERVE: i64 = 5_000_000;
/// New trustlines need the issuer's consent.
pub const AUTH_REQUIRED: u32 = 1;
/// The issuer's flags and the account can never change.
pub const AUTH_IMMUTABLE: u32 = 4;

/// Amounts promised by offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Liabilities {
    /// May come in.
    pub buying: i64,
    /// May go out.
    pub selling: i64,
}

/// A ledger and the time it closed at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Moment {
    /// Ledger sequence.
    pub ledger: u32,
    /// Unix seconds.
    pub time: u64,
}

/// A trustline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Stroops held.
    pub balance: i64,
    /// Most stroops that it may hold.
    pub limit: i64,
    /// Promised by offers.
    pub liabilities: Liabilities,
    /// The issuer consents.
    pub authorized: bool,
    /// Last change.
    pub modified: Moment,
}

/// An account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Stroops held.
    pub balance: i64,
    /// Last sequence number taken.
    pub sequence: i64,
    /// When it was taken; none before the first use.
    pub sequence_at: Option<Moment>,
    /// Trustlines, offers, signers.
    pub subentries: u32,
    /// As in XDR's `AccountFlags`.
    pub flags: u32,
    /// As set by the account.
    pub home_domain: String,
    /// Weight of the account's own key.
    pub master_weight: u8,
    /// Low, medium, high.
    pub thresholds: [u8; 3],
    /// Other keys and their weights.
    pub signers: BTreeMap<Address, u8>,
    /// Trustlines by their asset.
    pub lines: BTreeMap<Asset, Line>,
    /// Of XLM, promised by offers.
    pub liabilities: Liabilities,
    /// Last change.
    pub modified: Moment,
}

impl Account {
    /// A new account.
    pub fn new(balance: i64, sequence: i64) -> Self {
        Self {
            balance,
            sequence,
            sequence_at: None,
            subentries: 0,
            flags: 0,
            home_domain: String::new(),
            master_weight: 1,
            thresholds: [0; 3],
            signers: BTreeMap::new(),
            lines: BTreeMap::new(),
            liabilities: Liabilities::default(),
            modified: Moment::default(),
        }
    }

    /// What it must keep.
    pub fn reserve(&self) -> i64 {
        BASE_RESERVE * (2 + i64::from(self.subentries))
    }

    /// XLM that it can give.
    pub fn spendable(&self) -> i64 {
        self.balance.saturating_sub(self.reserve()).saturating_sub(self.liabilities.selling).max(0)
    }
}

/// An offer in the book.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// Its number.
    pub id: i64,
    /// Whose it is.
    pub seller: Address,
    /// What is given: wheat.
    pub selling: Asset,
    /// What is taken: sheep.
    pub buying: Asset,
    /// Stroops of what is given.
    pub amount: i64,
    /// n of what is taken for d of what is given; not reduced.
    pub price: Price,
    /// Does not take offers of the same price.
    pub passive: bool,
    /// Last change.
    pub modified: Moment,
}

/// Why an amount cannot be given or taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Short {
    /// There is no such account.
    NoAccount,
    /// There is no such trustline.
    NoLine,
    /// The trustline lacks the issuer's consent.
    NotAuthorized,
    /// It holds too little, or has no room.
    Amount,
}

#[derive(Debug)]
enum Undo {
    Account(Address, Option<Account>),
    Offer(i64, Option<Offer>),
    LastOffer(i64),
}

/// Assets given and taken.
type Pair = (Asset, Asset);

/// Accounts, offers and the book.
#[derive(Debug, Default)]
pub struct State {
    accounts: HashMap<Address, Account>,
    offers: BTreeMap<i64, Offer>,
    /// Offers of a (selling, buying) pair, best first.
    book: HashMap<Pair, Vec<i64>>,
    sellers: HashMap<Address, BTreeSet<i64>>,
    last_offer: i64,
    undo: Vec<Undo>,
    /// Of the ledger that is being made.
    pub now: Moment,
}

impl State {
    /// The account, if it exists.
    pub fn account(&self, address: Address) -> Option<&Account> {
        self.accounts.get(&address)
    }

    /// The account to change; what it was is kept for undoing.
    pub fn account_mut(&mut self, address: Address) -> Option<&mut Account> {
        let account = self.accounts.get_mut(&address)?;
        self.undo.push(Undo::Account(address, Some(account.clone())));
        account.modified = self.now;
        Some(account)
    }

    /// Creates, replaces or removes an account.
    pub fn set_account(&mut self, address: Address, account: Option<Account>) {
        let before = match account {
            Some(mut account) => {
                account.modified = self.now;
                self.accounts.insert(address, account)
            }
            None => self.accounts.remove(&address),
        };
        self.undo.push(Undo::Account(address, before));
    }

    /// The offer, if it stands.
    pub fn offer(&self, id: i64) -> Option<&Offer> {
        self.offers.get(&id)
    }

    /// Offers by their number.
    pub fn offers(&self) -> impl Iterator<Item = &Offer> {
        self.offers.values()
    }

    /// An account's offers by their number.
    pub fn offers_of(&self, seller: Address) -> impl Iterator<Item = &Offer> {
        self.sellers.get(&seller).into_iter().flatten().filter_map(|id| self.offers.get(id))
    }

    /// Offers that give one asset for another, best first.
    pub fn book(&self, selling: &Asset, buying: &Asset) -> impl Iterator<Item = &Offer> {
        let ids = self.book.get(&(selling.clone(), buying.clone()));
        ids.into_iter().flatten().filter_map(|id| self.offers.get(id))
    }

    /// The assets that offers give for `buying`.
    pub fn given_for(&self, buying: &Asset) -> Vec<Asset> {
        let stands = self.book.iter().filter(|((_, b), ids)| b == buying && !ids.is_empty());
        let mut assets: Vec<_> = stands.map(|((selling, _), _)| selling.clone()).collect();
        assets.sort();
        assets
    }

    /// The assets that offers take for `selling`.
    pub fn taken_for(&self, selling: &Asset) -> Vec<Asset> {
        let stands = self.book.iter().filter(|((s, _), ids)| s == selling && !ids.is_empty());
        let mut assets: Vec<_> = stands.map(|((_, buying), _)| buying.clone()).collect();
        assets.sort();
        assets
    }

    /// A number for a new offer.
    pub fn next_offer(&mut self) -> i64 {
        self.undo.push(Undo::LastOffer(self.last_offer));
        self.last_offer += 1;
        self.last_offer
    }

    /// Places, replaces or removes an offer.
    pub fn set_offer(&mut self, id: i64, offer: Option<Offer>) {
        let before = self.put_offer(id, offer);
        self.undo.push(Undo::Offer(id, before));
    }

    fn put_offer(&mut self, id: i64, offer: Option<Offer>) -> Option<Offer> {
        let before = self.offers.remove(&id);
        if let Some(old) = &before {
            if let Some(ids) = self.book.get_mut(&(old.selling.clone(), old.buying.clone())) {
                ids.retain(|other| *other != id);
            }
            if let Some(ids) = self.sellers.get_mut(&old.seller) {
                ids.remove(&id);
            }
        }
        if let Some(new) = offer {
            let ids = self.book.entry((new.selling.clone(), new.buying.clone())).or_default();
            let at = ids.partition_point(|other| self.offers.get(other).is_some_and(|other| is_before(other, &new)));
            ids.insert(at, id);
            self.sellers.entry(new.seller).or_default().insert(id);
            self.offers.insert(id, new);
        }
        before
    }

    /// Where undoing would stop.
    pub fn mark(&self) -> usize {
        self.undo.len()
    }

    /// Takes back all changes since `mark`.
    pub fn undo_to(&mut self, mark: usize) {
        while self.undo.len() > mark {
            match self.undo.pop() {
                Some(Undo::Account(address, Some(account))) => drop(self.accounts.insert(address, account)),
                Some(Undo::Account(address, None)) => drop(self.accounts.remove(&address)),
                Some(Undo::Offer(id, offer)) => drop(self.put_offer(id, offer)),
                Some(Undo::LastOffer(id)) => self.last_offer = id,
                None => return,
            }
        }
    }

    /// Keeps all changes for good.
    pub fn keep(&mut self) {
        self.undo.clear();
    }

    /// How much of an asset the account can give, in stroops.
    pub fn can_give(&self, address: Address, asset: &Asset) -> i64 {
        if issuer(asset) == Some(address) {
            return i64::MAX;
        }
        let Some(account) = self.account(address) else { return 0 };
        match (asset, account.lines.get(asset)) {
            (Asset::Native, _) => account.spendable(),
            (_, Some(line)) if line.authorized => line.balance.saturating_sub(line.liabilities.selling).max(0),
            _ => 0,
        }
    }

    /// How much of an asset the account can take, in stroops.
    pub fn can_take(&self, address: Address, asset: &Asset) -> i64 {
        if issuer(asset) == Some(address) {
            return i64::MAX;
        }
        let Some(account) = self.account(address) else { return 0 };
        let room = |limit: i64, balance: i64, promised: i64| limit.saturating_sub(balance).saturating_sub(promised).max(0);
        match (asset, account.lines.get(asset)) {
            (Asset::Native, _) => room(i64::MAX, account.balance, account.liabilities.buying),
            (_, Some(line)) if line.authorized => room(line.limit, line.balance, line.liabilities.buying),
            _ => 0,
        }
    }

    /// Whether the account can hold the asset at all.
    ///
    /// # Errors
    /// When the account or its trustline is missing or lacks consent.
    pub fn holds(&self, address: Address, asset: &Asset) -> Result<(), Short> {
        let account = self.account(address);
        match (asset, issuer(asset)) {
            (_, Some(issuer)) if issuer == address => Ok(()),
            (Asset::Native, _) => account.map(drop).ok_or(Short::NoAccount),
            _ => match account.ok_or(Short::NoAccount)?.lines.get(asset) {
                None => Err(Short::NoLine),
                Some(line) if line.authorized => Ok(()),
                Some(_) => Err(Short::NotAuthorized),
            },
        }
    }

    /// Adds stroops to what the account holds; an issuer's own asset vanishes.
    ///
    /// # Errors
    /// When it cannot hold that much.
    pub fn give_to(&mut self, address: Address, asset: &Asset, stroops: i64) -> Result<(), Short> {
        self.holds(address, asset)?;
        if self.can_take(address, asset) < stroops {
            return Err(Short::Amount);
        }
        self.shift(address, asset, stroops);
        Ok(())
    }

    /// Takes stroops from what the account holds; an issuer's own asset is made.
    ///
    /// # Errors
    /// When it cannot give that much.
    pub fn take_from(&mut self, address: Address, asset: &Asset, stroops: i64) -> Result<(), Short> {
        self.holds(address, asset)?;
        if self.can_give(address, asset) < stroops {
            return Err(Short::Amount);
        }
        self.shift(address, asset, -stroops);
        Ok(())
    }

    fn shift(&mut self, address: Address, asset: &Asset, by: i64) {
        if issuer(asset) == Some(address) {
            return;
        }
        let now = self.now;
        let Some(account) = self.account_mut(address) else { return };
        if *asset == Asset::Native {
            account.balance += by;
        } else if let Some(line) = account.lines.get_mut(asset) {
            line.balance += by;
            line.modified = now;
        }
    }

    /// Books what an offer promises, or with `sign` −1 takes it back.
    pub fn promise(&mut self, offer: &Offer, sign: i64) {
        let limits =
            Limits { wheat_send: offer.amount, wheat_receive: i64::MAX, sheep_send: i64::MAX, sheep_receive: i64::MAX };
        let worth = exchange::raw(&offer.price, limits, Round::Normal);
        for (asset, selling, buying) in
            [(&offer.selling, sign * worth.wheat, 0), (&offer.buying, 0, sign * worth.sheep)]
        {
            if issuer(asset) == Some(offer.seller) {
                continue;
            }
            let Some(account) = self.account_mut(offer.seller) else { continue };
            let liabilities = match account.lines.get_mut(asset) {
                Some(line) => &mut line.liabilities,
                None => &mut account.liabilities,
            };
            liabilities.selling += selling;
            liabilities.buying += buying;
        }
    }
}

fn is_before(a: &Offer, b: &Offer) -> bool {
    let left = i128::from(a.price.n) * i128::from(b.price.d);
    let right = i128::from(b.price.n) * i128::from(a.price.d);
    (left, a.id) < (right, b.id)
}

//! What outsiders pay to our account on the modelled ledger, and what goes back to them.

use counterparties_stellar::{
    AccountId, BalanceId, ClaimableView, PathAsset, PaymentRecord, PaymentView, PaymentsPage,
    Window,
};
use events::time::Timestamp;
use serde_json::json;
use stellar_base::xdr;

/// A payment to our account.
#[derive(Debug, Clone)]
pub struct Deposit {
    /// Who pays.
    pub from: AccountId,
    /// Our account.
    pub to: AccountId,
    /// What.
    pub asset: PathAsset,
    /// How much.
    pub amount: i64,
    /// A memo id.
    pub memo: Option<u64>,
    /// The id of a muxed address.
    pub muxed: Option<u64>,
}

/// Something that is set aside for our account in a claimable balance.
#[derive(Debug, Clone)]
pub struct SetAside {
    /// Who sets it aside.
    pub from: AccountId,
    /// What.
    pub asset: PathAsset,
    /// How much.
    pub amount: i64,
    /// A memo id.
    pub memo: Option<u64>,
    /// From when on we may claim it, Unix seconds; `None`: at once.
    pub opens: Option<i64>,
    /// After how many seconds its sender takes it back, if it is still there.
    pub back_after: Option<i64>,
}

/// What became of a claimable balance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It is there.
    There,
    /// We have claimed it.
    Claimed,
    /// Its sender has taken it back.
    TakenBack,
}

/// A claimable balance on the ledger.
struct Balance {
    id: BalanceId,
    deposit: String,
    aside: SetAside,
    created: Timestamp,
    fate: Fate,
}

/// What a claim comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// It is ours.
    Done,
    /// There is no such balance any more.
    Gone,
    /// We may not claim it now.
    NotNow,
}

/// A payment from our account to somebody other than the bridge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Back {
    /// Hash of its transaction.
    pub hash: String,
    /// Who receives.
    pub to: String,
    /// `native` or `CODE:ISSUER`.
    pub asset: String,
    /// How much.
    pub amount: i64,
    /// The hash in its memo.
    pub answers: String,
}

/// The payments of our account.
#[derive(Default)]
pub struct Payments {
    waiting: Vec<Deposit>,
    aside: Vec<SetAside>,
    balances: Vec<Balance>,
    landed: Vec<(u32, PaymentRecord)>,
    back: Vec<Back>,
}

impl Payments {
    /// Somebody pays; it lands with the next ledger.
    pub fn pay(&mut self, deposit: Deposit) {
        self.waiting.push(deposit);
    }

    /// Somebody sets something aside for us; it lands with the next ledger.
    pub fn set_aside(&mut self, aside: SetAside) {
        self.aside.push(aside);
    }

    /// We claim a balance in a ledger that closes at `now`.
    pub fn claim(&mut self, id: BalanceId, now: Timestamp) -> Claim {
        let there = |balance: &&mut Balance| balance.id == id && balance.fate == Fate::There;
        let Some(balance) = self.balances.iter_mut().find(there) else {
            return Claim::Gone;
        };
        if balance
            .aside
            .opens
            .is_some_and(|opens| now.seconds() < opens)
        {
            return Claim::NotNow;
        }
        balance.fate = Fate::Claimed;
        Claim::Done
    }

    /// The balances that were set aside for us, by the operation's id.
    pub fn asides(&self) -> Vec<String> {
        let ids = self.balances.iter().map(|balance| balance.deposit.clone());
        ids.collect()
    }

    /// A payment of ours landed.
    pub fn paid_back(&mut self, back: Back) {
        self.back.push(back);
    }

    /// A ledger closes. Now and then something happens in it that nobody can read.
    pub fn close(&mut self, ledger: u32, now: Timestamp) {
        for (number, deposit) in (1_i64..).zip(std::mem::take(&mut self.waiting)) {
            let id = ((i64::from(ledger) << 32) + 2 * number).to_string();
            let odd = ((i64::from(ledger) << 32) + 2 * number + 1).to_string();
            let view = PaymentView {
                paging_token: id.clone(),
                kind: "payment".to_owned(),
                transaction_hash: hex::encode(xdr_hash(&id)),
                successful: true,
                created_at: now,
                source_account: deposit.from.clone(),
                from: deposit.from,
                to: deposit.to,
                to_muxed_id: deposit.muxed,
                asset: deposit.asset,
                amount: deposit.amount,
                memo_type: if deposit.memo.is_some() { "id" } else { "none" }.to_owned(),
                memo: deposit.memo.map(|memo| memo.to_string()),
                sequence: 1,
                id,
            };
            self.landed
                .push((ledger, PaymentRecord::Read(Box::new(view))));
            if ledger.is_multiple_of(3) {
                let raw = json!({"id": odd, "paging_token": odd, "type": "odd"});
                let why = "operation odd does not tell what was paid".to_owned();
                self.landed
                    .push((ledger, PaymentRecord::Unread { why, raw }));
            }
        }
        for balance in &mut self.balances {
            let age = now.millis_since(balance.created) / 1_000;
            if balance.fate == Fate::There && balance.aside.back_after.is_some_and(|s| age >= s) {
                balance.fate = Fate::TakenBack;
            }
        }
        // Behind whatever was paid in this ledger.
        for (number, aside) in (0x10_0000_i64..).zip(std::mem::take(&mut self.aside)) {
            let id = ((i64::from(ledger) << 32) + number).to_string();
            let hash = xdr_hash(&id);
            let view = ClaimableView {
                paging_token: id.clone(),
                balance: BalanceId(hash),
                transaction_hash: hex::encode(hash),
                successful: true,
                created_at: now,
                from: aside.from.clone(),
                asset: aside.asset.clone(),
                amount: aside.amount,
                claimable: vec![Window {
                    from: aside.opens,
                    until: None,
                }],
                predicate: "{}".to_owned(),
                memo_type: if aside.memo.is_some() { "id" } else { "none" }.to_owned(),
                memo: aside.memo.map(|memo| memo.to_string()),
                id: id.clone(),
            };
            self.landed
                .push((ledger, PaymentRecord::SetAside(Box::new(view))));
            self.balances.push(Balance {
                id: BalanceId(hash),
                deposit: id,
                aside,
                created: now,
                fate: Fate::There,
            });
        }
    }

    /// What a replica at `height` lists after a cursor.
    pub fn after(&self, cursor: Option<&str>, height: u32, limit: u8) -> PaymentsPage {
        let after: i64 = cursor.and_then(|c| c.parse().ok()).unwrap_or_default();
        let token = |record: &PaymentRecord| match record {
            PaymentRecord::Read(view) => view.paging_token.clone(),
            PaymentRecord::SetAside(view) => view.paging_token.clone(),
            PaymentRecord::Unread { raw, .. } => {
                raw["paging_token"].as_str().unwrap_or_default().to_owned()
            }
        };
        let records: Vec<PaymentRecord> = self
            .landed
            .iter()
            .filter(|(ledger, record)| {
                *ledger <= height && token(record).parse::<i64>().is_ok_and(|at| at > after)
            })
            .take(usize::from(limit))
            .map(|(_, record)| record.clone())
            .collect();
        PaymentsPage {
            full: records.len() >= usize::from(limit),
            cursor: records
                .last()
                .map(token)
                .or_else(|| cursor.map(ToOwned::to_owned)),
            records,
        }
    }

    /// What outsiders paid, and what we claimed: id, asset and amount.
    pub fn came(&self) -> Vec<(String, String, i64)> {
        let claimed = self
            .balances
            .iter()
            .filter(|balance| balance.fate == Fate::Claimed)
            .map(|balance| {
                let aside = &balance.aside;
                (
                    balance.deposit.clone(),
                    aside.asset.to_string(),
                    aside.amount,
                )
            });
        self.landed
            .iter()
            .filter_map(|(_, record)| match record {
                PaymentRecord::Read(view) => {
                    Some((view.id.clone(), view.asset.to_string(), view.amount))
                }
                PaymentRecord::SetAside(_) | PaymentRecord::Unread { .. } => None,
            })
            .chain(claimed)
            .collect()
    }

    /// What we paid back.
    pub fn went_back(&self) -> Vec<Back> {
        self.back.clone()
    }
}

fn xdr_hash(id: &str) -> [u8; 32] {
    let mut hash = [0; 32];
    for (place, byte) in id.bytes().enumerate() {
        hash[place % 32] ^= byte;
    }
    hash
}

/// An asset as Horizon writes it.
pub fn asset_name(asset: &xdr::Asset) -> String {
    let name = |code: &[u8], issuer: &xdr::AccountId| {
        let code: Vec<u8> = code.iter().copied().filter(|byte| *byte != 0).collect();
        format!("{}:{issuer}", String::from_utf8_lossy(&code))
    };
    match asset {
        xdr::Asset::Native => "native".to_owned(),
        xdr::Asset::CreditAlphanum4(a) => name(&a.asset_code.0, &a.issuer),
        xdr::Asset::CreditAlphanum12(a) => name(&a.asset_code.0, &a.issuer),
    }
}

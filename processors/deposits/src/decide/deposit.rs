//! A payment to our account: whose it is, and what of it goes back to its sender.

use super::Rulebook;
use crate::state::{Deposit, Next, Part, RETRY_RETURN, Standing};
use events::deposits::{
    CreditBooked, CreditReason, CreditRefused, DepositAlarmed, DepositAssigned, DepositEvent,
    DepositReturnFailed, DepositReturnRequested, DepositReturned, DepositUnmatched,
    PartReturnWanted, PartReturned, PaymentReceived, PaymentUnreadable, UsdcDeposited, credit_key,
};
use events::ids::{PurchaseId, TwinId};
use events::money::{Amount, Usdc};
use events::purchases::{PurchaseEvent, UsdcCompensationFailed, UsdcCompensationSettled};
use events::unmatched::{self, UnmatchedEvent};
use pipeline::Forward;
use processor_lanes::NEVER_LANDED;
use std::collections::BTreeMap;

/// Attempts at a return before a person is called.
const RETURN_ATTEMPTS: i32 = 5;

/// Why a payment is nobody's credit.
pub(super) struct Unmatched {
    reason: &'static str,
    detail: String,
}

impl Unmatched {
    fn new(reason: &'static str, detail: impl Into<String>) -> Self {
        Self {
            reason,
            detail: detail.into(),
        }
    }
}

impl Rulebook<'_> {
    pub(super) fn received(&mut self, event: &PaymentReceived) -> Deposit {
        let mut deposit = Deposit {
            id: event.deposit_id.clone(),
            from: event.from.clone(),
            asset: event.asset.clone(),
            amount: event.amount,
            transaction: event.transaction.clone(),
            standing: Standing::Own,
            parts: BTreeMap::new(),
            aside: None,
        };
        if self.rules.own.contains(&event.from) {
            return deposit;
        }
        match self
            .usdc(&event.asset, event.amount)
            .and_then(|amount| Ok((amount, by_payment(event)?)))
        {
            Ok((amount, twin)) => self.offer(&mut deposit, twin, amount, CreditReason::Deposit),
            Err(unmatched) => self.unmatched(&mut deposit, &unmatched),
        }
        deposit
    }

    pub(super) fn unreadable(&mut self, event: &PaymentUnreadable) -> Deposit {
        let mut deposit = Deposit {
            id: event.deposit_id.clone(),
            from: String::new(),
            asset: String::new(),
            amount: 0,
            transaction: String::new(),
            standing: Standing::Unmatched,
            parts: BTreeMap::new(),
            aside: None,
        };
        self.unmatched(
            &mut deposit,
            &Unmatched::new("unreadable", event.problem.clone()),
        );
        deposit
    }

    /// Only our USDC is credit: code and issuer must both be right.
    pub(super) fn usdc(&self, asset: &str, amount: i64) -> Result<Amount<Usdc>, Unmatched> {
        if asset != self.rules.usdc {
            let code = |asset: &str| asset.split(':').next().unwrap_or_default().to_owned();
            let reason = if code(asset) == code(&self.rules.usdc) {
                "wrong_issuer"
            } else {
                "wrong_asset"
            };
            return Err(Unmatched::new(
                reason,
                format!("{asset} is not {}", self.rules.usdc),
            ));
        }
        Amount::from_minor(amount)
            .ok()
            .filter(|amount| !amount.is_zero())
            .ok_or_else(|| Unmatched::new("unreadable", format!("{amount} is no amount")))
    }

    /// Offers it to the credit of the twin, which may refuse.
    pub(super) fn offer(
        &mut self,
        deposit: &mut Deposit,
        twin_id: TwinId,
        amount: Amount<Usdc>,
        reason: CreditReason,
    ) {
        deposit.standing = Standing::Credited(twin_id);
        self.push(UsdcDeposited {
            deposit_id: deposit.id.clone(),
            twin_id,
            amount,
            from: deposit.from.clone(),
            transaction: deposit.transaction.clone(),
        });
        let booked = CreditBooked {
            twin_id,
            deposit_id: Some(deposit.id.clone()),
            purchase_id: None,
            amount,
            reason,
        };
        self.forward(Forward::new::<DepositEvent>(credit_key(twin_id), booked));
    }

    pub(super) fn unmatched(&mut self, deposit: &mut Deposit, why: &Unmatched) {
        deposit.standing = Standing::Unmatched;
        self.push(DepositUnmatched {
            deposit_id: deposit.id.clone(),
            reason: why.reason.to_owned(),
            detail: why.detail.clone(),
            from: deposit.from.clone(),
            asset: deposit.asset.clone(),
            amount: deposit.amount,
            transaction: deposit.transaction.clone(),
            balance_id: deposit.aside.as_ref().map(|aside| aside.balance.clone()),
        });
        let told = unmatched::DepositUnmatched {
            deposit_id: deposit.id.clone(),
            reason: why.reason.to_owned(),
            detail: why.detail.clone(),
            from: deposit.from.clone(),
            asset: deposit.asset.clone(),
            amount: deposit.amount,
            transaction: deposit.transaction.clone(),
            balance_id: deposit.aside.as_ref().map(|aside| aside.balance.clone()),
        };
        self.forward(Forward::new::<UnmatchedEvent>(deposit.id.clone(), told));
    }

    pub(super) fn refused(&mut self, deposit: &mut Deposit, event: &CreditRefused) {
        if deposit.standing == Standing::Credited(event.twin_id) {
            let detail = format!("nobody is known by twin {}", event.twin_id);
            self.unmatched(deposit, &Unmatched::new("unknown_twin", detail));
        }
    }

    pub(super) fn assigned(&mut self, deposit: &mut Deposit, event: &DepositAssigned) {
        let free = match deposit.standing {
            Standing::Unmatched => true,
            // Its sender cannot take it back: so it may become somebody's credit after all.
            Standing::Returning => deposit
                .parts
                .get(&None)
                .is_some_and(|part| part.next == Next::Held),
            Standing::SetAside
            | Standing::NotTaken
            | Standing::Lapsed
            | Standing::Own
            | Standing::Credited(_)
            | Standing::Returned => false,
        };
        if !free {
            let detail = format!("it is {:?}: it cannot be assigned", deposit.standing);
            self.alarm(deposit, "not_assignable", detail);
            return;
        }
        match self.usdc(&deposit.asset, deposit.amount) {
            Ok(amount) => {
                deposit.parts.remove(&None);
                self.offer(deposit, event.twin_id, amount, CreditReason::Assigned);
            }
            Err(unmatched) => self.alarm(deposit, "not_creditable", unmatched.detail),
        }
    }

    /// Sends an unmatched deposit back, once; or what could not be sent back so far. What was
    /// never claimed is left where it is.
    pub(super) fn return_ordered(&mut self, deposit: &mut Deposit) {
        if deposit.standing == Standing::NotTaken {
            self.lapse(deposit, "left", "an operator leaves it unclaimed");
            return;
        }
        if deposit.standing == Standing::Unmatched {
            if deposit.from.is_empty() || deposit.amount <= 0 {
                self.alarm(deposit, "not_returnable", "its sender is not known");
                return;
            }
            deposit.standing = Standing::Returning;
            self.begin(deposit, None, deposit.amount);
            return;
        }
        let held: Vec<Option<PurchaseId>> = deposit
            .parts
            .iter()
            .filter(|(_, part)| part.next == Next::Held)
            .map(|(purchase, _)| *purchase)
            .collect();
        if held.is_empty() {
            let detail = format!(
                "it is {:?}: nothing of it waits to be returned",
                deposit.standing
            );
            self.alarm(deposit, "not_returnable", detail);
        }
        for purchase in held {
            self.again(deposit, purchase);
        }
    }

    pub(super) fn part_wanted(&mut self, deposit: &mut Deposit, event: &PartReturnWanted) {
        let purchase = Some(event.purchase_id);
        if deposit.parts.contains_key(&purchase) {
            return;
        }
        let after = deposit.given_back().checked_add(event.amount.minor());
        let ours = matches!(deposit.standing, Standing::Credited(_));
        if !ours || after.is_none_or(|after| after > deposit.amount) {
            let detail = format!(
                "purchase {} gives {} of it back, {} of {} went back before",
                event.purchase_id,
                event.amount,
                deposit.given_back(),
                deposit.amount
            );
            self.alarm(deposit, "overdrawn", detail);
            return;
        }
        self.begin(deposit, purchase, event.amount.minor());
    }

    fn begin(&mut self, deposit: &mut Deposit, purchase: Option<PurchaseId>, amount: i64) {
        let part = Part {
            amount,
            attempt: 1,
            next: Next::UnderWay,
        };
        deposit.parts.insert(purchase, part);
        self.request(deposit, purchase, part);
    }

    fn again(&mut self, deposit: &mut Deposit, purchase: Option<PurchaseId>) {
        let Some(part) = deposit.parts.get_mut(&purchase) else {
            return;
        };
        part.attempt += 1;
        part.next = Next::UnderWay;
        let part = *part;
        self.request(deposit, purchase, part);
    }

    fn request(&mut self, deposit: &Deposit, purchase_id: Option<PurchaseId>, part: Part) {
        let request = DepositReturnRequested {
            deposit_id: deposit.id.clone(),
            purchase_id,
            attempt: part.attempt,
            destination: deposit.from.clone(),
            asset: deposit.asset.clone(),
            amount: part.amount,
            deposit_transaction: deposit.transaction.clone(),
            deadline: self.now.after(self.rules.stellar_deadline),
        };
        let which = purchase_id.map(|purchase| purchase.to_string());
        self.push_one(request, which.unwrap_or_default());
    }

    pub(super) fn returned(&mut self, deposit: &mut Deposit, event: &DepositReturned) {
        let Some(part) = deposit.parts.get_mut(&event.purchase_id) else {
            return;
        };
        if part.next == Next::Done {
            return;
        }
        part.next = Next::Done;
        let amount = part.amount;
        let Some(purchase_id) = event.purchase_id else {
            deposit.standing = Standing::Returned;
            return;
        };
        let Ok(amount) = Amount::from_minor(amount) else {
            return;
        };
        self.push(PartReturned {
            deposit_id: deposit.id.clone(),
            purchase_id,
            amount,
            transaction: event.transaction.clone(),
        });
        let settled = UsdcCompensationSettled {
            purchase_id,
            deposit_id: deposit.id.clone(),
            amount,
            transaction: event.transaction.clone(),
        };
        self.forward(Forward::new::<PurchaseEvent>(
            purchase_id.to_string(),
            settled,
        ));
    }

    pub(super) fn return_failed(&mut self, deposit: &mut Deposit, event: &DepositReturnFailed) {
        let Some(part) = deposit.parts.get_mut(&event.purchase_id) else {
            return;
        };
        if part.next != Next::UnderWay || part.attempt != event.attempt {
            return;
        }
        // What never landed was refused by nobody: it is tried for as long as it takes.
        let refused = event.code != NEVER_LANDED;
        let attempt = part.attempt;
        part.next = if refused && attempt % RETURN_ATTEMPTS == 0 {
            Next::Held
        } else {
            Next::At(self.rules.retry_at(self.now, attempt))
        };
        if !(part.next == Next::Held || attempt == RETURN_ATTEMPTS) {
            return;
        }
        let (minor, to) = (part.amount, deposit.from.clone());
        let detail = format!(
            "{minor} of it cannot be paid to {to}: {} {}",
            event.code, event.detail
        );
        self.alarm(deposit, "return_failed", &detail);
        if let (Some(purchase_id), Ok(amount)) = (event.purchase_id, Amount::from_minor(minor)) {
            let failed = UsdcCompensationFailed {
                purchase_id,
                deposit_id: deposit.id.clone(),
                amount,
                code: event.code.clone(),
                detail,
            };
            self.forward(Forward::new::<PurchaseEvent>(
                purchase_id.to_string(),
                failed,
            ));
        }
    }

    pub(super) fn retry(&mut self, deposit: &mut Deposit, timer: &str) {
        let Some(which) = timer.strip_prefix(RETRY_RETURN) else {
            return;
        };
        let purchase = if which.is_empty() {
            None
        } else {
            match which.parse() {
                Ok(purchase) => Some(purchase),
                Err(_) => return,
            }
        };
        let waits = deposit
            .parts
            .get(&purchase)
            .is_some_and(|part| matches!(part.next, Next::At(_)));
        if waits {
            self.again(deposit, purchase);
        }
    }

    pub(super) fn alarm(&mut self, deposit: &Deposit, alarm: &str, detail: impl Into<String>) {
        self.push(DepositAlarmed {
            deposit_id: deposit.id.clone(),
            alarm: alarm.to_owned(),
            detail: detail.into(),
        });
    }
}

/// The twin that a payment names.
fn by_payment(event: &PaymentReceived) -> Result<TwinId, Unmatched> {
    named(
        &event.memo_type,
        event.memo.as_deref(),
        event.muxed_id.as_deref(),
    )
}

/// The twin that is named by a memo id, or by the id of our muxed address.
pub(super) fn named(
    memo_type: &str,
    memo: Option<&str>,
    muxed_id: Option<&str>,
) -> Result<TwinId, Unmatched> {
    let twin = |text: &str| {
        text.parse::<u32>()
            .ok()
            .filter(|id| *id > 0)
            .map(TwinId)
            .ok_or_else(|| Unmatched::new("bad_memo", format!("{text} is no twin id")))
    };
    let by_memo = match memo_type {
        "id" => Some(twin(memo.unwrap_or_default())?),
        "none" => None,
        other => {
            let text = format!("the memo is of type {other}; a twin is named by a memo id");
            // A muxed address names the twin whatever the memo says.
            if muxed_id.is_none() {
                return Err(Unmatched::new("bad_memo", text));
            }
            None
        }
    };
    let by_address = muxed_id.map(twin).transpose()?;
    match (by_memo, by_address) {
        (Some(memo), Some(address)) if memo != address => Err(Unmatched::new(
            "bad_memo",
            format!("the memo names twin {memo}, the address twin {address}"),
        )),
        (Some(named), _) | (None, Some(named)) => Ok(named),
        (None, None) => Err(Unmatched::new(
            "no_memo",
            "neither a memo nor the address names a twin",
        )),
    }
}

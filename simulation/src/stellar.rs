//! Stellar, modelled: a ledger that takes a number once, and replicas that lag behind it.
//!
//! Transactions are decoded from the envelopes that the product signs.

use crate::net::{Network, Unanswered};
use crate::payments::{Back, Claim, Deposit, Payments, SetAside, asset_name};
use crate::time;
use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use counterparties_stellar::{
    AccountId, AccountView, AssetId, BalanceId, LandedTransaction, LaneReads, Listed, PaymentsPage,
    QuoteError, ReadError, SignedTransaction, Stellar as Port, StrictReceiveQuote, TransactionView,
    TransactionsPage,
};
use events::money::{Amount, Tft};
use events::outcome::{Attempt, Find};
use events::time::Timestamp;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use stellar_base::xdr::{self, Limits, ReadXdr, WriteXdr};
use tokio::sync::Notify;

const FIRST_LEDGER: u32 = 60_000_000;
/// A minor unit of TFT costs this many hundredths of a minor unit of USDC at 100 %.
const PRICE: i64 = 2;

/// A payment that reached the bridge.
#[derive(Debug, Clone)]
pub struct BridgePayment {
    /// Hash of its transaction.
    pub hash: String,
    /// How much TFT.
    pub amount: i64,
    /// The twin of the memo.
    pub twin: u32,
}

/// A swap that landed.
#[derive(Debug, Clone)]
pub struct Swap {
    /// Hash of its transaction.
    pub hash: String,
    /// What was spent.
    pub usdc: i64,
    /// What was bought.
    pub tft: i64,
}

struct Lane {
    /// (ledger, number) as it changed.
    history: Vec<(u32, i64)>,
}

struct Model {
    ledger: u32,
    closed: BTreeMap<u32, Timestamp>,
    lanes: BTreeMap<String, Lane>,
    pending: BTreeMap<String, SignedTransaction>,
    applied: Vec<TransactionView>,
    /// Price in percent; `None`: there is no path.
    price: Option<i64>,
    /// The most that one transaction can buy.
    depth: Option<i64>,
    bridge: String,
    swaps: Vec<Swap>,
    to_bridge: Vec<BridgePayment>,
    returned: i64,
    payments: Payments,
}

/// Stellar. Cloning is cheap.
#[derive(Clone)]
pub struct Stellar {
    model: Arc<Mutex<Model>>,
    network: Network,
    /// Wakes who waits for a ledger, in the order of their waiting: a `watch` would wake them in any.
    closing: Arc<Notify>,
}

/// What a swap costs at `percent` of the usual price.
#[must_use]
pub fn cost(tft: i64, percent: i64) -> i64 {
    (tft * PRICE * percent + 9_999) / 10_000
}

impl Stellar {
    /// A network whose bridge is at `bridge`.
    #[must_use]
    pub fn new(network: Network, bridge: String) -> Self {
        let closed = BTreeMap::from([(FIRST_LEDGER, time::now())]);
        Self {
            model: Arc::new(Mutex::new(Model {
                ledger: FIRST_LEDGER,
                closed,
                lanes: BTreeMap::new(),
                pending: BTreeMap::new(),
                applied: Vec::new(),
                price: Some(100),
                depth: None,
                bridge,
                swaps: Vec::new(),
                to_bridge: Vec::new(),
                returned: 0,
                payments: Payments::default(),
            })),
            network,
            closing: Arc::default(),
        }
    }

    fn model(&self) -> MutexGuard<'_, Model> {
        self.model.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A lane is opened at its base.
    pub fn open(&self, lane: &AccountId, base: i64) {
        let mut model = self.model();
        let ledger = model.ledger;
        model.lanes.insert(
            lane.to_string(),
            Lane {
                history: vec![(ledger, base)],
            },
        );
    }

    /// Moves the market.
    pub fn set_price(&self, percent: Option<i64>) {
        self.model().price = percent;
    }

    /// Makes the books so thin that one transaction can buy no more than this; `None`: they hold
    /// whatever is wanted.
    pub fn set_depth(&self, tft: Option<i64>) {
        self.model().depth = tft;
    }

    /// The bridge pays back.
    pub fn pay_back(&self, amount: i64) {
        self.model().returned += amount;
    }

    /// Swaps that landed.
    #[must_use]
    pub fn swaps(&self) -> Vec<Swap> {
        self.model().swaps.clone()
    }

    /// Somebody pays to our account.
    pub fn deposit(&self, deposit: Deposit) {
        self.model().payments.pay(deposit);
    }

    /// Somebody sets something aside for our account.
    pub fn set_aside(&self, aside: SetAside) {
        self.model().payments.set_aside(aside);
    }

    /// What was ever set aside for our account, by the operation's id.
    #[must_use]
    pub fn asides(&self) -> Vec<String> {
        self.model().payments.asides()
    }

    /// What outsiders paid to our account, and what we claimed: id, asset and amount.
    #[must_use]
    pub fn deposits(&self) -> Vec<(String, String, i64)> {
        self.model().payments.came()
    }

    /// What we paid back to outsiders.
    #[must_use]
    pub fn paid_back(&self) -> Vec<Back> {
        self.model().payments.went_back()
    }

    /// Payments that reached the bridge, oldest first.
    #[must_use]
    pub fn bridge_payments(&self) -> Vec<BridgePayment> {
        self.model().to_bridge.clone()
    }

    /// TFT that the treasury holds.
    #[must_use]
    pub fn treasury_tft(&self) -> i64 {
        let model = self.model();
        model.swaps.iter().map(|s| s.tft).sum::<i64>()
            - model.to_bridge.iter().map(|p| p.amount).sum::<i64>()
            + model.returned
    }

    /// Closes ledgers for ever.
    pub async fn run(self, every: Duration) {
        loop {
            tokio::time::sleep(every).await;
            self.close();
            self.closing.notify_waiters();
        }
    }

    fn close(&self) {
        let mut model = self.model();
        model.ledger += 1;
        let (ledger, now) = (model.ledger, time::now());
        model.closed.insert(ledger, now);
        for (_, signed) in std::mem::take(&mut model.pending) {
            apply(&mut model, &signed, ledger, now);
        }
        model.payments.close(ledger, now);
    }

    /// Takes a transaction in, or says why not.
    fn accept(&self, signed: &SignedTransaction) -> Result<(), &'static str> {
        let mut model = self.model();
        if model.applied.iter().any(|t| t.hash == signed.hash) {
            return Err("tx_bad_seq");
        }
        if time::now().seconds() > signed.deadline {
            return Err("tx_too_late");
        }
        let Some(lane) = model.lanes.get(signed.lane.as_str()) else {
            return Err("tx_no_source_account");
        };
        let number = lane.history.last().map_or(0, |(_, n)| *n);
        if number < signed.base || number >= signed.sequence {
            return Err("tx_bad_seq");
        }
        match model.pending.get(signed.lane.as_str()) {
            Some(other) if other.hash == signed.hash => Ok(()),
            Some(_) => Err("try_again_later"),
            None => {
                model
                    .pending
                    .insert(signed.lane.to_string(), signed.clone());
                Ok(())
            }
        }
    }

    /// A ledger that this replica may be at.
    fn height(&self) -> u32 {
        let lag = u32::try_from(self.network.lag(3)).unwrap_or_default();
        (self.model().ledger - lag).max(FIRST_LEDGER)
    }

    async fn read<T: Send + 'static>(
        &self,
        what: &'static str,
        act: impl Fn(&Model, u32) -> T + Send + Sync + 'static,
    ) -> Result<T, ReadError> {
        let (stellar, height) = (self.clone(), self.height());
        self.network
            .call(what, move || act(&stellar.model(), height))
            .await
            .map_err(|_| ReadError::Unreachable("no answer".to_owned()))
    }
}

fn envelope(signed: &SignedTransaction) -> Option<xdr::Transaction> {
    let bytes = STANDARD.decode(&signed.envelope).ok()?;
    match xdr::TransactionEnvelope::from_xdr(bytes, Limits::none()).ok()? {
        xdr::TransactionEnvelope::Tx(envelope) => Some(envelope.tx),
        _ => None,
    }
}

fn apply(model: &mut Model, signed: &SignedTransaction, ledger: u32, now: Timestamp) {
    let Some(transaction) = envelope(signed) else {
        return;
    };
    let number = transaction.seq_num.0;
    let free = model
        .lanes
        .get(signed.lane.as_str())
        .and_then(|l| l.history.last())
        .is_some_and(|(_, last)| *last < number);
    if !free || now.seconds() > signed.deadline {
        return;
    }
    if let Some(lane) = model.lanes.get_mut(signed.lane.as_str()) {
        lane.history.push((ledger, number));
    }
    let (result, successful) = execute(model, signed, &transaction, now);
    let result = xdr::TransactionResult {
        fee_charged: 100,
        result,
        ext: xdr::TransactionResultExt::V0,
    };
    model.applied.push(TransactionView {
        hash: signed.hash.clone(),
        inner_hash: None,
        source_account: signed.lane.clone(),
        sequence: number,
        successful,
        memo_type: "none".to_owned(),
        memo: None,
        ledger,
        created_at: now,
        fee_charged: 100,
        result: STANDARD.encode(result.to_xdr(Limits::none()).unwrap_or_default()),
        paging_token: model.applied.len().to_string(),
    });
}

fn execute(
    model: &mut Model,
    signed: &SignedTransaction,
    transaction: &xdr::Transaction,
    now: Timestamp,
) -> (xdr::TransactionResultResult, bool) {
    use xdr::{
        ClaimClaimableBalanceResult as Claimed, OperationResult as Op, OperationResultTr as Tr,
        PathPaymentStrictReceiveResult as Bought, TransactionResultResult as Outcome,
    };
    let refused = |result: Tr| {
        let operations = vec![Op::OpInner(result)];
        (
            Outcome::TxFailed(operations.try_into().unwrap_or_default()),
            false,
        )
    };
    let failed = |result: Bought| refused(Tr::PathPaymentStrictReceive(result));
    let done = |result: Tr| {
        (
            Outcome::TxSuccess(vec![Op::OpInner(result)].try_into().unwrap_or_default()),
            true,
        )
    };
    match transaction.operations.first().map(|o| &o.body) {
        Some(xdr::OperationBody::PathPaymentStrictReceive(swap)) => {
            let thin = model.depth.is_some_and(|most| swap.dest_amount > most);
            let Some(price) = model.price.filter(|_| !thin) else {
                return failed(Bought::TooFewOffers);
            };
            let usdc = cost(swap.dest_amount, price);
            if usdc > swap.send_max {
                return failed(Bought::OverSendmax);
            }
            model.swaps.push(Swap {
                hash: signed.hash.clone(),
                usdc,
                tft: swap.dest_amount,
            });
            let claim = xdr::ClaimAtom::OrderBook(xdr::ClaimOfferAtom {
                seller_id: maker(),
                offer_id: 1,
                asset_sold: swap.dest_asset.clone(),
                amount_sold: swap.dest_amount,
                asset_bought: swap.send_asset.clone(),
                amount_bought: usdc,
            });
            done(Tr::PathPaymentStrictReceive(Bought::Success(
                xdr::PathPaymentStrictReceiveResultSuccess {
                    offers: vec![claim].try_into().unwrap_or_default(),
                    last: xdr::SimplePaymentResult {
                        destination: maker(),
                        asset: swap.dest_asset.clone(),
                        amount: swap.dest_amount,
                    },
                },
            )))
        }
        Some(xdr::OperationBody::Payment(payment)) => {
            let to = xdr::MuxedAccount::to_string(&payment.destination);
            let twin = match &transaction.memo {
                xdr::Memo::Text(text) => String::from_utf8_lossy(text.as_slice())
                    .strip_prefix("twin_")
                    .and_then(|t| t.parse().ok()),
                _ => None,
            };
            if to == model.bridge
                && let Some(twin) = twin
            {
                model.to_bridge.push(BridgePayment {
                    hash: signed.hash.clone(),
                    amount: payment.amount,
                    twin,
                });
            }
            if let xdr::Memo::Hash(answers) = &transaction.memo {
                model.payments.paid_back(Back {
                    hash: signed.hash.clone(),
                    to,
                    asset: asset_name(&payment.asset),
                    amount: payment.amount,
                    answers: hex::encode(answers.0),
                });
            }
            done(Tr::Payment(xdr::PaymentResult::Success))
        }
        Some(xdr::OperationBody::ClaimClaimableBalance(claim)) => {
            let xdr::ClaimableBalanceId::ClaimableBalanceIdTypeV0(id) = &claim.balance_id;
            match model.payments.claim(BalanceId(id.0), now) {
                Claim::Done => done(Tr::ClaimClaimableBalance(Claimed::Success)),
                Claim::Gone => refused(Tr::ClaimClaimableBalance(Claimed::DoesNotExist)),
                Claim::NotNow => refused(Tr::ClaimClaimableBalance(Claimed::CannotClaim)),
            }
        }
        _ => failed(Bought::Malformed),
    }
}

fn maker() -> xdr::AccountId {
    xdr::AccountId(xdr::PublicKey::PublicKeyTypeEd25519(xdr::Uint256([7; 32])))
}

impl LaneReads for Stellar {
    async fn lane(&self, lane: &AccountId) -> Result<Option<AccountView>, ReadError> {
        let lane = lane.to_string();
        self.read("lane", move |model, height| {
            let lane = model.lanes.get(&lane)?;
            let seen: Vec<&(u32, i64)> = lane
                .history
                .iter()
                .filter(|(at, _)| *at <= height)
                .collect();
            let (at, number) = seen.last()?;
            Some(AccountView {
                sequence: *number,
                sequence_ledger: (seen.len() > 1).then_some(*at),
                balances: Vec::new(),
                ledger: height,
            })
        })
        .await
    }

    async fn last_ledger(&self) -> Result<(u32, Timestamp), ReadError> {
        self.read("last ledger", |model, height| {
            (
                height,
                model.closed.get(&height).copied().unwrap_or(Timestamp(0)),
            )
        })
        .await
    }

    async fn transactions_desc(
        &self,
        lane: &AccountId,
        cursor: Option<&str>,
        limit: u64,
    ) -> Result<TransactionsPage, ReadError> {
        let lane = lane.to_string();
        let before = cursor.and_then(|c| c.parse::<usize>().ok());
        self.read("lane's transactions", move |model, height| {
            let all = model.applied.iter().enumerate().rev();
            let records: Vec<(usize, &TransactionView)> = all
                .filter(|(place, t)| {
                    t.source_account.as_str() == lane
                        && t.ledger <= height
                        && before.is_none_or(|b| *place < b)
                })
                .take(usize::try_from(limit).unwrap_or(1))
                .collect();
            TransactionsPage {
                next: records.last().map(|(place, _)| place.to_string()),
                records: records
                    .into_iter()
                    .map(|(_, t)| Listed::Read(Box::new(t.clone())))
                    .collect(),
            }
        })
        .await
    }

    async fn shows_creation(&self, _: &AccountId) -> Result<bool, ReadError> {
        Ok(true)
    }
}

#[async_trait]
impl Port for Stellar {
    async fn submit(&self, signed: &SignedTransaction) -> Attempt<LandedTransaction> {
        let (stellar, sent) = (self.clone(), signed.clone());
        let bought = envelope(signed).and_then(|t| {
            t.operations.iter().find_map(|o| match &o.body {
                xdr::OperationBody::PathPaymentStrictReceive(swap) => Some(swap.dest_amount),
                _ => None,
            })
        });
        let swap = bought.is_some();
        // While the books are thin, what fits into them is a part.
        let part = bought
            .zip(self.model().depth)
            .is_some_and(|(bought, most)| bought <= most);
        let back = envelope(signed).is_some_and(|t| matches!(t.memo, xdr::Memo::Hash(_)) && !swap);
        let claim = envelope(signed).is_some_and(|t| {
            let claims =
                |o: &xdr::Operation| matches!(o.body, xdr::OperationBody::ClaimClaimableBalance(_));
            t.operations.iter().any(claims)
        });
        let what = match (swap, back) {
            _ if claim => "submit claim",
            (true, _) if part => "submit part",
            (true, _) => "submit swap",
            (false, true) => "submit return",
            (false, false) => "submit hand-off",
        };
        match self.network.call(what, move || stellar.accept(&sent)).await {
            Err(Unanswered::NotSent) => return Attempt::NotSent("connection refused".to_owned()),
            Err(Unanswered::Lost) => return Attempt::NoAnswer("no answer".to_owned()),
            Err(Unanswered::Unavailable) => return Attempt::NoAnswer("503".to_owned()),
            Ok(Err(code)) => return Attempt::Unknown(code.to_owned()),
            Ok(Ok(())) => {}
        }
        // The answer comes with the ledger.
        let closing = self.closing.notified();
        let _ = tokio::time::timeout(Duration::from_secs(30), closing).await;
        let hash = signed.hash.clone();
        let seen = self
            .read("answer", move |model, _| {
                model.applied.iter().find(|t| t.hash == hash).cloned()
            })
            .await;
        match seen {
            Ok(Some(view)) if view.successful => {
                Attempt::Landed(counterparties_stellar::landed(signed, &view))
            }
            Ok(_) => Attempt::Unknown("504".to_owned()),
            Err(error) => Attempt::NoAnswer(error.to_string()),
        }
    }

    async fn find(&self, signed: &SignedTransaction) -> Find<LandedTransaction> {
        match counterparties_stellar::find(self, signed).await {
            Ok(found) => found,
            Err(error) => Find::NoAnswer(error.to_string()),
        }
    }

    async fn quote_strict_receive(
        &self,
        _: &AssetId,
        _: &AssetId,
        wanted: Amount<Tft>,
    ) -> Result<StrictReceiveQuote, QuoteError> {
        let tft = wanted.minor();
        let price = self
            .read("quote", move |model, _| {
                let thin = model.depth.is_some_and(|most| tft > most);
                model.price.filter(|_| !thin)
            })
            .await;
        match price {
            Ok(Some(percent)) => Ok(StrictReceiveQuote {
                source_amount: Amount::from_minor(cost(wanted.minor(), percent))
                    .map_err(|e| QuoteError::Unavailable(e.to_string()))?,
                path: Vec::new(),
                ledger: 0,
            }),
            Ok(None) => Err(QuoteError::NoPath),
            Err(error) => Err(QuoteError::Unavailable(error.to_string())),
        }
    }

    async fn account(&self, account: &AccountId) -> Result<Option<AccountView>, ReadError> {
        self.lane(account).await
    }

    async fn transaction(&self, hash: &str) -> Result<Option<TransactionView>, ReadError> {
        let hash = hash.to_owned();
        self.read("transaction", move |model, height| {
            let found = model.applied.iter().find(|t| t.hash == hash);
            found.filter(|t| t.ledger <= height).cloned()
        })
        .await
    }

    async fn latest_ledger(&self) -> Result<(u32, Timestamp), ReadError> {
        self.last_ledger().await
    }

    async fn payments_after(
        &self,
        _: &AccountId,
        cursor: Option<&str>,
        limit: u8,
    ) -> Result<PaymentsPage, ReadError> {
        let cursor = cursor.map(ToOwned::to_owned);
        self.read("deposits", move |model, height| {
            model.payments.after(cursor.as_deref(), height, limit)
        })
        .await
    }
}

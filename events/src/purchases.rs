//! Events of the `purchases` topic, keyed by purchase id. The field docs are those of the schemas.

mod refunds;

pub use crate::dead_letters::DeadLetterReleased;
use crate::ids::{EventId, PurchaseId, QuoteId, TwinId, UserId};
pub use crate::lanes::LanesOpened;
use crate::money::{Amount, Fiat, Portion, Tft, Usdc};
use crate::schema::event_set;
use crate::time::Timestamp;
pub use refunds::{LossBooked, RefundOrdered};
use serde::{Deserialize, Serialize};

event_set! {
    /// Any event of the `purchases` topic.
    PurchaseEvent, "purchases", [
        LanesOpened,
        PurchaseRequested,
        PaymentIntentRequested,
        PaymentIntentCreated,
        PaymentIntentFailed,
        StripeEventReceived,
        UserPaid,
        PaymentQuarantined,
        SwapRequested,
        SwapCompleted,
        SwapFailed,
        HandoffRequested,
        TftSentToBridge,
        HandoffFailed,
        HandoffSettled,
        HandoffReturned,
        CompensationRequested,
        CompensationSettled,
        CompensationFailed,
        FundsRequested,
        PurchaseFunded,
        PurchaseUnfunded,
        UsdcCompensationRequested,
        UsdcCompensationSettled,
        UsdcCompensationFailed,
        PurchaseAccounted,
        PurchaseEnded,
        PurchaseAlarmed,
        LossBooked,
        TimerFired,
        RefundOrdered,
        DeadLetterReleased,
    ]
}

/// A person accepted a quote and wants to pay it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PurchaseRequested {
    /// The purchase; also the record key.
    pub purchase_id: PurchaseId,
    /// Who buys.
    pub user_id: UserId,
    /// The twin on TFChain that receives the TFT.
    pub twin_id: TwinId,
    /// The accepted quote.
    pub quote_id: QuoteId,
    /// What arrives at the twin. In 10^-7 units.
    pub tft: Amount<Tft>,
    /// What is bought: tft plus the fee of the bridge. In 10^-7 units.
    pub swap_tft: Amount<Tft>,
    /// Cost of swap_tft when quoted. In 10^-7 units.
    pub usdc_quoted: Amount<Usdc>,
    /// What the purchase may cost at most, over all attempts. In 10^-7 units.
    pub usdc_cap: Amount<Usdc>,
    /// Intermediate assets of the quoted path, each native or CODE:ISSUER.
    pub path: Vec<String>,
    /// What the card is charged.
    pub charge: Fiat,
    /// Until when the quote held.
    pub quote_expires_at: Timestamp,
    /// When the command was accepted.
    pub requested_at: Timestamp,
    /// How it is paid.
    pub funding: Funding,
    /// What is paid by USDC; `None` for a card. In 10^-7 units.
    pub usdc_due: Option<Amount<Usdc>>,
    /// Until when it is to be paid; `None` in records of before it was said.
    pub pay_until: Option<Timestamp>,
    /// How long after the payment a swap is tried before the money goes back, in milliseconds;
    /// `None` in records of before it was said.
    pub give_up_after_ms: Option<i64>,
}

/// A PaymentIntent is to be created at Stripe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentIntentRequested {
    /// The purchase; also the record key.
    pub purchase_id: PurchaseId,
    /// The user.
    pub user_id: UserId,
    /// 1 for the first.
    pub attempt: i32,
    /// What is to be charged.
    pub charge: Fiat,
    /// After this the attempt is over.
    pub deadline: Timestamp,
}

/// Stripe holds the PaymentIntent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentIntentCreated {
    /// The purchase; also the record key.
    pub purchase_id: PurchaseId,
    /// The request that this answers.
    pub request_id: EventId,
    /// Stripe id, pi_….
    pub intent_id: String,
    /// Status at Stripe when created.
    pub status: String,
    /// Amount at Stripe.
    pub amount: Fiat,
    /// Whether real money is meant.
    pub livemode: bool,
}

/// No PaymentIntent came of the request, and none will.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentIntentFailed {
    /// The purchase; also the record key.
    pub purchase_id: PurchaseId,
    /// The request that this answers.
    pub request_id: EventId,
    /// Number of the attempt, 1 for the first.
    pub attempt: i32,
    /// Stripe's code, or never_will.
    pub code: String,
    /// A sentence for people.
    pub detail: String,
}

/// A verified Stripe event, as raw facts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StripeEventReceived {
    /// From the metadata of the PaymentIntent.
    pub purchase_id: PurchaseId,
    /// evt_….
    pub stripe_event_id: String,
    /// Such as payment_intent.succeeded.
    pub event_type: String,
    /// Stripe time of the event.
    pub created: Timestamp,
    /// Whether real money is meant.
    pub livemode: bool,
    /// Id of the object in the event.
    pub object_id: Option<String>,
    /// The PaymentIntent concerned.
    pub intent_id: Option<String>,
    /// Minor units as sent.
    pub amount: Option<i64>,
    /// Minor units as sent.
    pub amount_received: Option<i64>,
    /// Minor units as sent.
    pub amount_refunded: Option<i64>,
    /// Lower-case code as sent.
    pub currency: Option<String>,
    /// Status as sent.
    pub status: Option<String>,
    /// Failure code.
    pub failure_code: Option<String>,
    /// The event as received, without client secrets and what tells of the payer.
    pub raw: String,
    /// The request of ours that the object's metadata names: whether a refund is one that we made.
    pub request_id: Option<EventId>,
}

/// The charge is ours in full.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserPaid {
    /// The purchase; also the record key.
    pub purchase_id: PurchaseId,
    /// The user.
    pub user_id: UserId,
    /// The PaymentIntent, pi_….
    pub intent_id: String,
    /// Charge.
    pub charge: Fiat,
}

/// Money came that is not what was asked for; an operator looks at it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentQuarantined {
    /// The purchase; also the record key.
    pub purchase_id: PurchaseId,
    /// The PaymentIntent, pi_….
    pub intent_id: String,
    /// amount_mismatch, currency_mismatch or livemode_mismatch.
    pub reason: String,
    /// Expected.
    pub expected: Fiat,
    /// Received minor.
    pub received_minor: i64,
    /// Received currency.
    pub received_currency: String,
}

/// USDC is to be swapped for TFT on Stellar, into our own account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SwapRequested {
    /// The purchase; also the record key.
    pub purchase_id: PurchaseId,
    /// 1 for the first.
    pub attempt: i32,
    /// Exactly this is bought. In 10^-7 units.
    pub tft: Amount<Tft>,
    /// Never more than this is spent. In 10^-7 units.
    pub send_max: Amount<Usdc>,
    /// Intermediate assets.
    pub path: Vec<String>,
    /// maxTime of the transaction.
    pub deadline: Timestamp,
    /// What is still to be bought after this; 0 for the last part, and for the whole at once. In 10^-7 units.
    pub rest: Amount<Tft>,
}

/// The swap is in a ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SwapCompleted {
    /// The purchase; also the record key.
    pub purchase_id: PurchaseId,
    /// The request that this answers.
    pub request_id: EventId,
    /// Number of the attempt, 1 for the first.
    pub attempt: i32,
    /// Hash, hex.
    pub transaction: String,
    /// Ledger number.
    pub ledger: i64,
    /// The lane account.
    pub lane: String,
    /// Sequence number on the lane.
    pub sequence: i64,
    /// What it really cost. In 10^-7 units.
    pub usdc_spent: Amount<Usdc>,
    /// What it bought. In 10^-7 units.
    pub tft: Amount<Tft>,
    /// Network fee.
    pub fee_stroops: i64,
    /// What is still to be bought after this; 0 for the last part, and for the whole at once. In 10^-7 units.
    pub rest: Amount<Tft>,
}

/// This attempt did not swap and never will.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SwapFailed {
    /// The purchase; also the record key.
    pub purchase_id: PurchaseId,
    /// The request that this answers.
    pub request_id: EventId,
    /// Number of the attempt, 1 for the first.
    pub attempt: i32,
    /// Why.
    pub reason: SwapFailure,
    /// Code of the network.
    pub code: String,
    /// A sentence for people.
    pub detail: String,
    /// Hash of the failed transaction, where there is one.
    pub transaction: Option<String>,
    /// What the swap would cost now. In 10^-7 units.
    pub observed_usdc: Option<Amount<Usdc>>,
    /// Path of that quote.
    pub observed_path: Vec<String>,
    /// What parts of it would cost now, the largest first, where the whole cannot be had for what it may cost.
    pub observed_parts: Vec<PartQuote>,
    /// How many swaps in this partition, of whatever purchase, had found no path in a row when this one was requested.
    pub no_path_before: i32,
}

/// What a part of the swap would cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartQuote {
    /// The part. In 10^-7 units.
    pub tft: Amount<Tft>,
    /// Its cost. In 10^-7 units.
    pub usdc: Amount<Usdc>,
}

/// TFT is to be paid to the TFChain bridge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandoffRequested {
    /// The purchase; also the record key.
    pub purchase_id: PurchaseId,
    /// Number of the attempt, 1 for the first.
    pub attempt: i32,
    /// Named in the memo: `twin_<id>`.
    pub twin_id: TwinId,
    /// What is paid to the bridge. In 10^-7 units.
    pub amount: Amount<Tft>,
    /// Account of the bridge.
    pub bridge: String,
    /// maxTime of the transaction.
    pub deadline: Timestamp,
}

/// The payment to the bridge is in a ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TftSentToBridge {
    /// The purchase; also the record key.
    pub purchase_id: PurchaseId,
    /// The request that this answers.
    pub request_id: EventId,
    /// Number of the attempt, 1 for the first.
    pub attempt: i32,
    /// Hash, hex.
    pub transaction: String,
    /// Ledger number.
    pub ledger: i64,
    /// The lane account, G….
    pub lane: String,
    /// Sequence number on the lane.
    pub sequence: i64,
    /// In 10^-7 units.
    pub amount: Amount<Tft>,
    /// Network fee.
    pub fee_stroops: i64,
}

/// This payment to the bridge did not happen and never will.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandoffFailed {
    /// The purchase; also the record key.
    pub purchase_id: PurchaseId,
    /// The request that this answers.
    pub request_id: EventId,
    /// Number of the attempt, 1 for the first.
    pub attempt: i32,
    /// Code of the counterparty, or never_will.
    pub code: String,
    /// A sentence for people.
    pub detail: String,
    /// Hash of the failed transaction, where there is one.
    pub transaction: Option<String>,
}

/// The bridge minted the TFT on TFChain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandoffSettled {
    /// The purchase; also the record key.
    pub purchase_id: PurchaseId,
    /// The HandoffRequested whose payment was minted.
    pub request_id: EventId,
    /// Hash of the Stellar payment.
    pub transaction: String,
    /// TFChain block, finalized.
    pub block: i64,
    /// Index of the event in the block.
    pub event_index: i32,
    /// TFChain account credited.
    pub account: String,
    /// What arrived. In 10^-7 units.
    pub amount: Amount<Tft>,
}

/// The bridge sent the TFT back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandoffReturned {
    /// The purchase; also the record key.
    pub purchase_id: PurchaseId,
    /// The request that this answers.
    pub request_id: EventId,
    /// Hash of our payment that is returned.
    pub transaction: String,
    /// TFChain block, finalized.
    pub block: i64,
    /// Index of the event in the block.
    pub event_index: i32,
    /// What came back. In 10^-7 units.
    pub amount: Amount<Tft>,
}

/// The whole charge is to be refunded to the card.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompensationRequested {
    /// The purchase; also the record key.
    pub purchase_id: PurchaseId,
    /// Number of the attempt, 1 for the first.
    pub attempt: i32,
    /// The PaymentIntent, pi_….
    pub intent_id: String,
    /// Amount.
    pub amount: Fiat,
    /// Why the purchase is given up.
    pub reason: String,
    /// After this the attempt is over.
    pub deadline: Timestamp,
}

/// Stripe has taken the refund on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompensationSettled {
    /// The purchase; also the record key.
    pub purchase_id: PurchaseId,
    /// The request that this answers.
    pub request_id: EventId,
    /// The PaymentIntent, pi_….
    pub intent_id: String,
    /// re_….
    pub refund_id: String,
    /// Status at Stripe.
    pub status: String,
    /// Amount.
    pub amount: Fiat,
}

/// This refund did not happen and never will.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompensationFailed {
    /// The purchase; also the record key.
    pub purchase_id: PurchaseId,
    /// The request that this answers.
    pub request_id: EventId,
    /// The PaymentIntent, pi_….
    pub intent_id: String,
    /// Number of the attempt, 1 for the first.
    pub attempt: i32,
    /// Code of the counterparty, or never_will.
    pub code: String,
    /// A sentence for people.
    pub detail: String,
}

/// The purchase waits for USDC of its buyer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FundsRequested {
    /// The purchase; also the record key.
    pub purchase_id: PurchaseId,
    /// The user.
    pub user_id: UserId,
    /// Whose credit is to pay.
    pub twin_id: TwinId,
    /// What is to be paid. In 10^-7 units.
    pub amount: Amount<Usdc>,
    /// After this it waits no more.
    pub until: Timestamp,
}

/// USDC credit pays for the purchase.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PurchaseFunded {
    /// The purchase; also the record key.
    pub purchase_id: PurchaseId,
    /// Whose credit pays.
    pub twin_id: TwinId,
    /// In 10^-7 units.
    pub amount: Amount<Usdc>,
    /// Where it came from, adding up to the amount.
    pub portions: Vec<Portion>,
}

/// The USDC did not come in time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PurchaseUnfunded {
    /// The purchase; also the record key.
    pub purchase_id: PurchaseId,
    /// A sentence for people.
    pub detail: String,
}

/// All USDC of the purchase is to go back: to the senders of its deposits, or to the credit where it has none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsdcCompensationRequested {
    /// The purchase; also the record key.
    pub purchase_id: PurchaseId,
    /// Whose credit paid.
    pub twin_id: TwinId,
    /// In 10^-7 units.
    pub amount: Amount<Usdc>,
    /// What goes back of each origin.
    pub portions: Vec<Portion>,
    /// Why the purchase is given up.
    pub reason: String,
}

/// A part of the USDC is back at its sender.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsdcCompensationSettled {
    /// The purchase; also the record key.
    pub purchase_id: PurchaseId,
    /// The deposit that it came with.
    pub deposit_id: String,
    /// In 10^-7 units.
    pub amount: Amount<Usdc>,
    /// Hash of the return, hex.
    pub transaction: String,
}

/// A part of the USDC cannot be paid to its sender: a person is called, and where nothing was refused it is tried on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsdcCompensationFailed {
    /// The purchase; also the record key.
    pub purchase_id: PurchaseId,
    /// The deposit that it came with.
    pub deposit_id: String,
    /// In 10^-7 units.
    pub amount: Amount<Usdc>,
    /// Result code of Stellar, or `never_landed`.
    pub code: String,
    /// A sentence for people.
    pub detail: String,
}

/// What a settled purchase cost, and what of it is the buyer's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PurchaseAccounted {
    /// The purchase; also the record key.
    pub purchase_id: PurchaseId,
    /// Whose credit gets what is left over.
    pub twin_id: TwinId,
    /// What the card paid; null for a purchase by USDC.
    pub charge: Option<Fiat>,
    /// What was paid by USDC; null for a purchase by card. In 10^-7 units.
    pub usdc_paid: Option<Amount<Usdc>>,
    /// What the swap should have cost. In 10^-7 units.
    pub usdc_quoted: Amount<Usdc>,
    /// What was set aside for the swap. In 10^-7 units.
    pub usdc_cap: Amount<Usdc>,
    /// What the swap cost. In 10^-7 units.
    pub usdc_spent: Amount<Usdc>,
    /// What it cost above the quote, below zero if it was cheaper. In 10^-7 units of USDC.
    pub slippage: i64,
    /// What stays with us of a purchase by USDC; null for one by card, whose currency is another. In 10^-7 units.
    pub spread: Option<Amount<Usdc>>,
    /// What was set aside and not spent: it becomes the buyer's credit. In 10^-7 units.
    pub leftover: Amount<Usdc>,
    /// What the bridge kept. In 10^-7 units.
    pub bridge_fee: Amount<Tft>,
    /// Fees of the swap and the payment to the bridge.
    pub network_fee_stroops: i64,
}

/// The purchase is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PurchaseEnded {
    /// The purchase; also the record key.
    pub purchase_id: PurchaseId,
    /// The user.
    pub user_id: UserId,
    /// How it ended.
    pub outcome: PurchaseOutcome,
    /// A sentence for people.
    pub detail: String,
}

/// A purchase needs a person to look at it; nothing is closed by this.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PurchaseAlarmed {
    /// The purchase; also the record key.
    pub purchase_id: PurchaseId,
    /// mint_overdue, handoff_failed, refund_failed, disputed, treasury_dry, paid_again, ….
    pub alarm: String,
    /// What to look at, with ids and hashes.
    pub detail: String,
}

/// A timer of the purchase became due.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimerFired {
    /// The purchase; also the record key.
    pub purchase_id: PurchaseId,
    /// Name of the timer.
    pub timer: String,
    /// When it was due.
    pub due: Timestamp,
}

/// How a purchase is paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Funding {
    /// By card.
    Card,
    /// By USDC on Stellar.
    Usdc,
}

/// Why a swap attempt failed for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum SwapFailure {
    /// It would have cost more than `send_max`.
    TooExpensive,
    /// The order book does not hold enough.
    NoPath,
    /// The treasury holds too little USDC.
    TreasuryDry,
    /// The deadline passed and the transaction is proven absent.
    NeverLanded,
    /// Refused for another reason.
    Refused,
}

/// How a purchase ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum PurchaseOutcome {
    /// The TFT arrived on TFChain.
    Settled,
    /// The charge was refunded.
    Refunded,
    /// Nobody paid.
    NotPaid,
    /// A dispute was lost: the bank took the charge back, and nothing was delivered.
    Lost,
}

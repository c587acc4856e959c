//! What a timeline says of an event: amounts, hashes and ids, for people. Never raw vendor text.
//! Sequence numbers are text: they exceed what a JSON reader in JavaScript can hold.

use crate::batch::AnyEvent;
use events::applications::{NodeApplicationEvent, NodeOffer};
use events::approvals::ApprovalEvent;
use events::dead_letters::DeadLetterReleased;
use events::deployments::DeploymentEvent;
use events::deposits::DepositEvent;
use events::money::{Amount, Asset, Portion, Tft, Usdc};
use events::notifications::NotificationEvent;
use events::purchases::PurchaseEvent;
use events::treasury::TreasuryEvent;
use events::users::UserEvent;
use serde_json::{Map, Value, json};

/// An amount with its asset, such as `250.0000000 TFT`.
fn coins<A: Asset>(amount: Amount<A>) -> String {
    format!("{amount} {}", A::CODE)
}

pub(crate) fn of(event: &AnyEvent) -> Value {
    let facts = match event {
        AnyEvent::Purchase(event) => purchase(event),
        AnyEvent::Deployment(event) => deployment(event),
        AnyEvent::User(event) => user(event),
        AnyEvent::Deposit(event) => deposit(event),
        AnyEvent::Treasury(event) => treasury(event),
        AnyEvent::Notification(event) => notification(event),
        AnyEvent::Application(event) => application(event),
        AnyEvent::Approval(event) => approval(event),
    };
    // What is not known is left out rather than shown as null.
    match facts {
        Value::Object(fields) => Value::Object(
            fields
                .into_iter()
                .filter(|(_, value)| !value.is_null())
                .collect(),
        ),
        _ => Value::Object(Map::new()),
    }
}

fn purchase(event: &PurchaseEvent) -> Value {
    match event {
        PurchaseEvent::LanesOpened(e) => json!({
            "executor": e.executor, "epoch": e.epoch, "lanes": e.lanes,
        }),
        PurchaseEvent::PurchaseRequested(e) => json!({
            "tft": coins(e.tft), "swap_tft": coins(e.swap_tft), "usdc_quoted": coins(e.usdc_quoted),
            "usdc_cap": coins(e.usdc_cap), "charge": e.charge.to_string(), "twin_id": e.twin_id,
            "quote_id": e.quote_id, "path": e.path, "funding": e.funding,
            "usdc_due": e.usdc_due.map(coins),
        }),
        PurchaseEvent::PaymentIntentRequested(e) => json!({
            "attempt": e.attempt, "charge": e.charge.to_string(), "deadline": e.deadline.to_string(),
        }),
        PurchaseEvent::PaymentIntentCreated(e) => json!({
            "intent_id": e.intent_id, "status": e.status, "amount": e.amount.to_string(),
            "livemode": e.livemode,
        }),
        PurchaseEvent::PaymentIntentFailed(e) => json!({
            "attempt": e.attempt, "code": e.code, "detail": e.detail,
        }),
        PurchaseEvent::StripeEventReceived(e) => json!({
            "stripe_event_id": e.stripe_event_id, "stripe_type": e.event_type,
            "intent_id": e.intent_id, "status": e.status, "amount_minor": e.amount,
            "amount_received_minor": e.amount_received,
            "amount_refunded_minor": e.amount_refunded, "currency": e.currency,
            "object_id": e.object_id,
            "failure_code": e.failure_code, "livemode": e.livemode,
        }),
        PurchaseEvent::UserPaid(e) => json!({
            "intent_id": e.intent_id, "charge": e.charge.to_string(),
        }),
        PurchaseEvent::PaymentQuarantined(e) => json!({
            "intent_id": e.intent_id, "reason": e.reason, "expected": e.expected.to_string(),
            "received_minor": e.received_minor, "received_currency": e.received_currency,
        }),
        PurchaseEvent::SwapRequested(e) => json!({
            "attempt": e.attempt, "tft": coins(e.tft), "send_max": coins(e.send_max),
            "path": e.path, "deadline": e.deadline.to_string(), "rest": rest(e.rest),
        }),
        PurchaseEvent::SwapCompleted(e) => json!({
            "attempt": e.attempt, "transaction": e.transaction, "ledger": e.ledger,
            "lane": e.lane, "sequence": e.sequence.to_string(), "usdc_spent": coins(e.usdc_spent),
            "tft": coins(e.tft), "fee_stroops": e.fee_stroops, "rest": rest(e.rest),
        }),
        PurchaseEvent::SwapFailed(e) => json!({
            "attempt": e.attempt, "reason": e.reason, "code": e.code, "detail": e.detail,
            "transaction": e.transaction, "observed_usdc": e.observed_usdc.map(coins),
        }),
        PurchaseEvent::HandoffRequested(e) => json!({
            "attempt": e.attempt, "amount": coins(e.amount), "twin_id": e.twin_id,
            "bridge": e.bridge, "deadline": e.deadline.to_string(),
        }),
        PurchaseEvent::TftSentToBridge(e) => json!({
            "attempt": e.attempt, "transaction": e.transaction, "ledger": e.ledger,
            "lane": e.lane, "sequence": e.sequence.to_string(), "amount": coins(e.amount),
            "fee_stroops": e.fee_stroops,
        }),
        PurchaseEvent::HandoffFailed(e) => json!({
            "attempt": e.attempt, "code": e.code, "detail": e.detail, "transaction": e.transaction,
        }),
        PurchaseEvent::HandoffSettled(e) => json!({
            "transaction": e.transaction, "block": e.block, "event_index": e.event_index,
            "account": e.account, "amount": coins(e.amount),
        }),
        PurchaseEvent::HandoffReturned(e) => json!({
            "transaction": e.transaction, "block": e.block, "event_index": e.event_index,
            "amount": coins(e.amount),
        }),
        PurchaseEvent::CompensationRequested(e) => json!({
            "attempt": e.attempt, "intent_id": e.intent_id, "amount": e.amount.to_string(),
            "reason": e.reason,
        }),
        PurchaseEvent::CompensationSettled(e) => json!({
            "refund_id": e.refund_id, "status": e.status, "amount": e.amount.to_string(),
        }),
        PurchaseEvent::CompensationFailed(e) => json!({
            "attempt": e.attempt, "code": e.code, "detail": e.detail,
        }),
        PurchaseEvent::FundsRequested(e) => json!({
            "amount": coins(e.amount), "twin_id": e.twin_id, "until": e.until.to_string(),
        }),
        PurchaseEvent::PurchaseFunded(e) => json!({
            "amount": coins(e.amount), "twin_id": e.twin_id, "portions": portions(&e.portions),
        }),
        PurchaseEvent::PurchaseUnfunded(e) => json!({ "detail": e.detail }),
        PurchaseEvent::UsdcCompensationRequested(e) => json!({
            "amount": coins(e.amount), "portions": portions(&e.portions), "reason": e.reason,
        }),
        PurchaseEvent::UsdcCompensationFailed(e) => json!({
            "deposit_id": e.deposit_id, "amount": coins(e.amount), "code": e.code,
            "detail": e.detail,
        }),
        PurchaseEvent::UsdcCompensationSettled(e) => json!({
            "deposit_id": e.deposit_id, "amount": coins(e.amount), "transaction": e.transaction,
        }),
        PurchaseEvent::PurchaseAccounted(e) => json!({
            "charge": e.charge.map(|c| c.to_string()), "usdc_paid": e.usdc_paid.map(coins),
            "usdc_quoted": coins(e.usdc_quoted), "usdc_cap": coins(e.usdc_cap),
            "usdc_spent": coins(e.usdc_spent), "slippage_minor": e.slippage,
            "spread": e.spread.map(coins), "leftover": coins(e.leftover),
            "bridge_fee": coins(e.bridge_fee), "network_fee_stroops": e.network_fee_stroops,
        }),
        PurchaseEvent::PurchaseEnded(e) => json!({ "outcome": e.outcome, "detail": e.detail }),
        PurchaseEvent::PurchaseAlarmed(e) => json!({ "alarm": e.alarm, "detail": e.detail }),
        PurchaseEvent::LossBooked(e) => json!({
            "intent_id": e.intent_id, "reason": e.reason, "amount": e.amount.to_string(),
        }),
        PurchaseEvent::RefundOrdered(e) => json!({ "reason": e.reason, "by": e.by }),
        PurchaseEvent::TimerFired(e) => json!({ "timer": e.timer, "due": e.due.to_string() }),
        PurchaseEvent::DeadLetterReleased(e) => released(e),
    }
}

/// What is left to be bought; nothing is said where that is nothing.
fn rest(rest: Amount<Tft>) -> Option<String> {
    (!rest.is_zero()).then(|| coins(rest))
}

fn portions(portions: &[Portion]) -> Vec<Value> {
    let portion =
        |p: &Portion| json!({ "deposit_id": p.deposit_id, "amount": coins::<Usdc>(p.amount) });
    portions.iter().map(portion).collect()
}

fn deposit(event: &DepositEvent) -> Value {
    match event {
        DepositEvent::LanesOpened(e) => json!({
            "executor": e.executor, "epoch": e.epoch, "lanes": e.lanes,
        }),
        DepositEvent::AccountOpened(e) => json!({ "twin_id": e.twin_id }),
        DepositEvent::PaymentReceived(e) => json!({
            "deposit_id": e.deposit_id, "kind": e.kind, "from": e.from, "asset": e.asset,
            "amount_minor": e.amount, "memo_type": e.memo_type, "memo": e.memo,
            "muxed_id": e.muxed_id, "transaction": e.transaction, "ledger": e.ledger,
        }),
        DepositEvent::PaymentUnreadable(e) => json!({
            "deposit_id": e.deposit_id, "problem": e.problem,
        }),
        DepositEvent::ClaimableBalanceCreated(e) => json!({
            "deposit_id": e.deposit_id, "balance_id": e.balance_id, "from": e.from,
            "asset": e.asset, "amount_minor": e.amount, "predicate": e.predicate,
            "memo_type": e.memo_type, "memo": e.memo, "transaction": e.transaction,
            "ledger": e.ledger,
        }),
        DepositEvent::ClaimRequested(e) => json!({
            "deposit_id": e.deposit_id, "balance_id": e.balance_id, "attempt": e.attempt,
            "amount_minor": e.amount, "deadline": e.deadline.to_string(),
        }),
        DepositEvent::BalanceClaimed(e) => json!({
            "deposit_id": e.deposit_id, "balance_id": e.balance_id, "attempt": e.attempt,
            "transaction": e.transaction, "ledger": e.ledger, "lane": e.lane,
            "sequence": e.sequence.to_string(), "amount_minor": e.amount,
            "fee_stroops": e.fee_stroops,
        }),
        DepositEvent::ClaimFailed(e) => json!({
            "deposit_id": e.deposit_id, "balance_id": e.balance_id, "attempt": e.attempt,
            "code": e.code, "detail": e.detail, "transaction": e.transaction,
        }),
        DepositEvent::BalanceLapsed(e) => json!({
            "deposit_id": e.deposit_id, "balance_id": e.balance_id, "reason": e.reason,
            "detail": e.detail,
        }),
        DepositEvent::UsdcDeposited(e) => json!({
            "deposit_id": e.deposit_id, "twin_id": e.twin_id, "amount": coins(e.amount),
            "transaction": e.transaction,
        }),
        DepositEvent::DepositUnmatched(e) => json!({
            "deposit_id": e.deposit_id, "reason": e.reason, "detail": e.detail,
            "balance_id": e.balance_id,
        }),
        DepositEvent::CreditBooked(e) => json!({
            "twin_id": e.twin_id, "deposit_id": e.deposit_id, "amount": coins(e.amount),
            "reason": e.reason,
        }),
        DepositEvent::CreditRefused(e) => json!({
            "twin_id": e.twin_id, "deposit_id": e.deposit_id, "amount": coins(e.amount),
        }),
        DepositEvent::FundsWanted(e) => json!({
            "twin_id": e.twin_id, "amount": coins(e.amount), "until": e.until.to_string(),
        }),
        DepositEvent::FundsGranted(e) => json!({
            "twin_id": e.twin_id, "amount": coins(e.amount), "portions": portions(&e.portions),
        }),
        DepositEvent::FundsExpired(e) => json!({
            "twin_id": e.twin_id, "credit": coins(e.credit),
        }),
        DepositEvent::DepositAssigned(e) => json!({
            "deposit_id": e.deposit_id, "twin_id": e.twin_id, "reason": e.reason, "by": e.by,
        }),
        DepositEvent::DepositReturnOrdered(e) => json!({
            "deposit_id": e.deposit_id, "reason": e.reason, "by": e.by,
        }),
        DepositEvent::PartReturnWanted(e) => json!({
            "deposit_id": e.deposit_id, "amount": coins(e.amount), "reason": e.reason,
        }),
        DepositEvent::DepositReturnRequested(e) => json!({
            "deposit_id": e.deposit_id, "attempt": e.attempt, "destination": e.destination,
            "asset": e.asset, "amount_minor": e.amount, "deadline": e.deadline.to_string(),
        }),
        DepositEvent::DepositReturned(e) => json!({
            "deposit_id": e.deposit_id, "attempt": e.attempt, "transaction": e.transaction,
            "ledger": e.ledger, "lane": e.lane, "sequence": e.sequence.to_string(),
            "amount_minor": e.amount, "fee_stroops": e.fee_stroops,
        }),
        DepositEvent::DepositReturnFailed(e) => json!({
            "deposit_id": e.deposit_id, "attempt": e.attempt, "code": e.code, "detail": e.detail,
            "transaction": e.transaction,
        }),
        DepositEvent::PartReturned(e) => json!({
            "deposit_id": e.deposit_id, "amount": coins(e.amount), "transaction": e.transaction,
        }),
        DepositEvent::DepositAlarmed(e) => json!({
            "deposit_id": e.deposit_id, "alarm": e.alarm, "detail": e.detail,
        }),
        DepositEvent::TimerFired(e) => json!({ "timer": e.timer, "due": e.due.to_string() }),
        DepositEvent::DeadLetterReleased(e) => released(e),
    }
}

fn treasury(event: &TreasuryEvent) -> Value {
    match event {
        TreasuryEvent::TreasuryBalanceLow(e) => json!({
            "account": e.account, "asset": e.asset, "balance_minor": e.balance,
            "threshold_minor": e.threshold, "crossing": e.crossing,
        }),
        TreasuryEvent::TreasuryBalanceRestored(e) => json!({
            "account": e.account, "asset": e.asset, "balance_minor": e.balance,
            "threshold_minor": e.threshold, "crossing": e.crossing,
        }),
        TreasuryEvent::DeadLetterReleased(e) => released(e),
    }
}

fn notification(event: &NotificationEvent) -> Value {
    match event {
        NotificationEvent::NoticeRaised(e) => json!({ "kind": e.kind }),
        NotificationEvent::OperatorsNoticeRaised(e) => json!({ "kind": e.kind }),
        NotificationEvent::OperatorAdded(_)
        | NotificationEvent::OperatorRemoved(_)
        | NotificationEvent::PhoneVerified(_)
        | NotificationEvent::PhoneRemoved(_) => json!({}),
        NotificationEvent::PreferencesSet(e) => json!({ "language": e.language }),
        NotificationEvent::WebhookEndpointAdded(e) => json!({ "endpoint_id": e.endpoint_id }),
        NotificationEvent::WebhookEndpointRemoved(e) => json!({ "endpoint_id": e.endpoint_id }),
        NotificationEvent::WebhookEndpointEnabled(e) => json!({ "endpoint_id": e.endpoint_id }),
        NotificationEvent::WebhookEndpointDisabled(e) => json!({
            "endpoint_id": e.endpoint_id, "reason": e.reason,
            "failing_since": e.failing_since.to_string(),
        }),
        NotificationEvent::ResendRequested(e) => json!({
            "notification_id": e.notification_id, "endpoint_id": e.endpoint_id, "kind": e.kind,
        }),
        NotificationEvent::NotificationRequested(e) => json!({
            "notification_id": e.notification_id, "kind": e.kind, "channel": e.channel.as_str(),
            "endpoint_id": e.endpoint_id, "attempt": e.attempt,
        }),
        NotificationEvent::NotificationDelivered(e) => json!({
            "notification_id": e.notification_id, "channel": e.channel.as_str(),
            "endpoint_id": e.endpoint_id, "attempt": e.attempt, "status": e.status,
        }),
        NotificationEvent::NotificationAttemptFailed(e) => json!({
            "notification_id": e.notification_id, "channel": e.channel.as_str(),
            "endpoint_id": e.endpoint_id, "attempt": e.attempt, "status": e.status,
            "code": e.code, "next_at": e.next_at.map(|at| at.to_string()),
        }),
        NotificationEvent::NotificationRefused(e) => json!({
            "notification_id": e.notification_id, "channel": e.channel.as_str(), "code": e.code,
        }),
        NotificationEvent::NotificationFailed(e) => json!({
            "notification_id": e.notification_id, "channel": e.channel.as_str(),
            "reason": e.reason,
        }),
        NotificationEvent::TimerFired(e) => json!({ "timer": e.timer, "due": e.due.to_string() }),
        NotificationEvent::DeadLetterReleased(e) => released(e),
    }
}

fn deployment(event: &DeploymentEvent) -> Value {
    match event {
        DeploymentEvent::DeploymentRequested(e) => json!({
            "deployment_id": e.deployment_id, "node_id": e.node_id, "twin_id": e.twin_id,
            "hash": e.hash, "minimum_balance": coins(e.minimum_balance),
        }),
        DeploymentEvent::FundsArrived(e) => json!({ "amount": coins(e.amount), "block": e.block }),
        DeploymentEvent::PurchaseEnded(e) => json!({ "detail": e.detail }),
        DeploymentEvent::ContractRequested(e) => json!({
            "deployment_id": e.deployment_id, "attempt": e.attempt, "node_id": e.node_id,
            "twin_id": e.twin_id, "hash": e.hash, "deadline": e.deadline.to_string(),
        }),
        DeploymentEvent::DeploymentCreated(e) => json!({
            "deployment_id": e.deployment_id, "contract_id": e.contract_id, "node_id": e.node_id,
            "hash": e.hash, "extrinsic": e.extrinsic, "block": e.block,
        }),
        DeploymentEvent::ContractFailed(e) => json!({
            "deployment_id": e.deployment_id, "attempt": e.attempt, "operation": e.operation,
            "code": e.code, "detail": e.detail,
        }),
        DeploymentEvent::DeploymentFailed(e) => json!({
            "deployment_id": e.deployment_id, "reason": e.reason, "detail": e.detail,
        }),
        DeploymentEvent::DeploymentUpdateRequested(e) => json!({
            "deployment_id": e.deployment_id, "version": e.version, "hash": e.hash,
        }),
        DeploymentEvent::ContractUpdateRequested(e) => json!({
            "deployment_id": e.deployment_id, "attempt": e.attempt, "contract_id": e.contract_id,
            "version": e.version, "hash": e.hash, "deadline": e.deadline.to_string(),
        }),
        DeploymentEvent::ContractUpdated(e) => json!({
            "deployment_id": e.deployment_id, "contract_id": e.contract_id, "version": e.version,
            "hash": e.hash, "extrinsic": e.extrinsic, "block": e.block,
        }),
        DeploymentEvent::DeploymentUpdateRejected(e) => json!({
            "deployment_id": e.deployment_id, "version": e.version, "reason": e.reason,
            "detail": e.detail,
        }),
        DeploymentEvent::DeploymentUpdateFailed(e) => json!({
            "deployment_id": e.deployment_id, "version": e.version, "reason": e.reason,
            "detail": e.detail,
        }),
        DeploymentEvent::DeploymentCancelRequested(e) => {
            json!({ "deployment_id": e.deployment_id })
        }
        DeploymentEvent::ContractCancelRequested(e) => json!({
            "deployment_id": e.deployment_id, "attempt": e.attempt, "contract_id": e.contract_id,
            "deadline": e.deadline.to_string(),
        }),
        DeploymentEvent::ContractCancelled(e) => json!({
            "deployment_id": e.deployment_id, "contract_id": e.contract_id,
            "extrinsic": e.extrinsic, "block": e.block,
        }),
        DeploymentEvent::DeploymentCancelFailed(e) => json!({
            "deployment_id": e.deployment_id, "reason": e.reason, "detail": e.detail,
        }),
        DeploymentEvent::DeploymentCancelled(e) => json!({
            "deployment_id": e.deployment_id, "contract_id": e.contract_id, "reason": e.reason,
            "detail": e.detail,
        }),
        DeploymentEvent::BatchRequested(e) => json!({
            "batch_id": e.batch_id, "twin_id": e.twin_id, "deployments": e.members.len(),
            "minimum_balance": coins(e.minimum_balance),
        }),
        DeploymentEvent::BatchContractsRequested(e) => json!({
            "batch_id": e.batch_id, "attempt": e.attempt, "contracts": e.members.len(),
            "deadline": e.deadline.to_string(),
        }),
        DeploymentEvent::BatchCreated(e) => json!({
            "batch_id": e.batch_id, "extrinsic": e.extrinsic, "block": e.block,
            "contracts": e.contracts.iter().map(|c| c.contract_id).collect::<Vec<_>>(),
        }),
        DeploymentEvent::BatchFailed(e) => json!({
            "batch_id": e.batch_id, "attempt": e.attempt, "code": e.code, "detail": e.detail,
        }),
        DeploymentEvent::WorkloadDelivered(e) => json!({
            "deployment_id": e.deployment_id, "node_id": e.node_id, "version": e.version,
        }),
        DeploymentEvent::WorkloadRunning(e) => json!({
            "deployment_id": e.deployment_id, "node_id": e.node_id, "version": e.version,
        }),
        DeploymentEvent::WorkloadFailed(e) => json!({
            "deployment_id": e.deployment_id, "node_id": e.node_id, "version": e.version,
            "reason": e.reason, "detail": e.detail,
        }),
        DeploymentEvent::ContractAppeared(e) => json!({
            "deployment_id": e.deployment_id, "contract_id": e.contract_id, "block": e.block,
        }),
        DeploymentEvent::ContractBilled(e) => json!({
            "deployment_id": e.deployment_id, "contract_id": e.contract_id,
            "amount": coins(e.amount), "block": e.block,
        }),
        DeploymentEvent::GracePeriodStarted(e) => json!({
            "deployment_id": e.deployment_id, "contract_id": e.contract_id, "block": e.block,
        }),
        DeploymentEvent::GracePeriodEnded(e) => json!({
            "deployment_id": e.deployment_id, "contract_id": e.contract_id, "block": e.block,
        }),
        DeploymentEvent::ContractCancelledByChain(e) => json!({
            "deployment_id": e.deployment_id, "contract_id": e.contract_id, "block": e.block,
        }),
        DeploymentEvent::ContractUpdatedByOther(e) => json!({
            "deployment_id": e.deployment_id, "contract_id": e.contract_id, "hash": e.hash,
            "block": e.block,
        }),
        DeploymentEvent::UserBalanceRequested(e) => json!({
            "spent": coins(e.spent), "spent_from": e.spent_from.to_string(),
            "spent_until": e.spent_until.to_string(),
        }),
        DeploymentEvent::UserBalanceObserved(e) => json!({
            "balance": e.balance.map(coins), "observed_at": e.observed_at.to_string(),
        }),
        DeploymentEvent::UserBalanceAssessed(e) => json!({
            "balance": coins(e.balance), "spent_per_day": coins(e.spent_per_day),
            "lasts_seconds": e.lasts_seconds, "threshold_seconds": e.threshold_seconds,
            "low": e.low, "observed_at": e.observed_at.to_string(),
        }),
        DeploymentEvent::TimerFired(e) => json!({ "timer": e.timer, "due": e.due.to_string() }),
        DeploymentEvent::DeadLetterReleased(e) => released(e),
    }
}

fn user(event: &UserEvent) -> Value {
    match event {
        UserEvent::UserRegistered(_) => json!({}),
        UserEvent::TwinRequested(e) => json!({
            "attempt": e.attempt, "activation": coins(e.activation),
        }),
        UserEvent::TwinCreated(e) => json!({
            "twin_id": e.twin_id, "account": e.account, "block": e.block,
        }),
        UserEvent::TwinFailed(e) => json!({
            "attempt": e.attempt, "code": e.code, "detail": e.detail,
        }),
        UserEvent::RoleGranted(e) => json!({ "role": e.role, "by": e.by }),
        UserEvent::RoleRevoked(e) => json!({ "role": e.role, "by": e.by }),
        UserEvent::TimerFired(e) => json!({ "timer": e.timer, "due": e.due.to_string() }),
        UserEvent::DeadLetterReleased(e) => released(e),
    }
}

fn application(event: &NodeApplicationEvent) -> Value {
    match event {
        NodeApplicationEvent::NodeApplicationSubmitted(e) => offered(e.revision, &e.offer),
        NodeApplicationEvent::NodeApplicationResubmitted(e) => offered(e.revision, &e.offer),
        NodeApplicationEvent::NodeApplicationDocumentAttached(e) => json!({
            "revision": e.revision, "kind": e.kind, "content_type": e.content_type,
            "size_bytes": e.size_bytes, "sha256": e.sha256,
        }),
        NodeApplicationEvent::NodeApplicationChangesRequested(e) => json!({
            "revision": e.revision, "by": e.by, "reason": e.reason,
        }),
        NodeApplicationEvent::NodeApplicationApproved(e) => json!({
            "revision": e.revision, "by": e.by,
        }),
        NodeApplicationEvent::NodeApplicationRejected(e) => json!({
            "revision": e.revision, "by": e.by, "reason": e.reason,
        }),
        NodeApplicationEvent::NodeApplicationWithdrawn(e) => json!({ "revision": e.revision }),
        NodeApplicationEvent::DeadLetterReleased(e) => released(e),
    }
}

fn offered(revision: i32, offer: &NodeOffer) -> Value {
    json!({
        "revision": revision, "farm_name": offer.farm_name, "country": offer.country,
        "city": offer.city, "wallet_network": offer.wallet_network, "wallet": offer.wallet,
        "cpu_cores": offer.cpu_cores, "memory_gib": offer.memory_gib, "ssd_gib": offer.ssd_gib,
        "hdd_gib": offer.hdd_gib, "uplink_mbps": offer.uplink_mbps,
        "public_ipv4_count": offer.public_ipv4_count,
    })
}

fn approval(event: &ApprovalEvent) -> Value {
    match event {
        ApprovalEvent::ApprovalRequested(e) => json!({
            "action": e.action, "target": e.target, "twin_id": e.twin_id, "amount": e.amount,
            "asset": e.asset, "threshold": e.threshold, "second_person": e.second_person,
            "asked_by": e.asked_by, "reason": e.reason, "expires_at": e.expires_at.to_string(),
        }),
        ApprovalEvent::ApprovalGranted(e) => json!({
            "by": e.by, "second_person": e.second_person, "effect_id": e.effect_id,
            "effect_topic": e.effect_topic,
        }),
        ApprovalEvent::ApprovalRejected(e) => json!({ "by": e.by, "reason": e.reason }),
        ApprovalEvent::ApprovalUsed(e) => json!({ "by": e.by, "amount": e.amount }),
        ApprovalEvent::ApprovalExpired(e) => json!({ "expired_at": e.expired_at.to_string() }),
    }
}

fn released(event: &DeadLetterReleased) -> Value {
    json!({
        "processor": event.processor, "partition": event.partition, "offset": event.offset,
        "action": event.action, "reason": event.reason, "by": event.by,
    })
}

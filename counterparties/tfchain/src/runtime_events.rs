//! Events of the runtime that Gridway reads, in the shapes of the runtime's own types.

use crate::port::ChainEvent;
use crate::protocol::Event;
use events::ids::{ContractId, NodeId, TwinId};
use events::money::{Amount, Tft};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use subxt::utils::AccountId32;

/// An event with a type of its own.
pub trait RuntimeEvent: Serialize + DeserializeOwned {
    /// Pallet.
    const PALLET: &'static str;
    /// Event.
    const NAME: &'static str;

    /// As it travels.
    fn to_event(&self) -> Event {
        Event {
            pallet: Self::PALLET.to_owned(),
            name: Self::NAME.to_owned(),
            data: serde_json::to_value(self).unwrap_or_default(),
        }
    }

    /// The event, if it is this one and well-formed.
    fn from_event(event: &Event) -> Option<Self> {
        (event.pallet == Self::PALLET && event.name == Self::NAME)
            .then(|| Self::deserialize(&event.data).ok())
            .flatten()
    }
}

/// `TFTBridgeModule.MintCompleted(MintTransaction, Vec<u8>)`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MintCompleted {
    /// What was minted.
    pub transaction: MintTransaction,
    /// Hash of the deposit on Stellar, hex text.
    pub tx_id: String,
}

/// A mint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MintTransaction {
    /// The whole deposit; the target receives it less the deposit fee. In 10^-7 TFT.
    pub amount: u64,
    /// Who receives.
    pub target: AccountId32,
    /// Block of the mint.
    pub block: u32,
    /// Validators that agreed.
    pub votes: u32,
}

impl RuntimeEvent for MintCompleted {
    const PALLET: &'static str = "TFTBridgeModule";
    const NAME: &'static str = "MintCompleted";
}

/// `TFTBridgeModule.RefundTransactionProcessed(RefundTransaction)`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefundTransactionProcessed {
    /// Block in which the refund was proposed.
    pub block: u32,
    /// The whole deposit, in 10^-7 TFT.
    pub amount: u64,
    /// Stellar account that is paid.
    pub target: String,
    /// Hash of the deposit on Stellar, hex text.
    pub tx_hash: String,
    /// Sequence number of the refund on Stellar.
    pub sequence_number: u64,
}

impl RuntimeEvent for RefundTransactionProcessed {
    const PALLET: &'static str = "TFTBridgeModule";
    const NAME: &'static str = "RefundTransactionProcessed";
}

/// `TfgridModule.TwinStored(Twin)`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TwinStored {
    /// The twin.
    pub id: u32,
    /// Its account.
    pub account_id: AccountId32,
}

impl RuntimeEvent for TwinStored {
    const PALLET: &'static str = "TfgridModule";
    const NAME: &'static str = "TwinStored";
}

/// `SmartContractModule.ContractCreated(Contract)`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContractCreated {
    /// The contract.
    pub contract_id: u64,
    /// Whose.
    pub twin_id: u32,
    /// What kind.
    pub contract_type: ContractData,
    /// Solution provider.
    pub solution_provider_id: Option<u64>,
}

/// Kinds of contracts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ContractData {
    /// A workload on a node.
    NodeContract(NodeContract),
    /// Another kind, of no interest here.
    #[serde(untagged)]
    Other(serde_json::Value),
}

/// A workload on a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeContract {
    /// Where.
    pub node_id: u32,
    /// 64 hex digits.
    pub deployment_hash: String,
    /// Text.
    pub deployment_data: String,
    /// Addresses reserved.
    pub public_ips: u32,
}

impl RuntimeEvent for ContractCreated {
    const PALLET: &'static str = "SmartContractModule";
    const NAME: &'static str = "ContractCreated";
}

/// `SmartContractModule.NodeContractCanceled`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeContractCanceled {
    /// The contract.
    pub contract_id: u64,
    /// Where.
    pub node_id: u32,
    /// Whose.
    pub twin_id: u32,
}

impl RuntimeEvent for NodeContractCanceled {
    const PALLET: &'static str = "SmartContractModule";
    const NAME: &'static str = "NodeContractCanceled";
}

fn amount(minor: u64) -> Option<Amount<Tft>> {
    i64::try_from(minor)
        .ok()
        .and_then(|minor| Amount::from_minor(minor).ok())
}

/// The event as the port shows it. What cannot be read is kept as [`ChainEvent::Other`].
pub(crate) fn chain_event(index: u32, event: &Event, deposit_fee: u64) -> ChainEvent {
    known(index, event, deposit_fee).unwrap_or_else(|| ChainEvent::Other {
        index,
        name: format!("{}.{}", event.pallet, event.name),
        raw: event.data.to_string(),
    })
}

fn known(index: u32, event: &Event, deposit_fee: u64) -> Option<ChainEvent> {
    if let Some(minted) = MintCompleted::from_event(event) {
        return Some(ChainEvent::BridgeMinted {
            index,
            stellar_tx: minted.tx_id,
            account: minted.transaction.target.to_string(),
            amount: amount(minted.transaction.amount.checked_sub(deposit_fee)?)?,
        });
    }
    if let Some(refund) = RefundTransactionProcessed::from_event(event) {
        let amount = amount(refund.amount)?;
        return Some(ChainEvent::BridgeRefunded {
            index,
            stellar_tx: refund.tx_hash,
            target: refund.target,
            amount,
        });
    }
    if let Some(twin) = TwinStored::from_event(event) {
        return Some(ChainEvent::TwinCreated {
            index,
            twin: TwinId(twin.id),
            account: twin.account_id.to_string(),
        });
    }
    if let Some(created) = ContractCreated::from_event(event) {
        let ContractData::NodeContract(contract) = created.contract_type else {
            return None;
        };
        return Some(ChainEvent::ContractCreated {
            index,
            contract: ContractId(created.contract_id),
            twin: TwinId(created.twin_id),
            node: NodeId(contract.node_id),
            hash: contract.deployment_hash,
        });
    }
    NodeContractCanceled::from_event(event).map(|cancelled| ChainEvent::ContractCancelled {
        index,
        contract: ContractId(cancelled.contract_id),
        twin: TwinId(cancelled.twin_id),
        node: NodeId(cancelled.node_id),
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]
    use super::*;
    use serde_json::json;

    fn event(pallet: &str, name: &str, data: serde_json::Value) -> Event {
        Event {
            pallet: pallet.to_owned(),
            name: name.to_owned(),
            data,
        }
    }

    #[test]
    fn what_arrives_is_the_deposit_less_the_fee() {
        let minted = MintCompleted {
            transaction: MintTransaction {
                amount: 2_510_000_000,
                target: AccountId32([7; 32]),
                block: 3,
                votes: 1,
            },
            tx_id: "ab".repeat(32),
        };
        let ChainEvent::BridgeMinted {
            index: 4,
            stellar_tx,
            account,
            amount,
        } = chain_event(4, &minted.to_event(), 10_000_000)
        else {
            panic!("not a mint");
        };
        assert_eq!(
            (stellar_tx, account),
            ("ab".repeat(32), AccountId32([7; 32]).to_string())
        );
        assert_eq!(amount, Amount::parse("250").unwrap());
    }

    #[test]
    fn what_is_unknown_or_unreadable_is_kept() {
        let contract = ContractCreated {
            contract_id: 1,
            twin_id: 2,
            contract_type: ContractData::Other(json!({"NameContract": {"name": "x"}})),
            solution_provider_id: None,
        };
        for event in [
            event("Balances", "Transfer", json!({"amount": 1})),
            event(
                "TFTBridgeModule",
                "MintCompleted",
                json!({"amount": "much"}),
            ),
            contract.to_event(),
        ] {
            let ChainEvent::Other {
                index: 9,
                name,
                raw,
            } = chain_event(9, &event, 0)
            else {
                panic!("known: {event:?}")
            };
            assert_eq!(name, format!("{}.{}", event.pallet, event.name));
            assert_eq!(raw, event.data.to_string());
        }
    }
}

//! Calls, events and storage of the runtime that Gridway uses, in shapes of its own.
//!
//! Everything is found by name in the node's metadata: indices of pallets and calls, and fields
//! that Gridway does not look at, differ between versions of the runtime. [`crate::guard`]
//! compares these shapes with the metadata before anything is signed.

use scale_info::TypeInfo;
use subxt::ext::scale_decode::DecodeAsType;
use subxt::ext::scale_encode::EncodeAsType;
use subxt::utils::AccountId32;

/// Something with a place in the metadata.
pub trait Named {
    /// The pallet.
    const PALLET: &'static str;
    /// The call or event.
    const NAME: &'static str;
}

macro_rules! named {
    ($($shape:ty = $pallet:literal $name:literal;)*) => {$(
        impl Named for $shape {
            const PALLET: &'static str = $pallet;
            const NAME: &'static str = $name;
        }
    )*};
}

named! {
    TransferKeepAlive = "Balances" "transfer_keep_alive";
    UserAcceptTc = "TfgridModule" "user_accept_tc";
    CreateTwin = "TfgridModule" "create_twin";
    CreateNodeContract = "SmartContractModule" "create_node_contract";
    UpdateNodeContract = "SmartContractModule" "update_node_contract";
    CancelContract = "SmartContractModule" "cancel_contract";
    CreateNameContract = "SmartContractModule" "create_name_contract";
    CreateRentContract = "SmartContractModule" "create_rent_contract";
    BatchAll = "Utility" "batch_all";
    ForceBatch = "Utility" "force_batch";
    MintCompleted = "TFTBridgeModule" "MintCompleted";
    RefundTransactionProcessed = "TFTBridgeModule" "RefundTransactionProcessed";
    TwinStored = "TfgridModule" "TwinStored";
    ContractCreated = "SmartContractModule" "ContractCreated";
    ContractUpdated = "SmartContractModule" "ContractUpdated";
    NodeContractCanceled = "SmartContractModule" "NodeContractCanceled";
    NameContractCanceled = "SmartContractModule" "NameContractCanceled";
    RentContractCanceled = "SmartContractModule" "RentContractCanceled";
    ContractBilled = "SmartContractModule" "ContractBilled";
    ContractGracePeriodStarted = "SmartContractModule" "ContractGracePeriodStarted";
    ContractGracePeriodEnded = "SmartContractModule" "ContractGracePeriodEnded";
}

/// Who receives.
#[derive(Debug, Clone, PartialEq, Eq, EncodeAsType, TypeInfo)]
#[encode_as_type(crate_path = "subxt::ext::scale_encode")]
pub enum Destination {
    /// An account.
    Id(AccountId32),
}

/// `Balances.transfer_keep_alive`.
#[derive(Debug, Clone, PartialEq, Eq, EncodeAsType, TypeInfo)]
#[encode_as_type(crate_path = "subxt::ext::scale_encode")]
pub struct TransferKeepAlive {
    /// Who receives.
    pub dest: Destination,
    /// In 10^-7 TFT.
    pub value: u128,
}

/// `TfgridModule.user_accept_tc`.
#[derive(Debug, Clone, PartialEq, Eq, EncodeAsType, TypeInfo)]
#[encode_as_type(crate_path = "subxt::ext::scale_encode")]
pub struct UserAcceptTc {
    /// Where the terms are.
    pub document_link: Vec<u8>,
    /// Hash of the terms, hex as text.
    pub document_hash: Vec<u8>,
}

/// `TfgridModule.create_twin`.
#[derive(Debug, Clone, PartialEq, Eq, EncodeAsType, TypeInfo)]
#[encode_as_type(crate_path = "subxt::ext::scale_encode")]
pub struct CreateTwin {
    /// Relay of the twin.
    pub relay: Option<Vec<u8>>,
    /// Its public key.
    pub pk: Option<Vec<u8>>,
}

/// `SmartContractModule.create_node_contract`.
#[derive(Debug, Clone, PartialEq, Eq, EncodeAsType, TypeInfo)]
#[encode_as_type(crate_path = "subxt::ext::scale_encode")]
pub struct CreateNodeContract {
    /// The node.
    pub node_id: u32,
    /// Hash of the deployment, unique per node.
    pub deployment_hash: [u8; 32],
    /// Kept on chain.
    pub deployment_data: Vec<u8>,
    /// Addresses to reserve.
    pub public_ips: u32,
    /// Solution provider.
    pub solution_provider_id: Option<u64>,
}

/// `SmartContractModule.update_node_contract`.
#[derive(Debug, Clone, PartialEq, Eq, EncodeAsType, TypeInfo)]
#[encode_as_type(crate_path = "subxt::ext::scale_encode")]
pub struct UpdateNodeContract {
    /// The contract.
    pub contract_id: u64,
    /// The new hash.
    pub deployment_hash: [u8; 32],
    /// The new data.
    pub deployment_data: Vec<u8>,
}

/// `SmartContractModule.cancel_contract`.
#[derive(Debug, Clone, PartialEq, Eq, EncodeAsType, TypeInfo)]
#[encode_as_type(crate_path = "subxt::ext::scale_encode")]
pub struct CancelContract {
    /// The contract.
    pub contract_id: u64,
}

/// `SmartContractModule.create_name_contract`.
#[derive(Debug, Clone, PartialEq, Eq, EncodeAsType, TypeInfo)]
#[encode_as_type(crate_path = "subxt::ext::scale_encode")]
pub struct CreateNameContract {
    /// The name.
    pub name: Vec<u8>,
}

/// `SmartContractModule.create_rent_contract`.
#[derive(Debug, Clone, PartialEq, Eq, EncodeAsType, TypeInfo)]
#[encode_as_type(crate_path = "subxt::ext::scale_encode")]
pub struct CreateRentContract {
    /// The node.
    pub node_id: u32,
    /// Solution provider.
    pub solution_provider_id: Option<u64>,
}

/// A call that is encoded already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedCall(pub Vec<u8>);

impl EncodeAsType for EncodedCall {
    fn encode_as_type_to<R: subxt::ext::scale_type_resolver::TypeResolver>(
        &self,
        _: R::TypeId,
        _: &R,
        out: &mut Vec<u8>,
    ) -> Result<(), subxt::ext::scale_encode::Error> {
        out.extend_from_slice(&self.0);
        Ok(())
    }
}

impl TypeInfo for EncodedCall {
    type Identity = Self;

    /// The outer enum of calls, which [`crate::guard`] does not walk into.
    fn type_info() -> scale_info::Type {
        scale_info::Type::builder()
            .path(scale_info::Path::from_segments_unchecked(["RuntimeCall"]))
            .variant(scale_info::build::Variants::new())
    }
}

/// `Utility.batch_all`.
#[derive(Debug, Clone, PartialEq, Eq, EncodeAsType, TypeInfo)]
#[encode_as_type(crate_path = "subxt::ext::scale_encode")]
pub struct BatchAll {
    /// All or none.
    pub calls: Vec<EncodedCall>,
}

/// `Utility.force_batch`.
#[derive(Debug, Clone, PartialEq, Eq, EncodeAsType, TypeInfo)]
#[encode_as_type(crate_path = "subxt::ext::scale_encode")]
pub struct ForceBatch {
    /// Each is carried out, whatever becomes of the others.
    pub calls: Vec<EncodedCall>,
}

/// `TFTBridgeModule.MintCompleted`.
#[derive(Debug, Clone, PartialEq, Eq, DecodeAsType, TypeInfo)]
#[decode_as_type(crate_path = "subxt::ext::scale_decode")]
pub struct MintCompleted(
    /// What was minted.
    pub MintTransaction,
    /// Hash of the deposit on Stellar, hex as text.
    pub Vec<u8>,
);

/// A mint.
#[derive(Debug, Clone, PartialEq, Eq, DecodeAsType, TypeInfo)]
#[decode_as_type(crate_path = "subxt::ext::scale_decode")]
pub struct MintTransaction {
    /// The whole deposit; the target receives it less the deposit fee. In 10^-7 TFT.
    pub amount: u64,
    /// Who receives.
    pub target: AccountId32,
}

/// `TFTBridgeModule.RefundTransactionProcessed`.
#[derive(Debug, Clone, PartialEq, Eq, DecodeAsType, TypeInfo)]
#[decode_as_type(crate_path = "subxt::ext::scale_decode")]
pub struct RefundTransactionProcessed(
    /// What was paid back.
    pub RefundTransaction,
);

/// A refund.
#[derive(Debug, Clone, PartialEq, Eq, DecodeAsType, TypeInfo)]
#[decode_as_type(crate_path = "subxt::ext::scale_decode")]
pub struct RefundTransaction {
    /// The whole deposit, in 10^-7 TFT.
    pub amount: u64,
    /// Stellar account that is paid, as text.
    pub target: Vec<u8>,
    /// Hash of the deposit on Stellar, hex as text.
    pub tx_hash: Vec<u8>,
}

/// `TfgridModule.TwinStored`.
#[derive(Debug, Clone, PartialEq, Eq, DecodeAsType, TypeInfo)]
#[decode_as_type(crate_path = "subxt::ext::scale_decode")]
pub struct TwinStored(
    /// The twin.
    pub Twin,
);

/// A twin.
#[derive(Debug, Clone, PartialEq, Eq, DecodeAsType, TypeInfo)]
#[decode_as_type(crate_path = "subxt::ext::scale_decode")]
pub struct Twin {
    /// Its number.
    pub id: u32,
    /// Its account.
    pub account_id: AccountId32,
}

/// `SmartContractModule.ContractCreated`.
#[derive(Debug, Clone, PartialEq, Eq, DecodeAsType, TypeInfo)]
#[decode_as_type(crate_path = "subxt::ext::scale_decode")]
pub struct ContractCreated(
    /// The contract.
    pub Contract,
);

/// `SmartContractModule.ContractUpdated`.
#[derive(Debug, Clone, PartialEq, Eq, DecodeAsType, TypeInfo)]
#[decode_as_type(crate_path = "subxt::ext::scale_decode")]
pub struct ContractUpdated(
    /// The contract as it is now.
    pub Contract,
);

/// A contract.
#[derive(Debug, Clone, PartialEq, Eq, DecodeAsType, TypeInfo)]
#[decode_as_type(crate_path = "subxt::ext::scale_decode")]
pub struct Contract {
    /// How it is with it.
    pub state: ContractState,
    /// Its number.
    pub contract_id: u64,
    /// Whose.
    pub twin_id: u32,
    /// What kind.
    pub contract_type: ContractData,
    /// Solution provider.
    pub solution_provider_id: Option<u64>,
}

/// How it is with a contract.
#[derive(Debug, Clone, PartialEq, Eq, DecodeAsType, TypeInfo)]
#[decode_as_type(crate_path = "subxt::ext::scale_decode")]
pub enum ContractState {
    /// It stands.
    Created,
    /// It is no more.
    Deleted(Cause),
    /// There is no money for it; since this block.
    GracePeriod(u64),
}

/// Why a contract is no more.
#[derive(Debug, Clone, PartialEq, Eq, DecodeAsType, TypeInfo)]
#[decode_as_type(crate_path = "subxt::ext::scale_decode")]
pub enum Cause {
    /// Its owner cancelled it.
    CanceledByUser,
    /// It was not paid for.
    OutOfFunds,
    /// The council cancelled it.
    CanceledByCollective,
}

/// Kinds of contracts.
#[derive(Debug, Clone, PartialEq, Eq, DecodeAsType, TypeInfo)]
#[decode_as_type(crate_path = "subxt::ext::scale_decode")]
pub enum ContractData {
    /// A workload on a node.
    NodeContract(NodeContract),
    /// A name.
    NameContract(NameContract),
    /// A whole node.
    RentContract(RentContract),
}

/// A workload on a node.
#[derive(Debug, Clone, PartialEq, Eq, DecodeAsType, TypeInfo)]
#[decode_as_type(crate_path = "subxt::ext::scale_decode")]
pub struct NodeContract {
    /// Where.
    pub node_id: u32,
    /// Unique per node.
    pub deployment_hash: [u8; 32],
}

/// A name.
#[derive(Debug, Clone, PartialEq, Eq, DecodeAsType, TypeInfo)]
#[decode_as_type(crate_path = "subxt::ext::scale_decode")]
pub struct NameContract {
    /// The name.
    pub name: Vec<u8>,
}

/// A whole node.
#[derive(Debug, Clone, PartialEq, Eq, DecodeAsType, TypeInfo)]
#[decode_as_type(crate_path = "subxt::ext::scale_decode")]
pub struct RentContract {
    /// Which.
    pub node_id: u32,
}

/// `SmartContractModule.NameContractCanceled`.
#[derive(Debug, Clone, PartialEq, Eq, DecodeAsType, TypeInfo)]
#[decode_as_type(crate_path = "subxt::ext::scale_decode")]
pub struct NameContractCanceled {
    /// The contract.
    pub contract_id: u64,
}

/// `SmartContractModule.RentContractCanceled`.
#[derive(Debug, Clone, PartialEq, Eq, DecodeAsType, TypeInfo)]
#[decode_as_type(crate_path = "subxt::ext::scale_decode")]
pub struct RentContractCanceled {
    /// The contract.
    pub contract_id: u64,
}

/// `SmartContractModule.NodeContractCanceled`.
#[derive(Debug, Clone, PartialEq, Eq, DecodeAsType, TypeInfo)]
#[decode_as_type(crate_path = "subxt::ext::scale_decode")]
pub struct NodeContractCanceled {
    /// The contract.
    pub contract_id: u64,
}

/// `SmartContractModule.ContractGracePeriodStarted`.
#[derive(Debug, Clone, PartialEq, Eq, DecodeAsType, TypeInfo)]
#[decode_as_type(crate_path = "subxt::ext::scale_decode")]
pub struct ContractGracePeriodStarted {
    /// The contract.
    pub contract_id: u64,
}

/// `SmartContractModule.ContractGracePeriodEnded`.
#[derive(Debug, Clone, PartialEq, Eq, DecodeAsType, TypeInfo)]
#[decode_as_type(crate_path = "subxt::ext::scale_decode")]
pub struct ContractGracePeriodEnded {
    /// The contract.
    pub contract_id: u64,
}

/// `SmartContractModule.ContractBilled`.
#[derive(Debug, Clone, PartialEq, Eq, DecodeAsType, TypeInfo)]
#[decode_as_type(crate_path = "subxt::ext::scale_decode")]
pub struct ContractBilled(
    /// The bill.
    pub ContractBill,
);

/// A bill.
#[derive(Debug, Clone, PartialEq, Eq, DecodeAsType, TypeInfo)]
#[decode_as_type(crate_path = "subxt::ext::scale_decode")]
pub struct ContractBill {
    /// The contract.
    pub contract_id: u64,
    /// In 10^-7 TFT.
    pub amount_billed: u128,
}

/// `System.Account`.
#[derive(Debug, Clone, PartialEq, Eq, DecodeAsType, TypeInfo)]
#[decode_as_type(crate_path = "subxt::ext::scale_decode")]
pub struct AccountInfo {
    /// Next nonce.
    pub nonce: u32,
    /// Its balances.
    pub data: AccountData,
}

/// Balances.
#[derive(Debug, Clone, PartialEq, Eq, DecodeAsType, TypeInfo)]
#[decode_as_type(crate_path = "subxt::ext::scale_decode")]
pub struct AccountData {
    /// May be spent. In 10^-7 TFT.
    pub free: u128,
}

/// One acceptance of terms, of `TfgridModule.UsersTermsAndConditions`.
#[derive(Debug, Clone, PartialEq, Eq, DecodeAsType, TypeInfo)]
#[decode_as_type(crate_path = "subxt::ext::scale_decode")]
pub struct Accepted {
    /// Unix seconds.
    pub timestamp: u64,
}

/// `TfgridModule.Nodes`.
#[derive(Debug, Clone, PartialEq, Eq, DecodeAsType, TypeInfo)]
#[decode_as_type(crate_path = "subxt::ext::scale_decode")]
pub struct Node {
    /// Its number.
    pub id: u32,
}

//! The pallet `SmartContractModule`: contracts of deployments.

use codec::{Decode, Encode};
use scale_info::TypeInfo;

/// Calls.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[codec(crate = codec)]
#[expect(
    missing_docs,
    non_camel_case_types,
    reason = "the runtime's names and fields"
)]
pub enum Call {
    #[codec(index = 0)]
    create_node_contract {
        node_id: u32,
        deployment_hash: [u8; 32],
        deployment_data: Vec<u8>,
        public_ips: u32,
        solution_provider_id: Option<u64>,
    },
    #[codec(index = 1)]
    update_node_contract {
        contract_id: u64,
        deployment_hash: [u8; 32],
        deployment_data: Vec<u8>,
    },
    #[codec(index = 2)]
    cancel_contract { contract_id: u64 },
    #[codec(index = 4)]
    create_name_contract { name: Vec<u8> },
    #[codec(index = 7)]
    create_rent_contract {
        node_id: u32,
        solution_provider_id: Option<u64>,
    },
}

/// Events.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[codec(crate = codec)]
#[expect(missing_docs, reason = "the runtime's names and fields")]
pub enum Event {
    #[codec(index = 0)]
    ContractCreated(types::Contract),
    #[codec(index = 1)]
    ContractUpdated(types::Contract),
    #[codec(index = 2)]
    NodeContractCanceled {
        contract_id: u64,
        node_id: u32,
        twin_id: u32,
    },
    #[codec(index = 3)]
    NameContractCanceled { contract_id: u64 },
    #[codec(index = 8)]
    ContractBilled(types::ContractBill),
    #[codec(index = 12)]
    RentContractCanceled { contract_id: u64 },
    #[codec(index = 13)]
    ContractGracePeriodStarted {
        contract_id: u64,
        node_id: u32,
        twin_id: u32,
        block_number: u64,
    },
    #[codec(index = 14)]
    ContractGracePeriodEnded {
        contract_id: u64,
        node_id: u32,
        twin_id: u32,
    },
}

macro_rules! errors {
    ($($name:ident),* $(,)?) => {
        /// Errors.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, TypeInfo)]
        #[codec(crate = codec)]
        #[expect(missing_docs, reason = "the runtime's names")]
        pub enum Error { $($name),* }
    };
}
errors! {
    TwinNotExists,
    NodeNotExists,
    FarmNotExists,
    FarmHasNotEnoughPublicIPs,
    FarmHasNotEnoughPublicIPsFree,
    FailedToReserveIP,
    FailedToFreeIPs,
    ContractNotExists,
    TwinNotAuthorizedToUpdateContract,
    TwinNotAuthorizedToCancelContract,
    NodeNotAuthorizedToDeployContract,
    NodeNotAuthorizedToComputeReport,
    PricingPolicyNotExists,
    ContractIsNotUnique,
    ContractWrongBillingLoopIndex,
    NameExists,
    NameNotValid,
    InvalidContractType,
    TFTPriceValueError,
    NotEnoughResourcesOnNode,
    NodeNotAuthorizedToReportResources,
    MethodIsDeprecated,
    NodeHasActiveContracts,
    NodeHasRentContract,
    FarmIsNotDedicated,
    NodeNotAvailableToDeploy,
    CannotUpdateContractInGraceState,
    NumOverflow,
    OffchainSignedTxCannotSign,
    OffchainSignedTxAlreadySent,
    OffchainSignedTxNoLocalAccountAvailable,
    NameContractNameTooShort,
    NameContractNameTooLong,
    InvalidProviderConfiguration,
    NoSuchSolutionProvider,
    SolutionProviderNotApproved,
    TwinNotAuthorized,
}

/// Types of `pallet_smart_contract::types`.
#[expect(missing_docs, reason = "the runtime's names and fields")]
pub mod types {
    use super::super::pallet_tfgrid::types::PublicIP;
    use super::{Decode, Encode, TypeInfo};

    #[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
    #[codec(crate = codec)]
    pub struct Contract {
        pub version: u32,
        pub state: ContractState,
        pub contract_id: u64,
        pub twin_id: u32,
        pub contract_type: ContractData,
        pub solution_provider_id: Option<u64>,
    }

    #[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
    #[codec(crate = codec)]
    pub enum ContractState {
        Created,
        Deleted(Cause),
        GracePeriod(u64),
    }

    #[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
    #[codec(crate = codec)]
    pub enum Cause {
        CanceledByUser,
        OutOfFunds,
        CanceledByCollective,
    }

    #[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
    #[codec(crate = codec)]
    pub enum ContractData {
        NodeContract(NodeContract),
        NameContract(NameContract),
        RentContract(RentContract),
    }

    #[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
    #[codec(crate = codec)]
    pub struct NodeContract {
        pub node_id: u32,
        pub deployment_hash: [u8; 32],
        pub deployment_data: Vec<u8>,
        pub public_ips: u32,
        pub public_ips_list: Vec<PublicIP>,
    }

    #[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
    #[codec(crate = codec)]
    pub struct NameContract {
        pub name: Vec<u8>,
    }

    #[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
    #[codec(crate = codec)]
    pub struct RentContract {
        pub node_id: u32,
    }

    #[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
    #[codec(crate = codec)]
    pub struct ContractBill {
        pub contract_id: u64,
        pub timestamp: u64,
        pub discount_level: DiscountLevel,
        pub amount_billed: u128,
    }

    #[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
    #[codec(crate = codec)]
    pub enum DiscountLevel {
        None,
        Default,
        Bronze,
        Silver,
        Gold,
    }
}

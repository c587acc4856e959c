//! The pallet `TfgridModule`: twins, farms and nodes.

use super::sp_core::crypto::AccountId32;
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
    #[codec(index = 1)]
    create_farm {
        name: Vec<u8>,
        public_ips: Vec<types::IP4>,
    },
    #[codec(index = 8)]
    create_node {
        farm_id: u32,
        resources: types::Resources,
        location: types::Location,
        interfaces: Vec<types::Interface>,
        secure_boot: bool,
        virtualized: bool,
        serial_number: Option<Vec<u8>>,
    },
    #[codec(index = 17)]
    create_twin {
        relay: Option<Vec<u8>>,
        pk: Option<Vec<u8>>,
    },
    #[codec(index = 25)]
    user_accept_tc {
        document_link: Vec<u8>,
        document_hash: Vec<u8>,
    },
}

/// Events.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[codec(crate = codec)]
#[expect(missing_docs, reason = "the runtime's names")]
pub enum Event {
    #[codec(index = 0)]
    FarmStored(types::Farm),
    #[codec(index = 3)]
    NodeStored(types::Node),
    #[codec(index = 11)]
    TwinStored(types::Twin),
}

macro_rules! errors {
    ($($index:tt $name:ident,)*) => {
        /// Errors.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, TypeInfo)]
        #[codec(crate = codec)]
        #[expect(missing_docs, reason = "the runtime's names")]
        pub enum Error { $(#[codec(index = $index)] $name,)* }
    };
}
errors! {
    3 NodeNotExists,
    4 NodeWithTwinIdExists,
    8 FarmExists,
    9 FarmNotExists,
    10 CannotCreateFarmWrongTwin,
    26 TwinExists,
    27 TwinNotExists,
    28 TwinWithPubkeyExists,
    29 CannotCreateTwin,
    39 UserDidNotSignTermsAndConditions,
    42 InvalidFarmName,
    49 InvalidRelay,
    72 MethodIsDeprecated,
    103 InvalidSerialNumber,
    104 DocumentLinkInputTooShort,
    105 DocumentLinkInputTooLong,
    106 InvalidDocumentLinkInput,
    107 DocumentHashInputTooShort,
    108 DocumentHashInputTooLong,
    109 InvalidDocumentHashInput,
    113 InvalidRelayAddress,
}

/// Types of `pallet_tfgrid::types`.
#[expect(missing_docs, reason = "the runtime's names and fields")]
pub mod types {
    use super::{AccountId32, Decode, Encode, TypeInfo};

    #[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
    #[codec(crate = codec)]
    pub struct IP4 {
        pub ip: Vec<u8>,
        pub gw: Vec<u8>,
    }

    #[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
    #[codec(crate = codec)]
    pub struct IP6 {
        pub ip: Vec<u8>,
        pub gw: Vec<u8>,
    }

    #[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
    #[codec(crate = codec)]
    pub struct PublicIP {
        pub ip: Vec<u8>,
        pub gateway: Vec<u8>,
        pub contract_id: u64,
    }

    #[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
    #[codec(crate = codec)]
    pub struct PublicConfig {
        pub ip4: IP4,
        pub ip6: Option<IP6>,
        pub domain: Option<Vec<u8>>,
    }

    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode, TypeInfo)]
    #[codec(crate = codec)]
    pub struct Resources {
        pub hru: u64,
        pub sru: u64,
        pub cru: u64,
        pub mru: u64,
    }

    #[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
    #[codec(crate = codec)]
    pub struct Location {
        pub city: Vec<u8>,
        pub country: Vec<u8>,
        pub latitude: Vec<u8>,
        pub longitude: Vec<u8>,
    }

    #[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
    #[codec(crate = codec)]
    pub struct Interface {
        pub name: Vec<u8>,
        pub mac: Vec<u8>,
        pub ips: Vec<Vec<u8>>,
    }

    #[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
    #[codec(crate = codec)]
    pub enum FarmCertification {
        NotCertified,
        Gold,
    }

    #[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
    #[codec(crate = codec)]
    pub enum NodeCertification {
        Diy,
        Certified,
    }

    #[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
    #[codec(crate = codec)]
    pub struct FarmingPolicyLimit {
        pub farming_policy_id: u32,
        pub cu: Option<u64>,
        pub su: Option<u64>,
        pub end: Option<u64>,
        pub node_count: Option<u32>,
        pub node_certification: bool,
    }

    #[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
    #[codec(crate = codec)]
    pub struct Farm {
        pub version: u32,
        pub id: u32,
        pub name: Vec<u8>,
        pub twin_id: u32,
        pub pricing_policy_id: u32,
        pub certification: FarmCertification,
        pub public_ips: Vec<PublicIP>,
        pub dedicated_farm: bool,
        pub farming_policy_limits: Option<FarmingPolicyLimit>,
    }

    #[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
    #[codec(crate = codec)]
    pub struct Node {
        pub version: u32,
        pub id: u32,
        pub farm_id: u32,
        pub twin_id: u32,
        pub resources: Resources,
        pub location: Location,
        pub public_config: Option<PublicConfig>,
        pub created: u64,
        pub farming_policy_id: u32,
        pub interfaces: Vec<Interface>,
        pub certification: NodeCertification,
        pub secure_boot: bool,
        pub virtualized: bool,
        pub serial_number: Option<Vec<u8>>,
        pub connection_price: u32,
    }

    #[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
    #[codec(crate = codec)]
    pub struct EntityProof {
        pub entity_id: u32,
        pub signature: Vec<u8>,
    }

    #[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
    #[codec(crate = codec)]
    pub struct Twin {
        pub id: u32,
        pub account_id: AccountId32,
        pub relay: Option<Vec<u8>>,
        pub entities: Vec<EntityProof>,
        pub pk: Option<Vec<u8>>,
    }

    #[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
    #[codec(crate = codec)]
    pub struct TermsAndConditions {
        pub account_id: AccountId32,
        pub timestamp: u64,
        pub document_link: Vec<u8>,
        pub document_hash: Vec<u8>,
    }
}

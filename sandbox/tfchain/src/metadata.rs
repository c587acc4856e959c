//! Metadata of the stand-in's runtime, version 14, built from the definitions in [`crate::runtime`].

use crate::runtime::frame_system::{AccountInfo, EventRecord, extensions};
use crate::runtime::pallet_balances::types::AccountData;
use crate::runtime::pallet_smart_contract::types::Contract;
use crate::runtime::pallet_tfgrid::types::{Farm, Node, TermsAndConditions, Twin};
use crate::runtime::pallet_tft_bridge::MintTransaction;
use crate::runtime::sp_core::H256;
use crate::runtime::sp_core::crypto::AccountId32;
use crate::runtime::sp_runtime::MultiSignature;
use crate::runtime::sp_runtime::generic::UncheckedExtrinsic;
use crate::runtime::sp_runtime::multiaddress::MultiAddress;
use crate::runtime::tfchain_runtime::{Runtime, RuntimeCall, RuntimeEvent};
use crate::runtime::{
    Change, MAX_DATA, Version, frame_system, pallet_balances, pallet_smart_contract, pallet_tfgrid,
    pallet_tft_bridge, pallet_tft_price, pallet_timestamp, pallet_transaction_payment,
    pallet_utility,
};
use codec::Encode;
use frame_metadata::v14::{
    ExtrinsicMetadata, PalletCallMetadata, PalletConstantMetadata, PalletErrorMetadata,
    PalletEventMetadata, PalletMetadata, PalletStorageMetadata, RuntimeMetadataV14,
    SignedExtensionMetadata, StorageEntryMetadata, StorageEntryModifier, StorageEntryType,
    StorageHasher,
};
use frame_metadata::{META_RESERVED, RuntimeMetadata, RuntimeMetadataPrefixed};
use scale_info::{MetaType, TypeDef, TypeInfo, meta_type};

/// `Balances.ExistentialDeposit`, in 10^-7 TFT.
pub const EXISTENTIAL_DEPOSIT: u128 = 500;
/// `System.BlockHashCount`.
pub const BLOCK_HASH_COUNT: u32 = 2_400;

/// What is told of a pallet.
struct Pallet {
    name: &'static str,
    /// In spec 149.
    index: u8,
    calls: Option<MetaType>,
    event: Option<MetaType>,
    error: Option<MetaType>,
    storage: Vec<StorageEntryMetadata>,
    constants: Vec<PalletConstantMetadata>,
}

impl Pallet {
    const fn new(name: &'static str, index: u8) -> Self {
        Self {
            name,
            index,
            calls: None,
            event: None,
            error: None,
            storage: Vec::new(),
            constants: Vec::new(),
        }
    }

    fn calls<T: TypeInfo + 'static>(mut self) -> Self {
        self.calls = Some(meta_type::<T>());
        self
    }

    fn event<T: TypeInfo + 'static>(mut self) -> Self {
        self.event = Some(meta_type::<T>());
        self
    }

    fn error<T: TypeInfo + 'static>(mut self) -> Self {
        self.error = Some(meta_type::<T>());
        self
    }

    /// An entry without parameters, zero or empty when it is absent.
    fn plain<T: TypeInfo + Encode + Default + 'static>(mut self, name: &'static str) -> Self {
        self.storage.push(StorageEntryMetadata {
            name,
            modifier: StorageEntryModifier::Default,
            ty: StorageEntryType::Plain(meta_type::<T>()),
            default: T::default().encode(),
            docs: Vec::new(),
        });
        self
    }

    /// An entry by a parameter, zero or empty when it is absent.
    fn map<K, T>(mut self, name: &'static str) -> Self
    where
        K: TypeInfo + 'static,
        T: TypeInfo + Encode + Default + 'static,
    {
        self.storage.push(entry::<K, T>(
            name,
            StorageEntryModifier::Default,
            T::default().encode(),
        ));
        self
    }

    /// An entry by a parameter that may be absent.
    fn optional<K: TypeInfo + 'static, T: TypeInfo + 'static>(
        mut self,
        name: &'static str,
    ) -> Self {
        let absent = vec![0];
        self.storage
            .push(entry::<K, T>(name, StorageEntryModifier::Optional, absent));
        self
    }

    fn constant<T: TypeInfo + Encode + 'static>(mut self, name: &'static str, value: T) -> Self {
        self.constants.push(PalletConstantMetadata {
            name,
            ty: meta_type::<T>(),
            value: value.encode(),
            docs: Vec::new(),
        });
        self
    }

    fn finish(self, version: Version) -> PalletMetadata {
        PalletMetadata {
            name: self.name,
            storage: (!self.storage.is_empty()).then_some(PalletStorageMetadata {
                prefix: self.name,
                entries: self.storage,
            }),
            calls: self.calls.map(|ty| PalletCallMetadata { ty }),
            event: self.event.map(|ty| PalletEventMetadata { ty }),
            constants: self.constants,
            error: self.error.map(|ty| PalletErrorMetadata { ty }),
            index: version.pallet(self.index),
        }
    }
}

fn entry<K: TypeInfo + 'static, T: TypeInfo + 'static>(
    name: &'static str,
    modifier: StorageEntryModifier,
    default: Vec<u8>,
) -> StorageEntryMetadata {
    StorageEntryMetadata {
        name,
        modifier,
        ty: StorageEntryType::Map {
            hashers: vec![StorageHasher::Blake2_128Concat],
            key: meta_type::<K>(),
            value: meta_type::<T>(),
        },
        default,
        docs: Vec::new(),
    }
}

fn by_node_and_hash() -> StorageEntryMetadata {
    StorageEntryMetadata {
        name: "ContractIDByNodeIDAndHash",
        modifier: StorageEntryModifier::Default,
        ty: StorageEntryType::Map {
            hashers: vec![
                StorageHasher::Blake2_128Concat,
                StorageHasher::Blake2_128Concat,
            ],
            key: meta_type::<(u32, [u8; 32])>(),
            value: meta_type::<u64>(),
        },
        default: 0_u64.encode(),
        docs: Vec::new(),
    }
}

fn pallets(block_ms: u64) -> Vec<Pallet> {
    let mut contracts = Pallet::new("SmartContractModule", 26)
        .calls::<pallet_smart_contract::Call>()
        .event::<pallet_smart_contract::Event>()
        .error::<pallet_smart_contract::Error>()
        .optional::<u64, Contract>("Contracts")
        .map::<u32, Vec<u64>>("ActiveNodeContracts")
        .map::<Vec<u8>, u64>("ContractIDByNameRegistration")
        .optional::<u32, u64>("ActiveRentContractForNode")
        .plain::<u64>("ContractID")
        .constant("MaxNameContractNameLength", 64_u32)
        .constant("MaxNodeContractPublicIps", 512_u32)
        .constant(
            "MaxDeploymentDataLength",
            u32::try_from(MAX_DATA).unwrap_or(u32::MAX),
        );
    contracts.storage.push(by_node_and_hash());
    let mut system = Pallet::new("System", 0)
        .calls::<frame_system::Call>()
        .event::<frame_system::Event>()
        .error::<frame_system::Error>()
        .map::<AccountId32, AccountInfo<u32, AccountData>>("Account")
        .plain::<u32>("Number")
        .plain::<u32>("EventCount")
        .constant("BlockHashCount", BLOCK_HASH_COUNT)
        .constant("SS58Prefix", 42_u16);
    system.storage.push(StorageEntryMetadata {
        name: "Events",
        modifier: StorageEntryModifier::Default,
        ty: StorageEntryType::Plain(meta_type::<Vec<EventRecord<RuntimeEvent, H256>>>()),
        default: vec![0],
        docs: Vec::new(),
    });
    vec![
        system,
        Pallet::new("Timestamp", 1)
            .calls::<pallet_timestamp::Call>()
            .plain::<u64>("Now")
            .constant("MinimumPeriod", (block_ms / 2).max(1)),
        Pallet::new("Utility", 3)
            .calls::<pallet_utility::Call>()
            .event::<pallet_utility::Event>()
            .error::<pallet_utility::Error>()
            .constant("batched_calls_limit", crate::ledger::BATCH_LIMIT),
        Pallet::new("Balances", 20)
            .calls::<pallet_balances::Call>()
            .event::<pallet_balances::Event>()
            .error::<pallet_balances::Error>()
            .plain::<u128>("TotalIssuance")
            .constant("ExistentialDeposit", EXISTENTIAL_DEPOSIT),
        Pallet::new("TransactionPayment", 21).event::<pallet_transaction_payment::Event>(),
        Pallet::new("TfgridModule", 25)
            .calls::<pallet_tfgrid::Call>()
            .event::<pallet_tfgrid::Event>()
            .error::<pallet_tfgrid::Error>()
            .optional::<u32, Farm>("Farms")
            .map::<Vec<u8>, u32>("FarmIdByName")
            .optional::<u32, Node>("Nodes")
            .map::<u32, u32>("NodeIdByTwinID")
            .optional::<u32, Twin>("Twins")
            .optional::<AccountId32, u32>("TwinIdByAccountID")
            .optional::<AccountId32, Vec<TermsAndConditions>>("UsersTermsAndConditions")
            .plain::<u32>("FarmID")
            .plain::<u32>("NodeID")
            .plain::<u32>("TwinID"),
        contracts,
        Pallet::new("TFTBridgeModule", 27)
            .event::<pallet_tft_bridge::Event>()
            .error::<pallet_tft_bridge::Error>()
            .optional::<Vec<u8>, MintTransaction>("ExecutedMintTransactions")
            .plain::<u64>("DepositFee"),
        Pallet::new("TFTPriceModule", 28)
            .event::<pallet_tft_price::Event>()
            .plain::<u32>("TftPrice")
            .plain::<u32>("AverageTftPrice"),
    ]
}

fn extension<T: TypeInfo + 'static, A: TypeInfo + 'static>(
    identifier: &'static str,
) -> SignedExtensionMetadata {
    SignedExtensionMetadata {
        identifier,
        ty: meta_type::<T>(),
        additional_signed: meta_type::<A>(),
    }
}

/// Metadata in SCALE, as `state_getMetadata` gives it. `block_ms` is what a block takes.
#[must_use]
pub fn encoded(version: Version, block_ms: u64) -> Vec<u8> {
    type Extrinsic = UncheckedExtrinsic<
        MultiAddress<AccountId32, ()>,
        RuntimeCall,
        MultiSignature,
        (
            extensions::CheckMortality,
            extensions::CheckNonce,
            pallet_transaction_payment::ChargeTransactionPayment,
        ),
    >;
    let mut pallets: Vec<PalletMetadata> = pallets(block_ms)
        .into_iter()
        .map(|pallet| pallet.finish(version))
        .collect();
    pallets.sort_by_key(|pallet| pallet.index);
    let extrinsic = ExtrinsicMetadata {
        ty: meta_type::<Extrinsic>(),
        version: 4,
        signed_extensions: vec![
            extension::<extensions::CheckNonZeroSender, ()>("CheckNonZeroSender"),
            extension::<extensions::CheckSpecVersion, u32>("CheckSpecVersion"),
            extension::<extensions::CheckTxVersion, u32>("CheckTxVersion"),
            extension::<extensions::CheckGenesis, H256>("CheckGenesis"),
            extension::<extensions::CheckMortality, H256>("CheckMortality"),
            extension::<extensions::CheckNonce, ()>("CheckNonce"),
            extension::<extensions::CheckWeight, ()>("CheckWeight"),
            extension::<pallet_transaction_payment::ChargeTransactionPayment, ()>(
                "ChargeTransactionPayment",
            ),
        ],
    };
    let mut metadata = RuntimeMetadataV14::new(pallets, extrinsic, meta_type::<Runtime>());
    for portable in &mut metadata.types.types {
        let segments = &mut portable.ty.path.segments;
        // Our modules stand in `sandbox_tfchain::runtime`, the real ones in crates of their own.
        if segments.first().is_some_and(|s| s == "sandbox_tfchain") {
            segments.drain(..2);
        }
        let name = segments.last().cloned().unwrap_or_default();
        let TypeDef::Variant(variants) = &mut portable.ty.type_def else {
            continue;
        };
        if name == "RuntimeCall" || name == "RuntimeEvent" {
            for variant in &mut variants.variants {
                variant.index = version.pallet(variant.index);
            }
        }
        if version.change == Change::Field {
            for variant in &mut variants.variants {
                if variant.name == "create_node_contract" {
                    for field in &mut variant.fields {
                        if field.name.as_deref() == Some("deployment_hash") {
                            field.name = Some("workload_hash".to_owned());
                        }
                    }
                }
            }
        }
    }
    RuntimeMetadataPrefixed(META_RESERVED, RuntimeMetadata::V14(metadata)).encode()
}

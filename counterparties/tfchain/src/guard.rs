//! Compares Gridway's shapes with a node's metadata, by the names and types of fields.
//!
//! The encoder refuses a missing or renamed field; it takes a field too many, or a wider integer,
//! without a word. So before anything is signed for a version of the runtime, all shapes are
//! compared with its metadata.

use crate::shapes::{
    Accepted, AccountInfo, BatchAll, CancelContract, Contract, ContractBilled, ContractCreated,
    ContractGracePeriodEnded, ContractGracePeriodStarted, ContractUpdated, CreateNameContract,
    CreateNodeContract, CreateRentContract, CreateTwin, EncodedCall, ForceBatch, MintCompleted,
    NameContractCanceled, Named, Node, NodeContractCanceled, RefundTransactionProcessed,
    RentContractCanceled, TransferKeepAlive, TwinStored, UpdateNodeContract, UserAcceptTc,
};
use scale_info::form::PortableForm;
use scale_info::{
    Field, MetaType, PortableRegistry, Registry, TypeDef, TypeInfo, Variant, meta_type,
};
use std::collections::BTreeSet;
use subxt::Metadata;
use subxt::utils::AccountId32;

/// What a transaction carries besides its call, as far as it is known how to fill it.
const EXTENSIONS: [&str; 9] = [
    "CheckNonZeroSender",
    "CheckSpecVersion",
    "CheckTxVersion",
    "CheckGenesis",
    "CheckMortality",
    "CheckNonce",
    "CheckWeight",
    "ChargeTransactionPayment",
    "CheckMetadataHash",
];

/// Which way values go.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// From us: both must have the same fields.
    Out,
    /// To us: we may leave fields out, and must know every variant.
    In,
}

/// Where metadata and shapes differ; empty when everything is as expected.
#[must_use]
pub fn differences(metadata: &Metadata) -> Vec<String> {
    let mut found = Vec::new();
    calls(metadata, &mut found);
    events(metadata, &mut found);
    storage(metadata, &mut found);
    if !metadata.extrinsic().supported_versions().contains(&4) {
        found.push("transactions of format 4 are not taken".to_owned());
    }
    for extension in metadata
        .extrinsic()
        .transaction_extensions_to_use_for_encoding()
    {
        let name = extension.identifier();
        if !EXTENSIONS.contains(&name) {
            found.push(format!("transaction extension {name}: unknown"));
        }
    }
    found
}

fn call<T: Named + TypeInfo + 'static>() -> (&'static str, &'static str, MetaType) {
    (T::PALLET, T::NAME, meta_type::<T>())
}

fn calls(metadata: &Metadata, found: &mut Vec<String>) {
    let shapes = [
        call::<TransferKeepAlive>(),
        call::<UserAcceptTc>(),
        call::<CreateTwin>(),
        call::<CreateNodeContract>(),
        call::<UpdateNodeContract>(),
        call::<CancelContract>(),
        call::<CreateNameContract>(),
        call::<CreateRentContract>(),
        call::<BatchAll>(),
        call::<ForceBatch>(),
    ];
    for (pallet, name, shape) in shapes {
        let variant = metadata
            .pallet_by_name(pallet)
            .and_then(|p| p.call_variant_by_name(name));
        compare(metadata, pallet, name, variant, &shape, Way::Out, found);
    }
}

fn events(metadata: &Metadata, found: &mut Vec<String>) {
    let shapes = [
        call::<MintCompleted>(),
        call::<RefundTransactionProcessed>(),
        call::<TwinStored>(),
        call::<ContractCreated>(),
        call::<ContractUpdated>(),
        call::<NodeContractCanceled>(),
        call::<NameContractCanceled>(),
        call::<RentContractCanceled>(),
        call::<ContractBilled>(),
        call::<ContractGracePeriodStarted>(),
        call::<ContractGracePeriodEnded>(),
    ];
    for (pallet, name, shape) in shapes {
        let variant = metadata
            .pallet_by_name(pallet)
            .and_then(|p| p.event_variants())
            .and_then(|variants| variants.iter().find(|v| v.name == name));
        compare(metadata, pallet, name, variant, &shape, Way::In, found);
    }
}

fn compare(
    metadata: &Metadata,
    pallet: &str,
    name: &str,
    variant: Option<&Variant<PortableForm>>,
    shape: &MetaType,
    way: Way,
    found: &mut Vec<String>,
) {
    let path = format!("{pallet}.{name}");
    let Some(variant) = variant else {
        found.push(format!("{path}: is not there"));
        return;
    };
    let (registry, id) = portable(shape);
    let mut walk = Walk {
        ours: &registry,
        theirs: metadata.types(),
        calls: metadata.outer_enums().call_enum_ty(),
        way,
        seen: BTreeSet::new(),
        found,
    };
    let fields = registry.resolve(id).map(|ty| match &ty.type_def {
        TypeDef::Composite(composite) => composite.fields.as_slice(),
        _ => &[],
    });
    walk.fields(&path, fields.unwrap_or_default(), &variant.fields);
}

fn portable(shape: &MetaType) -> (PortableRegistry, u32) {
    let mut registry = Registry::new();
    let id = registry.register_type(shape).id;
    (registry.into(), id)
}

fn storage(metadata: &Metadata, found: &mut Vec<String>) {
    let account = || meta_type::<AccountId32>();
    let contracts = "SmartContractModule";
    let entries: [(&str, &str, Vec<MetaType>, MetaType); 11] = [
        (
            "System",
            "Account",
            vec![account()],
            meta_type::<AccountInfo>(),
        ),
        ("Timestamp", "Now", vec![], meta_type::<u64>()),
        (
            "TfgridModule",
            "TwinIdByAccountID",
            vec![account()],
            meta_type::<u32>(),
        ),
        (
            "TfgridModule",
            "UsersTermsAndConditions",
            vec![account()],
            meta_type::<Vec<Accepted>>(),
        ),
        (
            "TfgridModule",
            "Nodes",
            vec![meta_type::<u32>()],
            meta_type::<Node>(),
        ),
        (
            contracts,
            "Contracts",
            vec![meta_type::<u64>()],
            meta_type::<Contract>(),
        ),
        (
            contracts,
            "ContractIDByNodeIDAndHash",
            vec![meta_type::<u32>(), meta_type::<[u8; 32]>()],
            meta_type::<u64>(),
        ),
        (
            contracts,
            "ContractIDByNameRegistration",
            vec![meta_type::<Vec<u8>>()],
            meta_type::<u64>(),
        ),
        (
            contracts,
            "ActiveRentContractForNode",
            vec![meta_type::<u32>()],
            meta_type::<u64>(),
        ),
        ("TFTBridgeModule", "DepositFee", vec![], meta_type::<u64>()),
        ("System", "Number", vec![], meta_type::<u32>()),
    ];
    for (pallet, name, keys, value) in entries {
        let path = format!("{pallet}.{name}");
        let entry = metadata
            .pallet_by_name(pallet)
            .and_then(|p| p.storage())
            .and_then(|s| s.entry_by_name(name));
        let Some(entry) = entry else {
            found.push(format!("{path}: is not there"));
            continue;
        };
        let mut walk = |shape: &MetaType, id: u32, way: Way, path: &str| {
            let (registry, ours) = portable(shape);
            Walk {
                ours: &registry,
                theirs: metadata.types(),
                calls: metadata.outer_enums().call_enum_ty(),
                way,
                seen: BTreeSet::new(),
                found,
            }
            .types(path, ours, id);
        };
        if entry.keys().len() != keys.len() {
            found.push(format!("{path}: has another number of keys"));
            continue;
        }
        for (shape, key) in keys.iter().zip(entry.keys()) {
            walk(shape, key.key_id, Way::Out, &format!("{path} (key)"));
        }
        walk(&value, entry.value_ty(), Way::In, &path);
    }
}

struct Walk<'a> {
    ours: &'a PortableRegistry,
    theirs: &'a PortableRegistry,
    /// Their outer enum of calls.
    calls: u32,
    way: Way,
    seen: BTreeSet<(u32, u32)>,
    found: &'a mut Vec<String>,
}

/// What a type is once newtypes around it are taken off.
fn inner(registry: &PortableRegistry, mut id: u32) -> Option<(u32, &TypeDef<PortableForm>)> {
    loop {
        let ty = registry.resolve(id)?;
        id = match &ty.type_def {
            TypeDef::Composite(composite) => match composite.fields.as_slice() {
                [field] if field.name.is_none() => field.ty.id,
                _ => return Some((id, &ty.type_def)),
            },
            TypeDef::Tuple(tuple) if tuple.fields.len() == 1 => tuple.fields.first()?.id,
            TypeDef::Compact(compact) => compact.type_param.id,
            _ => return Some((id, &ty.type_def)),
        };
    }
}

/// Whether this is our stand-in for the outer enum of calls.
fn is_call(registry: &PortableRegistry, id: u32) -> bool {
    registry
        .resolve(id)
        .is_some_and(|ty| ty.path.segments == ["RuntimeCall"])
}

fn kind(def: &TypeDef<PortableForm>) -> &'static str {
    match def {
        TypeDef::Composite(_) => "a struct",
        TypeDef::Variant(_) => "an enum",
        TypeDef::Sequence(_) => "a list",
        TypeDef::Array(_) => "an array",
        TypeDef::Tuple(_) => "a tuple",
        TypeDef::Primitive(_) => "a primitive",
        TypeDef::Compact(_) => "a compact number",
        TypeDef::BitSequence(_) => "bits",
    }
}

impl Walk<'_> {
    fn differs(&mut self, path: &str, what: &str) {
        self.found.push(format!("{path}: {what}"));
    }

    fn types(&mut self, path: &str, ours: u32, theirs: u32) {
        if is_call(self.ours, ours) && theirs == self.calls {
            return;
        }
        let (Some((ours, mine)), Some((theirs, other))) =
            (inner(self.ours, ours), inner(self.theirs, theirs))
        else {
            self.differs(path, "has a type that is not told");
            return;
        };
        if !self.seen.insert((ours, theirs)) {
            return;
        }
        match (mine, other) {
            (TypeDef::Primitive(a), TypeDef::Primitive(b)) => {
                if a != b {
                    self.differs(path, &format!("is {b:?}, not {a:?}"));
                }
            }
            (TypeDef::Sequence(a), TypeDef::Sequence(b)) => {
                self.types(&format!("{path}[]"), a.type_param.id, b.type_param.id);
            }
            (TypeDef::Array(a), TypeDef::Array(b)) => {
                if a.len != b.len {
                    self.differs(path, &format!("has {} items, not {}", b.len, a.len));
                }
                self.types(&format!("{path}[]"), a.type_param.id, b.type_param.id);
            }
            (TypeDef::Tuple(a), TypeDef::Tuple(b)) => {
                if a.fields.len() != b.fields.len() {
                    self.differs(path, "has another number of parts");
                }
                for (i, (a, b)) in a.fields.iter().zip(&b.fields).enumerate() {
                    self.types(&format!("{path}.{i}"), a.id, b.id);
                }
            }
            (TypeDef::Composite(a), TypeDef::Composite(b)) => {
                self.fields(path, &a.fields, &b.fields);
            }
            (TypeDef::Variant(a), TypeDef::Variant(b)) => {
                self.variants(path, &a.variants, &b.variants);
            }
            (a, b) => self.differs(path, &format!("is {}, not {}", kind(b), kind(a))),
        }
    }

    fn fields(&mut self, path: &str, ours: &[Field<PortableForm>], theirs: &[Field<PortableForm>]) {
        let named = |fields: &[Field<PortableForm>]| fields.iter().all(|f| f.name.is_some());
        if ours.is_empty() || !named(ours) || !named(theirs) {
            if ours.len() != theirs.len() {
                let count = theirs.len();
                self.differs(path, &format!("has {count} fields, not {}", ours.len()));
            }
            for (i, (a, b)) in ours.iter().zip(theirs).enumerate() {
                self.types(&format!("{path}.{i}"), a.ty.id, b.ty.id);
            }
            return;
        }
        for a in ours {
            let name = a.name.as_deref().unwrap_or_default();
            let at = format!("{path}.{name}");
            match theirs.iter().find(|b| b.name == a.name) {
                Some(b) => self.types(&at, a.ty.id, b.ty.id),
                None => self.differs(&at, "is not there"),
            }
        }
        if self.way == Way::Out {
            for b in theirs {
                if !ours.iter().any(|a| a.name == b.name) {
                    let name = b.name.as_deref().unwrap_or_default();
                    self.differs(&format!("{path}.{name}"), "is not known");
                }
            }
        }
    }

    fn variants(
        &mut self,
        path: &str,
        ours: &[Variant<PortableForm>],
        theirs: &[Variant<PortableForm>],
    ) {
        for a in ours {
            let at = format!("{path}::{}", a.name);
            match theirs.iter().find(|b| b.name == a.name) {
                Some(b) => self.fields(&at, &a.fields, &b.fields),
                // What they never send need not be there.
                None if self.way == Way::In => {}
                None => self.differs(&at, "is not there"),
            }
        }
        if self.way == Way::In {
            for b in theirs {
                if !ours.iter().any(|a| a.name == b.name) {
                    self.differs(&format!("{path}::{}", b.name), "is not known");
                }
            }
        }
    }
}

/// Metadata from its SCALE bytes.
///
/// # Errors
/// When they are none.
pub fn read_metadata(bytes: &[u8]) -> Result<Metadata, String> {
    Metadata::decode_from(bytes).map_err(|e| e.to_string())
}

/// A call as it is encoded for the runtime of this metadata, pallet and call index first.
///
/// # Errors
/// When the metadata has no such call, or one with other fields.
pub fn call_data<C: crate::shapes::Named + subxt::ext::scale_encode::EncodeAsFields>(
    metadata: &Metadata,
    call: &C,
) -> Result<EncodedCall, String> {
    subxt::ext::frame_decode::extrinsics::encode_call_data(
        C::PALLET,
        C::NAME,
        call,
        metadata,
        metadata.types(),
    )
    .map(EncodedCall)
    .map_err(|e| e.to_string())
}

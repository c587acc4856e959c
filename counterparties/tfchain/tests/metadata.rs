//! Our shapes against the metadata of a real runtime, which is no part of this repository.

#![expect(clippy::unwrap_used, reason = "tests")]

use counterparties_tfchain::guard::{call_data, differences, read_metadata};
use counterparties_tfchain::shapes::{CancelContract, CreateNameContract};
use std::path::Path;

/// Metadata of spec 125, if it lies beside the checkout.
fn spec_125() -> Option<Vec<u8>> {
    let crate_folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let checkout = crate_folder.parent()?.parent()?;
    let found = checkout.ancestors().skip(1).take(2).find_map(|folder| {
        std::fs::read(folder.join("shared/tfchain/metadata-spec125.scale")).ok()
    });
    if found.is_none() {
        eprintln!("not compared: ../shared/tfchain is not beside the checkout");
    }
    found
}

#[test]
fn an_older_runtime_differs_where_it_is_known_to() {
    let Some(bytes) = spec_125() else {
        return;
    };
    let metadata = read_metadata(&bytes).unwrap();
    // There the event told of the mint alone, without the deposit's hash.
    assert_eq!(
        differences(&metadata),
        ["TFTBridgeModule.MintCompleted: has 1 fields, not 2"]
    );
}

#[test]
fn calls_are_encoded_by_name() {
    let Some(bytes) = spec_125() else {
        return;
    };
    let metadata = read_metadata(&bytes).unwrap();
    // Pallet 12 and call 2, then 9 in 64 bits.
    let cancel = call_data(&metadata, &CancelContract { contract_id: 9 }).unwrap();
    assert_eq!(hex::encode(cancel.0), "0c020900000000000000");
    let name = b"ab".to_vec();
    let named = call_data(&metadata, &CreateNameContract { name }).unwrap();
    assert_eq!(hex::encode(named.0), "0c04086162");
}

#[test]
fn what_is_no_metadata_is_refused() {
    assert!(read_metadata(b"no metadata").is_err());
}

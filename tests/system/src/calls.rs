//! Every call that is sent to TFChain, as our shapes encode it from the metadata of a runtime.

use anyhow::{Context, Result, anyhow};
use counterparties_tfchain::AccountId32;
use counterparties_tfchain::guard::{call_data, read_metadata};
use counterparties_tfchain::shapes::{
    BatchAll, CancelContract, CreateNameContract, CreateNodeContract, CreateRentContract,
    CreateTwin, Destination, EncodedCall, ForceBatch, Named, TransferKeepAlive, UpdateNodeContract,
    UserAcceptTc,
};
use serde_json::{Value, json};
use std::path::Path;

/// Prints a JSON list: pallet, name, arguments as `@polkadot/api` takes them, and our bytes.
///
/// # Errors
/// When the metadata cannot be read or lacks a call.
pub fn run(metadata: &Path) -> Result<()> {
    let bytes = std::fs::read(metadata).with_context(|| metadata.display().to_string())?;
    let metadata = read_metadata(&bytes).map_err(|e| anyhow!(e))?;
    let mut calls = Vec::new();
    let mut add =
        |pallet: &str, name: &str, arguments: Value, encoded: Result<EncodedCall, String>| {
            let encoded = encoded.map_err(|e| anyhow!("{pallet}.{name}: {e}"))?;
            calls.push(json!({
                "pallet": pallet, "name": name, "arguments": arguments,
                "bytes": format!("0x{}", hex::encode(&encoded.0)),
            }));
            Ok::<_, anyhow::Error>(())
        };
    macro_rules! call {
        ($call:expr, $arguments:tt) => {{
            let call = $call;
            let encoded = call_data(&metadata, &call);
            add(pallet(&call), name(&call), json!($arguments), encoded)?;
        }};
    }
    let account = AccountId32([7; 32]);
    let hash = [0xa5; 32];
    let hash_text = format!("0x{}", hex::encode(hash));
    for value in [1_u128, 10_000_000, u128::from(u64::MAX)] {
        let dest = Destination::Id(account);
        call!(
            TransferKeepAlive { dest, value },
            [account.to_string(), value.to_string()]
        );
    }
    call!(
        UserAcceptTc {
            document_link: b"http://zos.tf/terms/v0.1".to_vec(),
            document_hash: b"9021d4dee05a661e2cb6838152c67f25".to_vec(),
        },
        [
            "http://zos.tf/terms/v0.1",
            "9021d4dee05a661e2cb6838152c67f25"
        ]
    );
    call!(
        CreateTwin {
            relay: None,
            pk: None
        },
        [null, null]
    );
    call!(
        CreateTwin {
            relay: Some(b"relay.grid.tf".to_vec()),
            pk: None
        },
        ["relay.grid.tf", null]
    );
    for (data, provider) in [("{}".to_owned(), None), ("x".repeat(512), Some(3_u64))] {
        let node = CreateNodeContract {
            node_id: 4_711,
            deployment_hash: hash,
            deployment_data: data.clone().into_bytes(),
            public_ips: 2,
            solution_provider_id: provider,
        };
        call!(node, [4_711, hash_text, data, 2, provider]);
    }
    call!(
        UpdateNodeContract {
            contract_id: 1 << 40,
            deployment_hash: hash,
            deployment_data: b"another".to_vec(),
        },
        [(1_u64 << 40), hash_text, "another"]
    );
    call!(CancelContract { contract_id: 9 }, [9]);
    call!(
        CreateNameContract {
            name: b"a-name".to_vec()
        },
        ["a-name"]
    );
    call!(
        CreateRentContract {
            node_id: 5,
            solution_provider_id: None
        },
        [5, null]
    );
    let names = ["one", "two"].map(|name| CreateNameContract {
        name: name.as_bytes().to_vec(),
    });
    let encoded: Result<Vec<EncodedCall>, String> = names
        .iter()
        .map(|call| call_data(&metadata, call))
        .collect();
    let inner = ["one", "two"].map(|name| {
        json!({"pallet": "SmartContractModule", "name": "create_name_contract", "arguments": [name]})
    });
    let encoded = encoded.map_err(|e| anyhow!(e))?;
    call!(
        BatchAll {
            calls: encoded.clone()
        },
        [inner]
    );
    call!(ForceBatch { calls: encoded }, [inner]);
    println!("{}", Value::Array(calls));
    Ok(())
}

fn pallet<C: Named>(_: &C) -> &'static str {
    C::PALLET
}

fn name<C: Named>(_: &C) -> &'static str {
    C::NAME
}

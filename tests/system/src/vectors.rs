//! What our signing code signs for fixed inputs, with what it should say: for other libraries to
//! decode, hash and verify (`tests/stellar-sdk`).
//!
//! The transactions of records are taken from the hands themselves, on a network that only
//! writes down what it is sent.

use anyhow::{Context, Result};
use async_trait::async_trait;
use counterparties_stellar::{
    AccountId, AccountView, AssetId, BalanceId, LandedTransaction, LaneKey, LaneMemo, LaneName,
    LaneOperation, LanePlan, LaneSeed, PathAsset, Payment, PaymentsPage, QuoteError, ReadError,
    SecretKey, SetupOperation, SignedTransaction, Stellar, StrictReceiveQuote, TransactionView,
    base, fee_bump, lane_index, sign, sign_setup,
};
use events::envelope::{Envelope, Record};
use events::ids::{EventId, PurchaseId, TwinId};
use events::lanes::LanesOpened;
use events::money::{Amount, Tft, Usdc};
use events::outcome::{Attempt, Find};
use events::purchases::{HandoffRequested, PurchaseEvent, SwapRequested};
use events::time::Timestamp;
use pipeline::{Executor, Job, Owner};
use processor_handoffs::Handoffs;
use processor_lanes::{Lanes, Treasury};
use processor_swaps::Swaps;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::sync::{Arc, Mutex, PoisonError};

const PASSPHRASE: &str = "Test SDF Network ; September 2015";
const EPOCH: u32 = (1 << 18) + 7;
const DEADLINE: i64 = 1_900_000_000;
const LANES: u16 = 4;

/// A network that writes down what it is sent, and nothing else.
#[derive(Default)]
struct Recorder(Mutex<Vec<SignedTransaction>>);

impl Recorder {
    fn last(&self) -> Option<SignedTransaction> {
        let mut sent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sent.pop()
    }
}

fn nothing<T>() -> Result<T, ReadError> {
    Err(ReadError::Unreachable("this network only listens".into()))
}

#[async_trait]
impl Stellar for Recorder {
    async fn submit(&self, transaction: &SignedTransaction) -> Attempt<LandedTransaction> {
        let mut sent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sent.push(transaction.clone());
        Attempt::Unknown("written down".to_owned())
    }

    async fn find(&self, _: &SignedTransaction) -> Find<LandedTransaction> {
        Find::Absent
    }

    async fn quote_strict_receive(
        &self,
        _: &AssetId,
        _: &AssetId,
        _: Amount<Tft>,
    ) -> Result<StrictReceiveQuote, QuoteError> {
        Err(QuoteError::NoPath)
    }

    async fn account(&self, _: &AccountId) -> Result<Option<AccountView>, ReadError> {
        nothing()
    }

    async fn transaction(&self, _: &str) -> Result<Option<TransactionView>, ReadError> {
        nothing()
    }

    async fn latest_ledger(&self) -> Result<(u32, Timestamp), ReadError> {
        nothing()
    }

    async fn payments_after(
        &self,
        _: &AccountId,
        _: Option<&str>,
        _: u8,
    ) -> Result<PaymentsPage, ReadError> {
        nothing()
    }
}

/// Keys, assets and the hands' treasury.
struct Scene {
    network: Arc<Recorder>,
    treasury: Arc<Treasury>,
    bridge: AccountId,
}

impl Scene {
    fn new() -> Result<Self> {
        let network = Arc::new(Recorder::default());
        let issuer = SecretKey::from_seed(&[9; 32]).account();
        let asset = |code: &str| AssetId {
            code: code.to_owned(),
            issuer: issuer.clone(),
        };
        let treasury = Arc::new(Treasury {
            stellar: network.clone(),
            passphrase: PASSPHRASE.to_owned(),
            key: SecretKey::from_seed(&[1; 32]),
            seed: "22".repeat(32).parse::<LaneSeed>()?,
            cluster: "vectors".to_owned(),
            usdc: asset("USDC"),
            tft: asset("TFT"),
        });
        let bridge = SecretKey::from_seed(&[3; 32]).account();
        Ok(Self {
            network,
            treasury,
            bridge,
        })
    }

    fn lane(&self, executor: &str, index: u16) -> Result<LaneKey> {
        let name = LaneName {
            cluster: &self.treasury.cluster,
            executor,
            topic: "purchases",
            partition: 3,
            epoch: EPOCH,
            index,
        };
        Ok(self.treasury.seed.derive(name)?)
    }

    /// The transaction that a hand sends for a request at `offset`, with its lane's account.
    async fn sent<X>(
        &self,
        hand: &X,
        offset: i64,
        event: PurchaseEvent,
    ) -> Result<(SignedTransaction, AccountId, EventId)>
    where
        X: Executor<Event = PurchaseEvent>,
        X::Context: AsRef<Lanes>,
    {
        let mut context = X::Context::default();
        let accounts = (0..LANES)
            .map(|index| Ok(self.lane(X::NAME, index)?.account().to_string()))
            .collect::<Result<Vec<_>>>()?;
        let opened = LanesOpened {
            executor: X::NAME.to_owned(),
            epoch: i32::try_from(EPOCH)?,
            lanes: i32::from(LANES),
            accounts,
            opened_at: Timestamp::from_seconds(DEADLINE - 1_000),
        };
        hand.observe(&mut context, &record(0, "opening", opened.into()));
        let record = record(offset, X::NAME, event);
        let request = hand
            .request(&record)
            .context("not a request of this hand")?;
        let id = record.id();
        let job = Job {
            record,
            request,
            context,
            owner: Owner::unchecked(),
        };
        hand.attempt(&job).await;
        let signed = self.network.last().context("the hand sent nothing")?;
        let lane = self.lane(X::NAME, lane_index(&id, LANES))?.account();
        Ok((signed, lane, id))
    }
}

fn record(offset: i64, name: &str, event: PurchaseEvent) -> Record<PurchaseEvent> {
    Record {
        partition: 3,
        offset,
        envelope: Envelope {
            id: EventId::derive(&["vector", name, &offset.to_string()]),
            source: "/vectors".to_owned(),
            time: Timestamp::from_seconds(DEADLINE - 120),
            subject: "vectors".to_owned(),
            correlation: None,
            causation: None,
            traceparent: None,
        },
        event,
    }
}

/// A vector: what was signed, and what another library must read in it.
struct Expected<'a> {
    name: &'a str,
    signed: &'a SignedTransaction,
    source: &'a AccountId,
    sequence: i64,
    fee: i64,
    /// Of a lane's transaction.
    min_sequence: Option<i64>,
    memo: Value,
    operations: Value,
    signers: Vec<AccountId>,
}

impl Expected<'_> {
    fn json(self) -> Value {
        json!({
            "name": self.name,
            "passphrase": PASSPHRASE,
            "envelope": self.signed.envelope,
            "hash": self.signed.hash,
            "source": self.source.as_str(),
            "sequence": self.sequence.to_string(),
            "fee": self.fee.to_string(),
            "min_sequence": self.min_sequence.map(|n| n.to_string()),
            "max_time": DEADLINE.to_string(),
            "memo": self.memo,
            "operations": self.operations,
            "signers": self.signers.iter().map(AccountId::as_str).collect::<Vec<_>>(),
            "fee_bump": null,
        })
    }
}

/// The same vector in a fee-bump that `payer` pays.
fn bumped(
    name: &str,
    vector: &Value,
    signed: &SignedTransaction,
    payer: &SecretKey,
    rate: i64,
) -> Result<Value> {
    let bump = fee_bump(signed, payer, rate, PASSPHRASE)?;
    let mut vector = vector.clone();
    vector["name"] = name.into();
    vector["envelope"] = bump.envelope.into();
    vector["fee_bump"] = json!({
        "source": payer.account().as_str(),
        "fee": bump.fee.to_string(),
        "hash": bump.hash,
        "signers": [payer.account().as_str()],
    });
    Ok(vector)
}

fn hash_memo(kind: &str, hash: &[u8; 32]) -> Value {
    json!({ "type": kind, "value": hex::encode(hash) })
}

/// Prints the vectors, a JSON array.
///
/// # Errors
/// When something cannot be signed.
pub async fn run() -> Result<()> {
    let scene = Scene::new()?;
    let mut vectors = records(&scene).await?;
    vectors.extend(openings(&scene)?);
    println!("{}", serde_json::to_string_pretty(&vectors)?);
    Ok(())
}

/// What lanes carry: swaps, hand-offs, a refund.
async fn records(scene: &Scene) -> Result<Vec<Value>> {
    let treasury = &scene.treasury;
    let us = treasury.key.account();
    let base = base(EPOCH)?;
    let fee = i64::from(counterparties_stellar::LANE_FEE);
    let purchase_id = PurchaseId::derive(&["vectors"]);
    let deadline = Timestamp::from_seconds(DEADLINE);
    let mut vectors = Vec::new();

    let through = AssetId {
        code: "ABCDEFGHIJKL".to_owned(),
        issuer: SecretKey::from_seed(&[8; 32]).account(),
    };
    let swaps = Swaps::new(treasury.clone());
    for (name, offset, path) in [
        ("swap, direct", 0, vec![]),
        ("swap, over lumens", 41, vec!["native".to_owned()]),
        (
            "swap, over a code of 12 letters and lumens, at the last offset",
            (1 << 44) - 2,
            vec![through.to_string(), "native".to_owned()],
        ),
    ] {
        let (tft, send_max) = (
            Amount::<Tft>::from_minor(2_510_000_001)?,
            Amount::<Usdc>::from_minor(50_702_001)?,
        );
        let request = SwapRequested {
            purchase_id,
            attempt: 1,
            tft,
            send_max,
            path: path.clone(),
            deadline,
            rest: Amount::ZERO,
        };
        let (signed, lane, id) = scene.sent(&swaps, offset, request.into()).await?;
        let vector = Expected {
            name,
            signed: &signed,
            source: &lane,
            sequence: base + offset + 1,
            fee,
            min_sequence: Some(base),
            memo: hash_memo("hash", &Sha256::digest(id.as_bytes()).into()),
            operations: json!([{
                "type": "path_payment_strict_receive",
                "source": us.as_str(),
                "send_asset": treasury.usdc.to_string(),
                "send_max": send_max.minor().to_string(),
                "destination": us.as_str(),
                "dest_asset": treasury.tft.to_string(),
                "dest_amount": tft.minor().to_string(),
                "path": path,
            }]),
            signers: vec![lane.clone(), us.clone()],
        }
        .json();
        if offset == 41 {
            let name = "swap in a fee-bump";
            vectors.push(bumped(name, &vector, &signed, &treasury.key, 10_000)?);
        }
        vectors.push(vector);
    }

    let handoffs = Handoffs::new(treasury.clone());
    let amount = Amount::<Tft>::from_minor(2_510_000_000)?;
    let request = HandoffRequested {
        purchase_id,
        attempt: 1,
        twin_id: TwinId(4_294_967_295),
        amount,
        bridge: scene.bridge.to_string(),
        deadline,
    };
    let (signed, lane, _) = scene.sent(&handoffs, 77, request.into()).await?;
    let vector = Expected {
        name: "hand-off to the bridge",
        signed: &signed,
        source: &lane,
        sequence: base + 78,
        fee,
        min_sequence: Some(base),
        memo: json!({ "type": "text", "value": "twin_4294967295" }),
        operations: json!([{
            "type": "payment",
            "source": us.as_str(),
            "destination": scene.bridge.as_str(),
            "asset": treasury.tft.to_string(),
            "amount": amount.minor().to_string(),
        }]),
        signers: vec![lane.clone(), us.clone()],
    }
    .json();
    let name = "hand-off in a fee-bump";
    vectors.push(bumped(name, &vector, &signed, &treasury.key, 100_000)?);
    vectors.push(vector);

    let lane = scene.lane("refunds", 0)?;
    let (deposit, sender) = ([0xab; 32], SecretKey::from_seed(&[6; 32]).account());
    let plan = LanePlan {
        lane: lane.clone(),
        base,
        offset: 5,
        deadline: DEADLINE,
        memo: LaneMemo::Return(deposit),
        operation: LaneOperation::Payment {
            destination: sender.clone(),
            asset: PathAsset::Credit(treasury.usdc.clone()),
            amount: 1,
        },
        max_fee: counterparties_stellar::LANE_FEE,
    };
    let signed = sign(&plan, &treasury.key, PASSPHRASE)?;
    let vector = Expected {
        name: "refund of a deposit, one stroop",
        signed: &signed,
        source: &lane.account(),
        sequence: base + 6,
        fee,
        min_sequence: Some(base),
        memo: hash_memo("return", &deposit),
        operations: json!([{
            "type": "payment",
            "source": us.as_str(),
            "destination": sender.as_str(),
            "asset": treasury.usdc.to_string(),
            "amount": "1",
        }]),
        signers: vec![lane.account(), us.clone()],
    };
    vectors.push(vector.json());
    vectors.push(claim(scene)?);
    Ok(vectors)
}

/// The claim of a claimable balance.
fn claim(scene: &Scene) -> Result<Value> {
    let (treasury, us) = (&scene.treasury, scene.treasury.key.account());
    let lane = scene.lane("claims", 0)?;
    let (base, balance) = (base(EPOCH)?, BalanceId([0xcd; 32]));
    let memo = [0xef; 32];
    let plan = LanePlan {
        lane: lane.clone(),
        base,
        offset: 7,
        deadline: DEADLINE,
        memo: LaneMemo::Hash(memo),
        operation: LaneOperation::ClaimBalance { balance },
        max_fee: counterparties_stellar::LANE_FEE,
    };
    let signed = sign(&plan, &treasury.key, PASSPHRASE)?;
    let vector = Expected {
        name: "claim of a claimable balance",
        signed: &signed,
        source: &lane.account(),
        sequence: base + 8,
        fee: i64::from(counterparties_stellar::LANE_FEE),
        min_sequence: Some(base),
        memo: hash_memo("hash", &memo),
        operations: json!([{
            "type": "claim_claimable_balance",
            "source": us.as_str(),
            "balance": balance.to_string(),
        }]),
        signers: vec![lane.account(), us],
    };
    Ok(vector.json())
}

/// What is sent to open lanes and to set a network up.
fn openings(scene: &Scene) -> Result<Vec<Value>> {
    let treasury = &scene.treasury;
    let (key, us) = (&treasury.key, treasury.key.account());
    let base = base(EPOCH)?;
    let lanes = (0..3)
        .map(|index| scene.lane("swaps", index))
        .collect::<Result<Vec<_>>>()?;
    let maker = SecretKey::from_seed(&[4; 32]);
    let bump_signers = std::iter::once(us.clone())
        .chain(lanes.iter().map(LaneKey::account))
        .collect();
    let cases = [
        (
            "lanes are created",
            lanes
                .iter()
                .map(|lane| SetupOperation::CreateAccount {
                    account: lane.account(),
                    balance: 20_000_000,
                })
                .collect(),
            lanes
                .iter()
                .map(|lane| {
                    json!({
                        "type": "create_account",
                        "source": null,
                        "destination": lane.account().as_str(),
                        "starting_balance": "20000000",
                    })
                })
                .collect(),
            vec![us.clone()],
        ),
        (
            "lanes are bumped to their base",
            lanes.iter().map(|lane| lane.bump_to(base)).collect(),
            lanes
                .iter()
                .map(|lane| {
                    json!({
                        "type": "bump_sequence",
                        "source": lane.account().as_str(),
                        "bump_to": base.to_string(),
                    })
                })
                .collect(),
            bump_signers,
        ),
        (
            "a market is made",
            vec![
                SetupOperation::Trust {
                    account: maker.clone(),
                    asset: treasury.tft.clone(),
                },
                SetupOperation::Pay(Payment {
                    from: key.clone(),
                    to: maker.account(),
                    asset: treasury.tft.clone(),
                    amount: 10_000_000_001,
                }),
                SetupOperation::Sell {
                    offer: 0,
                    account: maker.clone(),
                    selling: treasury.tft.clone(),
                    buying: treasury.usdc.clone(),
                    amount: 9_999_999_999,
                    price: (202, 10_000),
                },
            ],
            vec![
                json!({
                    "type": "change_trust",
                    "source": maker.account().as_str(),
                    "asset": treasury.tft.to_string(),
                    "limit": i64::MAX.to_string(),
                }),
                json!({
                    "type": "payment",
                    "source": us.as_str(),
                    "destination": maker.account().as_str(),
                    "asset": treasury.tft.to_string(),
                    "amount": "10000000001",
                }),
                json!({
                    "type": "manage_sell_offer",
                    "source": maker.account().as_str(),
                    "selling": treasury.tft.to_string(),
                    "buying": treasury.usdc.to_string(),
                    "amount": "9999999999",
                    "price": "202/10000",
                    "offer_id": "0",
                }),
            ],
            vec![us.clone(), maker.account()],
        ),
    ];
    let mut vectors = Vec::new();
    for (name, operations, expected, signers) in cases {
        let operations: Vec<SetupOperation> = operations;
        let expected: Vec<Value> = expected;
        let signed = sign_setup(key, 12_345, &operations, DEADLINE, PASSPHRASE)?;
        let vector = Expected {
            name,
            signed: &signed,
            source: &us,
            sequence: 12_345,
            fee: 1_000 * i64::try_from(operations.len())?,
            min_sequence: None,
            memo: json!({ "type": "none", "value": null }),
            operations: expected.into(),
            signers,
        }
        .json();
        if name == "lanes are bumped to their base" {
            let name = "an opening in a fee-bump";
            vectors.push(bumped(name, &vector, &signed, key, 10_000)?);
        }
        vectors.push(vector);
    }
    Ok(vectors)
}

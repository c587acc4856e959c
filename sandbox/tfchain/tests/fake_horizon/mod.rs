//! As much of Horizon as the bridge uses: an account's transactions, a stream that wakes, and
//! submission.

#![allow(dead_code, reason = "each test file uses its own part")]

use axum::body::Body;
use axum::extract::{Form, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine;
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;
use stellar_base::amount::Stroops;
use stellar_base::asset::Asset;
use stellar_base::crypto::DalekKeyPair;
use stellar_base::memo::Memo;
use stellar_base::network::Network;
use stellar_base::operations::Operation;
use stellar_base::transaction::{MIN_BASE_FEE, Transaction, TransactionEnvelope};
use stellar_base::xdr::{XDRDeserialize, XDRSerialize};
use tokio::sync::watch;

/// A transaction to land.
#[derive(Clone)]
pub struct Payment {
    amount: i64,
    memo: Memo,
    other_operation: bool,
    other_issuer: bool,
    failed: bool,
    times: usize,
}

impl Payment {
    pub fn tft(amount: i64) -> Self {
        let memo = Memo::new_none();
        Self {
            amount,
            memo,
            other_operation: false,
            other_issuer: false,
            failed: false,
            times: 1,
        }
    }
    pub fn memo_text(mut self, text: &str) -> Self {
        self.memo = Memo::new_text(text).unwrap();
        self
    }
    pub fn memo_id(mut self, id: u64) -> Self {
        self.memo = Memo::new_id(id);
        self
    }
    pub fn memo_return(mut self, hash: [u8; 32]) -> Self {
        self.memo = Memo::new_return(&hash).unwrap();
        self
    }
    pub fn with_another_operation(mut self) -> Self {
        self.other_operation = true;
        self
    }
    pub fn of_another_issuer(mut self) -> Self {
        self.other_issuer = true;
        self
    }
    pub fn failed(mut self) -> Self {
        self.failed = true;
        self
    }
    pub fn twice(mut self) -> Self {
        self.times = 2;
        self
    }
}

/// A refund that the bridge paid.
#[derive(Clone)]
pub struct Paid {
    pub return_hash: [u8; 32],
    pub amount: i64,
    pub to: [u8; 32],
}

struct Inner {
    records: Vec<Value>,
    paid: Vec<Paid>,
    sequence: i64,
    lose: u32,
}

pub struct FakeHorizon {
    pub url: String,
    pub bridge: DalekKeyPair,
    pub sender: DalekKeyPair,
    issuer: DalekKeyPair,
    inner: Shared,
}

#[derive(Clone)]
struct Shared(Arc<Mutex<Inner>>, watch::Sender<usize>);

fn network() -> Network {
    Network::new("a test network".to_owned())
}

fn memo_json(memo: &Memo) -> (&'static str, Option<String>) {
    let base64 = |bytes: &[u8]| base64::prelude::BASE64_STANDARD.encode(bytes);
    match memo {
        Memo::None => ("none", None),
        Memo::Text(text) => ("text", Some(text.clone())),
        Memo::Id(id) => ("id", Some(id.to_string())),
        Memo::Hash(hash) => ("hash", Some(base64(hash))),
        Memo::Return(hash) => ("return", Some(base64(hash))),
    }
}

impl Shared {
    fn push(&self, transaction: &Transaction, successful: bool) -> String {
        let hash = hex::encode(transaction.hash(&network()).unwrap());
        let (memo_type, memo) = memo_json(transaction.memo());
        let mut record = json!({
            "hash": hash,
            "successful": successful,
            "memo_type": memo_type,
            "envelope_xdr": transaction.clone().into_envelope().xdr_base64().unwrap(),
            "source_account_sequence": transaction.sequence().to_string(),
        });
        if let Some(memo) = memo {
            record["memo"] = memo.into();
        }
        self.push_record(record);
        hash
    }

    fn push_record(&self, mut record: Value) {
        let mut inner = self.0.lock();
        record["paging_token"] = (inner.records.len() + 1).to_string().into();
        inner.records.push(record);
        self.1.send_modify(|n| *n += 1);
    }
}

impl FakeHorizon {
    pub async fn start() -> Self {
        let inner = Inner {
            records: Vec::new(),
            paid: Vec::new(),
            sequence: 41,
            lose: 0,
        };
        let shared = Shared(Arc::new(Mutex::new(inner)), watch::Sender::new(0));
        let router = Router::new()
            .route(
                "/accounts/{id}",
                get(|State(s): State<Shared>| async move {
                    Json(json!({"sequence": s.0.lock().sequence.to_string()}))
                }),
            )
            .route("/accounts/{id}/transactions", get(transactions))
            .route("/accounts/{id}/payments", get(stream))
            .route("/transactions", post(submit))
            .with_state(shared.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        let key = || DalekKeyPair::random().unwrap();
        Self {
            url,
            bridge: key(),
            sender: key(),
            issuer: key(),
            inner: shared,
        }
    }

    pub fn tft(&self) -> String {
        format!("TFT:{}", self.issuer.public_key().account_id())
    }

    /// Lands a transaction; its hash.
    pub fn land(&self, payment: Payment) -> String {
        let issuer = if payment.other_issuer {
            &self.sender
        } else {
            &self.issuer
        };
        let pay = || {
            Operation::new_payment()
                .with_destination(self.bridge.public_key())
                .with_amount(Stroops::new(payment.amount))
                .unwrap()
                .with_asset(Asset::new_credit("TFT", issuer.public_key()).unwrap())
                .build()
                .unwrap()
        };
        let sequence = i64::try_from(self.inner.0.lock().records.len()).unwrap();
        let mut builder =
            Transaction::builder(self.sender.public_key(), 1_000 + sequence, MIN_BASE_FEE);
        for _ in 0..payment.times {
            builder = builder.add_operation(pay());
        }
        if payment.other_operation {
            builder = builder.add_operation(
                Operation::new_bump_sequence()
                    .with_bump_to(9)
                    .build()
                    .unwrap(),
            );
        }
        let mut transaction = builder.with_memo(payment.memo).into_transaction().unwrap();
        transaction.sign(self.sender.as_ref(), &network()).unwrap();
        self.inner.push(&transaction, !payment.failed)
    }

    /// Lands two records that no reader of today understands.
    pub fn land_unreadable(&self) {
        self.inner.push_record(
            json!({"hash": "00", "successful": true, "memo_type": "none", "envelope_xdr": "AAAA"}),
        );
        self.inner.push_record(json!({"something": "new"}));
    }

    pub fn lose_answers(&self, count: u32) {
        self.inner.0.lock().lose = count;
    }

    pub fn paid(&self) -> Vec<Paid> {
        self.inner.0.lock().paid.clone()
    }
}

async fn transactions(
    State(shared): State<Shared>,
    Query(query): Query<HashMap<String, String>>,
) -> Json<Value> {
    let inner = shared.0.lock();
    let limit: usize = query["limit"].parse().unwrap();
    let records: Vec<Value> = if query["order"] == "desc" {
        inner.records.iter().rev().take(limit).cloned().collect()
    } else {
        inner
            .records
            .iter()
            .skip(query["cursor"].parse().unwrap())
            .take(limit)
            .cloned()
            .collect()
    };
    Json(json!({"_embedded": {"records": records}}))
}

/// Ends after a few events, as Horizon's streams do.
async fn stream(State(shared): State<Shared>) -> Response {
    let events =
        futures::stream::unfold((shared.1.subscribe(), 0), |(mut news, sent)| async move {
            if sent == 3 {
                return None;
            }
            if sent > 0 {
                news.changed().await.ok()?;
            }
            let text = if sent == 0 {
                "retry: 1000\ndata: \"hello\"\n\n"
            } else {
                "id: 1\ndata: {}\n\n"
            };
            Some((Ok::<_, std::io::Error>(text), (news, sent + 1)))
        });
    (
        [("content-type", "text/event-stream")],
        Body::from_stream(events),
    )
        .into_response()
}

async fn submit(
    State(shared): State<Shared>,
    Form(form): Form<HashMap<String, String>>,
) -> Response {
    let envelope = TransactionEnvelope::from_xdr_base64(&form["tx"]).unwrap();
    let transaction = envelope.as_transaction().unwrap().clone();
    let payment = match &transaction.operations()[..] {
        [Operation::Payment(payment)] => payment.clone(),
        other => panic!("not one payment: {other:?}"),
    };
    {
        let mut inner = shared.0.lock();
        if *transaction.sequence() != inner.sequence + 1 {
            return (StatusCode::BAD_REQUEST, "tx_bad_seq").into_response();
        }
        inner.sequence += 1;
        let to = match payment.destination() {
            stellar_base::crypto::MuxedAccount::Ed25519(key) => key.0,
            other => panic!("muxed: {other:?}"),
        };
        let return_hash = *transaction.memo().as_return().unwrap();
        inner.paid.push(Paid {
            return_hash,
            amount: payment.amount().to_i64(),
            to,
        });
    }
    let hash = shared.push(&transaction, true);
    let mut inner = shared.0.lock();
    if inner.lose > 0 {
        inner.lose -= 1;
        return (StatusCode::GATEWAY_TIMEOUT, "an answer lost on purpose").into_response();
    }
    Json(json!({"hash": hash, "successful": true})).into_response()
}

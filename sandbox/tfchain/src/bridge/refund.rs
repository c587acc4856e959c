//! Paying deposits back on Stellar, each once: the memo `return` with the deposit's hash tells
//! whether it was done.

use super::Bridge;
use base64::Engine;
use base64::prelude::BASE64_STANDARD as BASE64;
use serde::Deserialize;
use std::time::Duration;
use stellar_base::amount::Stroops;
use stellar_base::crypto::PublicKey;
use stellar_base::memo::Memo;
use stellar_base::operations::Operation;
use stellar_base::transaction::Transaction;
use stellar_base::xdr::XDRSerialize;
use tokio::sync::mpsc;

/// As the real bridge: a thousand times the least fee.
const FEE_STROOPS: i64 = 100_000;
/// Horizon's own patience with a submission is 30 s.
const SUBMIT_TIMEOUT: Duration = Duration::from_secs(40);
/// Tries before a deposit is given up, such as one whose sender closed its account.
const TRIES: u32 = 20;

/// A deposit to be paid back.
#[derive(Debug, Clone)]
pub(super) struct Refund {
    pub deposit: String,
    pub to: [u8; 32],
    pub amount: u64,
}

/// Pays one after the other: the account has one sequence.
pub(super) struct Payer<'a> {
    bridge: &'a Bridge,
}

#[derive(Deserialize)]
struct Account {
    sequence: String,
}

#[derive(Deserialize)]
struct Sent {
    memo_type: String,
    #[serde(default)]
    memo: String,
    #[serde(default)]
    source_account_sequence: String,
}

impl<'a> Payer<'a> {
    pub(super) const fn new(bridge: &'a Bridge) -> Self {
        Self { bridge }
    }

    pub(super) async fn run(self, mut queue: mpsc::UnboundedReceiver<Refund>) {
        while let Some(refund) = queue.recv().await {
            let mut backoff = Duration::from_millis(20);
            for attempt in 1..=TRIES {
                match self.pay(&refund).await {
                    Ok(sequence) => {
                        let target = PublicKey(refund.to).account_id();
                        self.bridge.chain.refunded(
                            &refund.deposit,
                            &target,
                            refund.amount,
                            sequence,
                        );
                        break;
                    }
                    Err(reason) => {
                        tracing::warn!(
                            deposit = refund.deposit,
                            attempt,
                            reason,
                            "a deposit could not be paid back"
                        );
                        tokio::time::sleep(backoff).await;
                        backoff = (backoff * 2).min(Duration::from_secs(5));
                    }
                }
            }
        }
    }

    /// Returns the sequence number of the payment, made now or before.
    async fn pay(&self, refund: &Refund) -> Result<u64, String> {
        let bridge = self.bridge;
        let account: Account = self.get(&format!("/accounts/{}", bridge.address())).await?;
        let sequence: i64 = account
            .sequence
            .parse()
            .map_err(|_| "a sequence that is no number".to_owned())?;
        // After the sequence: what was paid with a lower one shows by now.
        if let Some(paid) = self.paid(&refund.deposit).await? {
            return Ok(paid);
        }
        let transaction = self
            .transaction(refund, sequence + 1)
            .map_err(|e| e.to_string())?;
        let envelope = transaction
            .into_envelope()
            .xdr_base64()
            .map_err(|e| e.to_string())?;
        let request = bridge
            .http
            .post(format!("{}/transactions", bridge.horizon))
            .form(&[("tx", envelope)]);
        let response = request
            .timeout(SUBMIT_TIMEOUT)
            .send()
            .await
            .map_err(|e| e.to_string())?;
        let status = response.status();
        if status.is_success() {
            return Ok(sequence.unsigned_abs() + 1);
        }
        let body = response.text().await.unwrap_or_default();
        Err(format!(
            "Horizon answered {status}: {}",
            body.chars().take(400).collect::<String>()
        ))
    }

    /// Whether a payment with this return hash stands among the last ones.
    async fn paid(&self, deposit: &str) -> Result<Option<u64>, String> {
        #[derive(Deserialize)]
        struct Page {
            #[serde(rename = "_embedded")]
            embedded: Embedded,
        }
        #[derive(Deserialize)]
        struct Embedded {
            records: Vec<Sent>,
        }
        let path = format!(
            "/accounts/{}/transactions?order=desc&limit=200",
            self.bridge.address()
        );
        let page: Page = self.get(&path).await?;
        let memo = return_memo(deposit).ok_or("a deposit's hash that is none")?;
        let found = page
            .embedded
            .records
            .into_iter()
            .find(|sent| sent.memo_type == "return" && sent.memo == memo);
        Ok(found.map(|sent| sent.source_account_sequence.parse().unwrap_or(0)))
    }

    async fn get<T: serde::de::DeserializeOwned>(&self, path: &str) -> Result<T, String> {
        let request = self
            .bridge
            .http
            .get(format!("{}{path}", self.bridge.horizon))
            .timeout(Duration::from_secs(10));
        let response = request
            .send()
            .await
            .and_then(reqwest::Response::error_for_status)
            .map_err(|e| e.to_string())?;
        response.json().await.map_err(|e| e.to_string())
    }

    fn transaction(
        &self,
        refund: &Refund,
        sequence: i64,
    ) -> stellar_base::error::Result<Transaction> {
        let bridge = self.bridge;
        let hash = hex::decode(&refund.deposit).unwrap_or_default();
        let amount = Stroops::new(i64::try_from(refund.amount).unwrap_or(i64::MAX));
        let payment = Operation::new_payment()
            .with_destination(PublicKey(refund.to))
            .with_amount(amount)?
            .with_asset(bridge.asset.base().clone())
            .build()?;
        let mut transaction =
            Transaction::builder(bridge.key.public_key(), sequence, Stroops::new(FEE_STROOPS))
                .with_memo(Memo::new_return(&hash)?)
                .add_operation(payment)
                .into_transaction()?;
        transaction.sign(bridge.key.as_ref(), &bridge.network)?;
        Ok(transaction)
    }
}

/// As Horizon writes a memo of 32 bytes: base64.
fn return_memo(deposit: &str) -> Option<String> {
    hex::decode(deposit).ok().map(|bytes| BASE64.encode(bytes))
}

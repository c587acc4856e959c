//! The product on its sandbox, with buyers.

use anyhow::{Context, Result};
use events::ids::UserId;
use gridway::demo::{Buyer, text};
use gridway::up::{self, Options, Sandbox, setting};
use serde_json::{Value, json};

/// The running product and those who buy.
pub struct World {
    /// The product.
    pub sandbox: Sandbox,
    /// The buyers, each with a twin.
    pub buyers: Vec<Buyer>,
}

/// An order that waits for its payment.
#[derive(Debug, Clone)]
pub struct Order {
    /// Index of the buyer.
    pub buyer: usize,
    /// The purchase.
    pub purchase: String,
    /// Its PaymentIntent.
    pub intent: String,
    /// The deployment that waits for it.
    pub deployment: String,
}

impl World {
    /// Starts everything, with `users` buyers.
    ///
    /// # Errors
    /// When a part does not come up, or a buyer gets no twin.
    pub async fn start(users: usize, overrides: &[(&str, &str)], keep: bool) -> Result<Self> {
        let tokens: Vec<String> = (0..users)
            .map(|n| format!("sandbox-token-of-buyer-{n:04}"))
            .collect();
        let list: Vec<String> = tokens
            .iter()
            .enumerate()
            .map(|(n, token)| format!("{token}:{}", UserId::derive(&["buyer", &n.to_string()])))
            .collect();
        let list = list.join(",");
        let mut all = vec![("GRIDWAY_API_TOKENS", list.as_str())];
        all.extend_from_slice(overrides);
        let sandbox = up::start(
            &Options {
                keep,
                ..Options::default()
            },
            &all,
        )
        .await?;
        let buyers = tokens
            .iter()
            .map(|token| Buyer::new(sandbox.api(), &sandbox.environment, token))
            .collect::<Result<Vec<_>>>()?;
        let registered = futures::future::join_all(buyers.iter().map(Buyer::register)).await;
        for twin in registered {
            twin.context("registering a buyer")?;
        }
        eprintln!("{users} buyers have their twins");
        Ok(Self { sandbox, buyers })
    }

    /// The value of a setting.
    pub fn setting(&self, name: &str) -> &str {
        setting(&self.sandbox.environment, name)
    }

    /// Orders TFT and a deployment that waits for it.
    ///
    /// # Errors
    /// When the API refuses.
    pub async fn order(&self, buyer: usize, key: &str) -> Result<Order> {
        let who = &self.buyers[buyer];
        let (_, purchase, intent) = who.order("250", key).await?;
        let data = format!("{{\"name\":\"{key}\"}}");
        let body = json!({"node_id": 1, "data": data, "purchase_id": purchase});
        let ordered = who
            .command("/deployments", &format!("{key}-deployment"), &body, 0)
            .await?;
        let deployment = text(&ordered, "deployment_id").or_else(|_| text(&ordered, "id"))?;
        Ok(Order {
            buyer,
            purchase,
            intent,
            deployment,
        })
    }

    /// What a stand-in counts.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn counts(&self, stand_in: &str) -> Result<Value> {
        let url = format!(
            "{}/_control/counts",
            self.setting(stand_in).trim_end_matches('/')
        );
        Ok(reqwest::get(&url).await?.error_for_status()?.json().await?)
    }

    /// Arms a fault at a stand-in.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn fault(&self, stand_in: &str, fault: &Value) -> Result<()> {
        let url = format!(
            "{}/_control/faults",
            self.setting(stand_in).trim_end_matches('/')
        );
        reqwest::Client::new()
            .post(&url)
            .json(fault)
            .send()
            .await?
            .error_for_status()?;
        Ok(())
    }

    /// Disarms all faults of a stand-in.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn mend(&self, stand_in: &str) -> Result<()> {
        let url = format!(
            "{}/_control/faults",
            self.setting(stand_in).trim_end_matches('/')
        );
        reqwest::Client::new()
            .delete(&url)
            .send()
            .await?
            .error_for_status()?;
        Ok(())
    }
}

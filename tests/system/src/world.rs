//! The product on its sandbox, with buyers.

use anyhow::{Context, Result};
use events::ids::UserId;
use gridway::demo::Buyer;
use gridway::up::{self, Options, Sandbox, setting};
use serde_json::json;

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
}

impl World {
    /// The token of a buyer.
    pub fn token(number: usize) -> String {
        format!("sandbox-token-of-buyer-{number:04}")
    }

    /// Starts everything, with `users` buyers, of whom the first `registered` have their twin.
    ///
    /// # Errors
    /// When a part does not come up, or a buyer gets no twin.
    pub async fn start(
        users: usize,
        registered: usize,
        overrides: &[(&str, &str)],
        options: Options,
    ) -> Result<Self> {
        let tokens: Vec<String> = (0..users).map(Self::token).collect();
        let list: Vec<String> = tokens
            .iter()
            .enumerate()
            .map(|(n, token)| format!("{token}:{}", UserId::derive(&["buyer", &n.to_string()])))
            .collect();
        let list = list.join(",");
        let mut all = vec![("GRIDWAY_API_TOKENS", list.as_str())];
        all.extend_from_slice(overrides);
        let sandbox = up::start(&options, &all).await?;
        let buyers = tokens
            .iter()
            .map(|token| Buyer::new(sandbox.api(), &sandbox.environment, token))
            .collect::<Result<Vec<_>>>()?;
        let twins =
            futures::future::join_all(buyers.iter().take(registered).map(Buyer::register)).await;
        for twin in twins {
            twin.context("registering a buyer")?;
        }
        eprintln!("{registered} of {users} buyers have their twins");
        Ok(Self { sandbox, buyers })
    }

    /// The value of a setting.
    pub fn setting(&self, name: &str) -> &str {
        setting(&self.sandbox.environment, name)
    }

    /// Orders TFT, and a deployment that waits for it.
    ///
    /// # Errors
    /// When the API refuses.
    pub async fn order(&self, buyer: usize, key: &str) -> Result<Order> {
        let who = &self.buyers[buyer];
        let (_, purchase, intent) = who.order("250", key).await?;
        let data = format!("{{\"name\":\"{key}\"}}");
        let body = json!({"node_id": 1, "data": data, "purchase_id": purchase});
        who.command("/deployments", &format!("{key}-deployment"), &body, 0)
            .await?;
        Ok(Order {
            buyer,
            purchase,
            intent,
        })
    }
}

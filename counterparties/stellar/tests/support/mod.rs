//! A network of one test's own: the stand-in, its market, opened lanes.

use counterparties_stellar::{
    AccountId, Fees, HorizonClient, LANE_FEE, LaneKey, LaneMemo, LaneName, LaneOperation, LanePlan,
    LaneSeed, PathAsset, SecretKey, SignedTransaction, Stellar, StellarConfig, base, opening, sign,
};
use events::ids::EventId;
use events::money::Amount;
use sandbox_horizon::service::Service;
use sandbox_market::Market;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub const PASSPHRASE: &str = "Standalone Network ; February 2017";
pub const EPOCH: u32 = 1 << 18;

pub struct World {
    pub url: String,
    pub stellar: HorizonClient,
    pub market: Market,
    pub treasury: SecretKey,
    /// Closes ledgers, and looks at them.
    pub service: Service,
}

/// A network whose ledgers close every `close_ms` (0: on submission), with the market on it.
pub async fn world(close_ms: u64) -> World {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let service = Service::start(PASSPHRASE, close_ms);
    let router = sandbox_horizon::http::router(service.clone());
    tokio::spawn(sandbox_kit::serve(
        listener,
        router,
        CancellationToken::new(),
    ));
    let market = sandbox_market::seed(&url, PASSPHRASE).await.unwrap();
    let treasury = market.treasury_secret.parse().unwrap();
    let stellar = HorizonClient::new(&StellarConfig::new(&url, PASSPHRASE)).unwrap();
    World {
        url,
        stellar,
        market,
        treasury,
        service,
    }
}

pub fn lanes(count: u16) -> Vec<LaneKey> {
    let seed: LaneSeed = "5a".repeat(32).parse().unwrap();
    let name = |index| LaneName {
        cluster: "test",
        executor: "swaps",
        topic: "purchases",
        partition: 0,
        epoch: EPOCH,
        index,
    };
    (0..count)
        .map(|index| seed.derive(name(index)).unwrap())
        .collect()
}

impl World {
    pub async fn open(&self, count: u16) -> Vec<LaneKey> {
        let lanes = lanes(count);
        opening::open(
            &self.stellar,
            &self.treasury,
            &lanes,
            base(EPOCH).unwrap(),
            PASSPHRASE,
        )
        .await
        .unwrap();
        lanes
    }

    /// A client that raises fees up to `cap` stroops for a transaction, paid by the treasury.
    pub fn paying(&self, cap: i64) -> HorizonClient {
        let fees = Fees::new(self.treasury.clone(), cap, PASSPHRASE);
        self.stellar.clone().with_fees(fees)
    }

    /// Tells the stand-in something: `/_control/<what>`.
    pub async fn control(&self, what: &str, how: serde_json::Value) {
        let answer = reqwest::Client::new()
            .post(format!("{}/_control/{what}", self.url))
            .json(&how)
            .send()
            .await
            .unwrap();
        assert!(answer.status().is_success());
    }

    /// How many transactions of a lane are in ledgers with a number.
    pub fn applied(&self, lane: &LaneKey, sequence: i64) -> usize {
        self.service.with(|network| {
            let lane = lane.account().to_string();
            network
                .history()
                .transactions
                .iter()
                .filter(|tx| {
                    let source = sandbox_horizon::envelope::account_id(&tx.submitted.source());
                    source.to_string() == lane && tx.submitted.tx.seq_num.0 == sequence
                })
                .count()
        })
    }

    /// Unix seconds by the network's clock.
    pub async fn now(&self) -> i64 {
        self.stellar.latest_ledger().await.unwrap().1.seconds()
    }

    /// A swap for `tft` TFT that may cost `usdc` USDC, a minute from now at most.
    pub async fn swap(
        &self,
        lane: &LaneKey,
        offset: i64,
        usdc: u32,
        tft: u32,
    ) -> SignedTransaction {
        self.swap_until(lane, offset, usdc, tft, self.now().await + 60)
    }

    pub fn swap_until(
        &self,
        lane: &LaneKey,
        offset: i64,
        usdc: u32,
        tft: u32,
        deadline: i64,
    ) -> SignedTransaction {
        let operation = LaneOperation::PathPaymentStrictReceive {
            send_asset: self.market.usdc.clone(),
            send_max: Amount::from_whole(usdc),
            destination: self.treasury.account(),
            dest_asset: self.market.tft.clone(),
            dest_amount: Amount::from_whole(tft),
            path: Vec::new(),
        };
        self.sign(
            lane,
            offset,
            deadline,
            LaneMemo::of_event(&EventId::derive(&[&offset.to_string()])),
            operation,
        )
    }

    /// A payment of TFT to the bridge, for a twin.
    pub async fn pay_bridge(
        &self,
        lane: &LaneKey,
        offset: i64,
        twin: u32,
        tft: i64,
    ) -> SignedTransaction {
        let destination: AccountId = self.market.bridge_address.parse().unwrap();
        let operation = LaneOperation::Payment {
            destination,
            asset: PathAsset::Credit(self.market.tft.clone()),
            amount: tft * 10_000_000,
        };
        self.sign(
            lane,
            offset,
            self.now().await + 60,
            LaneMemo::Text(format!("twin_{twin}")),
            operation,
        )
    }

    fn sign(
        &self,
        lane: &LaneKey,
        offset: i64,
        deadline: i64,
        memo: LaneMemo,
        operation: LaneOperation,
    ) -> SignedTransaction {
        let base = base(EPOCH).unwrap();
        let plan = LanePlan {
            lane: lane.clone(),
            base,
            offset,
            deadline,
            memo,
            operation,
            max_fee: LANE_FEE,
        };
        sign(&plan, &self.treasury, PASSPHRASE).unwrap()
    }

    /// Arms a fault for the next `times` submissions.
    pub async fn arm(&self, kind: &str, times: u32) {
        let fault = serde_json::json!({"method": "POST", "path": "/transactions", "kind": kind, "times": times});
        let answer = reqwest::Client::new()
            .post(format!("{}/_control/faults", self.url))
            .json(&fault)
            .send()
            .await
            .unwrap();
        assert!(answer.status().is_success());
    }
}

/// Asks until the answer is as wanted, for ten seconds at most.
pub async fn until<T, F: Future<Output = T>>(
    mut ask: impl FnMut() -> F,
    wanted: impl Fn(&T) -> bool,
) -> T
where
    T: std::fmt::Debug,
{
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        let answer = ask().await;
        if wanted(&answer) {
            return answer;
        }
        assert!(Instant::now() < end, "still {answer:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

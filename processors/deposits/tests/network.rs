//! Claimable balances on the Stellar stand-in: how the source sees them, and how the hand claims them.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use counterparties_stellar::{
    AccountId, BalanceId, HorizonClient, LaneName, PathAsset, Payment, Predicate, SecretKey,
    SetAside, SetupOperation, SignedTransaction, Stellar, StellarConfig, base, opening,
    sign_payment, sign_set_aside, sign_setup,
};
use events::deposits::{
    ClaimRequested, ClaimableBalanceCreated, DepositEvent, LanesOpened, PaymentReceived,
};
use events::envelope::{Envelope, Record};
use events::ids::EventId;
use events::outcome::{Attempt, Find};
use events::time::Timestamp;
use pipeline::{Claim, Executor, Job, Owner, Source, Verdict};
use processor_deposits::{Claims, DepositWatcher};
use processor_lanes::{Lanes, Treasury};
use sandbox_horizon::service::Service;
use sandbox_market::Market;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

const PASSPHRASE: &str = "Standalone Network ; February 2017";
const EPOCH: u32 = 1 << 18;
const COIN: i64 = 10_000_000;

struct World {
    stellar: HorizonClient,
    market: Market,
    treasury: Arc<Treasury>,
    service: Service,
    giver: SecretKey,
    lanes: Lanes,
}

/// A network with its market, somebody who has USDC, and a lane of the hand.
async fn world() -> World {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let service = Service::start(PASSPHRASE, 0);
    let router = sandbox_horizon::http::router(service.clone());
    tokio::spawn(sandbox_kit::serve(
        listener,
        router,
        CancellationToken::new(),
    ));
    let market = sandbox_market::seed(&url, PASSPHRASE).await.unwrap();
    let stellar = HorizonClient::new(&StellarConfig::new(&url, PASSPHRASE)).unwrap();
    let key: SecretKey = market.treasury_secret.parse().unwrap();
    let giver = SecretKey::from_seed(&[6; 32]);
    let operations = [
        SetupOperation::CreateAccount {
            account: giver.account(),
            balance: 100 * COIN,
        },
        SetupOperation::Trust {
            account: giver.clone(),
            asset: market.usdc.clone(),
        },
        SetupOperation::Pay(Payment {
            from: key.clone(),
            to: giver.account(),
            asset: market.usdc.clone(),
            amount: 1_000 * COIN,
        }),
    ];
    opening::run_setup(&stellar, &key, &operations, PASSPHRASE)
        .await
        .unwrap();
    let treasury = Treasury {
        stellar: Arc::new(stellar.clone()),
        passphrase: PASSPHRASE.to_owned(),
        key,
        seed: market.lane_seed.parse().unwrap(),
        cluster: "test".to_owned(),
        usdc: market.usdc.clone(),
        tft: market.tft.clone(),
    };
    let name = LaneName {
        cluster: "test",
        executor: Claims::NAME,
        topic: "deposits",
        partition: 0,
        epoch: EPOCH,
        index: 0,
    };
    let lane = treasury.seed.derive(name).unwrap();
    let account = lane.account().to_string();
    opening::open(
        &stellar,
        &treasury.key,
        &[lane],
        base(EPOCH).unwrap(),
        PASSPHRASE,
    )
    .await
    .unwrap();
    let mut lanes = Lanes::default();
    let opened = LanesOpened {
        executor: Claims::NAME.to_owned(),
        epoch: i32::try_from(EPOCH).unwrap(),
        lanes: 1,
        accounts: vec![account],
        opened_at: Timestamp(0),
    };
    lanes.observe(Claims::NAME, &record(0, opened.into()));
    World {
        stellar,
        market,
        treasury: Arc::new(treasury),
        service,
        giver,
        lanes,
    }
}

fn record(offset: i64, event: DepositEvent) -> Record<DepositEvent> {
    Record {
        partition: 0,
        offset,
        envelope: Envelope {
            id: EventId::derive(&["record", &offset.to_string()]),
            source: "/test".into(),
            time: Timestamp(0),
            subject: "42".into(),
            correlation: None,
            causation: None,
            traceparent: None,
        },
        event,
    }
}

impl World {
    fn us(&self) -> AccountId {
        self.treasury.key.account()
    }

    async fn now(&self) -> i64 {
        self.stellar.latest_ledger().await.unwrap().1.seconds()
    }

    async fn next(&self, key: &SecretKey) -> i64 {
        let view = self.stellar.account(&key.account()).await.unwrap();
        view.unwrap().sequence + 1
    }

    async fn land(&self, signed: &SignedTransaction) {
        let sent = self.stellar.submit(signed).await;
        assert!(matches!(sent, Attempt::Landed(_)), "{sent:?}");
    }

    /// The giver sets it aside for us on a condition, and for itself without one.
    async fn set_aside(&self, asset: PathAsset, amount: i64, condition: Predicate) -> BalanceId {
        let aside = SetAside {
            from: self.giver.clone(),
            claimants: vec![
                (self.giver.account(), Predicate::Unconditional),
                (self.us(), condition),
            ],
            asset,
            amount,
        };
        let number = self.next(&self.giver).await;
        let signed = sign_set_aside(&aside, Some(7), number, i64::MAX, PASSPHRASE).unwrap();
        self.land(&signed).await;
        let newest = self.service.with(|network| {
            let all = network.state().claimable_balances();
            all.last().map(|(id, _)| *id).unwrap()
        });
        BalanceId(newest)
    }

    fn usdc(&self) -> PathAsset {
        PathAsset::Credit(self.market.usdc.clone())
    }

    async fn held(&self) -> i64 {
        let view = self.stellar.account(&self.us()).await.unwrap().unwrap();
        view.balance(&self.usdc())
    }

    async fn job(&self, offset: i64, balance: BalanceId) -> Job<Claims> {
        let request = ClaimRequested {
            deposit_id: "42".to_owned(),
            balance_id: balance.to_string(),
            attempt: 1,
            amount: 5 * COIN,
            deadline: Timestamp::from_seconds(self.now().await + 60),
        };
        Job {
            record: record(offset, request.clone().into()),
            request,
            context: self.lanes.clone(),
            owner: Owner::unchecked(),
        }
    }

    fn watcher(&self) -> DepositWatcher {
        DepositWatcher::new(Arc::new(self.stellar.clone()), self.us(), "0")
    }
}

/// What a source makes of what it read from a cursor on, and the cursor after it.
async fn read(watcher: &DepositWatcher, cursor: Option<&str>) -> (Vec<DepositEvent>, String) {
    let reading = watcher.read(cursor, false).await;
    let events = reading
        .facts
        .iter()
        .map(|fact| match watcher.claim(&(), 0, fact) {
            Claim::Outside { event, .. } => *event,
            other => panic!("{other:?}"),
        });
    (events.collect(), reading.cursor)
}

fn asides(events: &[DepositEvent]) -> Vec<&ClaimableBalanceCreated> {
    events
        .iter()
        .filter_map(|event| match event {
            DepositEvent::ClaimableBalanceCreated(created) => Some(created),
            _ => None,
        })
        .collect()
}

fn payments(events: &[DepositEvent]) -> Vec<&PaymentReceived> {
    events
        .iter()
        .filter_map(|event| match event {
            DepositEvent::PaymentReceived(payment) => Some(payment),
            _ => None,
        })
        .collect()
}

#[tokio::test]
async fn what_is_set_aside_is_told_with_its_memo_and_its_times() {
    let world = world().await;
    let watcher = world.watcher();
    let (before, cursor) = read(&watcher, None).await;
    assert!(asides(&before).is_empty());
    let now = world.now().await;
    let later = Predicate::And(Box::new((
        Predicate::Not(Box::new(Predicate::Before(now + 100))),
        Predicate::BeforeWithin(1_000),
    )));
    let first = world
        .set_aside(world.usdc(), 5 * COIN, Predicate::Unconditional)
        .await;
    let number = world.next(&world.giver).await;
    let paid = Payment {
        from: world.giver.clone(),
        to: world.us(),
        asset: world.market.usdc.clone(),
        amount: 3 * COIN,
    };
    let paid = sign_payment(&paid, Some(8), number, i64::MAX, PASSPHRASE).unwrap();
    world.land(&paid).await;
    let second = world.set_aside(PathAsset::Native, 2 * COIN, later).await;
    let (events, cursor) = read(&watcher, Some(&cursor)).await;
    let [usdc, lumens] = asides(&events)[..] else {
        panic!("{events:?}")
    };
    assert_eq!(usdc.balance_id, first.to_string());
    assert_eq!(
        (usdc.memo_type.as_str(), usdc.memo.as_deref()),
        ("id", Some("7"))
    );
    assert_eq!(usdc.from, world.giver.account().to_string());
    assert_eq!(
        (usdc.asset.clone(), usdc.amount),
        (world.market.usdc.to_string(), 5 * COIN)
    );
    let [always] = usdc.claimable[..] else {
        panic!("{usdc:?}")
    };
    assert_eq!((always.from, always.until), (None, None));
    assert_eq!(lumens.balance_id, second.to_string());
    assert_eq!((lumens.asset.as_str(), lumens.amount), ("native", 2 * COIN));
    let [window] = lumens.claimable[..] else {
        panic!("{lumens:?}")
    };
    assert_eq!(window.from, Some(Timestamp::from_seconds(now + 100)));
    let until = lumens.closed_at.seconds() + 1_000;
    assert_eq!(window.until, Some(Timestamp::from_seconds(until)));
    // Between them stands what was simply paid.
    let [payment] = payments(&events)[..] else {
        panic!("{events:?}")
    };
    assert_eq!(
        (payment.amount, payment.memo.as_deref()),
        (3 * COIN, Some("8"))
    );
    assert!(payment.deposit_id > usdc.deposit_id && payment.deposit_id < lumens.deposit_id);
    // Read from the beginning, it is all there once, and nothing comes after the cursor.
    let (all, _) = read(&world.watcher(), None).await;
    assert_eq!((asides(&all).len(), all.len()), (2, before.len() + 3));
    assert_eq!(read(&watcher, Some(&cursor)).await.0, []);
}

#[tokio::test]
async fn a_balance_is_claimed_once_whatever_comes_second() {
    let world = world().await;
    let hand = Claims::new(Arc::clone(&world.treasury));
    let balance = world
        .set_aside(world.usdc(), 5 * COIN, Predicate::Unconditional)
        .await;
    let watcher = world.watcher();
    let (_, cursor) = read(&watcher, None).await;
    let before = world.held().await;
    let job = world.job(3, balance).await;
    assert_eq!(hand.find(&job).await, Find::Absent);
    let Attempt::Landed(landed) = hand.attempt(&job).await else {
        panic!("not landed")
    };
    assert_eq!(world.held().await, before + 5 * COIN);
    // The same record again is the same transaction.
    assert_eq!(hand.attempt(&job).await, Attempt::Landed(landed.clone()));
    assert_eq!(hand.find(&job).await, Find::Landed(landed.clone()));
    let outcome = hand.outcome(&job, Verdict::Landed(landed.clone())).await;
    let DepositEvent::BalanceClaimed(claimed) = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(
        (claimed.transaction, claimed.amount, claimed.balance_id),
        (landed.hash, 5 * COIN, balance.to_string())
    );
    assert_eq!(claimed.request_id, job.record.id());
    // Another record of the same wish has another number, and the network refuses it all the same.
    let other = world.job(8, balance).await;
    assert_eq!(hand.find(&other).await, Find::Absent);
    assert!(matches!(hand.attempt(&other).await, Attempt::Unknown(_)));
    let Find::Refused(refusal) = hand.find(&other).await else {
        panic!("not refused")
    };
    assert_eq!(refusal.code, "op_does_not_exist");
    let outcome = hand.outcome(&other, Verdict::Refused(refusal)).await;
    assert!(
        matches!(&outcome, DepositEvent::ClaimFailed(failed) if failed.code == "op_does_not_exist"),
        "{outcome:?}"
    );
    assert_eq!(world.held().await, before + 5 * COIN);
    // What the claim brought is no payment: it does not count twice.
    assert_eq!(read(&watcher, Some(&cursor)).await.0, []);
}

#[tokio::test]
async fn what_may_not_be_claimed_is_refused_and_stays_its_senders() {
    let world = world().await;
    let hand = Claims::new(Arc::clone(&world.treasury));
    let not_yet = Predicate::Not(Box::new(Predicate::Before(world.now().await + 1_000)));
    let balance = world.set_aside(world.usdc(), 5 * COIN, not_yet).await;
    let before = world.held().await;
    let early = world.job(1, balance).await;
    assert!(matches!(hand.attempt(&early).await, Attempt::Unknown(_)));
    assert!(
        matches!(hand.find(&early).await, Find::Refused(refusal) if refusal.code == "op_cannot_claim")
    );
    // Its sender takes it back.
    let back = SetupOperation::Claim {
        account: world.giver.clone(),
        balance,
    };
    let number = world.next(&world.giver).await;
    let back = sign_setup(&world.giver, number, &[back], i64::MAX, PASSPHRASE).unwrap();
    world.land(&back).await;
    let late = world.job(2, balance).await;
    assert!(matches!(hand.attempt(&late).await, Attempt::Unknown(_)));
    assert!(
        matches!(hand.find(&late).await, Find::Refused(refusal) if refusal.code == "op_does_not_exist")
    );
    assert_eq!(world.held().await, before);
}

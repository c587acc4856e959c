//! Our accounts: where a balance crossed its threshold, and which are lanes.

use super::support::{Log, eventually};
use super::{TIME, append, id, passed};
use events::money::Amount;
use events::purchases::{LanesOpened, PurchaseEvent};
use events::time::Timestamp;
use events::treasury::{TreasuryBalanceLow, TreasuryBalanceRestored, TreasuryEvent};
use projections::treasury;

pub async fn crossings_and_lanes_are_known(log: &Log) {
    let low = TreasuryBalanceLow {
        holding: "treasury/USDC".to_owned(),
        account: "GT".to_owned(),
        asset: "USDC:GI".to_owned(),
        balance: 5,
        threshold: 10,
        crossing: 1,
        observed_at: TIME,
    };
    let enough = TreasuryBalanceRestored {
        holding: low.holding.clone(),
        account: low.account.clone(),
        asset: low.asset.clone(),
        balance: 11,
        threshold: 10,
        crossing: 2,
        observed_at: TIME,
    };
    let ring = async |step: &str, event: TreasuryEvent| {
        log.append("treasury/USDC", id(&["ring", step]), "treasury/USDC", event)
            .await
    };
    let crossed = async |low: bool| {
        eventually(|| async {
            let all = treasury::crossings(&log.pool).await.unwrap();
            all.first().filter(|c| c.low == low).cloned()
        })
        .await
    };
    ring("low", low.clone().into()).await;
    let first = crossed(true).await;
    assert_eq!((first.balance, first.crossing), (5, 1));
    ring("enough", enough.into()).await;
    let second = crossed(false).await;
    assert_eq!((second.balance, second.crossing), (11, 2));
    // An echo rings nothing.
    let echo = ring("low", low.into()).await;
    passed(log, &echo).await;
    assert_eq!(treasury::crossings(&log.pool).await.unwrap(), [second]);

    // A later opening of more lanes names the earlier ones again.
    for (step, accounts) in [("one", vec!["GA"]), ("two", vec!["GA", "GB"])] {
        let opened = PurchaseEvent::from(LanesOpened {
            executor: "swaps".to_owned(),
            epoch: 1 << 18,
            lanes: i32::try_from(accounts.len()).unwrap(),
            accounts: accounts.into_iter().map(ToOwned::to_owned).collect(),
            opened_at: TIME,
        });
        append(log, "whole", step, opened).await;
    }
    let lanes = eventually(|| async {
        let lanes = treasury::lanes(&log.pool).await.unwrap();
        (lanes.len() == 2).then_some(lanes)
    })
    .await;
    assert_eq!(
        (lanes[0].account.as_str(), lanes[1].account.as_str()),
        ("GA", "GB")
    );
    assert_eq!(
        (lanes[0].executor.as_str(), lanes[0].topic.as_str()),
        ("swaps", "purchases")
    );
    let spent = treasury::spent(&log.pool, Timestamp(0)).await.unwrap();
    assert_eq!(spent.usdc, Amount::from_whole(3));
}

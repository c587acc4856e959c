//! The market on the Stellar stand-in.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use counterparties_stellar::{HorizonClient, PathAsset, SecretKey, Stellar, StellarConfig};
use events::money::Amount;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

const PASSPHRASE: &str = "Standalone Network ; February 2017";

async fn network() -> (String, HorizonClient) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router =
        sandbox_horizon::http::router(sandbox_horizon::service::Service::start(PASSPHRASE, 0));
    tokio::spawn(sandbox_kit::serve(
        listener,
        router,
        CancellationToken::new(),
    ));
    let client = HorizonClient::new(&StellarConfig::new(&url, PASSPHRASE)).unwrap();
    (url, client)
}

#[tokio::test]
async fn the_market_is_made_once() {
    let (url, stellar) = network().await;
    let market = sandbox_market::seed(&url, PASSPHRASE).await.unwrap();
    let treasury = market
        .treasury_secret
        .parse::<SecretKey>()
        .unwrap()
        .account();
    let first = stellar.account(&treasury).await.unwrap().unwrap();
    assert_eq!(
        first.balance(&PathAsset::Credit(market.usdc.clone())),
        1_000_000 * 10_000_000
    );
    assert!(first.balance(&PathAsset::Native) > 19_999 * 10_000_000);

    let again = sandbox_market::seed(&url, PASSPHRASE).await.unwrap();
    assert_eq!(again.to_json(), market.to_json());
    let second = stellar.account(&treasury).await.unwrap().unwrap();
    assert_eq!(
        (second.sequence, &second.balances),
        (first.sequence, &first.balances)
    );

    let bridge = stellar
        .account(&market.bridge_address.parse().unwrap())
        .await
        .unwrap()
        .unwrap();
    assert!(
        bridge
            .balances
            .iter()
            .any(|(asset, _)| *asset == PathAsset::Credit(market.tft.clone()))
    );
}

#[tokio::test]
async fn the_book_is_deep_enough_for_ten_thousand_purchases() {
    let (url, stellar) = network().await;
    let market = sandbox_market::seed(&url, PASSPHRASE).await.unwrap();
    let one = stellar
        .quote_strict_receive(&market.usdc, &market.tft, Amount::from_whole(250))
        .await
        .unwrap();
    assert_eq!(one.source_amount, Amount::from_whole(5));
    assert!(one.path.is_empty() && one.ledger > 60_000_000);
    let many = stellar
        .quote_strict_receive(&market.usdc, &market.tft, Amount::from_whole(9_999_999))
        .await
        .unwrap();
    // Above the first level's price: the book has several.
    assert!(
        many.source_amount.minor() > 200_000 * 10_000_000,
        "{}",
        many.source_amount
    );
}

//! Accounts and their keys (sr25519). Every user's account derives from one master seed, so
//! nothing but the seed is to be kept.

use events::ids::UserId;
use std::fmt;
use std::str::FromStr;
use subxt::utils::AccountId32;
use subxt_signer::sr25519::Keypair;
use subxt_signer::{DeriveJunction, SecretUri};

/// The text is neither a mnemonic nor `0x` and 64 hex digits. Never says what the text was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a seed: expected a BIP-39 mnemonic or 0x and 64 hex digits")]
pub struct InvalidSeed;

/// The master seed of the users' accounts. Secret: it cannot be printed.
#[derive(Clone)]
pub struct UserSeed(Keypair);

impl UserSeed {
    /// Reads a mnemonic or `0x` and 64 hex digits.
    ///
    /// # Errors
    /// [`InvalidSeed`]; also for a text without a phrase of its own, because Substrate reads that
    /// as the phrase of its developers, which everybody knows.
    pub fn parse(text: &str) -> Result<Self, InvalidSeed> {
        keypair(text).map(Self)
    }

    /// The user's key, derived as `<seed>//user//<uuid>`.
    #[must_use]
    pub fn user_key(&self, user: &UserId) -> ChainKey {
        ChainKey::new(self.0.derive([
            DeriveJunction::hard("user"),
            DeriveJunction::hard(user.to_string()),
        ]))
    }
}

/// The key of the account that pays for the activation of users' accounts.
#[derive(Clone)]
pub struct ActivatorKey(ChainKey);

impl ActivatorKey {
    /// Reads a mnemonic or `0x` and 64 hex digits, with or without a derivation path.
    ///
    /// # Errors
    /// [`InvalidSeed`]; also for a text without a phrase of its own.
    pub fn parse(text: &str) -> Result<Self, InvalidSeed> {
        keypair(text).map(ChainKey::new).map(Self)
    }

    /// The key itself.
    pub const fn key(&self) -> &ChainKey {
        &self.0
    }
}

fn keypair(text: &str) -> Result<Keypair, InvalidSeed> {
    let text = text.trim();
    if text.is_empty() || text.starts_with('/') {
        return Err(InvalidSeed);
    }
    let uri = SecretUri::from_str(text).map_err(|_| InvalidSeed)?;
    Keypair::from_uri(&uri).map_err(|_| InvalidSeed)
}

/// An account with its key. Printing it shows the account alone.
#[derive(Clone)]
pub struct ChainKey {
    pair: Keypair,
    account: AccountId32,
}

impl ChainKey {
    fn new(pair: Keypair) -> Self {
        let account = pair.public_key().to_account_id();
        Self { pair, account }
    }

    /// The account.
    #[must_use]
    pub const fn account_id(&self) -> AccountId32 {
        self.account
    }

    /// The account as SS58 text with prefix 42, as TFChain writes it.
    #[must_use]
    pub fn ss58(&self) -> String {
        self.account.to_string()
    }

    pub(crate) const fn pair(&self) -> &Keypair {
        &self.pair
    }

    /// Signs in Substrate's context.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.pair.sign(message).0
    }
}

impl fmt::Debug for ChainKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChainKey({})", self.account)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    const PHRASE: &str = "bottom drive obey lake curtain smoke basket hold race lonely fit walk";

    #[test]
    fn a_users_key_is_the_one_of_its_uri() {
        let user = UserId::derive(&["ada"]);
        for seed in [
            PHRASE,
            "0xe5be9a5092b81bca64be81d212e7f2f9eba183bb7a90954f7b76361f6edb5c0a",
        ] {
            let uri = SecretUri::from_str(&format!("{seed}//user//{user}")).unwrap();
            let expected = Keypair::from_uri(&uri)
                .unwrap()
                .public_key()
                .to_account_id();
            assert_eq!(
                UserSeed::parse(seed).unwrap().user_key(&user).account_id(),
                expected
            );
        }
    }

    #[test]
    fn accounts_are_written_as_tfchain_writes_them() {
        let activator = ActivatorKey::parse(&format!("{PHRASE}//Alice")).unwrap();
        assert_eq!(
            activator.key().ss58(),
            "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"
        );
    }

    #[test]
    fn what_is_no_seed_is_refused() {
        for text in [
            "",
            "  ",
            "//Alice",
            "/user",
            "0x12",
            "twelve words that are no mnemonic at all",
        ] {
            assert!(UserSeed::parse(text).is_err(), "{text}");
            assert!(ActivatorKey::parse(text).is_err(), "{text}");
        }
    }
}

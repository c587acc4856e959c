//! Accounts, assets and keys as Stellar writes them.

use ed25519_dalek::{Signer, SigningKey};
use std::fmt;
use std::str::FromStr;
use stellar_base::crypto::{PublicKey, decode_secret_seed};
use stellar_base::xdr;

/// A text that is not what it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidStellarId {
    /// Not an account id.
    #[error("not a Stellar account id: expected 56 characters beginning with G")]
    Account,
    /// Not an asset.
    #[error("not a Stellar asset: expected CODE:ISSUER, the code of 1 to 12 letters and digits")]
    Asset,
    /// Not a secret key. Does not say what the text was.
    #[error("not a Stellar secret key: expected 56 characters beginning with S")]
    Secret,
}

/// An account, `G…`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AccountId(String, [u8; 32]);

impl AccountId {
    pub(crate) fn of(key: &[u8; 32]) -> Self {
        Self(stellar_base::crypto::encode_account_id(key), *key)
    }

    /// The account id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The account's muxed address for an id, `M…`.
    #[must_use]
    pub fn muxed_address(&self, id: u64) -> String {
        // Not by `stellar_base::crypto`, which puts the id before the key.
        let ed25519 = xdr::Uint256(self.1);
        xdr::MuxedAccount::MuxedEd25519(xdr::MuxedAccountMed25519 { id, ed25519 }).to_string()
    }

    pub(crate) fn public_key(&self) -> Result<PublicKey, InvalidStellarId> {
        PublicKey::from_account_id(&self.0).map_err(|_| InvalidStellarId::Account)
    }

    pub(crate) fn xdr(&self) -> xdr::AccountId {
        xdr::AccountId(xdr::PublicKey::PublicKeyTypeEd25519(xdr::Uint256(self.1)))
    }

    pub(crate) fn muxed(&self) -> xdr::MuxedAccount {
        xdr::MuxedAccount::Ed25519(xdr::Uint256(self.1))
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for AccountId {
    type Err = InvalidStellarId;
    fn from_str(text: &str) -> Result<Self, InvalidStellarId> {
        let key = PublicKey::from_account_id(text).map_err(|_| InvalidStellarId::Account)?;
        let bytes: [u8; 32] = key
            .as_bytes()
            .try_into()
            .map_err(|_| InvalidStellarId::Account)?;
        Ok(Self(text.to_owned(), bytes))
    }
}

/// An issued asset. Two assets are the same only if code and issuer are.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AssetId {
    /// Code, 1 to 12 letters and digits.
    pub code: String,
    /// Issuer.
    pub issuer: AccountId,
}

impl AssetId {
    pub(crate) fn xdr(&self) -> Result<xdr::Asset, InvalidStellarId> {
        let (code, issuer) = (self.code.as_bytes(), self.issuer.xdr());
        if code.len() <= 4 {
            let mut padded = [0; 4];
            padded[..code.len()].copy_from_slice(code);
            Ok(xdr::Asset::CreditAlphanum4(xdr::AlphaNum4 {
                asset_code: xdr::AssetCode4(padded),
                issuer,
            }))
        } else if code.len() <= 12 {
            let mut padded = [0; 12];
            padded[..code.len()].copy_from_slice(code);
            Ok(xdr::Asset::CreditAlphanum12(xdr::AlphaNum12 {
                asset_code: xdr::AssetCode12(padded),
                issuer,
            }))
        } else {
            Err(InvalidStellarId::Asset)
        }
    }
}

impl fmt::Display for AssetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.code, self.issuer)
    }
}

impl FromStr for AssetId {
    type Err = InvalidStellarId;
    fn from_str(text: &str) -> Result<Self, InvalidStellarId> {
        let (code, issuer) = text.split_once(':').ok_or(InvalidStellarId::Asset)?;
        let fits =
            (1..=12).contains(&code.len()) && code.bytes().all(|b| b.is_ascii_alphanumeric());
        if !fits {
            return Err(InvalidStellarId::Asset);
        }
        Ok(Self {
            code: code.to_owned(),
            issuer: issuer.parse().map_err(|_| InvalidStellarId::Asset)?,
        })
    }
}

/// An asset on the path of a path payment: lumens or an issued one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PathAsset {
    /// Lumens, written `native`.
    Native,
    /// An issued asset.
    Credit(AssetId),
}

impl PathAsset {
    pub(crate) fn xdr(&self) -> Result<xdr::Asset, InvalidStellarId> {
        match self {
            Self::Native => Ok(xdr::Asset::Native),
            Self::Credit(asset) => asset.xdr(),
        }
    }
}

impl fmt::Display for PathAsset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Native => f.write_str("native"),
            Self::Credit(asset) => asset.fmt(f),
        }
    }
}

impl FromStr for PathAsset {
    type Err = InvalidStellarId;
    fn from_str(text: &str) -> Result<Self, InvalidStellarId> {
        if text == "native" {
            Ok(Self::Native)
        } else {
            text.parse().map(Self::Credit)
        }
    }
}

/// A key that signs. Never shown.
#[derive(Clone)]
pub struct SecretKey {
    key: SigningKey,
    account: AccountId,
}

impl SecretKey {
    /// The key of a 32-byte seed.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let key = SigningKey::from_bytes(seed);
        let account = AccountId::of(key.verifying_key().as_bytes());
        Self { key, account }
    }

    /// Its account.
    #[must_use]
    pub fn account(&self) -> AccountId {
        self.account.clone()
    }

    /// The secret as Stellar writes it, `S…`. For handing it to another program of ours only.
    #[must_use]
    pub fn expose(&self) -> String {
        stellar_base::crypto::encode_secret_seed(&self.key.to_bytes())
    }

    pub(crate) fn sign(&self, hash: &[u8; 32]) -> Option<xdr::DecoratedSignature> {
        let public = self.key.verifying_key().to_bytes();
        let hint = [public[28], public[29], public[30], public[31]];
        let signature = self.key.sign(hash).to_bytes().to_vec().try_into().ok()?;
        Some(xdr::DecoratedSignature {
            hint: xdr::SignatureHint(hint),
            signature: xdr::Signature(signature),
        })
    }
}

impl FromStr for SecretKey {
    type Err = InvalidStellarId;
    fn from_str(text: &str) -> Result<Self, InvalidStellarId> {
        let seed = decode_secret_seed(text.trim()).map_err(|_| InvalidStellarId::Secret)?;
        let seed: [u8; 32] = seed.try_into().map_err(|_| InvalidStellarId::Secret)?;
        Ok(Self::from_seed(&seed))
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey of {}", self.account)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    const ISSUER: &str = "GBOVQKJYHXRR3DX6NOX2RRYFRCUMSADGDESTDNBDS6CDVLGVESRTAC47";

    #[test]
    fn assets_are_read_and_written() {
        let text = format!("TFT:{ISSUER}");
        assert_eq!(text.parse::<AssetId>().unwrap().to_string(), text);
        assert_eq!("native".parse::<PathAsset>().unwrap(), PathAsset::Native);
        for wrong in [
            "TFT",
            "TFT:GABC",
            ":",
            &format!("TOOLONGACODE1:{ISSUER}"),
            &format!("T-T:{ISSUER}"),
        ] {
            assert!(wrong.parse::<AssetId>().is_err(), "{wrong}");
        }
    }

    /// The vectors of SEP-23.
    #[test]
    fn a_muxed_address_is_the_account_and_then_the_id() {
        let account: AccountId = "GA7QYNF7SOWQ3GLR2BGMZEHXAVIRZA4KVWLTJJFC7MGXUA74P7UJVSGZ"
            .parse()
            .unwrap();
        for (id, address) in [
            (
                0,
                "MA7QYNF7SOWQ3GLR2BGMZEHXAVIRZA4KVWLTJJFC7MGXUA74P7UJUAAAAAAAAAAAACJUQ",
            ),
            (
                9_223_372_036_854_775_808,
                "MA7QYNF7SOWQ3GLR2BGMZEHXAVIRZA4KVWLTJJFC7MGXUA74P7UJVAAAAAAAAAAAAAJLK",
            ),
        ] {
            assert_eq!(account.muxed_address(id), address);
        }
    }

    #[test]
    fn a_secret_does_not_show() {
        let key = SecretKey::from_seed(&[7; 32]);
        assert_eq!(
            key.expose().parse::<SecretKey>().unwrap().account(),
            key.account()
        );
        assert!(!format!("{key:?}").contains(&key.expose()));
        assert!(!format!("{}", "S123".parse::<SecretKey>().unwrap_err()).contains("S123"));
    }
}

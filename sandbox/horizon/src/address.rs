//! Accounts by their public key, and assets as Horizon names them.

use serde_json::{Map, Value};
use std::fmt;
use stellar_base::xdr::{AccountId, Asset, AssetCode4, AssetCode12, MuxedAccount, PublicKey, Uint256};

/// An account's ed25519 public key; shown as `G…`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address(pub [u8; 32]);

impl Address {
    /// The account behind an address that may be muxed.
    pub fn of(muxed: &MuxedAccount) -> Self {
        match muxed {
            MuxedAccount::Ed25519(key) => Self(key.0),
            MuxedAccount::MuxedEd25519(muxed) => Self(muxed.ed25519.0),
        }
    }

    /// Reads `G…`; `None` when it is none.
    pub fn parse(text: &str) -> Option<Self> {
        text.parse::<AccountId>().ok().map(|id| Self::from(&id))
    }

    /// As XDR has it.
    pub fn id(self) -> AccountId {
        AccountId(PublicKey::PublicKeyTypeEd25519(Uint256(self.0)))
    }
}

impl From<&AccountId> for Address {
    fn from(id: &AccountId) -> Self {
        let PublicKey::PublicKeyTypeEd25519(Uint256(key)) = &id.0;
        Self(*key)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.id().fmt(f)
    }
}

/// Who issues an asset; `None` for XLM.
pub fn issuer(asset: &Asset) -> Option<Address> {
    match asset {
        Asset::Native => None,
        Asset::CreditAlphanum4(a) => Some(Address::from(&a.issuer)),
        Asset::CreditAlphanum12(a) => Some(Address::from(&a.issuer)),
    }
}

/// Whether the code is one to twelve letters and digits, zero-padded, in the shorter form that holds it.
pub fn is_valid(asset: &Asset) -> bool {
    let code: &[u8] = match asset {
        Asset::Native => return true,
        Asset::CreditAlphanum4(a) => &a.asset_code.0,
        Asset::CreditAlphanum12(a) => &a.asset_code.0,
    };
    let length = code.iter().position(|byte| *byte == 0).unwrap_or(code.len());
    let longest_shorter_form = if code.len() == 4 { 0 } else { 4 };
    length > longest_shorter_form
        && code[..length].iter().all(u8::is_ascii_alphanumeric)
        && code[length..].iter().all(|byte| *byte == 0)
}

/// `code` under `issuer` as an asset; `None` when the code is none.
pub fn credit(code: &str, issuer: Address) -> Option<Asset> {
    let bytes = code.as_bytes();
    let asset = if bytes.len() <= 4 {
        let mut padded = [0; 4];
        padded[..bytes.len()].copy_from_slice(bytes);
        Asset::CreditAlphanum4(stellar_base::xdr::AlphaNum4 { asset_code: AssetCode4(padded), issuer: issuer.id() })
    } else if bytes.len() <= 12 {
        let mut padded = [0; 12];
        padded[..bytes.len()].copy_from_slice(bytes);
        Asset::CreditAlphanum12(stellar_base::xdr::AlphaNum12 { asset_code: AssetCode12(padded), issuer: issuer.id() })
    } else {
        return None;
    };
    is_valid(&asset).then_some(asset)
}

/// An asset's code; empty for XLM.
pub fn code(asset: &Asset) -> String {
    let bytes: &[u8] = match asset {
        Asset::Native => &[],
        Asset::CreditAlphanum4(a) => &a.asset_code.0,
        Asset::CreditAlphanum12(a) => &a.asset_code.0,
    };
    bytes.iter().take_while(|byte| **byte != 0).map(|byte| char::from(*byte)).collect()
}

/// Writes `<prefix>asset_type` and, for credits, `<prefix>asset_code` and `<prefix>asset_issuer`.
pub fn name(into: &mut Map<String, Value>, prefix: &str, asset: &Asset) {
    let kind = match asset {
        Asset::Native => "native",
        Asset::CreditAlphanum4(_) => "credit_alphanum4",
        Asset::CreditAlphanum12(_) => "credit_alphanum12",
    };
    into.insert(format!("{prefix}asset_type"), kind.into());
    if let Some(issuer) = issuer(asset) {
        into.insert(format!("{prefix}asset_code"), code(asset).into());
        into.insert(format!("{prefix}asset_issuer"), issuer.to_string().into());
    }
}

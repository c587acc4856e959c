//! What a request asks for: parameters, pages, links.

use super::problem::Problem;
use crate::address::{self, Address};
use crate::ledger::history::{Cursor, Page};
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use serde_json::{Value, json};
use std::convert::Infallible;
use stellar_base::xdr::Asset;

const DEFAULT_LIMIT: usize = 10;
const MOST: usize = 200;

/// A request's address and parameters.
#[derive(Debug, Clone)]
pub struct Ask {
    /// `http://host:port`, as the client calls it.
    pub base: String,
    path: String,
    query: Vec<(String, String)>,
    /// It wants an event stream.
    pub stream: bool,
    last_event: Option<String>,
}

impl<S: Sync> FromRequestParts<S> for Ask {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let header = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
        let query = parts.uri.query().unwrap_or_default();
        Ok(Self {
            base: format!("http://{}", header("host").unwrap_or("localhost")),
            path: parts.uri.path().to_owned(),
            query: url::form_urlencoded::parse(query.as_bytes()).into_owned().collect(),
            stream: header("accept").is_some_and(|accept| accept.contains("text/event-stream")),
            last_event: header("last-event-id").map(str::to_owned),
        })
    }
}

impl Ask {
    /// A parameter that is there and not empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        let found = self.query.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// Whether failed transactions are wanted too.
    pub fn include_failed(&self) -> Result<bool, Problem> {
        match self.get("include_failed") {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(Problem::bad_request("include_failed", "Filter should be true or false")),
        }
    }

    /// Whether transactions are wanted inside operations.
    pub fn join(&self) -> Result<bool, Problem> {
        match self.get("join") {
            None => Ok(false),
            Some("transactions") => Ok(true),
            Some(_) => Err(Problem::bad_request("join", "Accepted values: transactions")),
        }
    }

    /// The page that is asked for.
    pub fn page(&self) -> Result<Page, Problem> {
        let descending = match self.get("order") {
            None | Some("asc") => false,
            Some("desc") => true,
            Some(_) => return Err(Problem::bad_request("order", "order: invalid value")),
        };
        let limit = match self.get("limit").map(str::parse::<usize>) {
            None => DEFAULT_LIMIT,
            Some(Ok(limit)) if (1..=MOST).contains(&limit) => limit,
            Some(_) => return Err(Problem::bad_request("limit", "limit: must be a number from 1 to 200")),
        };
        let cursor = self.get("cursor").or(if self.stream { self.last_event.as_deref() } else { None });
        let cursor = match cursor {
            None => Cursor::Start,
            Some("now") => Cursor::Now,
            Some(token) => match token.parse() {
                Ok(token) if token >= 0 => Cursor::After(token),
                _ => return Err(Problem::bad_request("cursor", "cursor: invalid value")),
            },
        };
        Ok(Page { cursor, descending, limit })
    }

    fn href(&self, cursor: &str, page: Page, descending: bool) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        for (key, value) in &self.query {
            if !["cursor", "limit", "order"].contains(&key.as_str()) {
                query.append_pair(key, value);
            }
        }
        query.append_pair("cursor", cursor);
        query.append_pair("limit", &page.limit.to_string());
        query.append_pair("order", if descending { "desc" } else { "asc" });
        format!("{}{}?{}", self.base, self.path, query.finish())
    }

    /// Records as a page with its links.
    pub fn collection(&self, page: Page, records: Vec<Value>) -> Value {
        let given = self.get("cursor").unwrap_or_default();
        let token = |record: Option<&Value>| record.and_then(|record| record["paging_token"].as_str());
        let first = token(records.first()).unwrap_or(given).to_owned();
        let last = token(records.last()).unwrap_or(given).to_owned();
        json!({
            "_links": {
                "self": { "href": self.href(given, page, page.descending) },
                "next": { "href": self.href(&last, page, page.descending) },
                "prev": { "href": self.href(&first, page, !page.descending) },
            },
            "_embedded": { "records": records },
        })
    }

    /// Records as a page that has no others.
    pub fn whole(records: Vec<Value>) -> Value {
        json!({ "_embedded": { "records": records } })
    }

    /// An asset given as `<prefix>asset_type`, `<prefix>asset_code`, `<prefix>asset_issuer`.
    pub fn asset(&self, prefix: &str) -> Result<Asset, Problem> {
        let field = |name: &str| format!("{prefix}asset_{name}");
        let wrong = |name: &str, reason: &str| Problem::bad_request(&field(name), reason);
        let kind = self.get(&field("type")).ok_or_else(|| wrong("type", "Missing required field"))?;
        if kind == "native" {
            return Ok(Asset::Native);
        }
        let code = self.get(&field("code")).ok_or_else(|| wrong("code", "Missing required field"))?;
        let issuer = self.get(&field("issuer")).and_then(Address::parse);
        let issuer = issuer.ok_or_else(|| wrong("issuer", "Account ID must start with `G` and contain 56 alphanum characters"))?;
        let asset = address::credit(code, issuer).ok_or_else(|| wrong("code", "Asset code must be 1-12 alphanumeric characters"))?;
        match (kind, &asset) {
            ("credit_alphanum4", Asset::CreditAlphanum4(_)) | ("credit_alphanum12", Asset::CreditAlphanum12(_)) => Ok(asset),
            _ => Err(wrong("type", "Asset type must be native, credit_alphanum4 or credit_alphanum12")),
        }
    }

    /// A list of assets: `native` or `CODE:ISSUER`, comma between.
    pub fn assets(&self, field: &str) -> Result<Option<Vec<Asset>>, Problem> {
        let Some(list) = self.get(field) else { return Ok(None) };
        let wrong = || Problem::bad_request(field, "each asset is `native` or CODE:ISSUER");
        let asset = |text: &str| match text.split_once(':') {
            None if text == "native" => Ok(Asset::Native),
            None => Err(wrong()),
            Some((code, issuer)) => {
                Address::parse(issuer).and_then(|issuer| address::credit(code, issuer)).ok_or_else(wrong)
            }
        };
        list.split(',').map(asset).collect::<Result<_, _>>().map(Some)
    }

    /// An account given as a parameter.
    pub fn account(&self, field: &str) -> Result<Option<Address>, Problem> {
        self.get(field).map(|text| parse_account(field, text)).transpose()
    }

    /// An amount of stroops given as a parameter.
    pub fn amount(&self, field: &str) -> Result<i64, Problem> {
        let amount = self.get(field).and_then(crate::stroops::parse);
        amount.ok_or_else(|| Problem::bad_request(field, "Value must be positive"))
    }
}

/// An account id, or the problem that it is none.
pub fn parse_account(field: &str, text: &str) -> Result<Address, Problem> {
    Address::parse(text).ok_or_else(|| {
        Problem::bad_request(field, "Account ID must start with `G` and contain 56 alphanum characters")
    })
}

/// A transaction's hash, or the problem that it is none.
pub fn parse_hash(text: &str) -> Result<[u8; 32], Problem> {
    let bytes = hex::decode(text).ok().and_then(|bytes| bytes.try_into().ok());
    bytes.ok_or_else(|| Problem::bad_request("tx_id", "Transaction hash must be a hex-encoded, lowercase SHA-256 hash"))
}

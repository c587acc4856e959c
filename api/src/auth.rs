//! Who calls: a bearer token, known from the configuration.

use crate::problem::{Kind, Problem};
use crate::state::ApiState;
use axum::extract::FromRequestParts;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use events::ids::UserId;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::fmt;
use subtle::{ConditionallySelectable, ConstantTimeEq};

/// The tokens that are accepted and whose they are. Only hashes are kept.
#[derive(Clone)]
pub struct Tokens(Vec<([u8; 32], UserId)>);

/// A token list that cannot be used. Shows no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTokens {
    /// An entry is not `token:user id`.
    #[error("entry {0} of the API tokens is not token:user-id")]
    NoUser(usize),
    /// The user id of an entry is not a UUID.
    #[error("entry {0} of the API tokens names no user: expected a UUID after the last colon")]
    NotAUserId(usize),
    /// A token is too short to be a secret.
    #[error("entry {0} of the API tokens has fewer than 16 characters")]
    TooShort(usize),
    /// A token is given twice.
    #[error("entry {0} of the API tokens repeats an earlier token")]
    Twice(usize),
}

impl Tokens {
    /// Reads `token:user-id` entries, separated by commas or line ends. An empty list is fine and
    /// lets nobody in.
    ///
    /// # Errors
    /// See [`InvalidTokens`]; entries count from 1.
    pub fn parse(list: &str) -> Result<Self, InvalidTokens> {
        let mut tokens: Vec<([u8; 32], UserId)> = Vec::new();
        let entries = list
            .split([',', '\n'])
            .map(str::trim)
            .filter(|entry| !entry.is_empty());
        for (index, entry) in entries.enumerate() {
            let number = index + 1;
            let (token, user) = entry
                .rsplit_once(':')
                .ok_or(InvalidTokens::NoUser(number))?;
            let user = user
                .parse()
                .map_err(|_| InvalidTokens::NotAUserId(number))?;
            if token.len() < 16 {
                return Err(InvalidTokens::TooShort(number));
            }
            let hash: [u8; 32] = Sha256::digest(token.as_bytes()).into();
            if tokens.iter().any(|(known, _)| *known == hash) {
                return Err(InvalidTokens::Twice(number));
            }
            tokens.push((hash, user));
        }
        Ok(Self(tokens))
    }

    /// Whose token it is. Takes the same time whichever entry matches, or none.
    fn user(&self, token: &str) -> Option<UserId> {
        let hash: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        let mut found = 0_u64;
        for (number, (known, _)) in (1_u64..).zip(&self.0) {
            found.conditional_assign(&number, known.ct_eq(&hash));
        }
        let index = usize::try_from(found).ok()?.checked_sub(1)?;
        self.0.get(index).map(|(_, user)| *user)
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tokens({} hidden)", self.0.len())
    }
}

/// Who may see what concerns the whole of Gridway.
#[derive(Debug, Clone, Default)]
pub struct Operators(BTreeSet<UserId>);

/// A list of operators that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` in the list of operators is no user id: expected UUIDs, separated by commas")]
pub struct InvalidOperators(String);

impl Operators {
    /// Reads user ids, separated by commas or line ends. An empty list is fine: nobody is one.
    ///
    /// # Errors
    /// When an entry is no user id.
    pub fn parse(list: &str) -> Result<Self, InvalidOperators> {
        list.split([',', '\n'])
            .map(str::trim)
            .filter(|entry| !entry.is_empty())
            .map(|entry| {
                entry
                    .parse()
                    .map_err(|_| InvalidOperators(entry.to_owned()))
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }

    fn has(&self, user: UserId) -> bool {
        self.0.contains(&user)
    }
}

/// An operator who makes a request; anybody else is turned away. The only check of a role.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Operator;

impl FromRequestParts<ApiState> for Operator {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Problem> {
        let Caller(user) = Caller::from_request_parts(parts, state).await?;
        if state.operators.has(user) {
            Ok(Self)
        } else {
            Err(Problem::new(
                Kind::Forbidden,
                "only operators may see this; GRIDWAY_OPERATORS names them",
            ))
        }
    }
}

/// The user who makes a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Caller(pub UserId);

impl FromRequestParts<ApiState> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Problem> {
        let refused = |detail: &str| Problem::new(Kind::Unauthorized, detail);
        let header = parts
            .headers
            .get(AUTHORIZATION)
            .ok_or_else(|| refused("send a token: Authorization: Bearer …"))?;
        let token = header
            .to_str()
            .ok()
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim())
            .ok_or_else(|| refused("the Authorization header is not: Bearer …"))?;
        state
            .tokens
            .user(token)
            .map(Caller)
            .ok_or_else(|| refused("the token is not known"))
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    const ANNA: &str = "6f9619ff-8b86-5011-b42d-00c04fc964ff";
    const BERT: &str = "6f9619ff-8b86-5011-b42d-00c04fc964fe";

    #[test]
    fn a_token_finds_its_user_and_no_other() {
        let tokens = Tokens::parse(&format!(
            "token-of-anna-0001:{ANNA},\n token:of:bert-0002:{BERT}\n"
        ))
        .unwrap();
        assert_eq!(
            tokens.user("token-of-anna-0001"),
            Some(ANNA.parse().unwrap())
        );
        assert_eq!(
            tokens.user("token:of:bert-0002"),
            Some(BERT.parse().unwrap())
        );
        assert_eq!(tokens.user("token-of-anna-000"), None);
        assert_eq!(tokens.user(""), None);
        assert_eq!(Tokens::parse("").unwrap().user(""), None);
    }

    #[test]
    fn operators_are_named_by_their_ids() {
        let operators = Operators::parse(&format!("{ANNA},\n")).unwrap();
        assert!(operators.has(ANNA.parse().unwrap()));
        assert!(!operators.has(BERT.parse().unwrap()));
        assert!(!Operators::parse("").unwrap().has(ANNA.parse().unwrap()));
        let wrong = Operators::parse(&format!("{ANNA},bert")).unwrap_err();
        assert_eq!(wrong, InvalidOperators("bert".to_owned()));
    }

    #[test]
    fn a_bad_list_is_refused_without_showing_a_token() {
        for (list, error) in [
            ("no-user-at-all-here".to_owned(), InvalidTokens::NoUser(1)),
            (
                "token-of-anna-0001:anna".to_owned(),
                InvalidTokens::NotAUserId(1),
            ),
            (format!("short:{ANNA}"), InvalidTokens::TooShort(1)),
            (
                format!("token-of-anna-0001:{ANNA},token-of-anna-0001:{BERT}"),
                InvalidTokens::Twice(2),
            ),
        ] {
            let found = Tokens::parse(&list).unwrap_err();
            assert_eq!(found, error);
            assert!(!found.to_string().contains("token-of-anna"));
        }
        let tokens = Tokens::parse(&format!("token-of-anna-0001:{ANNA}")).unwrap();
        assert!(!format!("{tokens:?}").contains("anna"));
    }
}

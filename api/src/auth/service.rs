//! Service tokens: fixed bearer tokens from the configuration, for harnesses and for programs that
//! act for a user. They know no session, so they work without Redis, are not counted against the
//! limits and end only with the configuration. Nobody has to have one.

use super::rules::{AT_SIGN_UP, Role};
use events::ids::UserId;
use sha2::{Digest, Sha256};
use std::fmt;
use subtle::{ConditionallySelectable, ConstantTimeEq};

/// The tokens that are accepted and whose they are. Only hashes are kept.
#[derive(Clone)]
pub struct Tokens(Vec<([u8; 32], Service)>);

/// For whom a service token acts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// The user.
    pub user: UserId,
    /// As what.
    pub roles: Vec<Role>,
}

/// A token list that cannot be used. Shows no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTokens {
    /// An entry is not `token:user id`.
    #[error("entry {0} of the API tokens is not token:user-id")]
    NoUser(usize),
    /// The user id of an entry is not a UUID.
    #[error("entry {0} of the API tokens names no user: expected a UUID after the last colon")]
    NotAUserId(usize),
    /// The roles of an entry are not roles.
    #[error("entry {0} of the API tokens names a role that there is not")]
    NotARole(usize),
    /// A token is too short to be a secret.
    #[error("entry {0} of the API tokens has fewer than 16 characters")]
    TooShort(usize),
    /// A token is given twice.
    #[error("entry {0} of the API tokens repeats an earlier token")]
    Twice(usize),
}

impl Tokens {
    /// Reads `token:user-id` entries, separated by commas or line ends; `token:user-id/role+role`
    /// where it is not a buyer. An empty list is fine and lets nobody in.
    ///
    /// # Errors
    /// See [`InvalidTokens`]; entries count from 1.
    pub fn parse(list: &str) -> Result<Self, InvalidTokens> {
        let mut tokens: Vec<([u8; 32], Service)> = Vec::new();
        let entries = list
            .split([',', '\n'])
            .map(str::trim)
            .filter(|entry| !entry.is_empty());
        for (index, entry) in entries.enumerate() {
            let number = index + 1;
            let (token, user) = entry
                .rsplit_once(':')
                .ok_or(InvalidTokens::NoUser(number))?;
            let (user, roles) = match user.split_once('/') {
                None => (user, vec![AT_SIGN_UP]),
                Some((user, roles)) => {
                    let roles = roles.split('+').map(str::parse).collect::<Result<_, _>>();
                    (user, roles.map_err(|_| InvalidTokens::NotARole(number))?)
                }
            };
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
            tokens.push((hash, Service { user, roles }));
        }
        Ok(Self(tokens))
    }

    /// Whose token it is. Takes the same time whichever entry matches, or none.
    pub(crate) fn service(&self, token: &str) -> Option<&Service> {
        let hash: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        let mut found = 0_u64;
        for (number, (known, _)) in (1_u64..).zip(&self.0) {
            found.conditional_assign(&number, known.ct_eq(&hash));
        }
        let index = usize::try_from(found).ok()?.checked_sub(1)?;
        self.0.get(index).map(|(_, service)| service)
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tokens({} hidden)", self.0.len())
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
            "token-of-anna-0001:{ANNA},\n token:of:bert-0002:{BERT}/admin+auditor\n"
        ))
        .unwrap();
        let user = |token: &str| tokens.service(token).map(|s| (s.user, s.roles.clone()));
        assert_eq!(
            user("token-of-anna-0001"),
            Some((ANNA.parse().unwrap(), vec![Role::User]))
        );
        assert_eq!(
            user("token:of:bert-0002"),
            Some((BERT.parse().unwrap(), vec![Role::Admin, Role::Auditor]))
        );
        assert_eq!(user("token-of-anna-000"), None);
        assert_eq!(user(""), None);
        assert_eq!(Tokens::parse("").unwrap().service(""), None);
    }

    #[test]
    fn a_bad_list_is_refused_without_showing_a_token() {
        for (list, error) in [
            ("no-user-at-all-here".to_owned(), InvalidTokens::NoUser(1)),
            (
                "token-of-anna-0001:anna".to_owned(),
                InvalidTokens::NotAUserId(1),
            ),
            (
                format!("token-of-anna-0001:{ANNA}/user+root"),
                InvalidTokens::NotARole(1),
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

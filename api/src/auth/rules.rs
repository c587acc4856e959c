//! Every rule of who may do what: roles, routes, ownership, passwords, attempts, lifetimes.

use axum::http::Method;
use events::ids::UserId;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// What a person may be. One may be several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Buys and deploys.
    User,
    /// Offers nodes.
    NodeOperator,
    /// Watches over purchases and decides on applications.
    DashboardOperator,
    /// Runs the installation.
    Admin,
    /// Reads everything and changes nothing.
    Auditor,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 5] = [
        Self::User,
        Self::NodeOperator,
        Self::DashboardOperator,
        Self::Admin,
        Self::Auditor,
    ];

    /// As tokens, tables and command lines name it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::NodeOperator => "node_operator",
            Self::DashboardOperator => "dashboard_operator",
            Self::Admin => "admin",
            Self::Auditor => "auditor",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that names no role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a role: there are user, node_operator, dashboard_operator, admin and auditor")]
pub struct NoRole;

impl FromStr for Role {
    type Err = NoRole;
    fn from_str(text: &str) -> Result<Self, NoRole> {
        Self::ALL
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or(NoRole)
    }
}

/// Who may use a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Anybody, uncounted: what machines ask to see whether the process is well.
    Probe,
    /// Anybody; counted per address.
    Anyone,
    /// Anybody, to become somebody; counted strictly per address.
    Guest,
    /// Whoever signed the body; the handler verifies it.
    Signed,
    /// Whoever is logged in.
    SignedIn,
    /// Whoever has one of the roles.
    Roles(&'static [Role]),
}

const BUYERS: Access = Access::Roles(&[Role::User]);
/// Owners, and those who see everything; [`may_see`] decides about each object.
const READERS: Access = Access::Roles(&[
    Role::User,
    Role::DashboardOperator,
    Role::Admin,
    Role::Auditor,
]);
/// Who offers nodes.
const APPLICANTS: Access = Access::Roles(&[Role::User, Role::NodeOperator]);
/// Applicants, and those who see every application.
const APPLICATION_READERS: Access = Access::Roles(&[
    Role::User,
    Role::NodeOperator,
    Role::DashboardOperator,
    Role::Admin,
    Role::Auditor,
]);
/// Applicants, and those who decide: documents are private.
const DOCUMENT_READERS: Access =
    Access::Roles(&[Role::User, Role::NodeOperator, Role::DashboardOperator]);
/// Who decides on applications, never on their own.
const DECIDERS: Access = Access::Roles(&[Role::DashboardOperator]);
/// Who orders what moves other people's money, and who agrees to it.
const ORDERERS: Access = Access::Roles(&[Role::DashboardOperator, Role::Admin]);
/// Those who watch over the whole of Gridway.
const OPERATORS: Access = Access::Roles(&[Role::DashboardOperator, Role::Admin, Role::Auditor]);

/// Those who are told what happens to what is theirs or to Gridway, as they want to be.
const TOLD: Access = Access::Roles(&[
    Role::User,
    Role::NodeOperator,
    Role::DashboardOperator,
    Role::Admin,
]);

/// Every route. One that is not here lets nobody in.
const ROUTES: &[(&str, &str, Access)] = &[
    ("GET", "/healthz", Access::Probe),
    ("GET", "/readyz", Access::Probe),
    ("GET", "/metrics", Access::Probe),
    ("GET", "/openapi.yaml", Access::Anyone),
    ("GET", "/docs", Access::Anyone),
    ("GET", "/docs/", Access::Anyone),
    ("GET", "/docs/{*rest}", Access::Anyone),
    ("GET", "/.well-known/jwks.json", Access::Anyone),
    ("POST", "/auth/sign-up", Access::Guest),
    ("POST", "/auth/verify", Access::Guest),
    ("POST", "/auth/login", Access::Guest),
    ("POST", "/auth/refresh", Access::Guest),
    ("POST", "/auth/password-reset", Access::Guest),
    ("POST", "/auth/password-reset/confirm", Access::Guest),
    ("POST", "/auth/logout", Access::SignedIn),
    ("POST", "/auth/logout-all", Access::SignedIn),
    ("GET", "/auth/me", Access::SignedIn),
    ("POST", "/users", BUYERS),
    ("GET", "/users/me", Access::SignedIn),
    ("POST", "/quotes", BUYERS),
    ("GET", "/quotes/{id}", READERS),
    ("POST", "/payments/create-intent", BUYERS),
    ("POST", "/payments/webhook", Access::Signed),
    ("POST", "/purchases", BUYERS),
    ("GET", "/purchases", READERS),
    ("GET", "/purchases/{id}", READERS),
    ("GET", "/purchases/{id}/timeline", READERS),
    ("POST", "/deployments", BUYERS),
    ("GET", "/deployments", READERS),
    ("POST", "/deployments/batch", BUYERS),
    ("GET", "/deployments/batch/{id}", READERS),
    ("GET", "/deployments/{id}", READERS),
    ("PUT", "/deployments/{id}", BUYERS),
    ("DELETE", "/deployments/{id}", BUYERS),
    ("GET", "/deposits", BUYERS),
    ("GET", "/deposits/instructions", BUYERS),
    ("GET", "/treasury", OPERATORS),
    ("GET", "/node-applications/requirements", Access::Anyone),
    ("POST", "/node-applications", APPLICANTS),
    ("GET", "/node-applications", APPLICATION_READERS),
    ("GET", "/node-applications/{id}", APPLICATION_READERS),
    (
        "GET",
        "/node-applications/{id}/history",
        APPLICATION_READERS,
    ),
    (
        "PUT",
        "/node-applications/{id}/documents/{kind}",
        APPLICANTS,
    ),
    (
        "GET",
        "/node-applications/{id}/documents/{kind}",
        DOCUMENT_READERS,
    ),
    ("POST", "/node-applications/{id}/request-changes", DECIDERS),
    ("POST", "/node-applications/{id}/resubmit", APPLICANTS),
    ("POST", "/node-applications/{id}/approve", DECIDERS),
    ("POST", "/node-applications/{id}/reject", DECIDERS),
    ("POST", "/node-applications/{id}/withdraw", APPLICANTS),
    ("POST", "/approvals", ORDERERS),
    ("GET", "/approvals", OPERATORS),
    ("GET", "/approvals/{id}", OPERATORS),
    ("GET", "/approvals/{id}/history", OPERATORS),
    ("POST", "/approvals/{id}/approve", ORDERERS),
    ("POST", "/approvals/{id}/reject", ORDERERS),
    ("GET", "/events", READERS),
    ("GET", "/notifications", TOLD),
    ("GET", "/notifications/preferences", TOLD),
    ("PUT", "/notifications/preferences", TOLD),
    ("GET", "/notifications/phone", TOLD),
    ("PUT", "/notifications/phone", TOLD),
    ("POST", "/notifications/phone/verify", TOLD),
    ("DELETE", "/notifications/phone", TOLD),
    ("GET", "/webhook-endpoints", TOLD),
    ("POST", "/webhook-endpoints", TOLD),
    ("GET", "/webhook-endpoints/{id}", TOLD),
    ("POST", "/webhook-endpoints/{id}/rotate-secret", TOLD),
    ("POST", "/webhook-endpoints/{id}/enable", TOLD),
    ("GET", "/webhook-endpoints/{id}/deliveries", TOLD),
    (
        "POST",
        "/webhook-endpoints/{id}/deliveries/{delivery}/resend",
        TOLD,
    ),
    ("DELETE", "/webhook-endpoints/{id}", TOLD),
];

/// Pages that show the contract and are not part of it.
pub const PAGES: &[&str] = &["/openapi.yaml", "/docs", "/docs/", "/docs/{*rest}"];

/// Every route with its access: method, path as the router writes it, access.
pub fn routes() -> impl Iterator<Item = (&'static str, &'static str, Access)> {
    ROUTES.iter().copied()
}

/// What a route asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// This.
    Found(Access),
    /// The path is known, the method is not.
    OtherMethod,
    /// There is no rule: nobody comes in.
    Missing,
}

/// The rule of a route. `HEAD` is as `GET`.
#[must_use]
pub fn rule(method: &Method, path: &str) -> Rule {
    let method = if method == Method::HEAD {
        "GET"
    } else {
        method.as_str()
    };
    let mut known = false;
    for (m, p, access) in routes() {
        if p == path {
            if m == method {
                return Rule::Found(access);
            }
            known = true;
        }
    }
    if known {
        Rule::OtherMethod
    } else {
        Rule::Missing
    }
}

/// The methods that a path takes, for the `Allow` header.
#[must_use]
pub fn methods(path: &str) -> String {
    let taken: Vec<&str> = routes()
        .filter(|(_, p, _)| *p == path)
        .flat_map(|(method, ..)| match method {
            "GET" => vec!["GET", "HEAD"],
            other => vec![other],
        })
        .collect();
    taken.join(", ")
}

/// Whether a route is a command: for certain roles, and it changes something. Commands take an
/// `Idempotency-Key`.
#[must_use]
pub fn is_command(method: &Method, path: &str) -> bool {
    let changes = !(method == Method::GET || method == Method::HEAD);
    changes && matches!(rule(method, path), Rule::Found(Access::Roles(_)))
}

/// Whether somebody with these roles passes. `Signed` and open routes ask for no roles.
#[must_use]
pub fn admits(access: Access, roles: &[Role]) -> bool {
    match access {
        Access::Probe | Access::Anyone | Access::Guest | Access::Signed | Access::SignedIn => true,
        Access::Roles(wanted) => roles.iter().any(|role| wanted.contains(role)),
    }
}

/// Whether somebody sees what is not theirs.
#[must_use]
pub fn sees_all(roles: &[Role]) -> bool {
    roles.iter().any(|role| match role {
        Role::DashboardOperator | Role::Admin | Role::Auditor => true,
        Role::User | Role::NodeOperator => false,
    })
}

/// Whether the caller may see an object of `owner`.
#[must_use]
pub fn may_see(caller: UserId, roles: &[Role], owner: UserId) -> bool {
    caller == owner || sees_all(roles)
}

/// What whoever signs up is.
pub const AT_SIGN_UP: Role = Role::User;

/// How long an access token is good for.
pub const ACCESS_LIFETIME: Duration = Duration::from_secs(600);
/// How long a session can be refreshed from its login on.
pub const SESSION_LIFETIME: Duration = Duration::from_secs(30 * 86_400);
/// How long the mailed token of a sign-up is good for.
pub const VERIFY_LIFETIME: Duration = Duration::from_secs(86_400);
/// How long the mailed token of a reset is good for.
pub const RESET_LIFETIME: Duration = Duration::from_secs(3_600);

/// Failed logins that lock, and for how long they are remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempts {
    /// This many failures lock.
    pub failures: u32,
    /// Counted from the first.
    pub within: Duration,
}

/// From one address at one account: whoever guesses a password.
pub const PER_ADDRESS_AND_ACCOUNT: Attempts = Attempts {
    failures: 5,
    within: Duration::from_secs(900),
};
/// At one account from anywhere: many machines that guess. High, because it locks its owner out too.
pub const PER_ACCOUNT: Attempts = Attempts {
    failures: 50,
    within: Duration::from_secs(900),
};
/// Mails that anybody may have sent to one address of mail, so that nobody is flooded.
pub const MAILS_PER_ACCOUNT: Attempts = Attempts {
    failures: 5,
    within: Duration::from_secs(3_600),
};

/// How long the code is good for that shows whose a phone is.
pub const PHONE_CODE_LIFETIME: Duration = Duration::from_secs(600);
/// How often a code may be told wrongly before it is none any more.
pub const PHONE_CODE_ATTEMPTS: i32 = 5;
/// Codes that one person may have sent.
pub const PHONE_CODES: Attempts = Attempts {
    failures: 5,
    within: Duration::from_secs(3_600),
};

/// Shortest password, in characters.
pub const PASSWORD_MIN: usize = 10;
/// Longest password, in characters.
pub const PASSWORD_MAX: usize = 128;

/// Why a password will not do; `None` when it will.
#[must_use]
pub fn password_fault(password: &str, email_key: &str) -> Option<&'static str> {
    let characters = password.chars().count();
    if characters < PASSWORD_MIN {
        Some("a password has at least 10 characters")
    } else if characters > PASSWORD_MAX {
        Some("a password has at most 128 characters")
    } else if password.to_lowercase() == email_key {
        Some("the password is the e-mail address")
    } else {
        None
    }
}

/// The key under which an address of mail is known, lower-cased; `None` for what is no address.
/// ASCII only: names of other scripts are written as the mail system does (`xn--…`).
#[must_use]
pub fn email_key(email: &str) -> Option<String> {
    const EXTRA: &[u8] = b"!#$%&'*+/=?^_`{|}~-";
    let (local, domain) = email.rsplit_once('@')?;
    let atom = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || EXTRA.contains(&b))
    };
    let label = |part: &str| {
        (1..=63).contains(&part.len())
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !part.starts_with('-')
            && !part.ends_with('-')
    };
    let last_is_a_name = domain
        .rsplit('.')
        .next()
        .is_some_and(|last| last.len() >= 2 && last.bytes().all(|b| !b.is_ascii_digit()));
    let valid = email.len() <= 254
        && local.len() <= 64
        && local.split('.').all(atom)
        && domain.contains('.')
        && domain.split('.').all(label)
        && last_is_a_name;
    valid.then(|| email.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn roles_are_read_as_they_are_written() {
        for role in Role::ALL {
            assert_eq!(role.as_str().parse(), Ok(role));
        }
        assert_eq!("root".parse::<Role>(), Err(NoRole));
    }

    #[test]
    fn no_route_has_two_rules() {
        let all: Vec<_> = routes().map(|(m, p, _)| (m, p)).collect();
        for (index, route) in all.iter().enumerate() {
            assert!(!all[..index].contains(route), "{route:?}");
        }
    }

    #[test]
    fn what_has_no_rule_lets_nobody_in() {
        assert_eq!(rule(&Method::GET, "/new"), Rule::Missing);
        assert_eq!(rule(&Method::PUT, "/quotes"), Rule::OtherMethod);
        assert_eq!(rule(&Method::POST, "/quotes"), Rule::Found(BUYERS));
        assert_eq!(rule(&Method::HEAD, "/purchases"), Rule::Found(READERS));
    }

    #[test]
    fn commands_change_something_and_are_for_certain_roles() {
        assert!(is_command(&Method::POST, "/quotes"));
        assert!(is_command(&Method::PUT, "/deployments/{id}"));
        assert!(is_command(&Method::DELETE, "/deployments/{id}"));
        for (method, path) in [
            (Method::GET, "/purchases"),
            (Method::HEAD, "/purchases"),
            (Method::POST, "/auth/login"),
            (Method::POST, "/auth/logout"),
            (Method::POST, "/payments/webhook"),
            (Method::POST, "/new"),
        ] {
            assert!(!is_command(&method, path), "{method} {path}");
        }
    }

    #[test]
    fn only_buyers_buy_and_watchers_see_all() {
        assert!(admits(BUYERS, &[Role::User]));
        for role in [
            Role::NodeOperator,
            Role::DashboardOperator,
            Role::Admin,
            Role::Auditor,
        ] {
            assert!(!admits(BUYERS, &[role]), "{role}");
        }
        let (anna, bert) = (UserId::derive(&["a"]), UserId::derive(&["b"]));
        assert!(may_see(anna, &[Role::User], anna));
        assert!(!may_see(anna, &[Role::User, Role::NodeOperator], bert));
        assert!(may_see(anna, &[Role::Auditor], bert));
    }

    #[test]
    fn addresses_of_mail_are_told_from_other_texts() {
        assert_eq!(
            email_key("Anna.B+x@Example.ORG").unwrap(),
            "anna.b+x@example.org"
        );
        let long = format!("{}@example.org", "a".repeat(65));
        for bad in [
            "",
            "anna",
            "@example.org",
            "anna@",
            "anna@localhost",
            "a..b@example.org",
            ".a@example.org",
            "a b@example.org",
            "a@exa mple.org",
            "a@-x.org",
            "a@x.1",
            "a@b@example.org",
            "größe@example.org",
            "a\r\nBcc: b@example.org",
            "a@example.org\n",
            "a@example.org\0",
            long.as_str(),
        ] {
            assert_eq!(email_key(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn passwords_are_long_enough_and_not_too_long() {
        let key = "anna.b@example.org";
        assert_eq!(password_fault("correct horse", key), None);
        assert_eq!(password_fault("🐎🐎🐎🐎🐎🐎🐎🐎🐎🐎", key), None);
        assert!(password_fault("short", key).is_some());
        assert!(password_fault(&"x".repeat(129), key).is_some());
        assert!(password_fault("Anna.B@example.org", key).is_some());
    }
}

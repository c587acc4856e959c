//! What the API knows people by, from the configuration; and `gridway users`, which sets the
//! first of them up.

use crate::config::Config;
use crate::ports::until_postgres_answers;
use anyhow::{Context, Result, bail};
use api::auth::oidc::{Oidc, OidcSettings};
use api::auth::passwords::Passwords;
use api::auth::rules::{Role, email_key, password_fault};
use api::auth::sessions::Sessions;
use api::auth::tokens::Tokens;
use api::auth::{Auth, Limits, ServiceTokens, accounts};
use api::ports::{Mail, Mailer};
use async_trait::async_trait;
use clap::{Args, Subcommand};
use counterparties_messaging::{SendGridMailer, SmtpMailer};
use events::outcome::Attempt;
use pipeline::clock;
use sqlx::PgPool;
use std::io::{BufRead, IsTerminal, Write};
use std::sync::Arc;

/// Who may call.
///
/// # Errors
/// When the configuration is missing or malformed.
pub fn auth() -> Result<Auth> {
    let tokens = Tokens::new(
        &Config::text("GRIDWAY_AUTH_SEEDS")?,
        Config::seconds("GRIDWAY_AUTH_KEY_SECONDS")?,
        &Config::text("GRIDWAY_AUTH_ISSUER")?,
        &Config::text("GRIDWAY_AUTH_AUDIENCE")?,
    )
    .context("GRIDWAY_AUTH_SEEDS")?;
    Ok(Auth {
        tokens,
        sessions: sessions()?,
        passwords: Passwords::new()?,
        oidc: oidc()?,
        service: ServiceTokens::parse(&Config::text("GRIDWAY_API_TOKENS")?)
            .context("GRIDWAY_API_TOKENS")?,
        limits: Limits {
            user: limit("GRIDWAY_LIMIT_USER")?,
            address: limit("GRIDWAY_LIMIT_ADDRESS")?,
            guest: limit("GRIDWAY_LIMIT_GUEST")?,
        },
        proxies: Config::parse("GRIDWAY_TRUSTED_PROXIES")?,
        public_url: Config::text("GRIDWAY_PUBLIC_URL")?,
    })
}

fn limit(name: &str) -> Result<u32> {
    match Config::parse(name)? {
        0 => bail!("{name}=0 would let nobody in"),
        limit => Ok(limit),
    }
}

fn sessions() -> Result<Sessions> {
    Sessions::new(&Config::text("GRIDWAY_REDIS_URL")?).context("GRIDWAY_REDIS_URL")
}

fn oidc() -> Result<Option<Oidc>> {
    let issuer = Config::text("GRIDWAY_OIDC_ISSUER")?;
    if issuer.is_empty() {
        return Ok(None);
    }
    let audience = Config::text("GRIDWAY_OIDC_AUDIENCE")?;
    if audience.is_empty() {
        bail!("GRIDWAY_OIDC_AUDIENCE is not set: tokens for others would be taken");
    }
    let claim = Config::text("GRIDWAY_OIDC_ROLES_CLAIM")?;
    let settings = OidcSettings {
        issuer,
        audience,
        roles_claim: (!claim.is_empty()).then_some(claim),
    };
    Ok(Some(Oidc::new(settings).context("GRIDWAY_OIDC_ISSUER")?))
}

/// The API's mailer, on the real one.
pub struct Post(Arc<dyn counterparties_messaging::Mailer>);

/// Who sends the mails.
///
/// # Errors
/// When the configuration is missing or malformed.
pub fn mailer() -> Result<Post> {
    Ok(Post(sender()?))
}

/// The way of all mails: SendGrid's API where its key is set, else SMTP.
///
/// # Errors
/// When the configuration is missing or malformed.
pub fn sender() -> Result<Arc<dyn counterparties_messaging::Mailer>> {
    let from = Config::text("GRIDWAY_MAIL_FROM")?;
    let key = Config::text("GRIDWAY_SENDGRID_KEY")?;
    if !key.is_empty() {
        let mailer = SendGridMailer::new(&Config::text("GRIDWAY_SENDGRID_URL")?, &key, &from)
            .context("GRIDWAY_SENDGRID_URL, GRIDWAY_MAIL_FROM")?;
        return Ok(Arc::new(mailer));
    }
    let url = Config::text("GRIDWAY_SMTP_URL")?;
    if url.is_empty() {
        bail!("neither GRIDWAY_SMTP_URL nor GRIDWAY_SENDGRID_KEY is set: nobody gets a mail");
    }
    let mailer = SmtpMailer::new(&url, &from).context("GRIDWAY_SMTP_URL, GRIDWAY_MAIL_FROM")?;
    Ok(Arc::new(mailer))
}

#[async_trait]
impl Mailer for Post {
    async fn send(&self, mail: &Mail) -> Attempt<()> {
        let mail = counterparties_messaging::Mail {
            id: mail.id,
            to: mail.to.clone(),
            subject: mail.subject.clone(),
            text: mail.text.clone(),
            at: mail.at,
        };
        match self.0.send(&mail).await {
            Attempt::Landed(_) => Attempt::Landed(()),
            Attempt::Refused(refusal) => Attempt::Refused(refusal),
            Attempt::NotSent(why) => Attempt::NotSent(why),
            Attempt::Unknown(why) => Attempt::Unknown(why),
            Attempt::NoAnswer(why) => Attempt::NoAnswer(why),
        }
    }
}

/// What to do with the people of an installation.
#[derive(Subcommand)]
pub enum Action {
    /// Makes an account whose e-mail address counts as verified. The password is the first line
    /// of the standard input.
    Create {
        /// Address of e-mail.
        email: String,
        /// Roles besides `user`.
        #[arg(long = "role")]
        roles: Vec<Role>,
        /// Who.
        #[command(flatten)]
        by: By,
    },
    /// Grants a role. The person's sessions end, so that the next one has it.
    Grant {
        /// Address of e-mail.
        email: String,
        /// user, node_operator, dashboard_operator, admin or auditor.
        role: Role,
        /// Who.
        #[command(flatten)]
        by: By,
    },
    /// Takes a role away. The person's sessions end.
    Revoke {
        /// Address of e-mail.
        email: String,
        /// user, node_operator, dashboard_operator, admin or auditor.
        role: Role,
        /// Who.
        #[command(flatten)]
        by: By,
    },
    /// Shows an account's id and roles.
    Show {
        /// Address of e-mail.
        email: String,
    },
}

/// Who does it; kept for ever, in the event.
#[derive(Args)]
pub struct By {
    /// Who.
    #[arg(long, env = "USER", default_value = "operator")]
    by: String,
}

/// Carries it out.
///
/// # Errors
/// When Postgres or Redis does not answer, or there is no such account.
pub async fn run(action: Action) -> Result<()> {
    let pool = projections::connect(&Config::text("GRIDWAY_DATABASE_URL")?, 2)
        .context("GRIDWAY_DATABASE_URL")?;
    until_postgres_answers(|| api::migrate(&pool))
        .await
        .context("the tables of the API")?;
    match action {
        Action::Create { email, roles, by } => create(&pool, &email, &roles, &by.by).await,
        Action::Grant { email, role, by } => {
            let user = find(&pool, &email).await?;
            let now = clock::now();
            accounts::grant(&pool, user, role, &by.by, now).await?;
            end_sessions(&pool, user).await?;
            println!("{user} is {role} from now on");
            Ok(())
        }
        Action::Revoke { email, role, by } => {
            let user = find(&pool, &email).await?;
            let now = clock::now();
            accounts::revoke(&pool, user, role, &by.by, now).await?;
            end_sessions(&pool, user).await?;
            println!("{user} is no {role} any more");
            Ok(())
        }
        Action::Show { email } => {
            let user = find(&pool, &email).await?;
            let roles = accounts::roles(&pool, user).await?;
            let roles: Vec<&str> = roles.iter().map(|role| role.as_str()).collect();
            println!("{user} {}", roles.join(" "));
            Ok(())
        }
    }
}

async fn end_sessions(pool: &PgPool, user: events::ids::UserId) -> Result<()> {
    let now = clock::now();
    accounts::end_sessions(pool, user, now).await?;
    sessions()?.end_all(user, now.seconds()).await.context(
        "the roles are changed, and tokens that are out have the old ones for ten minutes more",
    )?;
    Ok(())
}

fn key(email: &str) -> Result<String> {
    email_key(email).with_context(|| format!("{email} is not an e-mail address"))
}

async fn find(pool: &PgPool, email: &str) -> Result<events::ids::UserId> {
    let account = accounts::by_email(pool, &key(email)?).await?;
    Ok(account
        .with_context(|| format!("nobody has an account with {email}"))?
        .user)
}

async fn create(pool: &PgPool, email: &str, roles: &[Role], by: &str) -> Result<()> {
    let key = key(email)?;
    if std::io::stdin().is_terminal() {
        eprint!("password (it will show): ");
        std::io::stderr().flush()?;
    }
    let mut password = String::new();
    std::io::stdin().lock().read_line(&mut password)?;
    let password = password.trim_end_matches(['\r', '\n']).to_owned();
    if let Some(fault) = password_fault(&password, &key) {
        bail!("{fault}");
    }
    let hash = Passwords::new()?.hash(password).await?;
    let chance = api::auth::sessions::secret().context("no randomness")?;
    let user = accounts::create(pool, (email, &key), &hash, &chance, clock::now())
        .await?
        .with_context(|| format!("{email} has an account already"))?;
    for role in roles {
        accounts::grant(pool, user, *role, by, clock::now()).await?;
    }
    println!("{user}");
    Ok(())
}

//! `gridway deposits`: what was paid to us on Stellar that is nobody's, and what is to become of it.
//!
//! An order is an event in the deposit's own aggregate, with its reason; the policy decides whether
//! it can be carried out. The same order, given twice while nothing has changed, is one.

use crate::config::Config;
use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use events::codec::Codec;
use events::deposits::{DepositAssigned, DepositEvent, DepositReturnOrdered};
use events::envelope::Envelope;
use events::ids::{EventId, TwinId, UserId};
use events::money::{Amount, Usdc};
use events::registry::Registry;
use events::topics::DEPOSITS;
use pipeline::clock;
use projections::deposits::{Deposit, State};
use rdkafka::producer::{FutureProducer, FutureRecord};
use std::time::Duration;

/// No more are listed.
const LISTED: i64 = 1_000;

/// What to do with deposits.
#[derive(Subcommand)]
pub enum Action {
    /// Lists those that wait for an operator, oldest first.
    List {
        /// All, whatever became of them.
        #[arg(long)]
        all: bool,
        /// As JSON, one on each line.
        #[arg(long)]
        json: bool,
    },
    /// Says whose an unmatched deposit is: it becomes their credit.
    Assign {
        /// Which.
        deposit: String,
        /// Whose twin's.
        #[command(flatten)]
        owner: Owner,
        /// Why, and who says so.
        #[command(flatten)]
        because: Because,
    },
    /// Sends an unmatched deposit back to its sender, or tries again what could not be sent back.
    /// A claimable balance of what we do not take is left unclaimed.
    Return {
        /// Which.
        deposit: String,
        /// Why, and who says so.
        #[command(flatten)]
        because: Because,
    },
}

/// Whose it is.
#[derive(Args)]
#[group(required = true, multiple = false)]
pub struct Owner {
    /// A twin.
    #[arg(long)]
    twin: Option<u32>,
    /// A user, by id.
    #[arg(long)]
    user: Option<UserId>,
}

/// Why, and who says so.
#[derive(Args)]
pub struct Because {
    /// Why. It is kept for ever, in the event.
    #[arg(long)]
    reason: String,
    /// Who.
    #[arg(long, env = "USER", default_value = "operator")]
    by: String,
}

/// Carries it out.
///
/// # Errors
/// When Postgres or Kafka does not answer, or the order makes no sense.
pub async fn run(action: Action) -> Result<()> {
    let pool = projections::connect(&Config::text("GRIDWAY_DATABASE_URL")?, 1)
        .context("GRIDWAY_DATABASE_URL")?;
    match action {
        Action::List { all, json } => {
            let mut shown = Vec::new();
            if all {
                shown = projections::deposits::list(&pool, None, LISTED).await?;
            } else {
                for state in [State::Unmatched, State::Returning] {
                    shown.extend(projections::deposits::list(&pool, Some(state), LISTED).await?);
                }
            }
            for deposit in &shown {
                if json {
                    println!("{}", serde_json::to_string(deposit)?);
                } else {
                    println!("{}", line(deposit));
                }
            }
            if !json {
                println!("{} deposits", shown.len());
            }
            Ok(())
        }
        Action::Assign {
            deposit,
            owner,
            because,
        } => {
            let found = known(&pool, &deposit).await?;
            let twin = match (owner.twin, owner.user) {
                (Some(twin), _) => TwinId(twin),
                (None, Some(user)) => projections::users::get(&pool, user)
                    .await?
                    .and_then(|user| user.twin_id)
                    .with_context(|| format!("user {user} is not known, or has no twin"))?,
                (None, None) => bail!("say whose it is: --twin or --user"),
            };
            let event = DepositAssigned {
                deposit_id: deposit,
                twin_id: twin,
                reason: because.reason,
                by: because.by,
                assigned_at: clock::now(),
            };
            order(&found, "assign", event.into()).await
        }
        Action::Return { deposit, because } => {
            let found = known(&pool, &deposit).await?;
            let event = DepositReturnOrdered {
                deposit_id: deposit,
                reason: because.reason,
                by: because.by,
                ordered_at: clock::now(),
            };
            order(&found, "return", event.into()).await
        }
    }
}

async fn known(pool: &sqlx::PgPool, id: &str) -> Result<Deposit> {
    let found = projections::deposits::get(pool, id).await?;
    let deposit = found.with_context(|| {
        format!("there is no deposit {id}; `gridway deposits list --all` shows what there is")
    })?;
    if !api::approvals::waits(&deposit) {
        bail!("{}: nothing of it waits for an operator", line(&deposit));
    }
    Ok(deposit)
}

fn line(d: &Deposit) -> String {
    let amount = Amount::<Usdc>::from_minor(d.amount).unwrap_or(Amount::ZERO);
    let memo = match (&d.memo, &d.muxed_id) {
        (Some(memo), _) => format!("memo {} {memo}", d.memo_type),
        (None, Some(id)) => format!("muxed id {id}"),
        (None, None) => "no memo".to_owned(),
    };
    format!(
        "{} {} {amount} {} from {} ({memo}) in {}{}: {} {} {}",
        d.id,
        d.state.as_str(),
        d.asset,
        d.sender,
        d.transaction,
        d.balance_id
            .as_ref()
            .map_or_else(String::new, |id| format!(", claimable balance {id}")),
        d.reason.as_deref().unwrap_or("-"),
        d.alarm.as_deref().unwrap_or("-"),
        d.detail.as_deref().unwrap_or(""),
    )
}

/// Refuses what needs a second person.
fn one_may(deposit: &Deposit, what: &str) -> Result<()> {
    let limits = crate::ports::limits()?;
    let sum = api::approvals::deposit_sum(deposit, &Config::text("GRIDWAY_USDC_ASSET")?);
    if !limits.need_second(Some(&sum)) {
        return Ok(());
    }
    let action = match what {
        "assign" => "\"deposit_assignment\",\"twin_id\":…",
        _ => "\"deposit_return\"",
    };
    bail!(
        "a second person must agree (GRIDWAY_ALONE_UP_TO): POST /approvals {{\"action\":{action},\"target\":\"{}\",\"reason\":\"…\"}}",
        deposit.id
    )
}

async fn order(deposit: &Deposit, what: &str, event: DepositEvent) -> Result<()> {
    one_may(deposit, what)?;
    let registry = Registry::new(&Config::text("GRIDWAY_REGISTRY_URL")?)?;
    let codec = Codec::<DepositEvent>::connect(&registry).await?;
    let producer: FutureProducer = Config::kafka()?
        .client()
        .set("acks", "all")
        .set("enable.idempotence", "true")
        .set("linger.ms", "0")
        .create()?;
    // What has happened to it so far is part of the order: given again, it is another.
    let id = EventId::derive(&["deposits", what, &deposit.id, &deposit.version.to_string()]);
    let envelope = Envelope {
        id,
        source: "/gridway/operator".to_owned(),
        time: clock::now(),
        subject: deposit.id.clone(),
        correlation: Some(deposit.id.clone()),
        causation: None,
        traceparent: None,
    };
    let payload = codec.encode(&event)?;
    let record = FutureRecord::to(DEPOSITS.name)
        .partition(0)
        .key(&deposit.id)
        .payload(&payload)
        .headers(envelope.headers(&event));
    producer
        .send(record, Duration::from_secs(20))
        .await
        .map_err(|(error, _)| error)
        .context("Kafka did not take the order; give it again")?;
    println!(
        "{what} of {} is ordered; `gridway deposits list --all` shows what comes of it",
        deposit.id
    );
    Ok(())
}

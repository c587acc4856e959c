//! Looking after lanes: list, check, top up, fence.

use super::log::{Log, scan};
use super::{Codecs, keys, places, topic_of};
use crate::config::Config;
use anyhow::{Context, Result, bail};
use api::approvals::{LANES, Sum, use_up};
use clap::Args;
use counterparties_stellar::opening::{self, LaneReport};
use counterparties_stellar::tending::{self, Fenced};
use counterparties_stellar::{AccountId, LaneKey, base, sequence};
use events::codec::Codec;
use events::envelope::Record;
use events::ids::ApprovalId;
use events::money::{Amount, Xlm};
use events::schema::EventSet;
use pipeline::{Executor, Job, Owner, clock};
use processor_deposits::{Claims, Returns};
use processor_handoffs::Handoffs;
use processor_lanes::{Lanes, Treasury};
use processor_swaps::Swaps;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// What to list.
#[derive(Args)]
pub struct List {
    /// Each lane's account as well.
    #[arg(long)]
    accounts: bool,
}

pub(super) fn list(log: &Log, options: &List) {
    println!("executor   partition  opened at    epoch  lanes  in force");
    for ((executor, partition), openings) in &log.openings {
        for (place, recorded) in openings.iter().enumerate() {
            let in_force = if place + 1 == openings.len() {
                "yes"
            } else {
                "no"
            };
            println!(
                "{executor:<10} {partition:>9} {:>10} {:>8} {:>6}  {in_force}",
                recorded.offset, recorded.epoch, recorded.lanes
            );
            if options.accounts {
                for account in &recorded.accounts {
                    println!("           {account}");
                }
            }
        }
    }
}

/// Checks the lanes of every epoch: requests of an earlier one may be open still.
pub(super) async fn check(treasury: &Treasury, log: &Log) -> Result<()> {
    if log.openings.is_empty() {
        bail!("no lanes are open: run `gridway lanes open`");
    }
    let mut wrong = 0;
    for (executor, partition, recorded) in log.epochs() {
        let lanes = keys(treasury, executor, partition, recorded)?;
        let place = (topic_of(executor).name, partition);
        let end = log.ends.get(&place).copied().unwrap_or_default();
        for report in opening::check(&*treasury.stellar, &lanes, base(recorded.epoch)?, end).await?
        {
            let LaneReport {
                account,
                sequence,
                balance,
                problem,
            } = &report;
            match problem {
                None => println!(
                    "ok    {executor:<9} {partition:>3}  {account}  sequence {sequence}  {balance} XLM"
                ),
                Some(problem) => {
                    wrong += 1;
                    println!("WRONG {executor:<9} {partition:>3}  {account}  {problem}");
                }
            }
        }
    }
    if wrong > 0 {
        bail!("{wrong} lanes are not as they must be");
    }
    Ok(())
}

/// How much to pay.
#[derive(Args)]
pub struct TopUp {
    /// Lanes with fewer lumens than this are paid some.
    #[arg(long, default_value = "1.5", value_parser = Amount::<Xlm>::parse)]
    below: Amount<Xlm>,
    /// So that they hold this many.
    #[arg(long, default_value = "2", value_parser = Amount::<Xlm>::parse)]
    to: Amount<Xlm>,
    /// What a second person has agreed to, where the sum is above what one may pay alone.
    #[arg(long)]
    approval: Option<ApprovalId>,
    /// Who pays.
    #[arg(long, env = "USER", default_value = "operator")]
    by: String,
}

/// Refuses a payment that needs a second person and has none.
async fn one_may(sum: i64, options: &TopUp) -> Result<()> {
    let sum = Sum {
        asset: "XLM".to_owned(),
        minor: sum,
    };
    if !crate::ports::limits()?.need_second(Some(&sum)) {
        return Ok(());
    }
    let Some(approval) = options.approval else {
        bail!(
            "{} XLM are more than one person may pay (GRIDWAY_ALONE_UP_TO): POST /approvals {{\"action\":\"treasury_transfer\",\"target\":\"{LANES}\",\"amount\":\"{}\",\"asset\":\"XLM\",\"reason\":\"…\"}}, then give its id by --approval",
            Amount::<Xlm>::from_minor(sum.minor)?,
            Amount::<Xlm>::from_minor(sum.minor)?,
        );
    };
    let pool = projections::connect(&Config::text("GRIDWAY_DATABASE_URL")?, 1)
        .context("GRIDWAY_DATABASE_URL")?;
    use_up(&pool, approval, (LANES, &sum), &options.by, clock::now()).await?;
    Ok(())
}

pub(super) async fn top_up(treasury: &Treasury, log: &Log, options: &TopUp) -> Result<()> {
    let mut accounts: Vec<AccountId> = Vec::new();
    for (executor, partition) in places() {
        if let Some(recorded) = log.in_force(executor, partition) {
            let lanes = keys(treasury, executor, partition, recorded)?;
            accounts.extend(lanes.iter().map(LaneKey::account));
        }
    }
    if accounts.is_empty() {
        bail!("no lanes are open: run `gridway lanes open`");
    }
    let (below, to) = (options.below.minor(), options.to.minor());
    let lacking = tending::lacking(&*treasury.stellar, &accounts, below, to).await?;
    let sum = lacking
        .iter()
        .try_fold(0_i64, |sum, (_, amount)| sum.checked_add(*amount))
        .context("the lumens do not fit a number")?;
    one_may(sum, options).await?;
    tending::top_up(
        &*treasury.stellar,
        &treasury.key,
        &lacking,
        &treasury.passphrase,
    )
    .await?;
    println!(
        "{} of {} lanes held less than {} XLM and were paid {} XLM in all",
        lacking.len(),
        accounts.len(),
        options.below,
        Amount::<Xlm>::from_minor(sum)?
    );
    Ok(())
}

/// Which request to give up.
#[derive(Args)]
pub struct Fence {
    /// The hand that carries it out: swaps, handoffs, returns or claims.
    executor: String,
    /// Partition of its topic.
    partition: i32,
    /// Offset of the request in it.
    offset: i64,
    /// Also give up open requests of the same lane that stand before it: their numbers are lower.
    #[arg(long)]
    earlier: bool,
}

/// An open request.
struct OpenRequest {
    offset: i64,
    subject: String,
    lane: LaneKey,
    number: i64,
}

pub(super) async fn fence(treasury: Arc<Treasury>, codecs: &Codecs, options: &Fence) -> Result<()> {
    let topic = topic_of(&options.executor);
    if !(0..topic.partitions).contains(&options.partition) {
        bail!(
            "topic {} has partitions 0 to {}",
            topic.name,
            topic.partitions - 1
        );
    }
    let us = &treasury;
    let open = match options.executor.as_str() {
        Swaps::NAME => {
            open_requests(&Swaps::new(us.clone()), us, &codecs.purchases, options).await?
        }
        Handoffs::NAME => {
            open_requests(&Handoffs::new(us.clone()), us, &codecs.purchases, options).await?
        }
        Returns::NAME => {
            open_requests(&Returns::new(us.clone()), us, &codecs.deposits, options).await?
        }
        Claims::NAME => {
            open_requests(&Claims::new(us.clone()), us, &codecs.deposits, options).await?
        }
        other => bail!("{other} has no lanes; swaps, handoffs, returns and claims have"),
    };
    let Some(request) = open.iter().find(|r| r.offset == options.offset) else {
        let offsets: Vec<i64> = open.iter().map(|r| r.offset).collect();
        bail!(
            "no open request of {} stands at {}:{}; open ones stand at {offsets:?}",
            options.executor,
            options.partition,
            options.offset
        );
    };
    let account = request.lane.account();
    let before: Vec<i64> = open
        .iter()
        .filter(|r| r.offset < request.offset && r.lane.account() == account)
        .map(|r| r.offset)
        .collect();
    if !before.is_empty() && !options.earlier {
        bail!(
            "the requests at {before:?} use the same lane and have lower numbers: they would be given up, too; --earlier agrees to that"
        );
    }
    let fenced = tending::fence(
        &*treasury.stellar,
        &treasury.key,
        &request.lane,
        request.number,
        &treasury.passphrase,
    )
    .await?;
    match fenced {
        Fenced::Passed => println!(
            "lane {account} is at {}: the request of {} at {}:{} can land no more, unless it was in the same ledger; its hand finds out, and what asked for it goes on from there",
            request.number, request.subject, options.partition, request.offset
        ),
        Fenced::Before => println!(
            "lane {account} had passed {} already: the outcome is settled, and the hand finds it",
            request.number
        ),
    }
    Ok(())
}

/// The requests of a hand in a partition whose outcome does not stand there.
async fn open_requests<X, E>(
    hand: &X,
    treasury: &Treasury,
    codec: &Codec<E>,
    options: &Fence,
) -> Result<Vec<OpenRequest>>
where
    X: Executor<Event = E>,
    X::Context: AsRef<Lanes>,
    E: EventSet,
{
    let mut context = X::Context::default();
    let (mut seen, mut open) = (HashSet::new(), HashMap::new());
    scan(
        codec,
        &[options.partition],
        |_| true,
        |record: Record<E>| {
            // The first record of an id is the fact.
            if !seen.insert(record.id()) {
                return;
            }
            hand.observe(&mut context, &record);
            if let Some(request) = hand.closes(&record.event) {
                open.remove(&request);
            }
            if let Some(request) = hand.request(&record) {
                let job = Job::<X> {
                    request,
                    context: context.clone(),
                    owner: Owner::unchecked(),
                    record,
                };
                open.insert(job.record.id(), job);
            }
        },
    )
    .await?;
    let mut requests = Vec::new();
    for job in open.into_values() {
        let (lane, _, epoch) = treasury.lane(&job)?;
        requests.push(OpenRequest {
            offset: job.record.offset,
            subject: job.record.envelope.subject.clone(),
            number: sequence(base(epoch)?, job.record.offset)?,
            lane,
        });
    }
    requests.sort_by_key(|r| r.offset);
    Ok(requests)
}

//! What the hands on Stellar share: which lane carries a record, and with which number.
//!
//! A record at offset *o* uses lane `hash(event id) mod K` of the last opening before it, with
//! sequence number `base + o + 1`. All of that follows from the log, so whoever owns the
//! partition builds the same transaction, byte for byte, and the ledger takes its number once.

use counterparties_stellar::{
    AccountId, AssetId, LANE_FEE, LandedTransaction, LaneKey, LaneMemo, LaneName, LaneOperation,
    LanePlan, LaneSeed, SecretKey, SignedTransaction, Stellar, base, lane_index, sign,
};
use events::envelope::Record;
use events::outcome::{Attempt, Find, Refusal};
use events::schema::EventSet;
use events::time::Timestamp;
use pipeline::{Executor, Job, Verdict};
use std::sync::Arc;

/// What it takes to move money from the treasury.
pub struct Treasury {
    /// The network.
    pub stellar: Arc<dyn Stellar>,
    /// Its passphrase; part of every signature.
    pub passphrase: String,
    /// Signs as the source of every operation.
    pub key: SecretKey,
    /// All lane keys derive from it.
    pub seed: LaneSeed,
    /// Id of the Kafka cluster: another log has other lanes.
    pub cluster: String,
    /// The USDC that is spent.
    pub usdc: AssetId,
    /// The TFT that is bought.
    pub tft: AssetId,
}

/// An opening of lanes, as recorded in the partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opening {
    /// Valid for requests after this offset.
    pub offset: i64,
    /// Its epoch.
    pub epoch: u32,
    /// Number of lanes.
    pub lanes: u16,
    /// The lane accounts as they were verified.
    pub accounts: Arc<Vec<String>>,
}

/// The last opening of an executor on a partition; the context of its jobs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lanes(Option<Opening>);

impl Lanes {
    /// Takes an opening in, if it is one of `executor`.
    pub fn observe<E: EventSet>(&mut self, executor: &str, record: &Record<E>) {
        let Some(opened) = record.event.opening() else {
            return;
        };
        let (Ok(epoch), Ok(lanes)) = (u32::try_from(opened.epoch), u16::try_from(opened.lanes))
        else {
            return;
        };
        if opened.executor == executor && lanes > 0 {
            self.0 = Some(Opening {
                offset: record.offset,
                epoch,
                lanes,
                accounts: Arc::new(opened.accounts.clone()),
            });
        }
    }

    /// The opening in force.
    #[must_use]
    pub const fn opening(&self) -> Option<&Opening> {
        self.0.as_ref()
    }
}

impl AsRef<Self> for Lanes {
    fn as_ref(&self) -> &Self {
        self
    }
}

/// Code of an attempt that no ledger took, and none will.
pub const NEVER_LANDED: &str = "never_landed";

/// Which of the lanes is a record's.
fn lane_of<X: Executor>(job: &Job<X>, opening: &Opening) -> u16 {
    lane_index(&job.record.id(), opening.lanes)
}

/// Why a record can have no transaction.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoTransaction {
    /// No lanes were open before it: no owner can ever build one.
    #[error(
        "no lanes of {executor} were open on partition {partition} before offset {offset}: run `gridway lanes open`"
    )]
    NoLanes {
        /// Executor.
        executor: &'static str,
        /// Partition.
        partition: i32,
        /// Offset of the request.
        offset: i64,
    },
    /// The configuration does not give the lanes that were opened: signing would be in vain.
    #[error(
        "the lane derived for {executor} on partition {partition} is {derived}, but {opened} was opened: GRIDWAY_LANE_SEED or the Kafka cluster is another one"
    )]
    OtherLane {
        /// Executor.
        executor: &'static str,
        /// Partition.
        partition: i32,
        /// What our seed gives.
        derived: String,
        /// What the log says.
        opened: String,
    },
    /// The plan cannot be built.
    #[error("the transaction cannot be built: {0}")]
    Unbuildable(String),
}

impl Treasury {
    /// The lane of a record.
    ///
    /// # Errors
    /// [`NoTransaction::NoLanes`] and [`NoTransaction::OtherLane`].
    pub fn lane<X: Executor>(
        &self,
        job: &Job<X>,
    ) -> Result<(LaneKey, &'static str, u32), NoTransaction>
    where
        X::Context: AsRef<Lanes>,
    {
        let (executor, partition, offset) = (X::NAME, job.record.partition, job.record.offset);
        let opening = job
            .context
            .as_ref()
            .opening()
            .ok_or(NoTransaction::NoLanes {
                executor,
                partition,
                offset,
            })?;
        let index = lane_of(job, opening);
        let name = LaneName {
            cluster: &self.cluster,
            executor,
            topic: <X::Event as EventSet>::TOPIC,
            partition,
            epoch: opening.epoch,
            index,
        };
        let key = self
            .seed
            .derive(name)
            .map_err(|e| NoTransaction::Unbuildable(e.to_string()))?;
        let derived = key.account().to_string();
        match opening.accounts.get(usize::from(index)) {
            Some(opened) if *opened == derived => Ok((key, executor, opening.epoch)),
            opened => Err(NoTransaction::OtherLane {
                executor,
                partition,
                derived,
                opened: opened.cloned().unwrap_or_else(|| "nothing".to_owned()),
            }),
        }
    }

    /// Requests of one lane are carried out one after the other.
    pub fn queue<X: Executor>(&self, job: &Job<X>) -> String
    where
        X::Context: AsRef<Lanes>,
    {
        // By its number: to derive its key takes longer than all else of a fold.
        job.context.as_ref().opening().map_or_else(
            || "without a lane".to_owned(),
            |opening| {
                let index = lane_of(job, opening);
                format!("{} {index}", opening.epoch)
            },
        )
    }

    /// The one transaction of a record.
    ///
    /// # Errors
    /// See [`NoTransaction`].
    pub fn transaction<X: Executor>(
        &self,
        job: &Job<X>,
        deadline: Timestamp,
        memo: LaneMemo,
        operation: LaneOperation,
    ) -> Result<SignedTransaction, NoTransaction>
    where
        X::Context: AsRef<Lanes>,
    {
        let unbuildable = |e: &dyn std::fmt::Display| NoTransaction::Unbuildable(e.to_string());
        let (lane, _, epoch) = self.lane(job)?;
        let base = base(epoch).map_err(|e| unbuildable(&e))?;
        let plan = LanePlan {
            lane,
            base,
            offset: job.record.offset,
            deadline: deadline.seconds(),
            memo,
            operation,
            max_fee: LANE_FEE,
        };
        sign(&plan, &self.key, &self.passphrase).map_err(|e| unbuildable(&e))
    }

    /// Looks for the record's transaction.
    pub async fn find(
        &self,
        signed: Result<SignedTransaction, NoTransaction>,
    ) -> Find<LandedTransaction> {
        match signed {
            Ok(signed) => self.stellar.find(&signed).await,
            // Nobody can have sent what nobody can build.
            Err(error @ NoTransaction::NoLanes { .. }) => Find::NeverWill(error.to_string()),
            Err(error) => {
                tracing::error!(%error, "a request on Stellar cannot be carried out");
                Find::Pending(error.to_string())
            }
        }
    }

    /// Submits the record's transaction.
    pub async fn attempt(
        &self,
        signed: Result<SignedTransaction, NoTransaction>,
    ) -> Attempt<LandedTransaction> {
        match signed {
            Ok(signed) => self.stellar.submit(&signed).await,
            Err(error @ NoTransaction::NoLanes { .. }) => Attempt::Unknown(error.to_string()),
            Err(error) => {
                tracing::error!(%error, "a request on Stellar cannot be carried out");
                Attempt::NotSent(error.to_string())
            }
        }
    }
}

/// A lane's transaction in a ledger, as outcomes tell of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// Hash, 64 hex digits.
    pub transaction: String,
    /// Ledger.
    pub ledger: i64,
    /// The lane account, `G…`.
    pub lane: String,
    /// Its sequence number.
    pub sequence: i64,
    /// Fee charged, in stroops.
    pub fee_stroops: i64,
    /// What a path payment really spent, in 10^-7 units; `None` for anything else.
    pub source_amount: Option<i64>,
}

/// A lane's transaction that did nothing and never will, as outcomes tell of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotSent {
    /// Whether it was in a ledger and failed there; else it can no longer land.
    pub in_ledger: bool,
    /// Code of the network, or `never_landed`.
    pub code: String,
    /// A sentence for people.
    pub detail: String,
    /// Hash of the failed transaction, where there is one.
    pub transaction: Option<String>,
}

/// What a verdict on a lane's transaction says.
///
/// # Errors
/// [`NotSent`], when it says that nothing happened.
pub fn told(verdict: Verdict<LandedTransaction>) -> Result<Sent, NotSent> {
    let (in_ledger, refusal) = match verdict {
        Verdict::Landed(landed) => {
            return Ok(Sent {
                transaction: landed.hash,
                ledger: i64::from(landed.ledger),
                lane: landed.lane.to_string(),
                sequence: landed.sequence,
                fee_stroops: landed.fee_charged,
                source_amount: landed.source_amount,
            });
        }
        Verdict::Refused(refusal) => (true, refusal),
        Verdict::NeverWill(reason) => (false, Refusal::new(NEVER_LANDED, reason)),
    };
    Err(NotSent {
        in_ledger,
        code: refusal.code,
        detail: refusal.detail,
        transaction: Some(refusal.evidence).filter(|hash| !hash.is_empty()),
    })
}

/// The account of an id in an event.
///
/// # Errors
/// When it is no Stellar account id.
pub fn account(id: &str) -> Result<AccountId, NoTransaction> {
    id.parse()
        .map_err(|_| NoTransaction::Unbuildable(format!("{id} is no Stellar account id")))
}

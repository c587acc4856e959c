//! Who carries out a command, in Redis: one process for a user's key at a time, and afterwards the
//! word that it was answered. What Redis forgets lets a command be carried out again, which changes
//! nothing: see [`super`].

use crate::auth::Down;
use events::ids::UserId;
use redis::aio::ConnectionManager;
use redis::{AsyncCommands, Script};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A process that died leaves its commands locked for so long.
const HELD_FOR: Duration = Duration::from_secs(5);

/// Takes the key when nothing stands there, or what the caller has seen there; else gives what does.
const TAKE: &str = r"
local held = redis.call('GET', KEYS[1])
if held and held ~= ARGV[3] then return held end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return false
";

/// Keeps the key for longer, if it is still the caller's.
const RENEW: &str = r"
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
";

/// Frees the key, if it is still the caller's.
const GIVE_BACK: &str = r"
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
";

/// The lease of one command.
#[derive(Debug)]
pub(super) struct Lease {
    key: String,
    word: String,
}

/// What stands where a lease was wanted.
#[derive(Debug)]
pub(super) enum Taken {
    Ours(Lease),
    /// Somebody carries out the command with this fingerprint.
    Running(String),
    /// The command with this fingerprint was answered.
    Answered(Seen),
}

/// What was read, to be taken over by whoever read it.
#[derive(Debug)]
pub(super) struct Seen {
    pub fingerprint: String,
    word: String,
}

/// Where leases are taken. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Leases {
    redis: ConnectionManager,
    take: Script,
    renew: Script,
    give_back: Script,
    /// Tells this process from others.
    process: String,
}

/// Tells the leases of a process apart.
static NUMBER: AtomicU64 = AtomicU64::new(0);

impl Leases {
    pub(crate) fn new(redis: ConnectionManager) -> Self {
        let mut process = [0_u8; 16];
        // Without chance only the leases of processes that died are told apart less well.
        let _ = getrandom::fill(&mut process);
        Self {
            redis,
            take: Script::new(TAKE),
            renew: Script::new(RENEW),
            give_back: Script::new(GIVE_BACK),
            process: hex::encode(process),
        }
    }

    /// Takes the lease of a user's key; `seen` says what may be taken over.
    pub(super) async fn take(
        &self,
        user: UserId,
        key: &str,
        fingerprint: &str,
        seen: Option<Seen>,
    ) -> Result<Taken, Down> {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let lease = Lease {
            key: format!("gridway:command:{user}:{key}"),
            word: format!("running:{fingerprint}:{}:{number}", self.process),
        };
        let held: Option<String> = self
            .take
            .key(&lease.key)
            .arg(&lease.word)
            .arg(millis(HELD_FOR))
            .arg(seen.map(|seen| seen.word).unwrap_or_default())
            .invoke_async(&mut self.redis.clone())
            .await?;
        let Some(word) = held else {
            return Ok(Taken::Ours(lease));
        };
        let mut parts = word.split(':').skip(1);
        let fingerprint = parts.next().unwrap_or_default().to_owned();
        Ok(if word.starts_with("answered:") {
            Taken::Answered(Seen { fingerprint, word })
        } else {
            Taken::Running(fingerprint)
        })
    }

    pub(super) async fn renew(&self, lease: &Lease) -> Result<(), Down> {
        let mut redis = self.redis.clone();
        let mut call = self.renew.key(&lease.key);
        let call = call.arg(&lease.word).arg(millis(HELD_FOR));
        Ok(call.invoke_async::<()>(&mut redis).await?)
    }

    pub(super) async fn give_back(&self, lease: &Lease) -> Result<(), Down> {
        let mut redis = self.redis.clone();
        let mut call = self.give_back.key(&lease.key);
        Ok(call.arg(&lease.word).invoke_async::<()>(&mut redis).await?)
    }

    /// Says for `kept` that the command was answered.
    pub(super) async fn answered(
        &self,
        lease: &Lease,
        fingerprint: &str,
        kept: Duration,
    ) -> Result<(), Down> {
        let word = format!("answered:{fingerprint}");
        let mut redis = self.redis.clone();
        Ok(redis.pset_ex(&lease.key, word, millis(kept)).await?)
    }
}

/// Redis takes no zero.
fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1)
}

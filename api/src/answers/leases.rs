//! Who carries out a command, in Redis: one process for a user's key at a time, and afterwards the
//! word that it was answered. A key's value is `running:<fingerprint>:<until, ms>:<by whom>` or
//! `answered:<fingerprint>`. What Redis forgets lets a command be carried out again, which changes
//! nothing: see [`super`].

use crate::auth::Down;
use events::ids::UserId;
use redis::aio::ConnectionManager;
use redis::{AsyncCommands, Script};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A process that died leaves its commands locked for so long. After that only the same command may
/// be carried out with their keys: what the process did last, nobody knows.
const HELD_FOR: Duration = Duration::from_secs(5);

/// For so long a key is remembered whose command was begun and not answered: its event may be in
/// the log, while nothing in Postgres binds the key.
const REMEMBERED: Duration = Duration::from_hours(24 * 60);

/// Takes the key when nothing stands there, what the caller has seen there, or a lease of the same
/// command that has run out; else gives what does. Gives `again` for that lease.
/// Arguments: fingerprint, by whom, for how long, how long it is remembered, what was seen.
const TAKE: &str = r"
local held = redis.call('GET', KEYS[1])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local again = false
if held and held ~= ARGV[5] then
    local print, till = string.match(held, '^running:(%x*):(%d+):')
    if print ~= ARGV[1] or tonumber(till) > now then return held end
    again = 'again'
end
local word = string.format('running:%s:%d:%s', ARGV[1], now + ARGV[3], ARGV[2])
redis.call('SET', KEYS[1], word, 'PX', ARGV[4])
return again
";

const AGAIN: &str = "again";

/// Holds the key for so long from now, if it is still the caller's.
const HOLD: &str = r"
local held = redis.call('GET', KEYS[1])
local print, by = string.match(held or '', '^running:(%x*):%d+:(.*)$')
if by ~= ARGV[1] then return 0 end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local word = string.format('running:%s:%d:%s', print, now + ARGV[2], by)
redis.call('SET', KEYS[1], word, 'KEEPTTL')
return 1
";

/// Frees the key, if it is still the caller's.
const GIVE_BACK: &str = r"
local held = redis.call('GET', KEYS[1])
if string.match(held or '', '^running:%x*:%d+:(.*)$') ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
";

/// The lease of one command.
#[derive(Debug)]
pub(super) struct Lease {
    key: String,
    by: String,
    /// Somebody carried out the same command before, and nobody knows how far.
    again: bool,
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
    hold: Script,
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
            hold: Script::new(HOLD),
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
            by: format!("{}:{number}", self.process),
            again: false,
        };
        let held: Option<String> = self
            .take
            .key(&lease.key)
            .arg(fingerprint)
            .arg(&lease.by)
            .arg(millis(HELD_FOR))
            .arg(millis(REMEMBERED))
            .arg(seen.map(|seen| seen.word).unwrap_or_default())
            .invoke_async(&mut self.redis.clone())
            .await?;
        let again = held.as_deref() == Some(AGAIN);
        let Some(word) = held.filter(|_| !again) else {
            return Ok(Taken::Ours(Lease { again, ..lease }));
        };
        let mut parts = word.split(':').skip(1);
        let fingerprint = parts.next().unwrap_or_default().to_owned();
        Ok(if word.starts_with("answered:") {
            Taken::Answered(Seen { fingerprint, word })
        } else {
            Taken::Running(fingerprint)
        })
    }

    /// Keeps others away for longer.
    pub(super) async fn renew(&self, lease: &Lease) -> Result<(), Down> {
        self.hold(lease, millis(HELD_FOR)).await
    }

    /// Lets the same command be carried out again, and no other.
    pub(super) async fn leave(&self, lease: &Lease) -> Result<(), Down> {
        self.hold(lease, 0).await
    }

    async fn hold(&self, lease: &Lease, millis: u64) -> Result<(), Down> {
        let mut redis = self.redis.clone();
        let mut call = self.hold.key(&lease.key);
        let call = call.arg(&lease.by).arg(millis);
        Ok(call.invoke_async::<()>(&mut redis).await?)
    }

    /// Lets any command be carried out with the key, if none was begun before this one.
    pub(super) async fn give_back(&self, lease: &Lease) -> Result<(), Down> {
        if lease.again {
            return self.leave(lease).await;
        }
        let mut redis = self.redis.clone();
        let mut call = self.give_back.key(&lease.key);
        Ok(call.arg(&lease.by).invoke_async::<()>(&mut redis).await?)
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

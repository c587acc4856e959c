//! Sessions, revocations, limits and failed logins, in Redis.
//!
//! Redis is what every API process shares and forgets. While it is down nobody is let in by a
//! session, and nobody can log in: see [`Down`]. When it comes back empty every session is over,
//! and people log in again.

use super::rules::{Attempts, SESSION_LIFETIME};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use events::ids::UserId;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::io::tcp::TcpSettings;
use redis::{AsyncCommands, Client, IntoConnectionInfo, RedisError, Script};
use sha2::{Digest, Sha256};
use std::time::Duration;

/// How long Redis may take for an answer; nobody waits longer to learn that it is down.
const WITHIN: Duration = Duration::from_millis(500);

/// Redis does not answer. What it keeps cannot be decided, so it is refused: requests with a
/// session, logins, refreshes, logouts, sign-ups and resets. Webhooks, service tokens and what
/// is open to anybody go on.
#[derive(Debug, thiserror::Error)]
#[error("Redis does not answer: {0}")]
pub struct Down(#[from] RedisError);

/// A limit: so many requests in so many milliseconds, in bursts or evenly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bucket {
    /// Its name in the `RateLimit` headers.
    pub name: &'static str,
    /// Whose: an address, a user.
    pub of: String,
    /// Requests in a window.
    pub limit: u32,
    /// The window.
    pub window: Duration,
}

/// What must still be so for a token to be good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Alive {
    /// Nothing: there is no token.
    Nobody,
    /// The session has not ended.
    Session(String),
    /// Neither the token (its hash) nor all that were issued to the user by a time was revoked.
    NotRevoked {
        token: String,
        user: UserId,
        issued: i64,
    },
}

/// How a request stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entered {
    /// Whether the token is still good.
    pub alive: bool,
    /// The limit that is nearest to its end, by its place in the question.
    pub tightest: usize,
    /// What is left of it.
    pub remaining: i64,
    /// Until it is whole again.
    pub reset_ms: i64,
    /// Set when a limit is used up: until one more request is free.
    pub wait_ms: Option<i64>,
}

/// A refresh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refreshed {
    /// Rotated.
    Fresh {
        user: UserId,
        session: String,
        refresh: String,
    },
    /// The token was used before, so somebody else has it: the session is over.
    Reused { user: UserId, session: String },
    /// There is no such session.
    Gone,
}

/// One round trip per request: is the token good, and is any limit used up? Limits follow GCRA:
/// a key holds the instant at which its bucket is whole again. A refused request takes nothing.
const ENTER: &str = r"
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local alive = 1
local kind = ARGV[1]
if kind == 'session' then
  alive = redis.call('EXISTS', KEYS[1])
elseif kind == 'token' then
  if redis.call('EXISTS', KEYS[1]) == 1 then alive = 0 end
  local by = redis.call('GET', KEYS[2])
  if by and tonumber(ARGV[2]) <= tonumber(by) then alive = 0 end
end
local first = tonumber(ARGV[3])
local tightest, remaining, reset, wait = 0, -1, 0, -1
local tats = {}
for i = first, #KEYS do
  local n = i - first
  local limit, window = tonumber(ARGV[4 + 2 * n]), tonumber(ARGV[5 + 2 * n])
  local step = window / limit
  local tat = math.max(now, tonumber(redis.call('GET', KEYS[i]) or now))
  local after = tat + step
  local left = math.floor((window - (after - now)) / step + 0.000001)
  if after - now > window + 0.000001 then
    wait = math.max(wait, math.ceil(after - now - window))
    left = 0
    after = tat
  end
  tats[i] = after
  if remaining < 0 or left < remaining then
    tightest, remaining, reset = n, left, math.ceil(after - now)
  end
end
if wait < 0 then
  for i = first, #KEYS do
    redis.call('SET', KEYS[i], string.format('%.3f', tats[i]), 'PX', math.max(1, math.ceil(tats[i] - now)))
  end
end
return {alive, tightest, remaining, reset, wait}
";

/// Rotates, or ends the session of a token that was used before.
const ROTATE: &str = r"
local kept = redis.call('HMGET', KEYS[1], 'user', 'refresh')
if not kept[1] then return {'gone'} end
if kept[2] == ARGV[1] then
  redis.call('HSET', KEYS[1], 'refresh', ARGV[2])
  return {'fresh', kept[1]}
end
redis.call('DEL', KEYS[1])
redis.call('SREM', 'gridway:sessions:' .. kept[1], ARGV[3])
return {'reused', kept[1]}
";

/// Ends every session of a user; gives their number.
const END_ALL: &str = r"
local sessions = redis.call('SMEMBERS', KEYS[1])
for _, session in ipairs(sessions) do redis.call('DEL', 'gridway:session:' .. session) end
redis.call('DEL', KEYS[1])
return #sessions
";

/// Counts one more, remembered from the first on.
const COUNT: &str = r"
local count = redis.call('INCR', KEYS[1])
if count == 1 then redis.call('PEXPIRE', KEYS[1], ARGV[1]) end
return count
";

/// What Redis keeps for the API.
#[derive(Clone)]
pub struct Sessions {
    redis: ConnectionManager,
    enter: Script,
    rotate: Script,
    end_all: Script,
    count: Script,
}

fn session_key(session: &str) -> String {
    format!("gridway:session:{session}")
}

fn user_key(user: UserId) -> String {
    format!("gridway:sessions:{user}")
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

/// 32 bytes of chance, as text.
///
/// # Errors
/// When the system gives none.
pub fn secret() -> Result<String, getrandom::Error> {
    let mut bytes = [0_u8; 32];
    getrandom::fill(&mut bytes)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// Secrets are kept as their hash only.
pub(crate) fn hash(secret: &str) -> String {
    hex::encode(Sha256::digest(secret.as_bytes()))
}

impl Sessions {
    /// Redis at `url` (`redis://…`, `rediss://…`), met when it is first needed.
    ///
    /// # Errors
    /// When the address is none.
    pub fn new(url: &str) -> Result<Self, Down> {
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(WITHIN))
            .set_response_timeout(Some(WITHIN))
            .set_number_of_retries(0);
        // Many requests share the connection: none waits for the answer to another's.
        let address = url
            .into_connection_info()?
            .set_tcp_settings(TcpSettings::default().set_nodelay(true));
        Ok(Self {
            redis: ConnectionManager::new_lazy_with_config(Client::open(address)?, config)?,
            enter: Script::new(ENTER),
            rotate: Script::new(ROTATE),
            end_all: Script::new(END_ALL),
            count: Script::new(COUNT),
        })
    }

    /// The connection, shared with whatever else the API keeps in Redis.
    pub(crate) fn connection(&self) -> ConnectionManager {
        self.redis.clone()
    }

    /// Whether Redis answers.
    ///
    /// # Errors
    /// When it does not.
    pub async fn ping(&self) -> Result<(), Down> {
        let _: String = self.redis.clone().ping().await?;
        Ok(())
    }

    pub(crate) async fn enter(&self, alive: &Alive, buckets: &[Bucket]) -> Result<Entered, Down> {
        let mut call = self.enter.prepare_invoke();
        match alive {
            Alive::Nobody => call.arg("").arg(0).arg(1),
            Alive::Session(id) => call.key(session_key(id)).arg("session").arg(0).arg(2),
            Alive::NotRevoked {
                token,
                user,
                issued,
            } => call
                .key(format!("gridway:revoked:{token}"))
                .key(format!("gridway:revoked-by:{user}"))
                .arg("token")
                .arg(*issued)
                .arg(3),
        };
        for bucket in buckets {
            call.key(format!("gridway:limit:{}:{}", bucket.name, bucket.of))
                .arg(bucket.limit)
                .arg(millis(bucket.window));
        }
        let (alive, tightest, remaining, reset_ms, wait): (i64, i64, i64, i64, i64) =
            call.invoke_async(&mut self.redis.clone()).await?;
        Ok(Entered {
            alive: alive == 1,
            tightest: usize::try_from(tightest).unwrap_or(0),
            remaining,
            reset_ms,
            wait_ms: (wait >= 0).then_some(wait),
        })
    }

    /// Whether a session has not ended.
    pub(crate) async fn is_alive(&self, session: &str) -> Result<bool, Down> {
        Ok(self.redis.clone().exists(session_key(session)).await?)
    }

    /// Begins a session at `now` (seconds); gives its id and its first refresh token.
    pub(crate) async fn begin(
        &self,
        user: UserId,
        session: &str,
        secret: &str,
        now: i64,
    ) -> Result<String, Down> {
        let lifetime = millis(SESSION_LIFETIME);
        let _: () = redis::pipe()
            .atomic()
            .hset_multiple(
                session_key(session),
                &[
                    ("user", user.to_string()),
                    ("refresh", hash(secret)),
                    ("created", now.to_string()),
                ],
            )
            .ignore()
            .pexpire(session_key(session), lifetime)
            .ignore()
            .sadd(user_key(user), session)
            .ignore()
            .pexpire(user_key(user), lifetime)
            .ignore()
            .query_async(&mut self.redis.clone())
            .await?;
        Ok(format!("{session}.{secret}"))
    }

    /// Whose session a refresh token is of, and when it began (seconds); nothing is taken.
    pub(crate) async fn whose(&self, token: &str) -> Result<Option<(UserId, i64)>, Down> {
        let Some((session, _)) = token.split_once('.') else {
            return Ok(None);
        };
        let (user, created): (Option<String>, Option<i64>) = self
            .redis
            .clone()
            .hmget(session_key(session), &["user", "created"])
            .await?;
        Ok(user.and_then(|user| user.parse().ok()).zip(created))
    }

    /// Takes a refresh token for a new one, whose secret is `fresh`.
    pub(crate) async fn refresh(&self, token: &str, fresh: &str) -> Result<Refreshed, Down> {
        let Some((session, secret)) = token.split_once('.') else {
            return Ok(Refreshed::Gone);
        };
        let answer: Vec<String> = self
            .rotate
            .key(session_key(session))
            .arg(hash(secret))
            .arg(hash(fresh))
            .arg(session)
            .invoke_async(&mut self.redis.clone())
            .await?;
        let session = session.to_owned();
        let parsed = match answer.as_slice() {
            [word, user] if word == "fresh" => user.parse().ok().map(|user| Refreshed::Fresh {
                user,
                refresh: format!("{session}.{fresh}"),
                session,
            }),
            [word, user] if word == "reused" => user
                .parse()
                .ok()
                .map(|user| Refreshed::Reused { user, session }),
            _ => None,
        };
        Ok(parsed.unwrap_or(Refreshed::Gone))
    }

    /// Ends a session.
    pub(crate) async fn end(&self, user: UserId, session: &str) -> Result<(), Down> {
        let _: () = redis::pipe()
            .atomic()
            .del(session_key(session))
            .ignore()
            .srem(user_key(user), session)
            .ignore()
            .query_async(&mut self.redis.clone())
            .await?;
        Ok(())
    }

    /// Ends every session of a user and revokes the tokens that another issuer gave them until
    /// `now` (seconds). Gives the number of sessions.
    ///
    /// # Errors
    /// When Redis does not answer.
    pub async fn end_all(&self, user: UserId, now: i64) -> Result<u64, Down> {
        let mut redis = self.redis.clone();
        let ended = self
            .end_all
            .key(user_key(user))
            .invoke_async(&mut redis)
            .await?;
        let _: () = redis
            .set_ex(
                format!("gridway:revoked-by:{user}"),
                now,
                SESSION_LIFETIME.as_secs(),
            )
            .await?;
        Ok(ended)
    }

    /// Revokes one token of another issuer until it expires by itself.
    pub(crate) async fn revoke(&self, token: &str, seconds: u64) -> Result<(), Down> {
        let key = format!("gridway:revoked:{token}");
        let _: () = self.redis.clone().set_ex(key, 1, seconds.max(1)).await?;
        Ok(())
    }

    /// For how many seconds attempts at `what` are locked; `None` when they are not.
    pub(crate) async fn locked(&self, what: &str, attempts: Attempts) -> Result<Option<u64>, Down> {
        let key = format!("gridway:attempts:{what}");
        let (count, left): (Option<u32>, i64) = redis::pipe()
            .get(&key)
            .pttl(&key)
            .query_async(&mut self.redis.clone())
            .await?;
        let locked = count.is_some_and(|count| count >= attempts.failures);
        Ok(locked.then(|| u64::try_from(left).unwrap_or(0).div_ceil(1000).max(1)))
    }

    /// One more attempt at `what`; gives how many there are.
    pub(crate) async fn attempt(&self, what: &str, attempts: Attempts) -> Result<u32, Down> {
        Ok(self
            .count
            .key(format!("gridway:attempts:{what}"))
            .arg(millis(attempts.within))
            .invoke_async(&mut self.redis.clone())
            .await?)
    }

    /// Forgets the attempts at `what`.
    pub(crate) async fn forgive(&self, what: &str) -> Result<(), Down> {
        let key = format!("gridway:attempts:{what}");
        let _: () = self.redis.clone().del(key).await?;
        Ok(())
    }
}

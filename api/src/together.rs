//! Writes of many requests in one statement.
//!
//! A statement costs its way to Postgres and back, and a commit its wait for the disk, however few
//! rows it writes. While others are under way, and for a moment after one has begun, what requests
//! want to write gathers, and goes with the next. A request that is alone waits for nobody. The
//! connections are kept, for a pool asks each that comes back whether it still works.

use crate::problem::Problem;
use events::ids::UserId;
use parking_lot::Mutex;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions, Connection};
use std::collections::{BTreeSet, HashSet};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};
use uuid::Uuid;

/// Statements of one kind that are under way at once.
const AT_ONCE: usize = 2;
/// Rows of a statement.
const ROWS: usize = 64;
/// How long Postgres may take to say that a connection still works, or to let us in.
const CONNECTED_WITHIN: Duration = Duration::from_secs(5);

/// What a request writes about the command with a user's key.
pub(crate) trait Write: Sized + Send + Sync + 'static {
    /// What came of it.
    type Wrote: Send + 'static;

    /// No statement begins sooner after the one before it: of many small ones each costs as much as
    /// one of several rows, and a machine that is busy with them answers nobody quickly.
    const APART: Duration;

    /// No two of a statement are about the same.
    fn about(&self) -> (UserId, &str);

    /// Writes them all, or none; gives what came of each, in their order.
    fn write(
        connection: &mut PgConnection,
        rows: &[Self],
    ) -> impl Future<Output = Result<Vec<Self::Wrote>, sqlx::Error>> + Send;
}

/// Why it is not known whether something was written. All of a statement have the same reason.
#[derive(Debug, Clone, thiserror::Error)]
#[error(transparent)]
pub(crate) struct NotWritten(Arc<sqlx::Error>);

impl From<NotWritten> for Problem {
    fn from(NotWritten(error): NotWritten) -> Self {
        Self::database(&error)
    }
}

/// Users and keys of the rows, in their order.
pub(crate) fn names<W: Write>(rows: &[W]) -> (Vec<Uuid>, Vec<&str>) {
    let about = rows.iter().map(Write::about);
    about.map(|(user, key)| (user.uuid(), key)).unzip()
}

/// Which of the rows are among those that Postgres names.
pub(crate) fn among<W: Write>(rows: &[W], named: Vec<(Uuid, String)>) -> Vec<bool> {
    let named: HashSet<(Uuid, String)> = named.into_iter().collect();
    rows.iter()
        .map(Write::about)
        .map(|(user, key)| named.contains(&(user.uuid(), key.to_owned())))
        .collect()
}

type Answer<W> = oneshot::Sender<Result<<W as Write>::Wrote, NotWritten>>;

struct Queue<W: Write> {
    waiting: Vec<(W, Answer<W>)>,
    writers: usize,
    /// A writer waits for its turn, and will take what is there by then.
    gathering: bool,
    /// When the next statement may begin.
    free: Instant,
    /// Connections that no writer has, and since when.
    idle: Vec<(PgConnection, Instant)>,
}

impl<W: Write> Queue<W> {
    /// When the statement of the writer that gathers may begin.
    fn turn(&mut self) -> Instant {
        let turn = self.free.max(Instant::now());
        self.free = turn + W::APART;
        turn
    }

    /// The next turn of a writer that has written. `None` ends it, under the lock under which it
    /// looked, so that nobody is left behind.
    fn next(&mut self, connection: &mut Option<PgConnection>) -> Option<Instant> {
        if !self.waiting.is_empty() && !self.gathering {
            self.gathering = true;
            return Some(self.turn());
        }
        self.writers -= 1;
        let idle = connection.take().map(|idle| (idle, Instant::now()));
        self.idle.extend(idle);
        None
    }
}

/// Where requests meet. Cheap to clone.
pub(crate) struct Together<W: Write> {
    postgres: Arc<PgConnectOptions>,
    queue: Arc<Mutex<Queue<W>>>,
}

impl<W: Write> Clone for Together<W> {
    fn clone(&self) -> Self {
        Self {
            postgres: Arc::clone(&self.postgres),
            queue: Arc::clone(&self.queue),
        }
    }
}

impl<W: Write> Together<W> {
    pub(crate) fn new(postgres: &PgConnectOptions) -> Self {
        // Every row is found by its key, whatever Postgres believes of a table's size.
        let postgres = postgres.clone().options([
            ("enable_seqscan", "off"),
            ("enable_hashjoin", "off"),
            ("enable_mergejoin", "off"),
            ("plan_cache_mode", "force_generic_plan"),
        ]);
        let queue = Queue {
            waiting: Vec::new(),
            writers: 0,
            gathering: false,
            free: Instant::now(),
            idle: Vec::new(),
        };
        Self {
            postgres: Arc::new(postgres),
            queue: Arc::new(Mutex::new(queue)),
        }
    }

    /// Writes a row, with others or alone.
    pub(crate) async fn write(&self, row: W) -> Result<W::Wrote, NotWritten> {
        let (answer, answered) = oneshot::channel();
        let another = {
            let mut queue = self.queue.lock();
            queue.waiting.push((row, answer));
            let another = !queue.gathering && queue.writers < AT_ONCE;
            queue.writers += usize::from(another);
            queue.gathering |= another;
            another
        };
        if another {
            // Not in the request's own task: others wait for it when its caller has gone.
            tokio::spawn(self.clone().writer());
        }
        let gone = || NotWritten(Arc::new(sqlx::Error::WorkerCrashed));
        answered.await.unwrap_or_else(|_| Err(gone()))
    }

    async fn writer(self) {
        let mut connection = None;
        let mut turn = Some(self.queue.lock().turn());
        while let Some(begin) = turn.take() {
            // A timer rounds up to its next tick, which nobody who is alone needs to wait for.
            if begin > Instant::now() {
                tokio::time::sleep_until(begin).await;
            }
            let rows = self.gathered();
            let (rows, answers): (Vec<W>, Vec<Answer<W>>) = rows.into_iter().unzip();
            let taken = match connection.take() {
                Some(connection) => Ok(connection),
                None => self.connection().await,
            };
            match taken {
                Ok(mut taken) => {
                    if carry_out(&mut taken, rows, answers).await {
                        connection = Some(taken);
                    }
                }
                Err(error) => refuse(error, answers),
            }
            turn = self.queue.lock().next(&mut connection);
        }
    }

    /// One that was used a moment ago or still answers, else a new one.
    async fn connection(&self) -> Result<PgConnection, sqlx::Error> {
        let idle = self.queue.lock().idle.pop();
        let found = async {
            if let Some((mut connection, since)) = idle
                && (since.elapsed() < projections::TRUSTED || connection.ping().await.is_ok())
            {
                return Ok(connection);
            }
            self.postgres.connect().await
        };
        timeout(CONNECTED_WITHIN, found)
            .await
            .unwrap_or(Err(sqlx::Error::PoolTimedOut))
    }

    /// Those that go next.
    fn gathered(&self) -> Vec<(W, Answer<W>)> {
        let mut queue = self.queue.lock();
        queue.gathering = false;
        let mut taken = BTreeSet::new();
        let (mut now, mut later) = (Vec::new(), Vec::new());
        for (row, answer) in std::mem::take(&mut queue.waiting) {
            let (user, key) = row.about();
            if now.len() < ROWS && taken.insert((user, key.to_owned())) {
                now.push((row, answer));
            } else {
                later.push((row, answer));
            }
        }
        queue.waiting = later;
        // Whoever writes the same rows meets them in the same order: nobody waits in a circle.
        now.sort_by(|(a, _), (b, _)| a.about().cmp(&b.about()));
        now
    }
}

/// Writes, and tells whoever waits; gives whether the connection may be used again.
async fn carry_out<W: Write>(
    connection: &mut PgConnection,
    rows: Vec<W>,
    answers: Vec<Answer<W>>,
) -> bool {
    match W::write(connection, &rows).await {
        Ok(wrote) => {
            for (answer, wrote) in answers.into_iter().zip(wrote) {
                // Who has gone needs no answer.
                let _ = answer.send(Ok(wrote));
            }
            true
        }
        // Others are not refused for the sake of one that Postgres does not take.
        Err(sqlx::Error::Database(error)) if rows.len() > 1 => {
            tracing::warn!(%error, rows = rows.len(), "written one by one");
            for (row, answer) in rows.into_iter().zip(answers) {
                let wrote = W::write(connection, std::slice::from_ref(&row)).await;
                let wrote = wrote.and_then(|mut all| all.pop().ok_or(sqlx::Error::RowNotFound));
                let _ = answer.send(wrote.map_err(|error| NotWritten(Arc::new(error))));
            }
            false
        }
        Err(error) => {
            refuse(error, answers);
            false
        }
    }
}

fn refuse<W>(error: sqlx::Error, answers: Vec<oneshot::Sender<Result<W, NotWritten>>>) {
    let error = NotWritten(Arc::new(error));
    for answer in answers {
        let _ = answer.send(Err(error.clone()));
    }
}

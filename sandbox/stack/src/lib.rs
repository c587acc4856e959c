//! The local stack: real Kafka, schema registry, Postgres, Redis and mail server, and the stand-ins of the
//! counterparties, as child processes on free loopback ports.
//!
//! ```no_run
//! # async fn example() -> Result<(), sandbox_stack::StackError> {
//! use sandbox_stack::{Part, Stack, StackOptions};
//! let stack = Stack::start(StackOptions::default()).await?;
//! for (name, value) in stack.environment() {
//!     println!("export {name}='{value}'");
//! }
//! stack.kill(Part::Kafka).await?;
//! stack.restart(Part::Kafka).await?;
//! stack.stop().await;
//! # Ok(())
//! # }
//! ```
//!
//! [`Stack::stop`] stops everything cleanly. A dropped stack is killed. When this process is
//! killed, the kernel ends the children. Kafka, the registry and Postgres keep their data over
//! [`Stack::restart`]; Redis, the mail server and the stand-ins start empty.
//!
//! Nothing here is protected by passwords: everything listens on loopback only, and holds
//! nothing of value.

mod child;
mod download;
mod hanging;
mod kafka;
mod mail;
mod market;
mod part;
mod places;
mod ports;
mod postgres;
mod progress;
mod ready;
mod redis;
mod registry;
mod service;
mod stand_ins;
mod tools;

use crate::download::Downloads;
pub use crate::hanging::Hanging;
pub use crate::part::Part;
use crate::places::RunFolder;
pub use crate::places::may_mount;
use crate::progress::Progress;
use crate::service::{Service, keep_shared_classes};
use crate::stand_ins::StandIns;
use crate::tools::Tools;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// Why the stack does not run.
#[derive(Debug, thiserror::Error)]
pub enum StackError {
    /// A tool is missing; the text is one line that says what to install.
    #[error("{0}")]
    MissingTools(String),
    /// A file or folder of the sandbox could not be made or read.
    #[error("{}: {source}", path.display())]
    Folder {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A server could not be fetched.
    #[error("fetching {what}: {detail}")]
    Download {
        /// What was to be fetched.
        what: String,
        /// What Maven said.
        detail: String,
    },
    /// A process could not be started at all.
    #[error("starting {part}: {source}")]
    Spawn {
        /// Which one.
        part: Part,
        /// Why.
        source: io::Error,
    },
    /// A process did not become ready.
    #[error("{part} is not ready: {reason}\n{log}")]
    NotReady {
        /// Which one.
        part: Part,
        /// What was last seen of it.
        reason: String,
        /// The end of its log.
        log: String,
    },
    /// A part was planned on the wrong number of ports: a fault of this crate.
    #[error("{part} was given the wrong number of ports")]
    Ports {
        /// Which one.
        part: Part,
    },
    /// The market could not be made on the Horizon stand-in.
    #[error("making the market: {0}")]
    Market(String),
    /// The Stripe stand-in could not be told where webhooks go.
    #[error("telling Stripe where webhooks go: {0}")]
    Webhook(String),
    /// There is no part of this name.
    #[error("no part of the stack is named {0:?}")]
    UnknownPart(String),
    /// Kafka's own tool for transactions failed.
    #[error("kafka-transactions {command}: {detail}")]
    Transactions {
        /// What it was to do.
        command: String,
        /// What it said.
        detail: String,
    },
    /// The stack was started without this part.
    #[error("this stack runs without {0}")]
    NotStarted(Part),
}

/// How a stack is to be.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct StackOptions {
    /// The sandbox folder; without it `$GRIDWAY_SANDBOX_DIR`, else `.sandbox` in the current
    /// directory.
    pub dir: Option<PathBuf>,
    /// Milliseconds between ledgers of the Horizon stand-in; 0 closes one on each submission.
    pub close_ms: u64,
    /// Milliseconds between blocks of the TFChain stand-in; 0 makes one on each submission.
    pub block_ms: u64,
    /// Blocks of the TFChain stand-in by which finality trails.
    pub finality_lag: u32,
    /// Whether the stand-ins run too.
    pub stand_ins: bool,
    /// Whether the run folder, logs included, stays after the stop.
    pub keep: bool,
    /// Whether nothing is said on stderr.
    pub quiet: bool,
    /// Gives Kafka's log a disk of its own with so many MiB, which can fill up; needs root.
    pub kafka_disk_mib: Option<u32>,
    /// Runs Kafka's JVM as in production instead of for a quick start: it takes more memory, and for
    /// its first minute under load most of a core to compile what it does often.
    pub kafka_as_in_production: bool,
}

impl Default for StackOptions {
    fn default() -> Self {
        Self {
            dir: None,
            close_ms: 0,
            block_ms: 0,
            finality_lag: 0,
            stand_ins: true,
            keep: false,
            quiet: false,
            kafka_disk_mib: None,
            kafka_as_in_production: false,
        }
    }
}

/// A running stack; see the crate's documentation.
#[derive(Debug)]
pub struct Stack {
    kafka: Service,
    registry: Service,
    postgres: Service,
    redis: Service,
    mail: Service,
    /// Where the mail server shows what it keeps.
    mailbox: String,
    stand_ins: Option<StandIns>,
    kafka_home: PathBuf,
    registry_home: PathBuf,
    tools: Tools,
    downloads: Downloads,
    /// Told to whoever downloads when the stack is dropped.
    _given_up: GivenUp,
    keep: bool,
    stopped: bool,
    /// Last: its lock says that this stack is alive.
    run: RunFolder,
}

impl Stack {
    /// Starts everything and waits until all of it answers.
    ///
    /// # Errors
    /// Whatever part fails first; what was started by then is killed. Logs stay in the run
    /// folder until the next start.
    pub async fn start(options: StackOptions) -> Result<Self, StackError> {
        // Boxed: it holds the starts of all parts side by side.
        Box::pin(Self::start_all(options)).await
    }

    async fn start_all(options: StackOptions) -> Result<Self, StackError> {
        let begun = Instant::now();
        let progress = Progress {
            quiet: options.quiet,
        };
        let tools = blocking(move || Tools::ensure(progress)).await?;
        let root = places::root(options.dir.as_deref())?;
        let run = RunFolder::create(&root)?;
        let folder = root.join("downloads");
        std::fs::create_dir_all(&folder).map_err(|source| StackError::Folder {
            path: folder.clone(),
            source,
        })?;
        let given_up = GivenUp::default();
        let downloads = Downloads {
            folder,
            tools: tools.clone(),
            progress,
            given_up: Arc::clone(&given_up.0),
        };
        let at = run.path();

        let kafka = async {
            let downloads = downloads.clone();
            let home = blocking(move || downloads.kafka()).await?;
            let service = Service::start(Part::Kafka, 2, progress, |ports| {
                kafka::plan(&tools, &home, at, ports, &options)
            })
            .await?;
            Ok((service, home))
        };
        let registry = async {
            let downloads = downloads.clone();
            let home = blocking(move || downloads.registry()).await?;
            let service = Service::start(Part::Registry, 1, progress, |ports| {
                registry::plan(&tools, &home, at, ports)
            })
            .await?;
            Ok((service, home))
        };
        let postgres = async {
            let (tools_there, run_there) = (tools.clone(), at.to_path_buf());
            let cluster = blocking(move || postgres::init(&tools_there, &run_there)).await?;
            Service::start(Part::Postgres, 1, progress, |ports| {
                postgres::plan(&tools, &cluster, at, ports)
            })
            .await
        };
        let redis = Service::start(Part::Redis, 1, progress, |ports| {
            redis::plan(&tools, at, ports)
        });

        let mail = async {
            let downloads = downloads.clone();
            let jar = blocking(move || downloads.mail()).await?;
            Service::start(Part::Mail, 2, progress, |ports| {
                mail::plan(&tools, &jar, at, ports)
            })
            .await
        };

        let stand_ins = async {
            if options.stand_ins {
                StandIns::start(&options, at, progress).await.map(Some)
            } else {
                Ok(None)
            }
        };

        let ((kafka, kafka_home), (registry, registry_home), postgres, redis, mail, stand_ins) =
            tokio::try_join!(kafka, registry, postgres, redis, mail, stand_ins)?;
        progress.say(&format!(
            "all ready in {:.1} s",
            begun.elapsed().as_secs_f32()
        ));
        let keep = options.keep;
        Ok(Self {
            kafka,
            registry,
            postgres,
            redis,
            mailbox: mail.asked_at().trim_end_matches(mail::READY).to_owned(),
            mail,
            stand_ins,
            kafka_home,
            registry_home,
            tools,
            downloads,
            _given_up: given_up,
            keep,
            stopped: false,
            run,
        })
    }

    /// The variables with which `gridway` finds this stack, the secrets of this run's stand-ins
    /// among them.
    pub fn environment(&self) -> Vec<(String, String)> {
        let mut all = vec![
            ("GRIDWAY_KAFKA_BROKERS", self.kafka_brokers().to_owned()),
            ("GRIDWAY_REGISTRY_URL", self.registry_url().to_owned()),
            ("GRIDWAY_DATABASE_URL", self.database_url().to_owned()),
            ("GRIDWAY_REDIS_URL", self.redis_url().to_owned()),
            ("GRIDWAY_SMTP_URL", self.smtp_url().to_owned()),
            ("GRIDWAY_SANDBOX_MAILBOX", self.mailbox_url().to_owned()),
        ];
        if let Some(stand_ins) = &self.stand_ins {
            all.extend(stand_ins.environment());
        }
        all.into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    }

    /// Kafka's bootstrap servers, `127.0.0.1:port`.
    pub fn kafka_brokers(&self) -> &str {
        self.kafka.address()
    }

    /// The registry's Confluent API, `http://127.0.0.1:port/apis/ccompat/v7`.
    pub fn registry_url(&self) -> &str {
        self.registry.address()
    }

    /// The database `gridway`, `postgres://gridway@127.0.0.1:port/gridway`.
    pub fn database_url(&self) -> &str {
        self.postgres.address()
    }

    /// Redis, `redis://127.0.0.1:port`.
    pub fn redis_url(&self) -> &str {
        self.redis.address()
    }

    /// The mail server, `smtp://127.0.0.1:port`.
    pub fn smtp_url(&self) -> &str {
        self.mail.address()
    }

    /// Where the mail server shows what it keeps: `GET /api/user/{address}/messages/INBOX`.
    pub fn mailbox_url(&self) -> &str {
        &self.mailbox
    }

    /// The Stripe stand-in, `http://127.0.0.1:port`.
    pub fn stripe_url(&self) -> Option<&str> {
        self.stand_ins
            .as_ref()
            .map(|stand_ins| stand_ins.stripe.address())
    }

    /// The Horizon stand-in, `http://127.0.0.1:port`.
    pub fn horizon_url(&self) -> Option<&str> {
        self.stand_ins
            .as_ref()
            .map(|stand_ins| stand_ins.horizon.address())
    }

    /// The TFChain stand-in, `http://127.0.0.1:port`.
    pub fn tfchain_url(&self) -> Option<&str> {
        self.stand_ins
            .as_ref()
            .map(|stand_ins| stand_ins.tfchain.address())
    }

    /// The stand-in for SendGrid and Twilio, `http://127.0.0.1:port`.
    pub fn messaging_url(&self) -> Option<&str> {
        self.stand_ins
            .as_ref()
            .map(|stand_ins| stand_ins.messaging.address())
    }

    /// Tells the Stripe stand-in to post its signed webhooks to `url`, over its restarts too.
    ///
    /// # Errors
    /// [`StackError::NotStarted`] without stand-ins, [`StackError::Webhook`] when it does not
    /// listen.
    pub async fn set_webhook(&self, url: &str) -> Result<(), StackError> {
        let stand_ins = self
            .stand_ins
            .as_ref()
            .ok_or(StackError::NotStarted(Part::Stripe))?;
        stand_ins.set_webhook(url).await
    }

    /// The folder with this stack's settings, data and logs (`<part>.log`).
    pub fn folder(&self) -> &Path {
        self.run.path()
    }

    /// The folder with Kafka's log.
    pub fn kafka_log(&self) -> PathBuf {
        kafka::log_folder(self.run.path())
    }

    /// The process id of a part, `None` while it does not run.
    ///
    /// # Errors
    /// [`StackError::NotStarted`] for a part that this stack does not have.
    pub async fn pid(&self, part: Part) -> Result<Option<u32>, StackError> {
        Ok(self.service(part)?.id().await)
    }

    /// Kills a part with `kill -9`, as a crash would. Its port stays reserved for it in that
    /// nobody else's client is given it.
    ///
    /// # Errors
    /// [`StackError::NotStarted`] for a part that this stack does not have.
    pub async fn kill(&self, part: Part) -> Result<(), StackError> {
        self.service(part)?.kill().await;
        Ok(())
    }

    /// Asks a part to stop, and waits until it has. [`Stack::restart`] brings it back.
    ///
    /// # Errors
    /// [`StackError::NotStarted`] for a part that this stack does not have.
    pub async fn shut_down(&self, part: Part) -> Result<(), StackError> {
        self.service(part)?.stop().await;
        Ok(())
    }

    /// Starts a part again on the same port, after killing it if it runs, and waits until it
    /// answers.
    ///
    /// # Errors
    /// [`StackError::NotStarted`] for a part that this stack does not have;
    /// [`StackError::NotReady`] when it does not come back.
    pub async fn restart(&self, part: Part) -> Result<(), StackError> {
        match (part, &self.stand_ins) {
            (Part::Stripe, Some(stand_ins)) => stand_ins.restart_stripe().await,
            _ => self.service(part)?.restart().await,
        }
    }

    /// Aborts the transactions that hang at these places, with Kafka's own tool, and gives those
    /// that did. A place is where readers of committed records have stood still for longer than
    /// any transaction may last.
    ///
    /// # Errors
    /// [`StackError::Download`] when the tool cannot be fetched; [`StackError::Transactions`].
    pub async fn abort_hanging_transactions(
        &self,
        places: Vec<Hanging>,
    ) -> Result<Vec<Hanging>, StackError> {
        let (downloads, tools) = (self.downloads.clone(), self.tools.clone());
        let (home, brokers) = (self.kafka_home.clone(), self.kafka_brokers().to_owned());
        blocking(move || {
            let extra = downloads.kafka_tools()?;
            hanging::abort(&tools, (&home, &extra), &brokers, &places)
        })
        .await
    }

    /// Stops everything that was started and, unless it is to be kept, removes the run folder.
    pub async fn stop(mut self) {
        let stand_ins = async {
            if let Some(stand_ins) = &self.stand_ins {
                tokio::join!(
                    stand_ins.tfchain.stop(),
                    stand_ins.horizon.stop(),
                    stand_ins.stripe.stop(),
                    stand_ins.messaging.stop()
                );
            }
        };
        tokio::join!(
            stand_ins,
            self.registry.stop(),
            self.kafka.stop(),
            self.redis.stop(),
            self.mail.stop(),
            self.postgres.stop()
        );
        keep_shared_classes(&self.kafka_home, self.run.path(), Part::Kafka, &self.tools);
        keep_shared_classes(
            &self.registry_home,
            self.run.path(),
            Part::Registry,
            &self.tools,
        );
        self.stopped = true;
        self.clear();
    }

    fn service(&self, part: Part) -> Result<&Service, StackError> {
        let stand_ins = self.stand_ins.as_ref();
        let found = match part {
            Part::Kafka => Some(&self.kafka),
            Part::Registry => Some(&self.registry),
            Part::Postgres => Some(&self.postgres),
            Part::Redis => Some(&self.redis),
            Part::Mail => Some(&self.mail),
            Part::Stripe => stand_ins.map(|stand_ins| &stand_ins.stripe),
            Part::Horizon => stand_ins.map(|stand_ins| &stand_ins.horizon),
            Part::Tfchain => stand_ins.map(|stand_ins| &stand_ins.tfchain),
            Part::Messaging => stand_ins.map(|stand_ins| &stand_ins.messaging),
        };
        found.ok_or(StackError::NotStarted(part))
    }

    fn clear(&self) {
        if self.keep {
            let _ = std::fs::write(self.run.path().join(places::KEEP), "");
        } else {
            self.run.remove();
        }
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        if self.stopped {
            return;
        }
        let stand_ins = self.stand_ins.iter_mut().flat_map(StandIns::services_mut);
        for service in stand_ins.chain([
            &mut self.registry,
            &mut self.kafka,
            &mut self.redis,
            &mut self.mail,
            &mut self.postgres,
        ]) {
            service.kill_and_reap();
        }
        self.clear();
    }
}

/// Tells what blocks that nobody waits for it any more.
#[derive(Debug, Default)]
struct GivenUp(Arc<AtomicBool>);

impl Drop for GivenUp {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs what blocks where it may.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StackError> + Send + 'static,
) -> Result<T, StackError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(StackError::Spawn {
            part: Part::Kafka,
            source: io::Error::other(error),
        }),
    }
}

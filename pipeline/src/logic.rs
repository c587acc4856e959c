//! One partition of a processor, as the worker sees it, and what it can do besides thinking.

use crate::append::Append;
use crate::executor::Owner;
use crate::ground::Ground;
use crate::log::{Log, Trouble};
use crate::outbox::Outbox;
use crate::waiting::Waiting;
use events::codec::EncodeError;
use events::envelope::Record;
use events::schema::EventSet;
use events::time::Timestamp;
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;

/// What stops a partition's logic.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error(transparent)]
    Encode(#[from] EncodeError),
    #[error(transparent)]
    Trouble(#[from] Trouble),
}

/// One partition of a processor, as the worker sees it.
pub(crate) trait Logic: Send {
    type Event: EventSet;
    type Message: Send + 'static;
    /// Takes a record from before the takeover.
    fn fold(&mut self, record: Record<Self::Event>, committed: i64) -> Result<(), Fault>;
    /// What was decided in the fold and does not stand in the log, each with the offset of the
    /// record that it is about, in that order.
    fn missing(&mut self) -> Vec<(i64, Vec<Append>)> {
        Vec::new()
    }
    /// The fold is complete.
    fn go_live(&mut self, _: &mut Host<'_, Self::Message>) -> Result<(), Fault> {
        Ok(())
    }
    /// Takes a new record.
    fn record(
        &mut self,
        record: Record<Self::Event>,
        host: &mut Host<'_, Self::Message>,
    ) -> Result<(), Fault>;
    /// Takes what a task of this partition posted.
    fn message(
        &mut self,
        message: Self::Message,
        host: &mut Host<'_, Self::Message>,
    ) -> Result<(), Fault>;
    /// What waits behind records that cannot be read.
    fn waiting(&mut self) -> &mut Waiting<Self::Event>;
    /// Lets go what waits behind the record at this offset, which turned out to be `read` or is
    /// passed over; the record at offset `by` says so. `host` is there only when the partition is
    /// live.
    fn release(
        &mut self,
        offset: i64,
        by: i64,
        read: Option<Record<Self::Event>>,
        host: Option<&mut Host<'_, Self::Message>>,
    ) -> Result<(), Fault>;
    /// Keys that were ever dead-lettered here, with the first offset: what was decided about them
    /// is to be decided again from there.
    fn revisit(&mut self, _: BTreeMap<String, i64>) {}
    /// Fires what is due; gives when something is due next.
    fn tick(
        &mut self,
        now: Timestamp,
        host: &mut Host<'_, Self::Message>,
    ) -> Result<Option<Timestamp>, Fault>;
    /// The offset up to which the partition must be read before the logic can go on.
    fn waits_for(&self) -> Option<i64> {
        None
    }
    /// That offset was reached.
    fn reached(&mut self, _: &mut Host<'_, Self::Message>) -> Result<(), Fault> {
        Ok(())
    }
    /// Travels with the committed offset.
    fn cursor(&self) -> Option<String>;
    /// Sets the gauges of the partition.
    fn gauges(&self, partition: i32, now: Timestamp);
}

pub(crate) enum Signal<M> {
    /// There are records to poll.
    Records,
    Task {
        partition: i32,
        generation: u64,
        message: M,
    },
    Prove {
        partition: i32,
        generation: u64,
        reply: oneshot::Sender<bool>,
    },
}

/// Posts from a task to its partition.
pub(crate) struct Post<M> {
    signals: UnboundedSender<Signal<M>>,
    partition: i32,
    generation: u64,
}

impl<M> Post<M> {
    pub fn send(&self, message: M) {
        let signal = Signal::Task {
            partition: self.partition,
            generation: self.generation,
            message,
        };
        // A worker that is gone has dropped the partition, too: the next owner starts over.
        let _ = self.signals.send(signal);
    }
}

/// What a partition can do besides thinking.
pub(crate) struct Host<'a, M> {
    pub(crate) outbox: &'a mut Outbox,
    /// What was committed with the offset.
    pub cursor: Option<String>,
    pub(crate) partition: i32,
    pub(crate) generation: u64,
    pub(crate) signals: &'a UnboundedSender<Signal<M>>,
    pub(crate) ground: &'a dyn Ground,
    pub(crate) log: &'a dyn Log,
}

impl<M: Send + 'static> Host<'_, M> {
    /// Appends this together, because of the record at offset `cause`; without a cause it must come
    /// again if it is lost.
    pub fn append(&mut self, cause: Option<i64>, appends: Vec<Append>) {
        self.outbox.push(self.partition, cause, appends);
    }

    /// Where the partition ends right now, uncommitted records included.
    pub fn end(&self) -> Result<i64, Fault> {
        Ok(self.log.end(self.partition)?)
    }

    pub fn post(&self) -> Post<M> {
        Post {
            signals: self.signals.clone(),
            partition: self.partition,
            generation: self.generation,
        }
    }

    pub fn owner(&self) -> Owner {
        let (signals, partition, generation) =
            (self.signals.clone(), self.partition, self.generation);
        Owner(Some(Arc::new(move || {
            let (reply, answer) = oneshot::channel();
            let _ = signals.send(Signal::Prove {
                partition,
                generation,
                reply,
            });
            answer
        })))
    }

    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.ground.spawn(Box::pin(task));
    }
}

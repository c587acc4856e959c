//! Sources: they turn outside facts into events.

use crate::append::{Codecs, Planned, outside, own};
use crate::logic::{Fault, Host, Logic};
use crate::metrics;
use crate::waiting::Waiting;
use events::envelope::Record;
use events::ids::EventId;
use events::schema::EventSet;
use events::time::Timestamp;
use std::collections::{HashSet, VecDeque};
use std::future::Future;
use std::sync::Arc;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

/// Reads the outside and says which of its facts belong to a partition, and as what.
///
/// The cursor travels with the consumer group's offset, once the events that it covers have been read
/// back from the log. When it is lost the source starts over: what stands in the log already is
/// recognised by its id and not appended again.
pub trait Source: Send + Sync + 'static {
    /// Name of the processor.
    const NAME: &'static str;
    /// Events of the topic it appends to.
    type Event: EventSet;
    /// An outside fact.
    type Fact: Send + Sync + 'static;
    /// What it must know of the partition to recognise its facts.
    type State: Default + Send;

    /// Keeps the state; called for every event of the partition, in order.
    fn evolve(&self, state: &mut Self::State, record: &Record<Self::Event>);

    /// Facts after `cursor` (`None`: from the configured beginning). Waits until there are some,
    /// but not for ever. A start after a stop passes a cursor with `restarted`, so that an
    /// overlap is read again.
    fn read(
        &self,
        cursor: Option<&str>,
        restarted: bool,
    ) -> impl Future<Output = Reading<Self::Fact>> + Send;

    /// Whether the fact belongs to this partition. Asked only once the partition has been read up
    /// to where it ended after the fact was read: what led to the fact has been seen.
    fn claim(&self, state: &Self::State, partition: i32, fact: &Self::Fact) -> Claim<Self::Event>;
}

/// What a source read.
#[derive(Debug)]
pub struct Reading<F> {
    /// The facts, oldest first.
    pub facts: Vec<F>,
    /// Covers them; at most about 3,000 bytes.
    pub cursor: String,
    /// The outside's facts up to this time are covered, on our clock; `None`: the source is
    /// behind and does not know how far.
    pub up_to: Option<Timestamp>,
}

/// Whose a fact is.
#[derive(Debug)]
pub enum Claim<E> {
    /// This partition's: appended with its own identity, caused by the given record.
    Mine(Box<Record<E>>, Planned<E>),
    /// This partition's, about an aggregate of it, caused by nothing that stands in the log.
    Outside {
        /// The aggregate: the record's key.
        subject: String,
        /// The fact's own identity.
        id: EventId,
        /// What happened.
        event: Box<E>,
    },
    /// Another's, or nobody's.
    NotMine,
}

/// A reading for one partition.
pub(crate) struct Read<F> {
    /// How often reading had begun anew when it began.
    began: u64,
    reading: Reading<F>,
    done: oneshot::Sender<()>,
}

struct Pending<F> {
    facts: VecDeque<F>,
    /// The partition must have been read up to here before the facts can be told apart.
    end: i64,
    cursor: String,
    up_to: Option<Timestamp>,
    done: oneshot::Sender<()>,
}

/// One partition of a source.
pub(crate) struct SourcePartition<S: Source> {
    source: Arc<S>,
    codecs: Arc<Codecs>,
    partition: i32,
    seen: HashSet<EventId>,
    state: S::State,
    /// Covers only facts that stand in the log: it is no more than a cache of what the log tells.
    cursor: Option<String>,
    /// Readings of which a fact has not been read back yet, oldest first.
    unconfirmed: VecDeque<(String, HashSet<EventId>)>,
    pending: Option<Pending<S::Fact>>,
    waiting: Waiting<S::Event>,
    /// Up to when the outside's facts are covered.
    up_to: Option<Timestamp>,
    /// How often reading has begun anew.
    begun: u64,
    stop: CancellationToken,
}

impl<S: Source> Drop for SourcePartition<S> {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl<S: Source> SourcePartition<S> {
    pub fn new(source: Arc<S>, codecs: Arc<Codecs>, partition: i32) -> Self {
        Self {
            source,
            codecs,
            partition,
            seen: HashSet::new(),
            state: S::State::default(),
            cursor: None,
            unconfirmed: VecDeque::new(),
            pending: None,
            waiting: Waiting::default(),
            up_to: None,
            begun: 0,
            stop: CancellationToken::new(),
        }
    }

    fn take(&mut self, record: Record<S::Event>) {
        for (_, missing) in &mut self.unconfirmed {
            missing.remove(&record.id());
        }
        self.confirm();
        // What is held stands in the log all the same: it must not be appended again.
        if !self.seen.insert(record.id()) {
            metrics::records(S::NAME, "echo");
        } else if self.waiting.blocks(&record.envelope.subject) {
            metrics::records(S::NAME, "blocked");
            self.waiting.hold(record);
        } else {
            metrics::records(S::NAME, "fact");
            self.source.evolve(&mut self.state, &record);
        }
    }

    /// Moves the cursor over readings whose facts all stand in the log.
    ///
    /// While something waits it stays: a reading may have facts of what waits, or of what follows
    /// from a record that cannot be read. Once it is read, by a release or by a process that can,
    /// they are read again from there.
    fn confirm(&mut self) {
        let moves = !self.waiting.any();
        while let Some((_, missing)) = self.unconfirmed.front()
            && missing.is_empty()
        {
            let confirmed = self.unconfirmed.pop_front().map(|(cursor, _)| cursor);
            if moves {
                self.cursor = confirmed;
            }
        }
    }

    /// Reads on from the cursor, beside the worker.
    fn read(&self, host: &Host<'_, Read<S::Fact>>) {
        let (source, stop, post) = (Arc::clone(&self.source), self.stop.clone(), host.post());
        let (mut cursor, began) = (self.cursor.clone(), self.begun);
        let read = async move {
            let mut restarted = true;
            loop {
                let reading = source.read(cursor.as_deref(), restarted).await;
                restarted = false;
                let next = reading.cursor.clone();
                let (done, claimed) = oneshot::channel();
                post.send(Read {
                    began,
                    reading,
                    done,
                });
                if claimed.await.is_err() {
                    return;
                }
                cursor = Some(next);
            }
        };
        host.spawn(async move {
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = read => {}
            }
        });
    }

    /// Claims what can be claimed; the cursor moves only over a reading that was claimed whole.
    fn claim(&mut self, host: &mut Host<'_, Read<S::Fact>>) -> Result<(), Fault> {
        let Some(pending) = &mut self.pending else {
            return Ok(());
        };
        let mut appended = HashSet::new();
        while let Some(fact) = pending.facts.front() {
            let found = match self.source.claim(&self.state, self.partition, fact) {
                Claim::NotMine => None,
                // What would tell whether it is news is held. Once the aggregate goes on, it is read
                // again.
                Claim::Mine(cause, _) if self.waiting.blocks(&cause.envelope.subject) => None,
                Claim::Outside { subject, .. } if self.waiting.blocks(&subject) => None,
                Claim::Mine(cause, planned) => Some(own(&self.codecs, S::NAME, &cause, &planned)?),
                Claim::Outside { subject, id, event } => {
                    let append =
                        outside(&self.codecs, S::NAME, self.partition, &subject, id, &*event)?;
                    Some((id, append))
                }
            };
            if let Some((id, append)) = found {
                let under_way = self.unconfirmed.iter().any(|(_, ids)| ids.contains(&id));
                if !self.seen.contains(&id) && !under_way && appended.insert(id) {
                    host.append(None, vec![append]);
                }
            }
            pending.facts.pop_front();
        }
        if let Some(pending) = self.pending.take() {
            self.up_to = pending.up_to.or(self.up_to);
            self.unconfirmed.push_back((pending.cursor, appended));
            self.confirm();
            let _ = pending.done.send(());
        }
        Ok(())
    }
}

impl<S: Source> Logic for SourcePartition<S> {
    type Event = S::Event;
    type Message = Read<S::Fact>;

    fn fold(&mut self, record: Record<S::Event>, _: i64) -> Result<(), Fault> {
        self.take(record);
        Ok(())
    }

    fn go_live(&mut self, host: &mut Host<'_, Self::Message>) -> Result<(), Fault> {
        self.cursor = host.cursor.clone();
        self.read(host);
        Ok(())
    }

    fn record(
        &mut self,
        record: Record<S::Event>,
        _: &mut Host<'_, Self::Message>,
    ) -> Result<(), Fault> {
        self.take(record);
        Ok(())
    }

    fn message(
        &mut self,
        read: Self::Message,
        host: &mut Host<'_, Self::Message>,
    ) -> Result<(), Fault> {
        if read.began != self.begun {
            // It comes after facts that were passed by: the cursor must not follow it.
            return Ok(());
        }
        let facts: VecDeque<S::Fact> = read.reading.facts.into();
        let end = if facts.is_empty() { 0 } else { host.end()? };
        self.pending = Some(Pending {
            facts,
            end,
            cursor: read.reading.cursor,
            up_to: read.reading.up_to,
            done: read.done,
        });
        if end == 0 { self.claim(host) } else { Ok(()) }
    }

    fn waits_for(&self) -> Option<i64> {
        self.pending.as_ref().map(|p| p.end)
    }

    fn reached(&mut self, host: &mut Host<'_, Self::Message>) -> Result<(), Fault> {
        self.claim(host)
    }

    fn waiting(&mut self) -> &mut Waiting<S::Event> {
        &mut self.waiting
    }

    /// Facts of the aggregate may have gone by while it waited: all since then is read again, from
    /// the cursor, which has waited too. What the log has already is recognised by its id.
    fn release(
        &mut self,
        offset: i64,
        _: i64,
        read: Option<Record<S::Event>>,
        host: Option<&mut Host<'_, Self::Message>>,
    ) -> Result<(), Fault> {
        for record in self.waiting.release(offset, read) {
            self.seen.insert(record.id());
            self.source.evolve(&mut self.state, &record);
        }
        if let Some(host) = host {
            self.stop.cancel();
            self.stop = CancellationToken::new();
            self.begun += 1;
            self.pending = None;
            self.unconfirmed.clear();
            self.read(host);
        }
        Ok(())
    }

    fn tick(
        &mut self,
        _: Timestamp,
        _: &mut Host<'_, Self::Message>,
    ) -> Result<Option<Timestamp>, Fault> {
        Ok(None)
    }

    fn cursor(&self) -> Option<String> {
        self.cursor.clone()
    }

    fn gauges(&self, partition: i32, now: Timestamp) {
        if let Some(up_to) = self.up_to {
            metrics::source_lag(S::NAME, partition, now.millis_since(up_to));
        }
        metrics::waiting(S::NAME, partition, self.waiting.counts());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::Polled;
    use events::treasury::TreasuryEvent;
    use rdkafka::message::OwnedHeaders;

    /// It reads nothing by itself.
    struct Quiet;

    impl Source for Quiet {
        const NAME: &'static str = "quiet";
        type Event = TreasuryEvent;
        type Fact = ();
        type State = ();

        fn evolve(&self, (): &mut (), _: &Record<TreasuryEvent>) {}

        async fn read(&self, _: Option<&str>, _: bool) -> Reading<()> {
            std::future::pending().await
        }

        fn claim(&self, (): &(), _: i32, (): &()) -> Claim<TreasuryEvent> {
            Claim::NotMine
        }
    }

    #[test]
    fn the_cursor_stays_while_a_record_waits_to_be_read() {
        let mut source = SourcePartition::new(Arc::new(Quiet), Arc::new(Codecs::default()), 0);
        let read = |source: &mut SourcePartition<Quiet>, cursor: &str| {
            let reading = (cursor.to_owned(), HashSet::new());
            source.unconfirmed.push_back(reading);
            source.confirm();
            source.cursor()
        };
        assert_eq!(read(&mut source, "1").as_deref(), Some("1"));
        source.waiting.block(Polled {
            partition: 0,
            offset: 7,
            key: b"a".to_vec(),
            payload: None,
            envelope: Err("of tomorrow".to_owned()),
            headers: OwnedHeaders::new(),
        });
        // Whether a fact of this reading follows from that record, nobody here can tell.
        assert_eq!(read(&mut source, "2").as_deref(), Some("1"));
        source.waiting.release(7, None);
        assert_eq!(read(&mut source, "3").as_deref(), Some("3"));
    }
}

//! Taking records in: decoding them, and what becomes of those that cannot be read.

use super::{BATCH, Exit, Phase, Worker, swallowed};
use crate::log::Polled;
use crate::logic::Logic;
use crate::metrics;
use crate::run::Plan;
use events::codec::DecodeError;
use events::dead_letters::{DeadLetterReleased, Release};
use events::envelope::Record;
use events::registry::RegistryError;
use events::schema::EventSet;
use events::time::Timestamp;
use std::time::Duration;

impl<L: Logic> Worker<'_, L> {
    /// Takes what is there, at most a batch; gives how many records it took.
    pub(super) async fn poll(&mut self) -> Result<usize, Exit> {
        let mut taken = 0;
        while taken < BATCH {
            let polled = self.log.poll().map_err(self.lost())?;
            self.rebalanced()?;
            match polled {
                Some(polled) => {
                    self.take(polled).await?;
                    taken += 1;
                }
                None => break,
            }
        }
        Ok(taken)
    }

    async fn take(&mut self, polled: Polled) -> Result<(), Exit> {
        let (partition, offset) = (polled.partition, polled.offset);
        let Some(entry) = self.partitions.get_mut(&partition) else {
            return Ok(());
        };
        if let Ok(envelope) = &polled.envelope {
            entry.awaited.read(envelope.id).map_err(swallowed)?;
        }
        let (committed, folding) = (
            entry.committed,
            matches!(entry.phase, Phase::Folding { .. }),
        );
        match decode(self.plan, &polled).await? {
            Ok(record) => {
                if let Some(release) = record.event.release()
                    && release.processor == self.plan.name
                {
                    let release = release.clone();
                    self.release(partition, offset, &release).await?;
                }
                self.with(partition, None, |logic, host| {
                    if folding {
                        logic.fold(record, committed)
                    } else {
                        logic.record(record, host)
                    }
                })?;
            }
            Err(reason) => {
                let key = String::from_utf8_lossy(&polled.key).into_owned();
                metrics::records(self.plan.name, "poison");
                tracing::error!(
                    processor = self.plan.name,
                    topic = L::Event::TOPIC,
                    partition,
                    offset,
                    key,
                    reason,
                    "a record cannot be read; its aggregate waits, the rest goes on"
                );
                if let Some(entry) = self.partitions.get_mut(&partition) {
                    entry.logic.waiting().block(polled.clone());
                    if offset >= committed {
                        metrics::dead_letter(self.plan.name);
                        let letter = polled.dead_letter(self.plan.name, L::Event::TOPIC, &reason);
                        if folding {
                            entry.dead_letters.push((offset, vec![letter]));
                        } else {
                            self.outbox.push(partition, Some(offset), vec![letter]);
                        }
                    }
                }
            }
        }
        if let Some(entry) = self.partitions.get_mut(&partition) {
            entry.due = Some(Timestamp(0));
        }
        Ok(())
    }

    /// An operator has settled a record that could not be read; the record at offset `by` says so.
    async fn release(
        &mut self,
        partition: i32,
        by: i64,
        release: &DeadLetterReleased,
    ) -> Result<(), Exit> {
        let name = self.plan.name;
        let Some(entry) = self.partitions.get_mut(&partition) else {
            return Ok(());
        };
        let folding = matches!(entry.phase, Phase::Folding { .. });
        // This program reads it, or it was released before: nothing waits for it.
        let Some(polled) = entry.logic.waiting().poison(release.offset).cloned() else {
            return Ok(());
        };
        let read = match release.action {
            Release::Discard => None,
            Release::Redrive => match decode(self.plan, &polled).await? {
                Ok(record) => Some(record),
                Err(reason) => {
                    metrics::released(name, "still_unreadable");
                    tracing::error!(
                        processor = name,
                        partition,
                        offset = release.offset,
                        reason,
                        "a redriven record still cannot be read; its aggregate goes on waiting"
                    );
                    return Ok(());
                }
            },
        };
        metrics::released(
            name,
            match release.action {
                Release::Discard => "discarded",
                Release::Redrive => "redriven",
            },
        );
        tracing::info!(processor = name, partition, offset = release.offset, action = ?release.action, by = release.by, "a dead letter is released");
        self.with(partition, None, |logic, host| {
            let host = if folding { None } else { Some(host) };
            logic.release(release.offset, by, read, host)
        })
    }
}

/// The record, or why it can never be read. Waits for a registry that does not answer: that is no
/// fault of the record.
async fn decode<L: Logic>(
    plan: &Plan<L>,
    polled: &Polled,
) -> Result<Result<Record<L::Event>, String>, Exit> {
    let event = loop {
        match plan.codec.decode(polled.payload.as_deref()) {
            Ok(event) => break event,
            Err(DecodeError::Unresolved(id)) => match plan.codec.registry().resolve(id).await {
                Ok(_) => {}
                Err(error @ RegistryError::Unavailable { .. }) => {
                    tracing::warn!(processor = plan.name, %error, "waiting for the schema registry");
                    tokio::select! {
                        biased;
                        () = plan.stop.cancelled() => return Err(Exit::Stopped),
                        () = tokio::time::sleep(Duration::from_millis(500)) => {}
                    }
                }
                Err(error) => return Ok(Err(error.to_string())),
            },
            Err(error) => return Ok(Err(error.to_string())),
        }
    };
    let envelope = match &polled.envelope {
        Ok(envelope) => envelope.clone(),
        Err(reason) => return Ok(Err(reason.clone())),
    };
    Ok(Ok(Record {
        partition: polled.partition,
        offset: polled.offset,
        envelope,
        event,
    }))
}

//! `GET /events`: what happens, as it happens. A person sees their own, an operator everything.
//!
//! An event's id says how far its reader has come in every partition. Whoever comes back with it
//! (`Last-Event-ID`, which browsers send by themselves) goes on from there: nothing is left out,
//! and nothing comes twice. Without it the stream begins now.

use crate::auth::{Principal, Proof, Reader};
use crate::contract::Routes;
use crate::problem::{Kind, Problem};
use crate::state::ApiState;
use ::events::topics;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures::stream::{self, Stream};
use projections::timeline::{self, Moment, Places};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, timeout_at};
use utoipa_axum::routes;
use uuid::Uuid;

/// Word of a change may be lost; and a session that ended ends its stream at the latest then.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
const KEEP_ALIVE: Duration = Duration::from_secs(15);
const BATCH: i64 = 100;

/// The routes of this file.
pub(crate) fn routes() -> Routes {
    Routes::new().routes(routes!(events))
}

/// A reader's places, as the id of an event: opaque to everybody else.
fn id(places: &Places) -> String {
    let parts: Vec<String> = places
        .iter()
        .map(|((topic, partition), offset)| format!("{topic}:{partition}:{offset}"))
        .collect();
    URL_SAFE_NO_PAD.encode(parts.join(","))
}

fn places(id: &str) -> Option<Places> {
    let bytes = URL_SAFE_NO_PAD.decode(id).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let mut places = Places::new();
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let mut fields = part.split(':');
        let (topic, partition, offset) = (fields.next()?, fields.next()?, fields.next()?);
        let partition: i32 = partition.parse().ok()?;
        let topic = topics::ALL
            .into_iter()
            .find(|t| t.name == topic && (0..t.partitions).contains(&partition))?;
        places.insert((topic.name.to_owned(), partition), offset.parse().ok()?);
    }
    Some(places)
}

struct Reading {
    state: ApiState,
    who: Principal,
    reader: Reader,
    places: Places,
    waiting: VecDeque<Moment>,
    changes: Receiver<Uuid>,
    /// Counts against the limit for as long as the stream is open.
    _turn: OwnedSemaphorePermit,
}

/// Streams what happens, as it happens (server-sent events).
///
/// The caller's own, or everything for operators, admins and auditors. Each event's data is a moment of a timeline. Reconnecting with `Last-Event-ID` goes on where
/// the last event was.
#[utoipa::path(
    get,
    path = "/events",
    operation_id = "streamEvents",
    params(("Last-Event-ID" = Option<String>, Header, description = "Id of the last event that was read.")),
    responses((status = 200, description = "The stream.", body = String, content_type = "text/event-stream"))
)]
async fn events(
    State(state): State<ApiState>,
    who: Principal,
    reader: Reader,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let turn = state.streams.clone().try_acquire_owned().map_err(|_| {
        Problem::new(
            Kind::Busy,
            "too many streams are open; read the lists, or try again later",
        )
    })?;
    // Heard from before the first reading, so that no change falls between the two.
    let changes = state.changes.subscribe();
    let places = match headers.get("last-event-id") {
        Some(value) => value.to_str().ok().and_then(places).ok_or_else(|| {
            Problem::field(
                "Last-Event-ID",
                "this is not the id of an event of this stream",
            )
        })?,
        None => timeline::ends(&state.pool).await?,
    };
    let reading = Reading {
        state,
        who,
        reader,
        places,
        waiting: VecDeque::new(),
        changes,
        _turn: turn,
    };
    let events = stream::unfold(reading, |mut reading| async move {
        let event = reading.next().await?;
        Some((Ok(event), reading))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

impl Reading {
    /// The next event; `None` when the stream is to end.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(moment) = self.waiting.pop_front() {
                self.places
                    .insert((moment.topic.clone(), moment.partition), moment.offset);
                let event = Event::default()
                    .id(id(&self.places))
                    .event(moment.event_type.clone());
                match event.json_data(&moment) {
                    Ok(event) => return Some(event),
                    Err(error) => {
                        tracing::error!(%error, "an event cannot be shown");
                        continue;
                    }
                }
            }
            if self.state.stopping.is_cancelled() || !self.may_go_on().await {
                return None;
            }
            if !self.read().await {
                self.wait().await;
            }
        }
    }

    /// Reads on; whether there was something.
    async fn read(&mut self) -> bool {
        let owner = (!self.reader.sees_all()).then_some(self.reader.user);
        match timeline::after(&self.state.pool, &self.places, owner, BATCH).await {
            Ok((moments, passed)) => {
                self.waiting.extend(moments);
                if let Some(passed) = passed {
                    // Nothing of what lies before concerns this reader, except what waits here.
                    for (place, offset) in passed {
                        let kept = self.waiting.iter().any(|m| {
                            m.topic == place.0 && m.partition == place.1 && m.offset <= offset
                        });
                        if !kept {
                            let at = self.places.entry(place).or_insert(-1);
                            *at = offset.max(*at);
                        }
                    }
                }
                !self.waiting.is_empty()
            }
            Err(error) => {
                tracing::warn!(%error, "a stream of events waits for Postgres");
                false
            }
        }
    }

    async fn may_go_on(&self) -> bool {
        match &self.who.proof {
            Proof::Session(session) => {
                matches!(self.state.auth.sessions.is_alive(session).await, Ok(true))
            }
            Proof::Outside { expires, .. } => self.state.now().seconds() < *expires,
            Proof::Service => true,
        }
    }

    async fn wait(&mut self) {
        let until = Instant::now() + LOOK_AGAIN;
        let heard = timeout_at(until, self.changes.recv());
        tokio::select! {
            () = self.state.stopping.cancelled() => {}
            heard = heard => match heard {
                Ok(Ok(_) | Err(RecvError::Lagged(_))) | Err(_) => {}
                Ok(Err(RecvError::Closed)) => tokio::time::sleep_until(until).await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_says_how_far_its_reader_is() {
        let at = Places::from([
            (("purchases".to_owned(), 3), 17),
            (("users".to_owned(), 0), -1),
        ]);
        assert_eq!(places(&id(&at)), Some(at));
        assert_eq!(places(""), Some(Places::new()));
        for bad in [
            "purchases:99:1",
            "nowhere:0:1",
            "purchases:0",
            "purchases:0:x",
            "\u{202e}",
        ] {
            assert_eq!(places(&URL_SAFE_NO_PAD.encode(bad)), None, "{bad}");
        }
        assert_eq!(places("*"), None);
    }
}

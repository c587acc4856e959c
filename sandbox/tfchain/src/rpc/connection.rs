//! One connection: calls, subscriptions, and the faults that are armed. It is made of texts, there
//! and back, whatever carries them; [`serve`] has a WebSocket carry them.
//!
//! An armed fault applies to calls by the path `/rpc/<method>`, of method `RPC`. Those of HTTP's
//! kinds become an internal error.

use super::{Failure, Params, answer, changes, header, runtime_version, status};
use crate::chain::{Chain, History};
use axum::extract::ws::{Message, WebSocket};
use sandbox_kit::{FaultKind, Faults};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::{AbortHandle, JoinSet};

#[derive(Debug, Clone, Deserialize)]
struct Request {
    #[serde(default)]
    id: Value,
    method: String,
    #[serde(default)]
    params: Option<Value>,
}

/// What leaves a connection.
#[derive(Debug)]
pub enum Out {
    /// A message.
    Text(String),
    /// Its end.
    Close,
}

/// Serves a WebSocket until either side ends it or the node restarts.
pub async fn serve(mut socket: WebSocket, chain: Arc<Chain>, faults: Faults, spared: bool) {
    let (told, incoming) = unbounded_channel();
    let (out, mut outgoing) = unbounded_channel();
    tokio::spawn(talk(incoming, out, chain, faults, spared));
    loop {
        tokio::select! {
            message = socket.recv() => {
                let text = match message {
                    Some(Ok(Message::Text(text))) => text.as_str().to_owned(),
                    Some(Ok(Message::Binary(bytes))) => {
                        String::from_utf8_lossy(&bytes).into_owned()
                    }
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
                    Some(Ok(Message::Close(_)) | Err(_)) | None => break,
                };
                let _ = told.send(text);
            }
            leaving = outgoing.recv() => match leaving {
                Some(Out::Text(text)) => if socket.send(Message::Text(text.into())).await.is_err() {
                    break;
                },
                Some(Out::Close) | None => break,
            },
        }
    }
}

/// Serves a connection whose messages come through `incoming` and leave through `out`, until either
/// side ends it or the node restarts; says so at the end.
pub async fn talk(
    mut incoming: UnboundedReceiver<String>,
    out: UnboundedSender<Out>,
    chain: Arc<Chain>,
    faults: Faults,
    spared: bool,
) {
    let mut restarts = chain.restarts();
    let mut connection = Connection {
        chain,
        faults,
        spared,
        out,
        subscribed: 0,
        subscriptions: HashMap::new(),
        tasks: JoinSet::new(),
    };
    loop {
        tokio::select! {
            biased;
            () = restarts.changed() => break,
            () = connection.out.closed() => break,
            text = incoming.recv() => match text {
                Some(text) => connection.text(&text),
                None => break,
            },
        }
    }
    let _ = connection.out.send(Out::Close);
}

/// Carries out what a message asks for, and tells nobody: as when it was delivered a second time,
/// or after its connection was gone.
pub fn quietly(chain: &Chain, text: &str) {
    for request in requests(text) {
        let _ = unheard(chain, &request);
    }
}

fn requests(text: &str) -> Vec<Request> {
    let requests = match serde_json::from_str::<Value>(text) {
        Ok(Value::Array(requests)) => requests,
        Ok(request) => vec![request],
        Err(_) => Vec::new(),
    };
    let read = requests.into_iter().filter_map(|request| {
        serde_json::from_value(request)
            .inspect_err(|error| tracing::debug!(%error, "not a request"))
            .ok()
    });
    read.collect()
}

struct Connection {
    chain: Arc<Chain>,
    faults: Faults,
    spared: bool,
    out: UnboundedSender<Out>,
    /// Subscriptions so far.
    subscribed: u64,
    subscriptions: HashMap<String, AbortHandle>,
    tasks: JoinSet<()>,
}

impl Connection {
    fn text(&mut self, text: &str) {
        for request in requests(text) {
            self.request(request);
        }
        // Ended tasks are let go of.
        while self.tasks.try_join_next().is_some() {}
    }

    fn request(&mut self, request: Request) {
        let path = format!("/rpc/{}", request.method);
        let fault = if self.spared {
            None
        } else {
            self.faults.hit("RPC", &path)
        };
        let Some((kind, delay)) = fault else {
            let _ = self.work(&request, true);
            return;
        };
        match kind {
            FaultKind::Http500 | FaultKind::Http503 | FaultKind::Http429 | FaultKind::Http504 => {
                self.reply(&request.id, Err(Failure::internal()));
            }
            FaultKind::Http500AfterWork | FaultKind::Http504AfterWork => {
                let _ = self.work(&request, false);
                self.reply(&request.id, Err(Failure::internal()));
            }
            FaultKind::Reset => drop(self.out.send(Out::Close)),
            FaultKind::LoseAnswer => {
                let _ = self.work(&request, false);
                let _ = self.out.send(Out::Close);
            }
            FaultKind::LateWork => {
                let chain = Arc::clone(&self.chain);
                tokio::spawn(async move {
                    tokio::time::sleep(delay).await;
                    let _ = unheard(&chain, &request);
                });
                let _ = self.out.send(Out::Close);
            }
            FaultKind::LateAnswer => {
                let answer = self.work(&request, false);
                let out = self.out.clone();
                self.tasks.spawn(async move {
                    tokio::time::sleep(delay).await;
                    let _ = out.send(Out::Text(reply(&request.id, answer)));
                });
            }
            FaultKind::Duplicate => {
                let _ = self.work(&request, false);
                let _ = self.work(&request, true);
            }
            FaultKind::Garble => {
                let _ = self.work(&request, false);
                let _ = self
                    .out
                    .send(Out::Text(r#"{"jsonrpc":"2.0","id":"#.to_owned()));
            }
        }
    }

    fn reply(&self, id: &Value, answer: Result<Value, Failure>) {
        let _ = self.out.send(Out::Text(reply(id, answer)));
    }

    /// Carries a request out. When `told`, its answer is sent, and subscriptions go on.
    fn work(&mut self, request: &Request, told: bool) -> Result<Value, Failure> {
        let params = Params::new(request.params.clone());
        let chain = Arc::clone(&self.chain);
        let subscription = match request.method.as_str() {
            "author_submitAndWatchExtrinsic" => {
                match params.bytes(0).and_then(|bytes| Ok(chain.watch(&bytes)?)) {
                    Ok((_, history, from)) => Some(Feed::Extrinsic { history, from }),
                    Err(failure) => {
                        if told {
                            self.reply(&request.id, Err(failure.clone()));
                        }
                        return Err(failure);
                    }
                }
            }
            "chain_subscribeFinalizedHeads" => Some(Feed::Finalized),
            "chain_subscribeNewHeads" | "chain_subscribeNewHead" | "chain_subscribeAllHeads" => {
                Some(Feed::Best)
            }
            "state_subscribeRuntimeVersion" | "chain_subscribeRuntimeVersion" => {
                Some(Feed::Version)
            }
            "state_subscribeStorage" => Some(Feed::Storage(params.list(0).unwrap_or_default())),
            _ => None,
        };
        let answer = match subscription {
            Some(feed) => {
                self.subscribed += 1;
                let id = format!("gridway{}", self.subscribed);
                if told {
                    self.reply(&request.id, Ok(json!(id)));
                    let task = feed.run(chain, id.clone(), self.out.clone());
                    let handle = self.tasks.spawn(task);
                    self.subscriptions.insert(id.clone(), handle);
                }
                return Ok(json!(id));
            }
            None if request.method.contains("_unsubscribe")
                || request.method == "author_unwatchExtrinsic" =>
            {
                let known = params
                    .text(0)
                    .ok()
                    .and_then(|id| self.subscriptions.remove(id));
                if let Some(task) = &known {
                    task.abort();
                }
                Ok(json!(known.is_some()))
            }
            None => answer(&chain, &request.method, &params),
        };
        if told {
            self.reply(&request.id, answer.clone());
        }
        answer
    }
}

/// Carries a request out of which nobody hears.
fn unheard(chain: &Chain, request: &Request) -> Result<(), Failure> {
    let params = Params::new(request.params.clone());
    if request.method == "author_submitAndWatchExtrinsic" {
        chain.submit(&params.bytes(0)?)?;
    } else {
        answer(chain, &request.method, &params)?;
    }
    Ok(())
}

fn reply(id: &Value, answer: Result<Value, Failure>) -> String {
    match answer {
        Ok(result) => json!({ "jsonrpc": "2.0", "id": id, "result": result }),
        Err(failure) => {
            let mut error = json!({ "code": failure.code, "message": failure.message });
            if let Some(data) = failure.data {
                error["data"] = json!(data);
            }
            json!({ "jsonrpc": "2.0", "id": id, "error": error })
        }
    }
    .to_string()
}

/// What a subscription tells.
enum Feed {
    Extrinsic { history: History, from: usize },
    Finalized,
    Best,
    Version,
    Storage(Vec<Vec<u8>>),
}

impl Feed {
    const fn notification(&self) -> &'static str {
        match self {
            Self::Extrinsic { .. } => "author_extrinsicUpdate",
            Self::Finalized => "chain_finalizedHead",
            Self::Best => "chain_newHead",
            Self::Version => "state_runtimeVersion",
            Self::Storage(_) => "state_storage",
        }
    }

    async fn run(self, chain: Arc<Chain>, id: String, out: UnboundedSender<Out>) {
        let mut news = chain.news();
        let method = self.notification();
        let tell = |result: Value| {
            let params = json!({ "subscription": id, "result": result });
            let text = json!({ "jsonrpc": "2.0", "method": method, "params": params });
            out.send(Out::Text(text.to_string())).is_ok()
        };
        let (mut from, mut told, mut values) = match &self {
            Self::Extrinsic { from, .. } => (*from, Value::Null, None),
            Self::Finalized => (
                usize::try_from(chain.finalized().number).unwrap_or_default(),
                Value::Null,
                None,
            ),
            Self::Best | Self::Version | Self::Storage(_) => (0, Value::Null, None),
        };
        loop {
            news.see();
            match &self {
                Self::Extrinsic { history, .. } => {
                    for said in history.after(from) {
                        from += 1;
                        if !tell(status(said)) || said.is_last() {
                            return;
                        }
                    }
                }
                Self::Finalized => {
                    let head = chain.finalized().number;
                    while let Ok(number) = u32::try_from(from)
                        && number <= head
                    {
                        if let Some(top) = chain.header(number)
                            && !tell(header(&top))
                        {
                            return;
                        }
                        from += 1;
                    }
                }
                Self::Best => {
                    let top = chain.header(chain.best().number);
                    let top = top.as_ref().map_or(Value::Null, header);
                    if top != told && !tell(top.clone()) {
                        return;
                    }
                    told = top;
                }
                Self::Version => {
                    let version = chain.version(chain.best().number);
                    let version = version.map_or(Value::Null, runtime_version);
                    if version != told && !tell(version.clone()) {
                        return;
                    }
                    told = version;
                }
                Self::Storage(keys) => {
                    let set = changes(&chain, keys, chain.best().number);
                    let now = Some(set["changes"].clone());
                    if now != values && !tell(set) {
                        return;
                    }
                    values = now;
                }
            }
            news.changed().await;
        }
    }
}

//! The way of messages between a process and the node: each fares as the network has it, and those
//! of a direction keep their order, as in one TCP connection.

use super::Wired;
use crate::net::{CONNECT, Fault, READ};
use crate::process::Process;
use async_trait::async_trait;
use counterparties_tfchain::{Connect, Refused, Wire};
use sandbox_kit::Faults;
use sandbox_tfchain::extrinsic::Signed;
use sandbox_tfchain::rpc::connection::{Out, quietly, talk};
use sandbox_tfchain::runtime::pallet_smart_contract::Call as Contracts;
use sandbox_tfchain::runtime::pallet_tfgrid::Call as Grid;
use sandbox_tfchain::runtime::pallet_utility;
use sandbox_tfchain::runtime::tfchain_runtime::RuntimeCall;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::Instant;

/// The method by which transactions are submitted.
const SUBMIT: &str = "author_submitAndWatchExtrinsic";
/// How long the network keeps silent about a connection that it does not make.
const SILENCE: Duration = Duration::from_secs(60);

/// A process's way to the node.
pub struct Line {
    wired: Wired,
    sender: Option<Process>,
}

/// A connection that hangs: what is sent does not arrive, or nothing comes back. Nobody says so.
#[derive(Default)]
struct Hangs {
    there: AtomicBool,
    back: AtomicBool,
}

impl Hangs {
    fn both(&self) {
        self.there.store(true, Ordering::Relaxed);
        self.back();
    }

    fn back(&self) {
        self.back.store(true, Ordering::Relaxed);
    }
}

/// Messages on their way, each with the time at which it arrives.
struct Queue<T>(VecDeque<(Instant, T)>);

impl<T> Queue<T> {
    /// None overtakes another.
    fn push(&mut self, after: Duration, message: T) {
        let at = Instant::now() + after;
        let at = self.0.back().map_or(at, |(last, _)| at.max(*last));
        self.0.push_back((at, message));
    }

    /// The next one, when it arrives; never, while there is none.
    async fn arrives(&mut self) -> T {
        match self.0.front() {
            Some((at, _)) => tokio::time::sleep_until(*at).await,
            None => std::future::pending().await,
        }
        match self.0.pop_front() {
            Some((_, message)) => message,
            None => std::future::pending().await,
        }
    }
}

#[async_trait]
impl Connect for Line {
    async fn connect(&self) -> Result<Wire, Refused> {
        let passage = self.wired.0.network.passage(CONNECT, self.sender.clone());
        match passage.fault {
            Fault::NotSent => {
                tokio::time::sleep(passage.there).await;
                return Err(Refused);
            }
            Fault::LostOnTheWay | Fault::AnswerLost => {
                tokio::time::sleep(SILENCE).await;
                return Err(Refused);
            }
            Fault::Nothing | Fault::Late | Fault::Duplicated => {
                tokio::time::sleep(passage.there + passage.back).await;
            }
        }
        let chain = &self.wired.0.chain;
        if chain.is_down() {
            return Err(Refused);
        }
        let ((there, sent), (told, back)) = (unbounded_channel(), unbounded_channel());
        let ((to_node, incoming), (out, outgoing)) = (unbounded_channel(), unbounded_channel());
        let hangs = Arc::new(Hangs::default());
        let way = Way {
            wired: self.wired.clone(),
            sender: self.sender.clone(),
            hangs: Arc::clone(&hangs),
        };
        let serving = talk(incoming, out, Arc::clone(chain), Faults::default(), true);
        tokio::spawn(serving);
        tokio::spawn(way.there(sent, to_node));
        tokio::spawn(returning(self.wired.clone(), outgoing, told, hangs));
        Ok(Wire { there, back })
    }
}

impl Line {
    /// The way of this process.
    pub const fn new(wired: Wired, sender: Option<Process>) -> Self {
        Self { wired, sender }
    }
}

/// From the process to the node.
struct Way {
    wired: Wired,
    sender: Option<Process>,
    hangs: Arc<Hangs>,
}

impl Way {
    /// What was sent arrives though its sender dies.
    async fn there(self, mut sent: UnboundedReceiver<String>, to_node: UnboundedSender<String>) {
        let mut queue = Queue(VecDeque::new());
        let mut open = true;
        while open || !queue.0.is_empty() {
            tokio::select! {
                biased;
                message = sent.recv(), if open => match message {
                    Some(text) => open = self.leaves(text, &mut queue),
                    None => open = false,
                },
                (kind, text) = queue.arrives() => {
                    if is_effect(kind) {
                        self.wired.0.trace.say(|| format!("wire: {kind} arrives"));
                        self.wired.comes();
                    }
                    if to_node.send(text).is_err() {
                        return;
                    }
                }
                () = to_node.closed() => return,
            }
        }
    }

    /// Whether the connection goes on.
    fn leaves(&self, text: String, queue: &mut Queue<(&'static str, String)>) -> bool {
        let Some((kind, signer)) = self.kind(&text) else {
            queue.push(Duration::ZERO, ("", text));
            return true;
        };
        if let Some(account) = signer {
            let network = &self.wired.0.network;
            network.signed(kind, self.sender.as_ref(), &account);
        }
        if self.hangs.there.load(Ordering::Relaxed) {
            return true;
        }
        let passage = self.wired.0.network.passage(kind, self.sender.clone());
        match passage.fault {
            Fault::Nothing => queue.push(passage.there, (kind, text)),
            Fault::NotSent => return false,
            Fault::LostOnTheWay => self.hangs.both(),
            Fault::AnswerLost => {
                self.hangs.back();
                queue.push(passage.there, (kind, text));
            }
            Fault::Late => {
                self.hangs.both();
                self.again(passage.there + passage.late, kind, text);
            }
            Fault::Duplicated => {
                queue.push(passage.there, (kind, text.clone()));
                self.again(passage.there + passage.late, kind, text);
            }
        }
        true
    }

    /// It arrives beside the connection, and nobody hears the answer.
    fn again(&self, after: Duration, kind: &'static str, text: String) {
        let wired = self.wired.clone();
        tokio::spawn(async move {
            tokio::time::sleep(after).await;
            if wired.0.chain.is_down() {
                return;
            }
            if is_effect(kind) {
                wired.0.trace.say(|| format!("wire: {kind} arrives late"));
                wired.comes();
            }
            quietly(&wired.0.chain, &text);
        });
    }

    /// What kind of request this is, and who signs it if it is a call about a contract; `None`: it
    /// asks for nothing.
    fn kind(&self, text: &str) -> Option<(&'static str, Option<String>)> {
        let method = after(text, "\"method\":\"")?;
        if method.contains("_unsubscribe") || method == "author_unwatchExtrinsic" {
            return None;
        }
        if method != SUBMIT {
            return Some((READ, None));
        }
        let chain = &self.wired.0.chain;
        let signed = after(text, "[\"0x").and_then(|digits| hex::decode(digits).ok());
        let version = chain.version(chain.best().number);
        let signed = signed.zip(version);
        let signed = signed.and_then(|(bytes, version)| Signed::decode(&bytes, version).ok());
        Some(signed.map_or((UNREADABLE, None), |signed| {
            let account = about_contracts(&signed.call).then(|| signed.account.to_string());
            (effect(&signed.call), account)
        }))
    }
}

/// A transaction of another runtime than the one in force.
const UNREADABLE: &str = "submit for another runtime";

fn is_effect(kind: &str) -> bool {
    kind != READ && !kind.is_empty()
}

/// The text between this and the next quotation mark.
fn after<'a>(text: &'a str, mark: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(mark)?;
    rest.split('"').next()
}

/// The calls in a batch.
fn inner(call: &pallet_utility::Call) -> &[RuntimeCall] {
    let (pallet_utility::Call::batch { calls }
    | pallet_utility::Call::batch_all { calls }
    | pallet_utility::Call::force_batch { calls }) = call;
    calls
}

/// Whether it needs a proof that the partition of its request is the process's own.
fn about_contracts(call: &RuntimeCall) -> bool {
    match call {
        RuntimeCall::SmartContractModule(_) => true,
        RuntimeCall::Utility(batch) => inner(batch).iter().any(about_contracts),
        RuntimeCall::Balances(_)
        | RuntimeCall::TfgridModule(_)
        | RuntimeCall::System(_)
        | RuntimeCall::Timestamp(_) => false,
    }
}

/// The effect that a call is.
fn effect(call: &RuntimeCall) -> &'static str {
    match call {
        RuntimeCall::SmartContractModule(call) => match call {
            Contracts::create_node_contract { .. } => "create contract",
            Contracts::update_node_contract { .. } => "update contract",
            Contracts::cancel_contract { .. } => "cancel contract",
            Contracts::create_name_contract { .. } => "create name",
            Contracts::create_rent_contract { .. } => "create rent",
        },
        RuntimeCall::Utility(_) if about_contracts(call) => "create batch",
        RuntimeCall::Utility(_) => "activate",
        RuntimeCall::Balances(_) => "activate",
        RuntimeCall::TfgridModule(call) => match call {
            Grid::user_accept_tc { .. } => "accept terms",
            Grid::create_twin { .. } => "create twin",
            Grid::create_farm { .. } | Grid::create_node { .. } => "another call",
        },
        RuntimeCall::System(_) | RuntimeCall::Timestamp(_) => "another call",
    }
}

/// From the node to the process.
async fn returning(
    wired: Wired,
    mut outgoing: UnboundedReceiver<Out>,
    told: UnboundedSender<String>,
    hangs: Arc<Hangs>,
) {
    let mut queue = Queue(VecDeque::new());
    loop {
        tokio::select! {
            biased;
            () = told.closed() => return,
            leaving = outgoing.recv() => {
                let leaving = leaving.unwrap_or(Out::Close);
                let ends = matches!(leaving, Out::Close);
                queue.push(wired.0.network.way_back(), leaving);
                if ends {
                    break;
                }
            }
            out = queue.arrives() => match out {
                Out::Text(text) if !hangs.back.load(Ordering::Relaxed) => drop(told.send(text)),
                Out::Text(_) | Out::Close => {}
            },
        }
    }
    // What left before the end arrives before it.
    while !queue.0.is_empty() {
        if let Out::Text(text) = queue.arrives().await
            && !hangs.back.load(Ordering::Relaxed)
        {
            let _ = told.send(text);
        }
    }
    if hangs.back.load(Ordering::Relaxed) {
        told.closed().await;
    }
}

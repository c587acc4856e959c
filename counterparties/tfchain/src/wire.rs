//! A connection to a node by something else than a WebSocket of our own.

use std::time::Duration;
use subxt::ext::jsonrpsee::core::client::{
    Client, ClientBuilder, ReceivedMessage, TransportReceiverT, TransportSenderT,
};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};

/// What the JSON-RPC client would wait by a clock that is not tokio's. Every wait of ours is bounded
/// by tokio's, so that time may be virtual, and this one never ends first.
const NEVER: Duration = Duration::from_secs(365 * 86_400);

/// Messages of JSON-RPC, as text. Whoever drops an end closes the connection.
#[derive(Debug)]
pub struct Wire {
    /// To the node.
    pub there: UnboundedSender<String>,
    /// From the node.
    pub back: UnboundedReceiver<String>,
}

/// Nobody listens.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the connection is refused")]
pub struct Refused;

/// Makes connections to a node.
#[async_trait::async_trait]
pub trait Connect: Send + Sync + 'static {
    /// Makes one.
    ///
    /// # Errors
    /// [`Refused`].
    async fn connect(&self) -> Result<Wire, Refused>;
}

/// The connection is closed.
#[derive(Debug, thiserror::Error)]
#[error("the connection is closed")]
struct Closed;

struct There(UnboundedSender<String>);
struct Back(UnboundedReceiver<String>);

impl TransportSenderT for There {
    type Error = Closed;

    async fn send(&mut self, message: String) -> Result<(), Closed> {
        self.0.send(message).map_err(|_| Closed)
    }
}

impl TransportReceiverT for Back {
    type Error = Closed;

    async fn receive(&mut self) -> Result<ReceivedMessage, Closed> {
        self.0.recv().await.map(ReceivedMessage::Text).ok_or(Closed)
    }
}

/// A JSON-RPC client over the connection.
pub(crate) fn client(wire: Wire, at_once: usize) -> Client {
    ClientBuilder::default()
        .request_timeout(NEVER)
        .max_concurrent_requests(at_once)
        .max_buffer_capacity_per_subscription(at_once)
        .build_with_tokio(There(wire.there), Back(wire.back))
}

//! The client.
use std::time::Duration;
/// Where the chain is.
#[derive(Debug, Clone)]
pub struct TfchainConfig {
    /// Base URL.
    pub url: String,
    /// Of one request, without the time it is told to wait.
    pub timeout: Duration,
}
/// The client.
pub struct TfchainClient;

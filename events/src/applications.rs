//! Events of the `node-applications` topic, keyed by application id: people who offer nodes, and
//! what operators decide.

pub use crate::dead_letters::DeadLetterReleased;
use crate::ids::{ApplicationId, UserId};
use crate::schema::event_set;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

event_set! {
    /// Any event of the `node-applications` topic.
    NodeApplicationEvent, "node-applications", [
        NodeApplicationSubmitted,
        NodeApplicationResubmitted,
        NodeApplicationDocumentAttached,
        NodeApplicationChangesRequested,
        NodeApplicationApproved,
        NodeApplicationRejected,
        NodeApplicationWithdrawn,
        DeadLetterReleased,
    ]
}

/// Where a wallet is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum WalletNetwork {
    /// An account of Stellar, `G…`.
    Stellar,
    /// An account of TFChain, SS58.
    Tfchain,
}

/// What is offered. No address, no name and no contact: those stand in Postgres.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeOffer {
    /// The farm that the node is to belong to.
    pub farm_name: String,
    /// ISO 3166-1 alpha-2.
    pub country: String,
    /// City.
    pub city: String,
    /// Where the wallet is.
    pub wallet_network: WalletNetwork,
    /// Address that rewards go to: `G…` on Stellar, SS58 on TFChain.
    pub wallet: String,
    /// Cores of all processors.
    pub cpu_cores: i32,
    /// Memory, in GiB.
    pub memory_gib: i32,
    /// SSD, in GiB.
    pub ssd_gib: i32,
    /// Hard disks, in GiB.
    pub hdd_gib: i32,
    /// Uplink, in megabits a second.
    pub uplink_mbps: i32,
    /// Public IPv4 addresses.
    pub public_ipv4_count: i32,
}

/// A person offers a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeApplicationSubmitted {
    /// The application; also the record key.
    pub application_id: ApplicationId,
    /// The user who applies.
    pub applicant_id: UserId,
    /// 1: the first.
    pub revision: i32,
    /// What is offered.
    pub offer: NodeOffer,
    /// When.
    pub submitted_at: Timestamp,
}

/// The applicant has changed what an operator asked to be changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeApplicationResubmitted {
    /// The application; also the record key.
    pub application_id: ApplicationId,
    /// The user who applies.
    pub applicant_id: UserId,
    /// One more than before.
    pub revision: i32,
    /// What is offered now.
    pub offer: NodeOffer,
    /// When.
    pub resubmitted_at: Timestamp,
}

/// The applicant attached a document, or another one in its place. The document itself stands in
/// Postgres.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeApplicationDocumentAttached {
    /// The application; also the record key.
    pub application_id: ApplicationId,
    /// The user who applies.
    pub applicant_id: UserId,
    /// One more than before.
    pub revision: i32,
    /// What it shows: `hardware_proof`, `site_proof`, `network_proof` or `identity`.
    pub kind: String,
    /// `application/pdf`, `image/png` or `image/jpeg`.
    pub content_type: String,
    /// Its size.
    pub size_bytes: i32,
    /// Of its bytes, 64 hex digits.
    pub sha256: String,
    /// When.
    pub attached_at: Timestamp,
}

/// An operator asks for changes; it is the applicant's turn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeApplicationChangesRequested {
    /// The application; also the record key.
    pub application_id: ApplicationId,
    /// The user who applies.
    pub applicant_id: UserId,
    /// The revision that was looked at.
    pub revision: i32,
    /// The operator who decided.
    pub by: UserId,
    /// Why, in the operator's words.
    pub reason: String,
    /// When.
    pub requested_at: Timestamp,
}

/// An operator takes the node: the applicant is a node operator from now on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeApplicationApproved {
    /// The application; also the record key.
    pub application_id: ApplicationId,
    /// The user who applies.
    pub applicant_id: UserId,
    /// The revision that was looked at.
    pub revision: i32,
    /// The operator who decided.
    pub by: UserId,
    /// When.
    pub approved_at: Timestamp,
}

/// An operator refuses the node for good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeApplicationRejected {
    /// The application; also the record key.
    pub application_id: ApplicationId,
    /// The user who applies.
    pub applicant_id: UserId,
    /// The revision that was looked at.
    pub revision: i32,
    /// The operator who decided.
    pub by: UserId,
    /// Why, in the operator's words.
    pub reason: String,
    /// When.
    pub rejected_at: Timestamp,
}

/// The applicant does not want it any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeApplicationWithdrawn {
    /// The application; also the record key.
    pub application_id: ApplicationId,
    /// The user who applies.
    pub applicant_id: UserId,
    /// The revision that was withdrawn.
    pub revision: i32,
    /// When.
    pub withdrawn_at: Timestamp,
}

//! A build as the worker gets it.

use super::secrets::Secrets;
pub use crate::protocol::Signer;
use spool::build_id::BuildId;
use spool::rebuild::Vary;
use std::time::Duration;

/// What the server gave out.
pub struct Job {
    pub id: BuildId,
    /// What it is the worker's by.
    pub lease: String,
    pub script: Vec<u8>,
    pub timeout: Duration,
    /// For how long it may print nothing.
    pub silence: Option<Duration>,
    /// Bytes that it may print.
    pub console_bytes: u64,
    /// Whether it may use the network, where a sandbox withholds that.
    pub network: bool,
    pub secrets: Secrets,
    pub source_date: Option<i64>,
    /// As whom the worker signs; nothing when the server knows no key of it.
    pub signer: Option<Signer>,
    /// What is to be different from the build that it repeats.
    pub vary: Vec<Vary>,
    /// Which rebuild it is; 0 when it repeats nothing.
    pub rebuild: u32,
}

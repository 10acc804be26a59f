//! A build as the worker gets it.

use super::secrets::Secrets;
use spool::build_id::BuildId;
use std::time::Duration;

/// What the server gave out.
pub struct Job {
    pub id: BuildId,
    pub script: Vec<u8>,
    pub timeout: Duration,
    /// For how long it may print nothing.
    pub silence: Option<Duration>,
    pub secrets: Secrets,
    pub source_date: Option<i64>,
}

//! What a build may take, whatever its worker says: time, console, artifacts.

use jiff::{SignedDuration, Timestamp};
use spool::config::{Config, Limits};
use spool::held::Offered;
use spool::record::Request;

/// The bounds of one build: its job's, and the server's where those are narrower.
pub struct Allowance<'a> {
    /// Bytes that the script may print.
    pub console: u64,
    /// Seconds that the script may run.
    pub runs: u64,
    /// When the script must be over. Its worker ends it in time; it gets a grace time more before it is told to, and
    /// clocks that differ cost nothing.
    pub script_ends: Timestamp,
    /// When all of it must be handed over.
    pub handed_over: Timestamp,
    limits: &'a Limits,
}

impl<'a> Allowance<'a> {
    /// For a build that its worker has `since` then.
    pub fn new(config: &'a Config, request: &Request, since: Timestamp) -> Allowance<'a> {
        let limits = &config.limits;
        let runs = request.timeout_seconds.min(limits.build_seconds);
        let script_ends = after(since, runs.saturating_add(config.grace_seconds.into()));
        Allowance {
            console: request.console_bytes.unwrap_or(u64::MAX).min(limits.console_bytes),
            runs,
            script_ends,
            handed_over: after(script_ends, limits.handover_seconds),
            limits,
        }
    }

    /// Why artifacts are not taken, when with these there are so many, of so many bytes; nothing when they are. Those that
    /// came before are not looked at again: a worker may offer them one by one.
    pub fn refuses(&self, offered: &[Offered], count: usize, bytes: u64) -> Option<String> {
        let Limits { artifacts, artifact_bytes, path_bytes, .. } = *self.limits;
        if count as u64 > artifacts || bytes > artifact_bytes {
            return Some(format!("it left more than {artifacts} artifacts or {artifact_bytes} bytes"));
        }
        let long = offered.iter().any(|one| one.path.as_str().len() > path_bytes);
        long.then(|| format!("it left an artifact whose path has more than {path_bytes} bytes"))
    }
}

fn after(at: Timestamp, seconds: u64) -> Timestamp {
    let seconds = SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX));
    at.checked_add(seconds).unwrap_or(Timestamp::MAX)
}

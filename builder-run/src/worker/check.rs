//! `builder-run worker --check`: whether the server can be reached, lets this worker in, and would take what it makes.

use super::Worker;
use super::session::{Connected, PATIENCE};
use crate::args::{SandboxArgs, WorkerArgs};
use crate::sftp;
use serde::Serialize;
use spool::error::{At, Error, Kind, Result};
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::Path;

/// What there is to say of a server that is reached.
#[derive(Serialize)]
struct Found {
    /// Its release.
    version: String,
    /// After so many seconds it gives up a worker that is not heard.
    grace_seconds: u64,
    /// By so many seconds its clock is ahead of this one's.
    #[serde(skip_serializing_if = "Option::is_none")]
    ahead_seconds: Option<f64>,
}

/// Connects as a worker would, and goes without a build. Prints what it has found as a line of JSON.
///
/// # Errors
/// As for a worker, when it would get no builds or could not send what came of them.
pub fn run(args: &WorkerArgs, config: Option<&Path>) -> Result<()> {
    // Of what a worker sets up for builds nothing is needed, and some of it would be in the way of one that runs.
    let nothing =
        SandboxArgs { sandbox: None, root: None, memory: None, cpus: None, tasks: None, ..args.sandbox.clone() };
    let plain = WorkerArgs { work: None, sandbox: nothing, ..args.clone() };
    let worker = Worker::new(&plain, config)?;
    let Some(Connected { mut greeted, mut transport }) = worker.reach.connect(PATIENCE)? else { return Ok(()) };
    greeted.is_welcome(&worker.reach.signals)?;
    let (streams, _channel) = transport.sftp()?;
    let no_files = std::iter::empty();
    match sftp::client::upload(streams.from, streams.to, no_files, |file| File::open(&file.source)) {
        // A worker without a build is refused in the words of SFTP, and that is an answer.
        Err(e) if e.kind() != ErrorKind::Other => {
            return Err(Error::new(Kind::TryAgain, format!("the server takes no artifacts: {e}"))
                .hint("its sshd_config needs a line `Subsystem sftp`, such as `Subsystem sftp internal-sftp`"));
        }
        _ => {}
    }
    let found = Found {
        version: greeted.version.clone(),
        grace_seconds: greeted.grace.as_secs(),
        ahead_seconds: greeted.ahead.map(|ahead| ahead.as_secs_f64()),
    };
    let line = serde_json::to_string(&found)
        .map_err(|e| Error::new(Kind::Internal, format!("this can't be printed as JSON: {e}")))?;
    writeln!(std::io::stdout().lock(), "{line}").at("write to", "standard output")
}

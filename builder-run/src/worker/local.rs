//! A server of this machine, reached by pipes.

use super::process::own_program;
use super::transport::{Channel, Streams, Transport, pipes};
use spool::error::{At, Result};
use spool::name::WorkerName;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// A spool of this machine.
pub struct Local {
    spool: PathBuf,
    name: WorkerName,
    config: Option<PathBuf>,
    child: Option<Child>,
}

impl Local {
    /// A server will be started for each channel.
    pub fn new(spool: &Path, name: &WorkerName, config: Option<&Path>) -> Local {
        Local { spool: spool.to_owned(), name: name.clone(), config: config.map(Path::to_owned), child: None }
    }

    fn open(&self, sftp: bool) -> Result<(Streams, Child)> {
        let (ours, stdin, stdout) = pipes()?;
        let program = own_program()?;
        let mut command = Command::new(&program);
        command.arg("serve").arg("--local").arg("--spool").arg(&self.spool).arg("--worker").arg(self.name.as_str());
        if let Some(config) = &self.config {
            command.arg("--config").arg(config);
        }
        command.env("SSH_ORIGINAL_COMMAND", if sftp { "internal-sftp" } else { "serve" });
        let child = command.stdin(stdin).stdout(stdout).spawn().at("start", program)?;
        Ok((ours, child))
    }
}

impl Transport for Local {
    fn session(&mut self) -> Result<Streams> {
        let (streams, child) = self.open(false)?;
        self.child = Some(child);
        Ok(streams)
    }

    fn sftp(&mut self) -> Result<(Streams, Box<dyn Channel>)> {
        let (streams, child) = self.open(true)?;
        Ok((streams, Box::new(LocalChannel(child))))
    }

    fn processes(&self) -> Vec<u32> {
        self.child.iter().map(Child::id).collect()
    }
}

struct LocalChannel(Child);

impl Channel for LocalChannel {}

impl Drop for LocalChannel {
    fn drop(&mut self) {
        reap(&mut self.0);
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            reap(child);
        }
    }
}

/// A server ends soon after its input has; one that was stopped is not waited for.
fn reap(child: &mut Child) {
    let until = Instant::now() + Duration::from_secs(2);
    while Instant::now() < until && matches!(child.try_wait(), Ok(None)) {
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

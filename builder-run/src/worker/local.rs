//! A server of this machine, reached by pipes.

use super::transport::{Channel, Streams, Transport, pipes};
use spool::error::{At, Result};
use spool::name::WorkerName;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

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
        let program = std::env::current_exe().at("find", "builder-run")?;
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
}

struct LocalChannel(Child);

impl Channel for LocalChannel {}

impl Drop for LocalChannel {
    fn drop(&mut self) {
        let _ = self.0.wait();
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.wait();
        }
    }
}

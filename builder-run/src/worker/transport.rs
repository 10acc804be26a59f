//! How a worker reaches its server: one SSH connection with a channel for each need, or a pipe.

use super::place::Place;
use super::ssh::Ssh;
use crate::args::WorkerArgs;
use spool::error::{At, Error, Kind, Result};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Child, Command};

/// The two directions of a channel.
pub struct Streams {
    pub from: File,
    pub to: File,
}

/// A connection to a server.
pub trait Transport {
    /// Opens the channel for the session.
    fn session(&mut self) -> Result<Streams>;
    /// Opens a channel for SFTP. The guard that comes with it keeps it open.
    fn sftp(&mut self) -> Result<(Streams, Box<dyn Channel>)>;
}

/// An open channel; it ends when this is dropped.
pub trait Channel {}

/// Connects as the command line says.
pub fn connect(args: &WorkerArgs, place: &Place) -> Result<Box<dyn Transport>> {
    match (&args.local, &args.server) {
        (Some(spool), _) => Ok(Box::new(Local { spool: spool.clone(), name: args.name.to_string(), child: None })),
        (None, Some(server)) => Ssh::connect(server, args, place).map(|ssh| Box::new(ssh) as Box<dyn Transport>),
        (None, None) => {
            Err(Error::new(Kind::Usage, "no server is named").hint("give ssh://USER@HOST or --local SPOOL"))
        }
    }
}

/// A pair of pipes: our two ends, then the other side's stdin and stdout.
pub fn pipes() -> Result<(Streams, OwnedFd, OwnedFd)> {
    let pipe = || rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).at("make", "a pipe");
    let (their_stdin, to) = pipe()?;
    let (from, their_stdout) = pipe()?;
    Ok((Streams { from: from.into(), to: to.into() }, their_stdin, their_stdout))
}

struct Local {
    spool: PathBuf,
    name: String,
    child: Option<Child>,
}

impl Local {
    fn open(&self, sftp: bool) -> Result<(Streams, Child)> {
        let (ours, stdin, stdout) = pipes()?;
        let program = std::env::current_exe().at("find", "builder-run")?;
        let mut command = Command::new(&program);
        command.arg("serve").arg("--local").arg("--spool").arg(&self.spool).arg("--worker").arg(&self.name);
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

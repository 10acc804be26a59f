//! How a worker reaches its server: one SSH connection with a channel for each need, or a pipe.

use crate::args::WorkerArgs;
use openssh::{ControlPersist, KnownHosts, SessionBuilder, Stdio};
use spool::error::{At, Error, Kind, Result};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::Duration;

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
pub fn connect(args: &WorkerArgs) -> Result<Box<dyn Transport>> {
    match (&args.local, &args.server) {
        (Some(spool), _) => Ok(Box::new(Local { spool: spool.clone(), name: args.name.to_string(), child: None })),
        (None, Some(server)) => Ssh::connect(server, args).map(|ssh| Box::new(ssh) as Box<dyn Transport>),
        (None, None) => {
            Err(Error::new(Kind::Usage, "no server is named").hint("give ssh://USER@HOST or --local SPOOL"))
        }
    }
}

/// A pair of pipes: our two ends, then the other side's stdin and stdout.
fn pipes() -> Result<(Streams, OwnedFd, OwnedFd)> {
    let pipe = || rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).at("make", "a pipe");
    let (their_stdin, to) = pipe()?;
    let (from, their_stdout) = pipe()?;
    Ok((Streams { from: from.into(), to: to.into() }, their_stdin, their_stdout))
}

struct Ssh {
    // The order matters: channels and session go before the runtime that carries them.
    children: Vec<openssh::Child<std::sync::Arc<openssh::Session>>>,
    session: std::sync::Arc<openssh::Session>,
    runtime: std::sync::Arc<tokio::runtime::Runtime>,
}

impl Ssh {
    fn connect(server: &str, args: &WorkerArgs) -> Result<Ssh> {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().at("start", "the SSH client")?;
        let mut builder = SessionBuilder::default();
        builder
            .known_hosts_check(KnownHosts::Strict)
            .connect_timeout(Duration::from_secs(30))
            .server_alive_interval(Duration::from_secs(15))
            // After a kill -9 of the worker nothing else would end the connection.
            .control_persist(ControlPersist::IdleFor(std::num::NonZeroUsize::MIN.saturating_add(2)));
        if let Some(key) = &args.identity {
            if !key.is_file() {
                return Err(Error::new(Kind::NoInput, format!("there is no key {}", key.display()))
                    .hint("make one with `ssh-keygen -t ed25519`"));
            }
            builder.keyfile(key);
        }
        if let Some(hosts) = &args.known_hosts {
            builder.user_known_hosts_file(hosts);
        }
        let session = runtime.block_on(builder.connect_mux(server)).map_err(|e| refused(server, &e))?;
        Ok(Ssh { children: Vec::new(), session: std::sync::Arc::new(session), runtime: std::sync::Arc::new(runtime) })
    }

    fn open(&self, sftp: bool) -> Result<(Streams, openssh::Child<std::sync::Arc<openssh::Session>>)> {
        let (ours, stdin, stdout) = pipes()?;
        let mut command = match sftp {
            true => openssh::Session::to_subsystem(self.session.clone(), "sftp"),
            false => openssh::Session::to_raw_command(self.session.clone(), "serve"),
        };
        command.stdin(Stdio::from(stdin)).stdout(Stdio::from(stdout)).stderr(Stdio::inherit());
        let child = self
            .runtime
            .block_on(async { command.spawn().await })
            .map_err(|e| Error::new(Kind::TryAgain, format!("the server opens no channel: {}", one_line(&e))))?;
        Ok((ours, child))
    }
}

fn refused(server: &str, error: &openssh::Error) -> Error {
    Error::new(Kind::TryAgain, format!("can't connect to {server}: {}", one_line(error)))
        .hint("try `ssh` with the same key and host by hand; the host's key must be in the known hosts, and the worker's key on the server")
}

fn one_line(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text += &format!(": {cause_text}");
        }
        source = cause.source();
    }
    let printable: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    printable.split_whitespace().collect::<Vec<_>>().join(" ")
}

impl Transport for Ssh {
    fn session(&mut self) -> Result<Streams> {
        let (streams, child) = self.open(false)?;
        self.children.push(child);
        Ok(streams)
    }

    fn sftp(&mut self) -> Result<(Streams, Box<dyn Channel>)> {
        let (streams, child) = self.open(true)?;
        Ok((streams, Box::new(SshChannel { _child: child, _runtime: self.runtime.clone() })))
    }
}

struct SshChannel {
    _child: openssh::Child<std::sync::Arc<openssh::Session>>,
    _runtime: std::sync::Arc<tokio::runtime::Runtime>,
}

impl Channel for SshChannel {}

impl Drop for Ssh {
    fn drop(&mut self) {
        let _context = self.runtime.enter();
        self.children.clear();
    }
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

//! The SSH connection of a worker: one session of the openssh crate, native mux, and its files.
#![allow(clippy::disallowed_methods)]

use super::place::Place;
use super::transport::{Channel, Streams, Transport, pipes};
use crate::args::WorkerArgs;
use openssh::{ControlPersist, KnownHosts, SessionBuilder, Stdio};
use spool::error::{At, Error, Kind, Result};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// A connection, with a channel for each need.
pub struct Ssh {
    // The order matters: channels and session go before the runtime that carries them.
    children: Vec<openssh::Child<Arc<openssh::Session>>>,
    session: Arc<openssh::Session>,
    runtime: Arc<tokio::runtime::Runtime>,
    _directory: Directory,
}

impl Ssh {
    /// Connects with the key and to the host that the command line names.
    pub fn connect(server: &str, args: &WorkerArgs, place: &Place) -> Result<Ssh> {
        let directory = Directory::new(place)?;
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().at("start", "the SSH client")?;
        let mut builder = SessionBuilder::default();
        builder
            .control_directory(&directory.0)
            .config_file(directory.config()?)
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
        Ok(Ssh { children: Vec::new(), session: Arc::new(session), runtime: Arc::new(runtime), _directory: directory })
    }

    fn open(&self, sftp: bool) -> Result<(Streams, openssh::Child<Arc<openssh::Session>>)> {
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
    _child: openssh::Child<Arc<openssh::Session>>,
    _runtime: Arc<tokio::runtime::Runtime>,
}

impl Channel for SshChannel {}

impl Drop for Ssh {
    fn drop(&mut self) {
        let _context = self.runtime.enter();
        self.children.clear();
    }
}

/// Where ssh has its control socket and its configuration; it goes with the connection.
struct Directory(PathBuf);

impl Directory {
    fn new(place: &Place) -> Result<Directory> {
        place.ssh_directory().map(Directory)
    }

    /// The user's and the system's configuration, and behind them, because the first value counts (ssh_config(5)),
    /// what a worker would rather have.
    fn config(&self) -> Result<PathBuf> {
        let mut text = "Include ~/.ssh/config\nInclude /etc/ssh/ssh_config\n".to_owned();
        if has_aes() {
            // A third faster than ssh's first choice where the processor has AES instructions.
            text += "Host *\nCiphers ^aes128-gcm@openssh.com\n";
        }
        let path = self.0.join("config");
        std::fs::write(&path, text).at("write", &path)?;
        Ok(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn has_aes() -> bool {
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    return std::arch::is_x86_feature_detected!("aes");
    #[cfg(target_arch = "aarch64")]
    return std::arch::is_aarch64_feature_detected!("aes");
    #[cfg(not(any(target_arch = "x86", target_arch = "x86_64", target_arch = "aarch64")))]
    return false;
}

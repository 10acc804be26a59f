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
    patience: Duration,
    _directory: Directory,
}

impl Ssh {
    /// Connects with the key and to the host that the command line names. Each step may take as long as `patience`.
    pub fn connect(server: &str, args: &WorkerArgs, place: &Place, patience: Duration) -> Result<Ssh> {
        let directory = Directory::new(place)?;
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().at("start", "the SSH client")?;
        let mut builder = SessionBuilder::default();
        builder
            .control_directory(&directory.0)
            .config_file(directory.config()?)
            .known_hosts_check(KnownHosts::Strict)
            .connect_timeout(patience)
            .server_alive_interval((patience / 2).max(Duration::from_secs(1)))
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
        // ssh's own limit ends with the server's first word. An ssh that hangs behind it ends when nobody uses it.
        let connecting = async { tokio::time::timeout(2 * patience, builder.connect_mux(server)).await };
        let session = match runtime.block_on(connecting) {
            Ok(connected) => connected.map_err(|e| refused(server, &one_line(&e)))?,
            Err(_) => return Err(refused(server, &silent(2 * patience))),
        };
        let (session, runtime) = (Arc::new(session), Arc::new(runtime));
        Ok(Ssh { children: Vec::new(), session, runtime, patience, _directory: directory })
    }

    fn open(&self, sftp: bool) -> Result<(Streams, openssh::Child<Arc<openssh::Session>>)> {
        let (ours, stdin, stdout) = pipes()?;
        let mut command = match sftp {
            true => openssh::Session::to_subsystem(self.session.clone(), "sftp"),
            false => openssh::Session::to_raw_command(self.session.clone(), "serve"),
        };
        command.stdin(Stdio::from(stdin)).stdout(Stdio::from(stdout)).stderr(Stdio::inherit());
        let opening = async { tokio::time::timeout(self.patience, command.spawn()).await };
        let opened = self.runtime.block_on(opening).map_err(|_| silent(self.patience));
        let child = opened.and_then(|child| child.map_err(|e| one_line(&e)));
        let refused = |why: String| Error::new(Kind::TryAgain, format!("the server opens no channel: {why}"));
        Ok((ours, child.map_err(refused)?))
    }
}

fn silent(patience: Duration) -> String {
    format!("it is silent for {} s", patience.as_secs())
}

fn refused(server: &str, why: &str) -> Error {
    Error::new(Kind::TryAgain, format!("can't connect to {server}: {why}"))
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

    /// ssh puts itself into the background, and says which process it is: "Master running (pid=N)".
    fn processes(&self) -> Vec<u32> {
        let mut ssh = std::process::Command::new("ssh");
        ssh.args(["-O", "check", "-S"]).arg(self.session.control_socket()).arg("any");
        let said = ssh.stdin(std::process::Stdio::null()).output().map(|output| output.stderr).unwrap_or_default();
        let said = String::from_utf8_lossy(&said);
        let number = said.split_once("pid=").and_then(|(_, rest)| rest.split(')').next()?.parse().ok());
        number.into_iter().collect()
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

//! What a sysadmin says: of a server and a worker that are to find each other.

use clap::{Args, Subcommand};
use std::path::PathBuf;

/// Which side is to be set up.
#[derive(Debug, Subcommand)]
pub enum SetupVerb {
    /// Make a spool where there is none, and print the line with which a worker is set up elsewhere
    Server(SetupServerArgs),
    /// Make a worker's key, pin the server's, and print the line that lets it in there
    Worker(SetupWorkerArgs),
}

/// How to set up a server.
#[derive(Debug, Args)]
pub struct SetupServerArgs {
    /// The name by which workers reach this machine; default: its own
    #[arg(long, value_name = "HOST")]
    pub name: Option<String>,
    /// The configuration of sshd, when it is not the system's
    #[arg(long, value_name = "FILE")]
    pub sshd_config: Option<PathBuf>,
}

/// How to set up a worker.
#[derive(Debug, Args)]
pub struct SetupWorkerArgs {
    /// The server, as ssh://USER@HOST or ssh://USER@HOST:PORT
    pub server: String,
    /// What it builds; may be given more than once
    #[arg(long = "platform", value_name = "PLATFORM", required = true)]
    pub platforms: Vec<String>,
    /// What it is called there; default: this machine's name
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// The server's host key, or its fingerprint, as somebody on the server has read it
    #[arg(long, value_name = "KEY")]
    pub host_key: Option<String>,
    /// Where its key, its settings and the known hosts are kept
    #[arg(long, value_name = "DIR")]
    pub directory: Option<PathBuf>,
}

/// What to look at.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// A worker that was set up on this machine; default: all of them, and the spool, when there is one
    #[arg(value_name = "WORKER")]
    pub worker: Option<String>,
    /// Where the workers' keys and settings are kept
    #[arg(long, value_name = "DIR")]
    pub directory: Option<PathBuf>,
    /// The configuration of sshd, when it is not the system's
    #[arg(long, value_name = "FILE")]
    pub sshd_config: Option<PathBuf>,
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

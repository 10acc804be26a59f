//! The command line.

use clap::{Args, Parser, Subcommand};
use spool::config::Config;
use spool::error::Result;
use spool::keep::Size;
use spool::name::{Platform, WorkerName};
use std::ffi::OsString;
use std::path::PathBuf;

/// Runs builds: the worker in the jail, and the forced command that serves it.
#[derive(Debug, Parser)]
#[command(name = "builder-run", version)]
pub struct Cli {
    /// The configuration file
    #[arg(long, env = "BUILDER_CONFIG", global = true)]
    pub config: Option<PathBuf>,
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Connect to a server, wait for a build, run it
    Worker(WorkerArgs),
    /// Serve a worker on standard input and output: the forced command of its key
    Serve(ServeArgs),
    /// Print the line of authorized_keys(5) for a key: sshd's AuthorizedKeysCommand
    AuthorizedKeys(AuthorizedKeysArgs),
    /// Kill the running build when the worker dies; started by the worker itself
    #[command(hide = true)]
    Guard,
    /// Make a fresh root, and execute a command; started by the worker itself
    #[command(hide = true)]
    FreshRoot(FreshRootArgs),
}

/// Which spool.
#[derive(Debug, Args)]
pub struct SpoolArgs {
    /// The spool directory
    #[arg(long = "spool", env = "BUILDER_SPOOL")]
    pub named: Option<PathBuf>,
}

impl SpoolArgs {
    /// The one that was named, else the configured one.
    pub fn spool(&self, config: &Config) -> Result<PathBuf> {
        Ok(self.named.clone().unwrap_or_else(|| config.spool.clone()))
    }
}

/// A worker's options.
#[derive(Clone, Debug, Args)]
pub struct WorkerArgs {
    /// The server, as ssh://USER@HOST or ssh://USER@HOST:PORT
    #[arg(required_unless_present = "local", conflicts_with = "local")]
    pub server: Option<String>,
    /// Work on a spool of this machine, without SSH
    #[arg(long, value_name = "SPOOL")]
    pub local: Option<PathBuf>,
    /// The name of a local worker
    #[arg(long, default_value = "local", requires = "local")]
    pub name: WorkerName,
    /// The private key
    #[arg(long, value_name = "FILE")]
    pub identity: Option<PathBuf>,
    /// The file with the server's host key; it must be known
    #[arg(long, value_name = "FILE")]
    pub known_hosts: Option<PathBuf>,
    /// What to build; default: all that the key may
    #[arg(long = "platform", value_name = "PLATFORM")]
    pub platforms: Vec<Platform>,
    /// Where builds get their directories; default: a directory in $TMPDIR
    #[arg(long, value_name = "DIR")]
    pub work: Option<PathBuf>,
    /// Go on after a build, and reconnect when the connection is lost
    #[arg(long, conflicts_with = "once")]
    pub keep: bool,
    /// Until there was a build, try to connect again, longer apart each time
    #[arg(long)]
    pub persist: bool,
    /// Exit after one build (the default)
    #[arg(long)]
    pub once: bool,
    /// Connect, say whether builds could come, and go without one
    #[arg(long, conflicts_with_all = ["keep", "once"])]
    pub check: bool,
    /// Go when there was no build for so many seconds
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..))]
    pub idle: Option<u32>,
    /// A variable for the scripts, beside PATH, HOME, TMPDIR, LANG and BUILDER_*
    #[arg(long = "env", value_name = "NAME=VALUE")]
    pub environment: Vec<String>,
    /// Seconds between TERM and KILL when a build is ended
    #[arg(long, default_value_t = 10, value_name = "SECONDS")]
    pub kill_after: u32,
    /// In what the scripts run.
    #[command(flatten)]
    pub sandbox: SandboxArgs,
}

/// In what a worker's scripts run.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Sandbox")]
pub struct SandboxArgs {
    /// Run each script in a sandbox: bwrap, nspawn, or a command in which {dir} and {script} stand for what it is to run
    #[arg(long, value_name = "KIND")]
    pub sandbox: Option<String>,
    /// The directory with the system in which scripts run, for bwrap and nspawn; each build has it fresh
    #[arg(long, value_name = "DIR", requires = "sandbox")]
    pub root: Option<PathBuf>,
    /// How much a build may change of that system, in memory
    #[arg(long, value_name = "SIZE", default_value = "1GB", requires = "sandbox")]
    pub changes: Size,
    /// How much memory a build may use, such as 4GB
    #[arg(long, value_name = "SIZE")]
    pub memory: Option<Size>,
    /// How many processors a build may use, such as 2 or 0.5
    #[arg(long, value_name = "N")]
    pub cpus: Option<String>,
    /// How many processes and threads a build may have at once
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub tasks: Option<u32>,
}

/// How a fresh root is made, by the worker for itself.
#[derive(Debug, Args)]
pub struct FreshRootArgs {
    /// The root of which no file changes
    #[arg(long)]
    pub root: PathBuf,
    /// An empty directory for the mounts; the root is `fresh` in it
    #[arg(long)]
    pub mounts: PathBuf,
    /// How much may change, in bytes
    #[arg(long)]
    pub changes: u64,
    /// A directory that is there in the fresh root
    #[arg(long = "dir")]
    pub directory: PathBuf,
    /// How many processes there may be, in a user namespace
    #[arg(long)]
    pub tasks: Option<u32>,
    /// Whether names of hosts are to be looked up as this machine does it
    #[arg(long)]
    pub network: bool,
    /// What to execute then
    #[arg(last = true, required = true)]
    pub command: Vec<OsString>,
}

/// The forced command's options.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Which spool.
    #[command(flatten)]
    pub spool: SpoolArgs,
    /// Whose key it is
    #[arg(long)]
    pub worker: WorkerName,
    /// The worker was started by the spool's owner on this machine: it may build what it says
    #[arg(long, hide = true)]
    pub local: bool,
}

/// What sshd(8) gives to AuthorizedKeysCommand.
#[derive(Debug, Args)]
pub struct AuthorizedKeysArgs {
    /// Which spool.
    #[command(flatten)]
    pub spool: SpoolArgs,
    /// The key's type (%t) and base64 (%k); without them all workers' lines are printed
    #[arg(value_name = "TYPE KEY", num_args = 0..=2)]
    pub key: Vec<String>,
}

//! The command line.

use clap::{Args, Parser, Subcommand};
use spool::config::Config;
use spool::error::Result;
use spool::name::{Platform, WorkerName};
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
    /// Exit after one build (the default)
    #[arg(long)]
    pub once: bool,
    /// Go when there was no build for so many seconds
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..))]
    pub idle: Option<u32>,
    /// A variable for the scripts, beside PATH, HOME, TMPDIR, LANG and BUILDER_*
    #[arg(long = "env", value_name = "NAME=VALUE")]
    pub environment: Vec<String>,
    /// Seconds between TERM and KILL when a build is ended
    #[arg(long, default_value_t = 10, value_name = "SECONDS")]
    pub kill_after: u32,
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

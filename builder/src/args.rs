//! The command line. Names stay text here: their parsers say more than a usage message can.

use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use spool::error::{Error, Kind};
use spool::name::Person;
use spool::role::Role;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

/// Adds, runs and observes jobs of a builder spool
#[derive(Debug, Parser)]
#[command(name = "builder", version)]
pub struct Cli {
    /// The spool directory
    #[arg(long, env = "BUILDER_SPOOL", global = true, value_name = "DIR")]
    pub spool: Option<PathBuf>,
    /// The configuration file
    #[arg(long, env = "BUILDER_CONFIG", global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Do it on another machine over SSH: USER@HOST or ssh://USER@HOST:PORT
    #[arg(long, env = "BUILDER_HOST", global = true, value_name = "HOST")]
    pub host: Option<String>,
    #[command(subcommand)]
    pub verb: Verb,
}

impl Cli {
    /// Reads a command line, and keeps what of it was typed. What is wrong with it, or asked for as help, is printed;
    /// then there is only an exit code.
    pub fn read(words: impl IntoIterator<Item = OsString>) -> Result<(Cli, ArgMatches), ExitCode> {
        use clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;
        let read =
            Cli::command().try_get_matches_from(words).and_then(|typed| Ok((Cli::from_arg_matches(&typed)?, typed)));
        read.map_err(|e| {
            if e.exit_code() != 0 && e.kind() != DisplayHelpOnMissingArgumentOrSubcommand {
                return crate::fail(&Error::usage("builder", &e.to_string()));
            }
            let _ = e.print();
            if e.use_stderr() { ExitCode::from(Kind::Usage as u8) } else { ExitCode::SUCCESS }
        })
    }
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Make a spool, or complete one
    Init,
    /// Add a job
    Add(AddArgs),
    /// Remove a job and its queued builds; what ran stays
    Rm(RmArgs),
    /// Queue a build of a job now, in front of what timers queued
    Run(RunArgs),
    /// Show the schedule, the queues, what runs, and the workers
    Ls(LsArgs),
    /// Follow a build from its first line, and exit as it does
    Watch(WatchArgs),
    /// Print what a build has printed
    Log(LogArgs),
    /// Print the record of a build
    Show(ShowArgs),
    /// Copy a build's artifacts
    Get(GetArgs),
    /// End a queued or a running build
    Cancel(CancelArgs),
    /// Add, list and remove workers
    #[command(subcommand)]
    Worker(WorkerVerb),
    /// Carry out what somebody else asks for, within a role: the forced command of a person's key
    Gate(GateArgs),
}

/// A new job.
#[derive(Debug, Args)]
pub struct AddArgs {
    /// The job's name
    pub name: String,
    /// The script's file; - for standard input
    #[arg(required_unless_present = "template", conflicts_with = "template")]
    pub script: Option<PathBuf>,
    /// A template, by name or as a path, instead of a script
    #[arg(long, value_name = "TEMPLATE")]
    pub template: Option<String>,
    /// A value for a variable of the template
    #[arg(long = "set", value_name = "NAME=VALUE", requires = "template")]
    pub values: Vec<String>,
    /// Where to build it; more than once for more than one
    #[arg(long = "platform", value_name = "PLATFORM", required = true)]
    pub platforms: Vec<String>,
    /// hourly, daily, weekly or never [default: daily; with --at: never]
    #[arg(long, value_name = "SCHEDULE")]
    pub every: Option<String>,
    /// The first moment, such as 2026-11-25T03:00:00Z [default: now, or none with --every never]
    #[arg(long, value_name = "TIME")]
    pub at: Option<String>,
    /// How long a build may run, such as 90s, 30m or 2h
    #[arg(long, default_value = "1h", value_name = "DURATION")]
    pub timeout: String,
    /// How often a build is tried when its workers vanish
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000), value_name = "N")]
    pub attempts: u32,
}

/// Which job goes.
#[derive(Debug, Args)]
pub struct RmArgs {
    /// The job's name
    pub name: String,
}

/// Which job is queued, and where.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The job's name
    pub name: String,
    /// One of its platforms; more than once for more than one [default: all]
    #[arg(long = "platform", value_name = "PLATFORM")]
    pub platforms: Vec<String>,
}

/// How to list.
#[derive(Debug, Args)]
pub struct LsArgs {
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

/// What to follow.
#[derive(Debug, Args)]
pub struct WatchArgs {
    /// A build's id or a part of it, or a job [default: the newest running build]
    pub build: Option<String>,
    /// Only a build of this platform
    #[arg(long, value_name = "PLATFORM")]
    pub platform: Option<String>,
}

/// Whose console.
#[derive(Debug, Args)]
pub struct LogArgs {
    /// A build's id or a part of it, or a job
    pub build: String,
    /// Put the seconds since the start before each line
    #[arg(long)]
    pub times: bool,
}

/// Whose record.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// A build's id or a part of it, or a job
    pub build: String,
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

/// What to copy, and where to.
#[derive(Debug, Args)]
pub struct GetArgs {
    /// A build's id or a part of it, or a job for its newest build that exited 0
    pub build: String,
    /// Artifacts, or directories of them [default: all]
    pub paths: Vec<String>,
    /// The directory to copy into
    #[arg(short, long, default_value = ".", value_name = "DIR")]
    pub output: PathBuf,
    /// Replace files that are there
    #[arg(short, long)]
    pub force: bool,
    /// Write them to standard output as a tar archive instead
    #[arg(long, conflicts_with_all = ["output", "force"])]
    pub tar: bool,
}

/// What to end.
#[derive(Debug, Args)]
pub struct CancelArgs {
    /// A build's id or a part of it, or a job
    pub build: String,
}

/// What to do with workers.
#[derive(Debug, Subcommand)]
pub enum WorkerVerb {
    /// Let a worker in with its own public key
    Add(WorkerAddArgs),
    /// List the workers
    Ls(LsArgs),
    /// Let a worker in no more
    Rm(RmArgs),
}

/// A new worker.
#[derive(Debug, Args)]
pub struct WorkerAddArgs {
    /// The worker's name
    pub name: String,
    /// The file with its public key; - for standard input, as without it
    pub key: Option<PathBuf>,
    /// What it may build; more than once for more than one
    #[arg(long = "platform", value_name = "PLATFORM", required = true)]
    pub platforms: Vec<String>,
}

/// Who is let in by the gate.
#[derive(Debug, Args)]
pub struct GateArgs {
    /// read, submit or admin
    #[arg(long, value_name = "ROLE")]
    pub role: Role,
    /// What the person is called
    #[arg(long, value_name = "WHO")]
    pub name: Option<Person>,
}

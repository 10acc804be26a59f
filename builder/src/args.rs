//! The command line. Names stay text here: their parsers say more than a usage message can.

use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use spool::digest::Sha256;
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
    Add(Box<AddArgs>),
    /// Change a job; what is queued stays as it is
    Set(Box<SetArgs>),
    /// Change a job's file in your editor
    Edit(EditArgs),
    /// Remove a job and its queued builds; what ran stays
    Rm(RmArgs),
    /// Queue a build of a job now, in front of what timers queued
    Run(RunArgs),
    /// Show the schedule, the queues, what runs, and the workers
    Ls(ListArgs),
    /// Print the moments at which jobs, or an expression of crontab(5), are due
    Next(NextArgs),
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
    /// Show how the builds of a job went
    History(HistoryArgs),
    /// List, pause and drop platforms
    #[command(subcommand)]
    Platform(PlatformVerb),
    /// Hand out nothing more, for maintenance; what runs goes on to its end
    Drain(DrainArgs),
    /// Look whether all jobs, workers and platforms can be read
    Check,
    /// Add, list and remove workers
    #[command(subcommand)]
    Worker(WorkerVerb),
    /// Carry out what somebody else asks for, within a role: the forced command of a person's key
    Gate(GateArgs),
    /// Print the script with which a shell completes verbs, options, jobs and builds
    Completion(CompletionArgs),
    /// Print what a word can become: what such a script asks
    #[command(hide = true)]
    Complete(CompleteArgs),
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
    /// Where to build it; more than once for more than one; all for every platform that has the template
    #[arg(long = "platform", value_name = "PLATFORM", required = true)]
    pub platforms: Vec<String>,
    /// Put it in the place of a job of this name
    #[arg(long)]
    pub replace: bool,
    #[command(flatten)]
    pub when: WhenArgs,
    #[command(flatten)]
    pub how: HowArgs,
}

/// Changes of a job.
#[derive(Debug, Args)]
pub struct SetArgs {
    /// The job's name
    pub name: String,
    /// Another script's file; - for standard input
    #[arg(long, value_name = "FILE", conflicts_with = "values")]
    pub script: Option<PathBuf>,
    /// Another value for a variable of the template
    #[arg(long = "set", value_name = "NAME=VALUE")]
    pub values: Vec<String>,
    /// Where to build it, instead of where it is built now; more than once for more than one; or all
    #[arg(long = "platform", value_name = "PLATFORM")]
    pub platforms: Vec<String>,
    #[command(flatten)]
    pub when: WhenArgs,
    #[command(flatten)]
    pub how: HowArgs,
}

/// When a job is built.
#[derive(Debug, Args)]
#[command(next_help_heading = "When")]
pub struct WhenArgs {
    /// hourly, daily, weekly or never [default: daily; with --at or --after: never]
    #[arg(long, value_name = "SCHEDULE", conflicts_with = "cron")]
    pub every: Option<String>,
    /// As crontab(5) has it, such as '17 3 * * mon-fri'
    #[arg(long, value_name = "EXPRESSION")]
    pub cron: Option<String>,
    /// The time zone of --cron, --at and --next, such as Europe/Berlin [default: UTC]
    #[arg(long, value_name = "ZONE")]
    pub tz: Option<String>,
    /// The first moment, such as 2026-11-25T03:00:00Z, 'tomorrow 03:00' or +2h [default: now, or none with --every never]
    #[arg(long, value_name = "TIME")]
    pub at: Option<String>,
    /// The next moment; the schedule goes on from it
    #[arg(long, value_name = "TIME", conflicts_with = "at")]
    pub next: Option<String>,
    /// Be late by a part of this time, always the same for the job
    #[arg(long, value_name = "DURATION")]
    pub jitter: Option<String>,
    /// Build it on a platform whenever this other job was built there; more than once for more than one; or none
    #[arg(long, value_name = "JOB")]
    pub after: Vec<String>,
}

/// How a job is built.
#[derive(Debug, Args)]
#[command(next_help_heading = "How")]
pub struct HowArgs {
    /// Its place in a queue, 0 (first) to 99 (last) [default: 50]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(0..=99))]
    pub priority: Option<u8>,
    /// How long a build may run, such as 90s, 30m or 2h [default: 1h]
    #[arg(long, value_name = "DURATION")]
    pub timeout: Option<String>,
    /// For how long a build may print nothing; or none
    #[arg(long, value_name = "DURATION")]
    pub silence: Option<String>,
    /// How much a build may print, such as 200MB; or none
    #[arg(long, value_name = "SIZE")]
    pub log_limit: Option<String>,
    /// How often a build is tried again when its workers vanish [default: 2]
    #[arg(long, value_parser = clap::value_parser!(u32).range(0..=999), value_name = "N")]
    pub retries: Option<u32>,
    /// Try a build again also when it fails: yes or no [default: no]
    #[arg(long, value_name = "YES", num_args = 0..=1, default_missing_value = "yes", value_parser = ["yes", "no"])]
    pub retry_failures: Option<String>,
    /// How many builds may run on a platform at once [default: 1]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1000), value_name = "N")]
    pub concurrency: Option<u32>,
    /// A secret that the script may read; more than once for more than one; or none
    #[arg(long = "secret", value_name = "NAME")]
    pub secrets: Vec<String>,
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
    /// Another value for a variable of the template, for this build alone
    #[arg(long = "set", value_name = "NAME=VALUE")]
    pub values: Vec<String>,
    /// Another place in the queue, 0 (first) to 99 (last) [default: 10]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(0..=99))]
    pub priority: Option<u8>,
    /// Wait until it is over, and exit as it does
    #[arg(long)]
    pub wait: bool,
}

/// Which job's file, and where its new text comes from.
#[derive(Debug, Args)]
pub struct EditArgs {
    /// The job's name
    pub name: String,
    /// Print the file instead
    #[arg(long, conflicts_with = "from")]
    pub print: bool,
    /// Take the text from a file instead of an editor; - for standard input
    #[arg(long, value_name = "FILE")]
    pub from: Option<PathBuf>,
    /// Only if the file's text has this digest still
    #[arg(long, value_name = "SHA256", requires = "from", hide = true)]
    pub was: Option<Sha256>,
}

/// Whose builds.
#[derive(Debug, Args)]
pub struct HistoryArgs {
    /// The job's name
    pub name: String,
    /// Only builds of this platform
    #[arg(long, value_name = "PLATFORM")]
    pub platform: Option<String>,
    /// So many of the newest
    #[arg(short = 'n', default_value_t = 20, value_name = "N")]
    pub most: usize,
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

/// What to do with platforms.
#[derive(Debug, Subcommand)]
pub enum PlatformVerb {
    /// List the platforms
    Ls(LsArgs),
    /// Keep the queue of a platform, and hand out nothing of it
    Pause(PlatformArgs),
    /// Hand out what waits again
    Resume(PlatformArgs),
    /// Empty the queue of a platform, take no more builds, and tell its workers to go
    Drop(PlatformArgs),
    /// Take back a drop
    Restore(PlatformArgs),
}

/// Which platform.
#[derive(Debug, Args)]
pub struct PlatformArgs {
    /// The platform
    pub platform: String,
}

/// How to drain.
#[derive(Debug, Args)]
pub struct DrainArgs {
    /// Wait until nothing runs any more
    #[arg(long)]
    pub wait: bool,
    /// Hand out builds again
    #[arg(long, conflicts_with = "wait")]
    pub off: bool,
}

/// How to list.
#[derive(Debug, Args)]
pub struct LsArgs {
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

/// What to list of all, and how.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Only these jobs and their builds [default: all, and platforms and workers]
    pub names: Vec<String>,
    /// As JSON, with exact times
    #[arg(long)]
    pub json: bool,
    /// List again whenever something has changed: in place on a terminal, one after the other elsewhere
    #[arg(long)]
    pub watch: bool,
}

/// Whose moments, how many, and from when.
#[derive(Debug, Args)]
pub struct NextArgs {
    /// A job [default: all jobs, in UTC]
    pub name: Option<String>,
    /// Five fields of crontab(5), or a word such as @daily; no spool is needed
    #[arg(long, value_name = "EXPR", conflicts_with = "name", allow_hyphen_values = true)]
    pub cron: Option<String>,
    /// The time zone of the expression, such as Europe/Berlin [default: UTC]
    #[arg(long, value_name = "ZONE", requires = "cron")]
    pub tz: Option<String>,
    /// How many, 10000 at most
    #[arg(short = 'n', default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=10_000), value_name = "N")]
    pub count: u16,
    /// Only moments after this one, such as 2026-11-25, "mon 03:00" or +2h [default: now]
    #[arg(long, value_name = "TIME")]
    pub from: Option<String>,
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
    Rm(WorkerRmArgs),
    /// Give builds again to a worker that is in quarantine
    Release(WorkerRmArgs),
}

/// Which worker.
#[derive(Debug, Args)]
pub struct WorkerRmArgs {
    /// The worker's name
    pub name: String,
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

/// A shell that can complete.
#[derive(Clone, Copy, Debug, ValueEnum)]
#[allow(missing_docs)]
pub enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// For which shell.
#[derive(Debug, Args)]
pub struct CompletionArgs {
    /// The shell
    pub shell: Shell,
}

/// What a shell asks.
#[derive(Debug, Args)]
pub struct CompleteArgs {
    /// Which shell asks
    pub shell: Shell,
    /// The words up to the cursor; of bash the line up to there, and the word that it takes for the last one
    #[arg(last = true)]
    pub words: Vec<String>,
}

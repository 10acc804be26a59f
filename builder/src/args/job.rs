//! What is said of jobs.

use super::verify::VaryArgs;
use clap::Args;
use spool::digest::Sha256;
use std::path::PathBuf;

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
    /// How many rebuilds must give the same before a build is the latest [default: 0]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=i64::from(spool::rebuild::MOST)))]
    pub reproduce: Option<u32>,
    #[command(flatten)]
    pub vary: VaryArgs,
    /// How long finished builds are kept: some of builds=N,days=N,disk=SIZE; or all; or usual
    #[arg(long, value_name = "WHAT")]
    pub keep: Option<String>,
    /// An artifact that says what went into a build, or a directory of them; more than once for more than one; or none
    #[arg(long = "input", value_name = "PATH")]
    pub inputs: Vec<String>,
    /// The artifact that people fetch; or none [default: the only one in bin/, or the only one]
    #[arg(long, value_name = "PATH")]
    pub main: Option<String>,
    /// Let the script use the network also in a sandbox: yes or no [default: no]
    #[arg(long, value_name = "YES", num_args = 0..=1, default_missing_value = "yes", value_parser = ["yes", "no"])]
    pub network: Option<String>,
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

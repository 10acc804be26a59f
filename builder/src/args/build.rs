//! What is said of builds.

use clap::Args;
use std::path::{Path, PathBuf};

/// Whose builds.
#[derive(Debug, Args)]
pub struct HistoryArgs {
    /// The job's name [default: all jobs, with --failed or --days]
    #[arg(required_unless_present_any = ["failed", "days"])]
    pub name: Option<String>,
    /// Only builds of this platform
    #[arg(long, value_name = "PLATFORM")]
    pub platform: Option<String>,
    /// Only those that did not exit 0
    #[arg(long)]
    pub failed: bool,
    /// Only those that ended in the last N days
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=36500))]
    pub days: Option<u32>,
    /// So many of the newest
    #[arg(short = 'n', default_value_t = 20, value_name = "N")]
    pub most: usize,
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

/// Whose newest builds.
#[derive(Debug, Args)]
pub struct LatestArgs {
    /// The job's name
    pub name: String,
    /// Only of this platform
    #[arg(long, value_name = "PLATFORM")]
    pub platform: Option<String>,
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

/// What to compare.
#[derive(Debug, Args)]
pub struct DiffArgs {
    /// A build's id or a part of it, or a job
    pub left: String,
    /// Another one [default: of the job's builds with artifacts, the last two that differ]
    pub right: Option<String>,
    /// Only builds of this platform
    #[arg(long, value_name = "PLATFORM")]
    pub platform: Option<String>,
    /// Say which artifacts differ, and not in what
    #[arg(short, long, conflicts_with = "json")]
    pub brief: bool,
    /// Compare contents without diffoscope(1)
    #[arg(long, conflicts_with_all = ["json", "brief"])]
    pub plain: bool,
    /// As JSON, without contents
    #[arg(long)]
    pub json: bool,
}

/// What to look for.
#[derive(Debug, Args)]
pub struct FindArgs {
    /// A SHA-256 or its first digits, or a file by a path with a slash; - for standard input
    pub what: String,
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

impl FindArgs {
    /// The file, when one is meant.
    pub fn file(&self) -> Option<&Path> {
        (self.what == "-" || self.what.contains('/')).then_some(Path::new(&self.what))
    }
}

/// What to copy, and where to.
#[derive(Debug, Args)]
pub struct GetArgs {
    /// A build's id or a part of it, or a job for its newest build that exited 0
    pub build: String,
    /// Artifacts, or directories of them [default: all]
    pub paths: Vec<String>,
    /// Only the main artifact, as `builder show` names it
    #[arg(long, conflicts_with = "paths")]
    pub main: bool,
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

/// Whose signatures.
#[derive(Debug, Args)]
pub struct VerifySignatureArgs {
    /// A build's id or a part of it, or a job
    pub build: String,
    /// The keys that are trusted, as ssh-keygen(1) has them; - for standard input [default: those of the spool]
    #[arg(long, value_name = "FILE")]
    pub signers: Option<PathBuf>,
    /// That the worker has not signed is no fault
    #[arg(long)]
    pub unsigned: bool,
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

/// What to end.
#[derive(Debug, Args)]
pub struct CancelArgs {
    /// A build's id or a part of it, or a job
    pub build: String,
}

/// What to keep for good.
#[derive(Debug, Args)]
pub struct PinArgs {
    /// A build's id or a part of it, or a job
    pub build: String,
    /// Why, in a line
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
}

/// What need not be kept any more.
#[derive(Debug, Args)]
pub struct UnpinArgs {
    /// A build's id or a part of it, or a job
    pub build: String,
}

//! What an operator says: of the whole, of platforms and of workers.

use clap::{Args, Subcommand};
use std::path::PathBuf;

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

/// What to do with templates.
#[derive(Debug, Subcommand)]
pub enum TemplateVerb {
    /// List the installed templates
    Ls(LsArgs),
    /// Print a template
    Show(TemplateArgs),
    /// Say all that is wrong with a template's file
    Check(TemplateFileArgs),
}

/// Which template.
#[derive(Debug, Args)]
pub struct TemplateArgs {
    /// The template, by name or as a path
    pub name: String,
}

/// Whose soundness.
#[derive(Debug, Args)]
pub struct TemplateFileArgs {
    /// The template's file; - for standard input
    #[arg(id = "what", value_name = "FILE")]
    pub file: PathBuf,
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

/// How to remove what is not to be kept.
#[derive(Debug, Args)]
pub struct GcArgs {
    /// Say what would go, and why, and remove nothing
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

/// How to check.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Read all contents, too: it takes as long as reading the store
    #[arg(long)]
    pub deep: bool,
    /// Mend what needs no guess, and move to lost+found what can't be understood
    #[arg(long)]
    pub repair: bool,
    /// As JSON
    #[arg(long)]
    pub json: bool,
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

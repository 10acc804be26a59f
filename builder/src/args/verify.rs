//! What is said of rebuilds.

use clap::Args;

/// What is to be confirmed, by whom, and how.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// A build's id or a part of it, or a job for its newest build that exited 0
    pub build: String,
    /// How many rebuilds
    #[arg(short = 'n', long = "rebuilds", default_value_t = 1, value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..=i64::from(spool::rebuild::MOST)))]
    pub count: u32,
    /// A worker that may do it; more than once for more than one [default: any, others than before first]
    #[arg(long = "on", value_name = "WORKER")]
    pub on: Vec<String>,
    #[command(flatten)]
    pub vary: VaryArgs,
    /// Print the rebuilds' ids, and don't wait for them
    #[arg(long, conflicts_with = "json")]
    pub no_wait: bool,
    /// The verdict as JSON
    #[arg(long)]
    pub json: bool,
}

/// What is to be different.
#[derive(Debug, Args)]
pub struct VaryArgs {
    /// What rebuilds have different, all or some: user,home,path,environment,locale,timezone,umask,time; or none
    #[arg(long, value_name = "WHAT", num_args = 0..=1, require_equals = true, default_missing_value = "all")]
    pub vary: Option<String>,
}

/// What is to be built again elsewhere.
#[derive(Debug, Args)]
pub struct ReproArgs {
    /// A build's id or a part of it, or a job for its newest build that exited 0
    pub build: String,
}

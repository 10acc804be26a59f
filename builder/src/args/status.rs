//! How the whole is.

use clap::Args;

/// How to say it.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// As JSON
    #[arg(long, conflicts_with = "nagios")]
    pub json: bool,
    /// As a plugin for Nagios and its like: one line, and exit 0, 1, 2 or 3
    #[arg(long)]
    pub nagios: bool,
    /// How long a build may wait before that is a warning, and before it is critical
    #[arg(long, value_name = "WARNING,CRITICAL", default_value = "1h,12h")]
    pub age: String,
    /// How many builds may wait likewise [default: any number]
    #[arg(long, value_name = "WARNING,CRITICAL")]
    pub queue: Option<String>,
    /// How many percent of the disk must be free likewise
    #[arg(long, value_name = "WARNING,CRITICAL", default_value = "10,5")]
    pub free: String,
}

//! What is said of builds and jobs that come from elsewhere or go there.

use clap::{ArgGroup, Args};
use std::path::PathBuf;

/// What comes in.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// Files `full` and `state` of robur's builder, or directories with some; - for standard input
    #[arg(required_unless_present = "tar", conflicts_with = "tar", value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Read the files from standard input as a tar archive instead
    #[arg(long)]
    pub tar: bool,
    /// Say what would be done, and change nothing
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// The installed template for orb's jobs
    #[arg(long, value_name = "TEMPLATE", default_value = "orb-build")]
    pub template: String,
}

/// What goes out, and in which form.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("form").required(true).args(["full", "provenance"])))]
pub struct ExportArgs {
    /// As robur's builder writes it, which builder-web takes
    #[arg(long)]
    pub full: bool,
    /// As SLSA provenance in a signed envelope: what was made of what
    #[arg(long)]
    pub provenance: bool,
    /// The file to write, which must not be there [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// A finished build's id or a part of it, or a job
    pub build: String,
}

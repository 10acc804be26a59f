//! What is said of builds and jobs that come from elsewhere or go there.

use clap::{ArgGroup, Args};

/// What goes out, and in which form.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("form").required(true).args(["provenance"])))]
pub struct ExportArgs {
    /// As SLSA provenance in a signed envelope: what was made of what
    #[arg(long)]
    pub provenance: bool,
    /// A finished build's id or a part of it, or a job
    pub build: String,
}

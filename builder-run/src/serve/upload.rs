//! The uploads of the build that a worker holds: our own SFTP server, confined to that build's area.

use crate::sftp;
use spool::Spool;
use spool::config::Config;
use spool::error::{At, Error, Kind, Result};
use spool::name::WorkerName;

/// Serves SFTP on standard input and output.
pub fn run(spool: &Spool, config: &Config, name: &WorkerName) -> Result<()> {
    let Some((_, area)) = spool.upload_area(name)? else {
        return Err(Error::new(Kind::NoPermission, format!("worker {name} has no build, so it can't upload"))
            .hint("`builder-run worker` uploads by itself while it runs a build"));
    };
    let limits = sftp::server::Limits {
        bytes: config.limits.artifact_bytes,
        files: config.limits.artifacts,
        path_bytes: spool::artifact_path::ArtifactPath::LONGEST,
        handles: 256,
    };
    let (input, output) = (std::io::stdin().lock(), std::io::stdout().lock());
    sftp::server::serve(input, output, sftp::server::Area::new(area.into()), limits)
        .at("serve uploads to", "the worker")
}

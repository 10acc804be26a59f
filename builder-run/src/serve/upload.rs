//! The uploads of the build that a worker holds: our own SFTP server, confined to that build's area.

use super::confine::{Needed, confine};
use super::streams::Streams;
use super::throttle::{Throttle, Throttled};
use crate::sftp;
use spool::Spool;
use spool::config::Config;
use spool::error::{At, Error, Kind, Result};
use spool::name::WorkerName;

/// Serves SFTP.
pub fn run(spool: &Spool, config: &Config, name: &WorkerName, streams: Streams) -> Result<()> {
    let Streams { input, output } = streams;
    sftp::pipe::widen(&input);
    let Some(area) = spool.upload_area(name)? else {
        let error = Error::new(Kind::NoPermission, format!("worker {name} has no build, so it can't upload"))
            .hint("`builder-run worker` uploads by itself while it runs a build");
        sftp::server::refuse(input, output, &error.to_string()).at("answer", "the worker")?;
        return Err(error);
    };
    confine(&[Needed { directory: area.directory(), writes: true }]);
    let limits = sftp::server::Limits {
        bytes: config.limits.artifact_bytes,
        files: config.limits.artifacts,
        path_bytes: spool::artifact_path::ArtifactPath::LONGEST,
        handles: 256,
        reserve: config.reserve(),
    };
    let input = Throttled { from: input, throttle: Throttle::new(config.limits.bytes_per_second) };
    sftp::server::serve(input, output, area, limits).at("serve uploads to", "the worker")
}

//! `builder export`: a finished build in a form that others take.

mod full;
mod provenance;

use crate::args::ExportArgs;
use crate::save::Saving;
use spool::Spool;
use spool::error::{Error, Kind, Result};
use spool::find::Build;
use spool::place::Place;

/// Writes a build to standard output, or into a file that is there whole or not at all.
pub fn run(spool: &Spool, args: &ExportArgs) -> Result<()> {
    let build = spool.resolve(&args.build)?;
    refuse_unfinished(&build)?;
    let begin = || args.output.as_deref().map(Saving::begin).transpose();
    if args.provenance { provenance::write(&build, begin) } else { full::write(&build, begin) }
}

fn refuse_unfinished(build: &Build<'_>) -> Result<()> {
    match build.place {
        Place::Ended(_) => Ok(()),
        _ => Err(Error::new(Kind::TryAgain, format!("{} is not over, so it can't be exported yet", build.id))
            .hint(format!("`builder watch {}` waits for it", build.id))),
    }
}

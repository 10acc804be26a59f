//! `builder export --provenance`: what was made of what, as the server has signed it.

use crate::args::ExportArgs;
use crate::out;
use spool::Spool;
use spool::error::{Error, Kind, Result};
use spool::place::Place;

/// Prints the envelope, once it is what the server has sealed.
pub fn run(spool: &Spool, args: &ExportArgs) -> Result<()> {
    let build = spool.resolve(&args.build)?;
    let Place::Ended(_) = build.place else {
        return Err(Error::new(Kind::TryAgain, format!("{} is not over, so it can't be exported yet", build.id))
            .hint(format!("`builder watch {}` waits for it", build.id)));
    };
    out::print(&build.provenance()?)
}

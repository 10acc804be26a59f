//! `builder cancel`: the end of a build that waits or runs.

use crate::args::CancelArgs;
use crate::out;
use spool::error::Result;
use spool::{Spool, owner};

/// Ends a build, or asks its worker to.
pub fn run(spool: &Spool, args: &CancelArgs) -> Result<()> {
    let id = spool.resolve(&args.build)?.id;
    owner::become_owner(spool)?;
    out::print(&match spool.cancel(&id)? {
        true => format!("cancelled {id}\n"),
        false => format!("asked the worker of {id} to end it\n"),
    })
}

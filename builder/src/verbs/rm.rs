//! `builder rm`: a job goes, and what it had in queues.

use crate::args::RmArgs;
use crate::{out, text};
use spool::error::Result;
use spool::name::JobName;
use spool::{Spool, owner};

/// Removes a job and says what went with it.
pub fn run(spool: &Spool, args: &RmArgs) -> Result<()> {
    let name: JobName = args.name.parse()?;
    owner::become_owner(spool)?;
    let (taken, waited) = spool.remove_job(&name)?;
    for other in waited {
        out::hint(&format!("{other} came after {name}, and nothing queues it now"));
    }
    out::print(&format!("removed job {name}{}\n", text::list(&taken, "queued build")))
}

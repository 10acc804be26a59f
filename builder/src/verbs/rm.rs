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
    let taken = spool.remove_job(&name)?;
    let mut said = format!("removed job {name}");
    if !taken.is_empty() {
        said += &format!(" and {}:\n", text::count(taken.len(), "queued build"));
        said += &taken.iter().map(|id| format!("  {id}")).collect::<Vec<_>>().join("\n");
    }
    out::print(&format!("{said}\n"))
}

//! `builder run`: a build now.

use crate::args::RunArgs;
use crate::out;
use spool::error::{Error, Kind, Result};
use spool::job::Job;
use spool::name::{JobName, Platform};
use spool::{Spool, owner};

/// Queues the builds and prints their ids, one a line.
pub fn run(spool: &Spool, args: &RunArgs) -> Result<()> {
    let name: JobName = args.name.parse()?;
    let job = spool.job(&name)?;
    let platforms = platforms(&name, &job, &args.platforms)?;
    owner::become_owner(spool)?;
    let queued = spool.run_job(&name, &platforms)?;
    for one in queued.iter().filter(|one| one.already) {
        out::hint(&format!("{} was in its queue already; it is in front now", one.id));
    }
    out::print(&queued.iter().map(|one| format!("{}\n", one.id)).collect::<String>())
}

fn platforms(name: &JobName, job: &Job, wanted: &[String]) -> Result<Vec<Platform>> {
    let wanted = wanted.iter().map(|text| text.parse()).collect::<Result<Vec<Platform>>>()?;
    if let Some(other) = wanted.iter().find(|platform| !job.platforms.contains(platform)) {
        let known: Vec<&str> = job.platforms.iter().map(Platform::as_str).collect();
        return Err(Error::new(Kind::Data, format!("job {name} is not built on {other}"))
            .hint(format!("it is built on {}", known.join(", "))));
    }
    Ok(if wanted.is_empty() { job.platforms.clone() } else { wanted })
}

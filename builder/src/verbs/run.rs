//! `builder run`: a build now.

use super::watch::{self, End};
use crate::args::RunArgs;
use crate::{out, words};
use spool::error::{Error, Kind, Result};
use spool::job::{Job, Platforms, Wishes};
use spool::name::{JobName, Platform};
use spool::place::Priority;
use spool::{Spool, owner};
use std::process::ExitCode;

/// Queues the builds and prints their ids, one a line. With `--wait`, exits as the first of them that fails.
pub fn run(spool: &Spool, args: &RunArgs) -> Result<ExitCode> {
    let name: JobName = args.name.parse()?;
    let job = spool.job(&name)?;
    let platforms = platforms(spool, &name, &job, &args.platforms)?;
    let priority = args.priority.map(Priority::try_from).transpose()?;
    let wishes = Wishes { values: words::values(&args.values)?, priority };
    job.check_values(&wishes.values)?;
    owner::become_owner(spool)?;
    let queued = spool.run_job(&name, &platforms, &wishes)?;
    for one in queued.iter().filter(|one| one.already) {
        let place = if args.priority.is_some() { "it has this priority now" } else { "it is in front now" };
        out::hint(&format!("{} was in its queue already; {place}", one.id));
    }
    out::print(&queued.iter().map(|one| format!("{}\n", one.id)).collect::<String>())?;
    let mut code = 0;
    for one in queued.iter().filter(|_| args.wait) {
        let outcome = match watch::wait(spool, &one.id)? {
            End::Over(outcome) => outcome,
            End::Left(signal) => return Ok(ExitCode::from(128 + signal)),
        };
        out::hint(&format!("{} {outcome}", one.id));
        code = if code == 0 { outcome.exit_code() } else { code };
    }
    Ok(ExitCode::from(code))
}

fn platforms(spool: &Spool, name: &JobName, job: &Job, wanted: &[String]) -> Result<Vec<Platform>> {
    let wanted = words::platforms(wanted)?;
    let targets = job.targets(&spool.platform_states()?);
    if let Some(other) = wanted.iter().find(|platform| !job.is_built_on(platform)) {
        let known: Vec<&str> = targets.iter().map(Platform::as_str).collect();
        return Err(Error::new(Kind::Data, format!("job {name} is not built on {other}"))
            .hint(format!("it is built on {}", known.join(", "))));
    }
    match (&job.platforms, wanted.is_empty()) {
        (_, false) => Ok(wanted),
        (Platforms::Named(named), true) => Ok(named.clone()),
        (Platforms::All, true) if targets.is_empty() => {
            Err(Error::new(Kind::Data, format!("no platform is known that {name} could be built on"))
                .hint("name one with --platform, or add a worker"))
        }
        (Platforms::All, true) => Ok(targets),
    }
}

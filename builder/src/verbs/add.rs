//! `builder add`: a job from a script or a template.

use crate::args::AddArgs;
use crate::words::{self, job};
use crate::{out, text};
use spool::config::Config;
use spool::error::Result;
use spool::job::Job;
use spool::name::JobName;
use spool::{Spool, clock, owner};
use std::path::Path;

/// Adds the job, and prints the ids of the builds that it owes at once, one a line.
pub fn run(spool: &Spool, config: &Config, args: &AddArgs) -> Result<()> {
    let name: JobName = args.name.parse()?;
    let mut job = wanted(config, args)?;
    owner::become_owner(spool)?;
    let queued = match args.replace {
        true => {
            if let Ok(before) = spool.job(&name) {
                (job.changed, job.created) = (Some(job.created), before.created);
            }
            spool.replace_job(&name, &job)?
        }
        false => spool.add_job(&name, &job)?,
    };
    if queued.is_empty() {
        out::hint(&text::when(&name, &job, clock::now())?);
    }
    out::print(&queued.iter().map(|one| format!("{}\n", one.id)).collect::<String>())
}

fn wanted(config: &Config, args: &AddArgs) -> Result<Job> {
    let now = clock::now();
    let mut wanted = Job::new(words::job_platforms(&args.platforms)?, now);
    job::begin(&mut wanted, &args.when, now)?;
    job::apply(&mut wanted, &args.how)?;
    match &args.template {
        Some(template) => words::from_template(&mut wanted, config, template, &words::values(&args.values)?)?,
        None => wanted.script = words::script(args.script.as_deref().unwrap_or(Path::new("-")))?,
    }
    Ok(wanted)
}

//! `builder set`: a job changes.

use crate::args::{HowArgs, SetArgs, WhenArgs};
use crate::words::{self, job};
use crate::{out, text};
use spool::error::{Error, Kind, Result};
use spool::job::Job;
use spool::name::JobName;
use spool::{Spool, clock, owner};

/// Changes the job, and says when it is due next.
pub fn run(spool: &Spool, args: &SetArgs) -> Result<()> {
    let name: JobName = args.name.parse()?;
    if is_nothing(args) {
        return Err(Error::new(Kind::Usage, "nothing is to be changed")
            .hint("name what, such as --cron, --timeout or --script; `builder set --help` shows all"));
    }
    let before = spool.job(&name)?;
    let script = args.script.as_deref().map(words::script).transpose()?;
    // What is wrong with it is said before anybody becomes anybody.
    changed(&before, args, script.as_deref())?;
    owner::become_owner(spool)?;
    let changed = spool.change_job(&name, |before| changed(before, args, script.as_deref()))?;
    for build in &changed.moved {
        out::hint(&format!("{build} has another place in its queue"));
    }
    out::print(&format!("{}\n", text::when(&name, &changed.job, clock::now())?))
}

fn is_nothing(args: &SetArgs) -> bool {
    let WhenArgs { every, cron, tz, at, next, jitter, after } = &args.when;
    let HowArgs { priority, timeout, silence, log_limit, retries, retry_failures, concurrency, keep, .. } = &args.how;
    let HowArgs { inputs, main, secrets, reproduce, vary, network, .. } = &args.how;
    let texts = [
        every,
        cron,
        tz,
        at,
        next,
        jitter,
        timeout,
        silence,
        log_limit,
        retry_failures,
        keep,
        main,
        network,
        &vary.vary,
    ];
    let lists = [after, inputs, secrets, &args.values, &args.platforms];
    texts.iter().all(|text| text.is_none())
        && lists.iter().all(|list| list.is_empty())
        && priority.is_none()
        && retries.is_none()
        && concurrency.is_none()
        && reproduce.is_none()
        && args.script.is_none()
}

fn changed(before: &Job, args: &SetArgs, script: Option<&str>) -> Result<Job> {
    let now = clock::now();
    let mut job = before.clone();
    job::reschedule(&mut job, &args.when, now)?;
    job::apply(&mut job, &args.how)?;
    if !args.platforms.is_empty() {
        job.platforms = words::job_platforms(&args.platforms)?;
    }
    if !args.values.is_empty() {
        job.set_values(&words::values(&args.values)?)?;
    }
    if let Some(script) = script {
        (job.script, job.template) = (script.to_owned(), None);
        job.values.clear();
        job.variants.clear();
    }
    if script.is_some() || !args.values.is_empty() {
        job.changed = Some(now);
    }
    Ok(job)
}

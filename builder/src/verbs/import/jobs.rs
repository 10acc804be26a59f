//! A schedule comes in: jobs as `builder add` would make them, what waits in queues, and what is dropped.

use super::Import;
use crate::robur::state::{self, Scheduled, State, Work};
use crate::{out, words};
use spool::clock;
use spool::error::{Error, Kind, Result};
use spool::job::{Job, Platforms, Wishes};
use spool::name::{JobName, Platform};
use spool::place::Priority;
use spool::platform;
use spool::schedule::Every;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

/// What is to be done.
#[derive(Default)]
struct Plan {
    /// The jobs that are new.
    jobs: BTreeMap<JobName, Job>,
    /// Those that stay as they are.
    there: BTreeSet<JobName>,
    /// What is to be queued, in order.
    queued: Vec<(Platform, JobName)>,
    /// The jobs that there are, before anything is done.
    before: BTreeSet<JobName>,
    dropped: Vec<Platform>,
    /// Platforms that are dropped there, and are here what they are.
    known: Vec<Platform>,
}

impl Import<'_> {
    /// Takes a schedule: all of its jobs that are not there yet, or none.
    pub(super) fn jobs(&self, from: impl Read, size: u64) -> Result<()> {
        let plan = self.plan(State::read(from, size)?)?;
        for name in &plan.there {
            out::print(&format!("job {name} was there already\n"))?;
        }
        for platform in &plan.known {
            out::print(&format!("platform {platform} was there already\n"))?;
        }
        if self.dry_run {
            return plan.say();
        }
        let at_once = self.spool.add_jobs(&plan.jobs)?;
        for name in plan.jobs.keys() {
            out::print(&format!("added job {name}\n"))?;
        }
        for one in at_once {
            out::print(&format!("queued {}\n", one.id))?;
        }
        for (platform, name) in &plan.queued {
            self.spool.know_platform(platform)?;
            let wishes = Wishes { priority: Some(Priority::NORMAL), ..Wishes::default() };
            for one in
                self.spool.run_job(name, std::slice::from_ref(platform), &wishes)?.iter().filter(|one| !one.already)
            {
                out::print(&format!("queued {}\n", one.id))?;
            }
        }
        for platform in &plan.dropped {
            self.spool.set_platform(platform, platform::State::Dropped, clock::now())?;
            out::print(&format!("dropped platform {platform}\n"))?;
        }
        Ok(())
    }

    fn plan(&self, state: State) -> Result<Plan> {
        let before = self.spool.job_names()?.into_iter().collect();
        let mut plan = Plan { before, ..Plan::default() };
        self.drop_unknown(&mut plan, state.dropped)?;
        for one in state.schedule {
            if plan.there.contains(&one.job.name) || plan.jobs.contains_key(&one.job.name) {
                return Err(Error::new(Kind::Data, format!("the job {} is there twice", one.job.name)));
            }
            match plan.before.contains(&one.job.name) {
                true => drop(plan.there.insert(one.job.name)),
                false => drop(plan.jobs.insert(one.job.name.clone(), self.job(one)?)),
            }
        }
        for (platform, jobs) in state.queues {
            for job in jobs {
                self.queue(&mut plan, &platform, job)?;
            }
        }
        Ok(plan)
    }

    /// What is known here may have been taken back since, and has a queue of its own.
    fn drop_unknown(&self, plan: &mut Plan, dropped: Vec<Platform>) -> Result<()> {
        let known = self.spool.platform_states()?;
        let (known, unknown): (Vec<_>, Vec<_>) = dropped.into_iter().partition(|platform| known.contains_key(platform));
        (plan.known, plan.dropped) = (known, unknown);
        Ok(())
    }

    /// What waits is queued, when its job is new. A job that only waits is one that is built when somebody asks.
    fn queue(&self, plan: &mut Plan, platform: &Platform, waits: state::Job) -> Result<()> {
        let name = waits.name.clone();
        if plan.there.contains(&name) {
            return Ok(());
        }
        if !plan.jobs.contains_key(&name) {
            if plan.before.contains(&name) {
                plan.there.insert(name);
                return Ok(());
            }
            let job = self.job(Scheduled { job: waits, every: Every::Never, next: None })?;
            plan.jobs.insert(name.clone(), job);
        }
        self.spool.refuse_dropped(platform)?;
        let job = &plan.jobs[&name];
        if plan.dropped.contains(platform) || plan.known.contains(platform) || !job.is_built_on(platform) {
            out::hint(&format!("{name} waits on {platform}, on which it is not built: it is not queued there"));
        } else if !plan.queued.contains(&(platform.clone(), name.clone())) {
            plan.queued.push((platform.clone(), name));
        }
        Ok(())
    }

    /// A job as `builder add --every PERIOD --at NEXT` makes it.
    fn job(&self, one: Scheduled) -> Result<Job> {
        let named = |e: Error| Error::new(e.kind(), format!("job {}: {e}", one.job.name));
        let platforms = match &one.job.work {
            Work::Script(platform, _) => Platforms::Named(vec![platform.clone()]),
            Work::Orb(_) => Platforms::All,
        };
        let mut job = Job::new(platforms, clock::now());
        (job.every, job.first) = (Some(one.every), one.next);
        match one.job.work {
            Work::Script(_, script) => job.script = script,
            Work::Orb(package) => {
                let values = BTreeMap::from([("OPAM_PACKAGE".to_owned(), package)]);
                words::from_template(&mut job, self.config, self.template, &values).map_err(named)?;
            }
        }
        job.check(&one.job.name).map_err(named)?;
        Ok(job)
    }
}

impl Plan {
    fn say(&self) -> Result<()> {
        for (name, job) in &self.jobs {
            let next = job.first.map(|next| format!(", next {next}")).unwrap_or_default();
            out::print(&format!("would add job {name} on {}, {}{next}\n", job.platforms, job.schedule_word()))?;
        }
        for (platform, name) in &self.queued {
            out::print(&format!("would queue {name} on {platform}\n"))?;
        }
        for platform in &self.dropped {
            out::print(&format!("would drop platform {platform}\n"))?;
        }
        Ok(())
    }
}

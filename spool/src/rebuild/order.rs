//! How rebuilds get into the queue: because somebody asks for them, or because a job wants each of its builds confirmed.

use super::{MOST, Rebuild, Vary};
use crate::build_id::BuildId;
use crate::error::{Error, Kind, Result};
use crate::find::Build;
use crate::job::{Ended, Job, Queued};
use crate::name::WorkerName;
use crate::place::{End, Place, Priority, Ticket};
use crate::queue::{NewBuild, Queues};
use crate::record::{BuildResult, Origin, Request};
use crate::spool::Spool;
use jiff::Timestamp;

/// What somebody wants of rebuilds.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// How many.
    pub count: u32,
    /// The workers that may run them; empty for any.
    pub on: Vec<WorkerName>,
    /// What is to be different.
    pub vary: Vec<Vary>,
}

impl Spool {
    /// Queues rebuilds of a build that exited 0 and has an output. Durable on return.
    ///
    /// # Errors
    /// [`Kind::Usage`] for a build that repeats another itself, [`Kind::TryAgain`] for one that is not over, and
    /// [`Kind::NoInput`] for one that nothing came out of.
    pub fn order_rebuilds(&self, build: &Build<'_>, wish: &Wish, now: Timestamp) -> Result<Vec<BuildId>> {
        self.verifiable(build)?;
        let _lock = self.lock_jobs()?;
        self.refuse_dropped(build.id.platform())?;
        let lost = || Error::new(Kind::Data, format!("what was asked for with {} is lost", build.id));
        let request = build.request()?.ok_or_else(lost)?;
        let before = self.rebuilds_of(&build.id)?;
        let last = before.iter().map(|one| one.rebuild.number).max().unwrap_or(0);
        let mut all: Vec<BuildId> = before.into_iter().map(|one| one.build.id).collect();
        let ids = (0..wish.count).map(|_| BuildId::unique_rebuild(now, &build.id)).collect::<Result<Vec<_>>>()?;
        all.extend(ids.iter().cloned());
        let mut queues = Queues::new(self);
        let mut builds = Vec::new();
        for (number, id) in (last.saturating_add(1)..).zip(ids) {
            queues.make_room(build.id.platform())?;
            let rebuild = Rebuild {
                of: build.id.clone(),
                number,
                beside: others(&all, &id),
                on: wish.on.clone(),
                vary: wish.vary.clone(),
            };
            let ticket = Ticket { priority: Priority::FRONT, id };
            queues.add(&ticket);
            builds.push(repeated(build, &request, rebuild, ticket, now)?);
        }
        self.enqueue_all(&builds)?;
        Ok(builds.into_iter().map(|build| build.ticket.id).collect())
    }

    /// Makes sure that there is something to confirm.
    pub fn verifiable(&self, build: &Build<'_>) -> Result<BuildResult> {
        let id = &build.id;
        if id.is_rebuild() {
            return Err(Error::new(Kind::Usage, format!("{id} repeats another build itself"))
                .hint("name that one; `builder show` says which it is"));
        }
        let Place::Ended(end) = build.place else {
            return Err(Error::new(Kind::TryAgain, format!("{id} is not over, so there is nothing to repeat yet"))
                .hint(format!("`builder watch {id}` waits for it")));
        };
        let result = build.result()?.filter(|result| end == End::Done && result.output.is_some());
        result.ok_or_else(|| {
            let why = if end == End::Done { "left no artifacts" } else { "did not exit 0" };
            Error::new(Kind::NoInput, format!("{id} {why}, so there is nothing to confirm"))
        })
    }

    /// Queues the rebuilds that a job wants of each of its builds. However often this is repeated, they are the same.
    pub fn queue_rebuilds(&self, ended: &Ended, now: Timestamp) -> Result<Vec<Queued>> {
        let job = self.read_job(ended.id.job()).ok().flatten();
        let wanted = job.filter(|_| ended.end == End::Done && !ended.id.is_rebuild() && ended.result.output.is_some());
        let Some(Job { reproduce, vary, .. }) = wanted else { return Ok(Vec::new()) };
        let Some(build) = self.build(&ended.id)?.filter(|_| reproduce > 0) else { return Ok(Vec::new()) };
        let _lock = self.lock_jobs()?;
        if self.refuse_dropped(ended.id.platform()).is_err() {
            return Ok(Vec::new());
        }
        let mut queues = Queues::new(self);
        let (mut queued, mut builds) = (Vec::new(), Vec::new());
        let of = |number| BuildId::of_rebuild(ended.result.finished, &ended.id, number);
        let all: Vec<BuildId> = (1..=reproduce.min(MOST)).map(of).collect();
        for (number, id) in (1..).zip(&all) {
            let id = id.clone();
            if self.place(&id)?.is_some() {
                queued.push(Queued { id, already: true });
                continue;
            }
            queues.make_room(id.platform())?;
            let rebuild =
                Rebuild { of: ended.id.clone(), number, beside: others(&all, &id), on: Vec::new(), vary: vary.clone() };
            let ticket = Ticket { priority: Priority::NORMAL, id };
            queues.add(&ticket);
            queued.push(Queued { id: ticket.id.clone(), already: false });
            builds.push(repeated(&build, &ended.request, rebuild, ticket, now)?);
        }
        self.enqueue_all(&builds)?;
        Ok(queued)
    }
}

/// The newest of those that are not this one.
fn others(all: &[BuildId], this: &BuildId) -> Vec<BuildId> {
    all.iter().rev().filter(|other| *other != this).take(MOST as usize).cloned().collect()
}

/// The same once more: what was asked for, and the script, to the byte.
fn repeated(
    build: &Build<'_>,
    request: &Request,
    rebuild: Rebuild,
    ticket: Ticket,
    now: Timestamp,
) -> Result<NewBuild> {
    let request = Request {
        queued: now,
        origin: Origin::Rebuild,
        because_of: Some(build.id.clone()),
        retry: 0,
        rebuild: Some(rebuild),
        ..request.clone()
    };
    Ok(NewBuild { ticket, request, script: build.script()? })
}

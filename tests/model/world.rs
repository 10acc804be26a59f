//! A spool, the model beside it, and what each event does to both.

use super::operation::Operation;
use super::{JOBS, PLATFORMS, WORKERS};
use jiff::{SignedDuration, Timestamp};
use spool::build_id::BuildId;
use spool::check::Invariant;
use spool::digest::Sha256;
use spool::error::{Kind, Result};
use spool::held::HeldBuild;
use spool::job::{Job, Owed, Platforms, Queued, Wishes};
use spool::name::{JobName, Platform, WorkerName};
use spool::place::{End, Place, Priority};
use spool::platform::State as Standing;
use spool::schedule::Every;
use spool::{Spool, clock};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// For how long a worker may stay away, in seconds.
pub(super) const GRACE: i64 = 100;

/// How often a build is tried.
pub(super) const ATTEMPTS: usize = 2;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum State {
    Queued,
    /// A worker has it, and a process serves it.
    Held,
    /// A worker has it, and nobody serves it.
    Orphan,
    Ended(End),
}

#[derive(Clone, Debug)]
pub(super) struct Known {
    pub state: State,
    /// Who has it, or ended it.
    pub worker: Option<usize>,
    pub token: String,
    pub lost: BTreeSet<String>,
    pub cancelled: bool,
}

#[derive(Default)]
pub(super) struct Worker {
    pub held: Option<HeldBuild<'static>>,
    /// The builds that it was ever given, with their leases' tokens.
    pub given: Vec<(BuildId, String)>,
}

/// The spool and its model.
pub struct World {
    pub(super) spool: &'static Spool,
    _dir: tempfile::TempDir,
    pub(super) builds: BTreeMap<BuildId, Known>,
    jobs: BTreeSet<JobName>,
    pub(super) workers: Vec<Worker>,
    standing: [Standing; PLATFORMS],
    /// How far the clock of the timers is from the real one.
    ahead: SignedDuration,
}

fn job(n: usize) -> JobName {
    format!("job{}", n % JOBS).parse().expect("a name")
}

fn platform(n: usize) -> Platform {
    format!("platform{}", n % PLATFORMS).parse().expect("a name")
}

pub(super) fn worker(n: usize) -> WorkerName {
    format!("worker{n}").parse().expect("a name")
}

impl World {
    /// An empty one.
    pub fn new() -> World {
        // Nothing here is about durability, and a file system in memory syncs at once.
        let memory = Path::new("/dev/shm");
        let base = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let dir = tempfile::Builder::new().prefix("world").tempdir_in(base).expect("a directory");
        let (spool, _) = Spool::init(&dir.path().join("spool")).expect("a spool");
        (0..PLATFORMS).for_each(|n| spool.know_platform(&platform(n)).expect("a platform"));
        World {
            // What is held borrows it; a test's process is short.
            spool: Box::leak(Box::new(spool)),
            _dir: dir,
            builds: BTreeMap::new(),
            jobs: BTreeSet::new(),
            workers: (0..WORKERS).map(|_| Worker::default()).collect(),
            standing: [Standing::Open; PLATFORMS],
            ahead: SignedDuration::ZERO,
        }
    }

    pub(super) fn now(&self) -> Timestamp {
        clock::now() + self.ahead
    }

    /// How many builds have ended well.
    pub fn done(&self) -> usize {
        self.builds.values().filter(|known| known.state == State::Ended(End::Done)).count()
    }

    /// How many builds wait or run.
    pub fn open(&self) -> usize {
        self.builds.values().filter(|known| !matches!(known.state, State::Ended(_))).count()
    }

    /// Lets an event happen, to the spool and to the model.
    pub fn carry_out(&mut self, operation: &Operation) {
        match *operation {
            Operation::Add { job: n, hourly, both, after, retry } => self.add(n, hourly, both, after, retry),
            Operation::Remove(n) => self.remove(&job(n)),
            Operation::Run(n) => {
                let platforms =
                    self.spool.job(&job(n)).map(|job| job.targets(&self.spool.platform_states().expect("states")));
                let queued = platforms.and_then(|on| self.spool.run_job(&job(n), &on, &Wishes::default()));
                self.note_queued(queued);
            }
            Operation::Fire(minutes) => self.fire(minutes),
            Operation::Claim(w, p) => self.claim(w, &platform(p)),
            Operation::Finish(w, well, artifacts) => self.finish(w, well, artifacts),
            Operation::Abandon(w) => {
                if let Some(held) = self.workers[w].held.take() {
                    let id = held.id().clone();
                    held.give_up("given back", self.now()).expect("a build that is given back");
                    self.lose(&id);
                }
            }
            Operation::Crash(w) => {
                if let Some(held) = self.workers[w].held.take() {
                    self.known(held.id()).state = State::Orphan;
                }
            }
            Operation::Resume(w, n) => self.resume(w, n),
            Operation::ForgetTimer(n) => self.forget_timer(&job(n)),
            Operation::Forget(w) => self.forget(w),
            Operation::Mend(seconds) => self.mend(seconds),
            Operation::Cancel(n) => self.cancel(n),
            Operation::Prioritise(n, priority) => self.prioritise(n, priority),
            Operation::Pause(p) => self.stand(p, Standing::Paused),
            Operation::Drop(p) => self.stand(p, Standing::Dropped),
            Operation::Open => (0..PLATFORMS).for_each(|p| self.stand(p, Standing::Open)),
            Operation::Pay => self.pay(),
            Operation::Sweep => drop(self.spool.sweep().expect("a sweep")),
            Operation::CollectGarbage => drop(self.spool.store().collect_garbage().expect("garbage")),
        }
    }

    pub(super) fn known(&mut self, id: &BuildId) -> &mut Known {
        self.builds.get_mut(id).unwrap_or_else(|| panic!("{id} is not known"))
    }

    fn add(&mut self, n: usize, hourly: bool, both: bool, after: Option<usize>, retry: bool) {
        let platforms = if both { vec![platform(0), platform(1)] } else { vec![platform(n)] };
        let mut new = Job::new(Platforms::Named(platforms), self.now());
        new.script = "true".into();
        new.every = Some(if hourly { Every::Hourly } else { Every::Never });
        new.after = after.map(job).into_iter().collect();
        new.retry_failures = retry;
        new.attempts = ATTEMPTS as u32;
        let possible = !self.jobs.contains(&job(n))
            && after.is_none_or(|after| self.jobs.contains(&job(after)))
            && self.standing.iter().all(|standing| *standing != Standing::Dropped);
        let added = self.spool.add_job(&job(n), &new);
        match &added {
            Ok(_) => assert!(self.jobs.insert(job(n)), "{} was there already", job(n)),
            Err(e) => assert!(!possible, "{e}"),
        }
        self.note_queued(added);
    }

    fn remove(&mut self, name: &JobName) {
        let expected = self.queued(|id| id.job() == name);
        match self.spool.remove_job(name) {
            Ok((removed, _)) => {
                assert!(self.jobs.remove(name));
                self.are_removed(removed, expected);
            }
            Err(e) => assert!(e.kind() == Kind::NoInput && !self.jobs.contains(name), "{e}"),
        }
    }

    fn queued(&self, wanted: impl Fn(&BuildId) -> bool) -> BTreeSet<BuildId> {
        let waits = |(id, known): &(&BuildId, &Known)| known.state == State::Queued && wanted(id);
        self.builds.iter().filter(waits).map(|(id, _)| id.clone()).collect()
    }

    fn are_removed(&mut self, removed: Vec<BuildId>, expected: BTreeSet<BuildId>) {
        assert_eq!(removed.into_iter().collect::<BTreeSet<_>>(), expected);
        self.builds.retain(|id, _| !expected.contains(id));
    }

    /// Takes in what a job got. What is refused leaves everything as it was.
    fn note_queued(&mut self, queued: Result<Vec<Queued>>) {
        let queued = match queued {
            Ok(queued) => queued,
            Err(e) => return assert!(!matches!(e.kind(), Kind::Internal | Kind::Io), "{e}"),
        };
        for one in queued {
            match self.builds.get(&one.id) {
                Some(known) => assert_eq!(known.state, State::Queued, "{} was queued again", one.id),
                None => {
                    assert!(!one.already, "{} was not there before", one.id);
                    let (worker, token, lost) = (None, String::new(), BTreeSet::new());
                    self.builds.insert(one.id, Known { state: State::Queued, worker, token, lost, cancelled: false });
                }
            }
        }
    }

    fn fire(&mut self, minutes: i64) {
        self.ahead += SignedDuration::from_mins(minutes);
        let names = self.spool.job_names().expect("the jobs");
        for (_, queued) in self.spool.fire(&names, self.now()).expect("timers") {
            self.note_queued(queued);
        }
    }

    /// A crash came between firing and noting it.
    fn forget_timer(&self, name: &JobName) {
        let _ = std::fs::remove_file(self.spool.layout().timer(name));
    }

    fn cancel(&mut self, n: usize) {
        let Some(id) = self.builds.keys().nth(n % self.builds.len().max(1)).cloned() else { return };
        let answer = self.spool.cancel(&id);
        let known = self.known(&id);
        match (&known.state, answer) {
            (State::Queued, Ok(true)) => (known.state, known.worker) = (State::Ended(End::Failed), None),
            (State::Orphan, Ok(true)) => known.state = State::Ended(End::Failed),
            (State::Held, Ok(false)) => known.cancelled = true,
            (State::Ended(_), Err(e)) => assert_eq!(e.kind(), Kind::Data),
            (state, answer) => panic!("{id}: {answer:?} for {state:?}"),
        }
        if known.state != State::Held {
            known.cancelled = false;
        }
    }

    fn prioritise(&mut self, n: usize, priority: u8) {
        let queued: Vec<BuildId> = self.queued(|_| true).into_iter().collect();
        let Some(id) = queued.get(n % queued.len().max(1)) else { return };
        let Some(Place::Queued(ticket)) = self.spool.place(id).expect("a place") else { panic!("{id} is not queued") };
        let priority = Priority::try_from(priority).expect("a priority");
        // To where it is already nothing moves.
        assert_eq!(self.spool.reprioritise(&ticket, priority).expect("moved"), ticket.priority != priority);
    }

    fn stand(&mut self, p: usize, standing: Standing) {
        let name = platform(p);
        let taken = self.spool.set_platform(&name, standing, clock::now()).expect("a platform");
        let expected =
            if standing == Standing::Dropped { self.queued(|id| *id.platform() == name) } else { BTreeSet::new() };
        self.are_removed(taken, expected);
        self.standing[p] = standing;
    }

    /// As builderd does it, without hooks.
    fn pay(&mut self) {
        let jobs = self.spool.jobs().expect("the jobs");
        for id in self.spool.owing().expect("what is owed") {
            let Some(mut ended) = self.spool.ended(&id).expect("readable") else { continue };
            let comes_after = |job: &Result<Job>| job.as_ref().is_ok_and(|job| job.after.contains(id.job()));
            let after: Vec<JobName> =
                jobs.iter().filter(|(_, job)| comes_after(job)).map(|(name, _)| name.clone()).collect();
            if ended.owed.remove(&Owed::After) {
                let queued = self.spool.queue_after(&ended, &after, self.now());
                self.note_queued(queued);
            }
            if ended.owed.remove(&Owed::Retry) && self.spool.retry_at(&ended, SignedDuration::ZERO).is_some() {
                let queued = self.spool.queue_retry(&ended, self.now());
                let dropped = self.spool.platform_state(id.platform()) == Standing::Dropped;
                assert!(dropped || !matches!(queued, Ok(None)), "{id} is not tried again");
                self.note_queued(queued.map(|queued| queued.into_iter().collect()));
            }
            ended.owed.clear();
            self.spool.save_owed(&ended).expect("noted");
        }
    }

    /// Fails unless each invariant of the layout holds. A job may come after one that was removed.
    pub fn passes_a_deep_check(&self) {
        let mut found = self.spool.check(true).expect("a check").findings;
        found.retain(|finding| finding.invariant != Invariant::Written);
        assert!(found.is_empty(), "{found:#?}");
    }

    /// Fails unless the spool is as the model says.
    pub fn is_as_it_should_be(&self, after: &Operation) {
        let mut seen = BTreeSet::new();
        let open = self.spool.open_builds().expect("the open builds");
        for build in open.into_iter().chain(self.spool.ended_builds(usize::MAX, |_| true).expect("the others")) {
            let id = &build.id;
            assert!(seen.insert(id.clone()), "after {after:?}: {id} is in two places");
            let known = self.builds.get(id).unwrap_or_else(|| panic!("after {after:?}: {id} came from nowhere"));
            match (&build.place, &known.state) {
                (Place::Queued(_), State::Queued) => assert!(build.lease().expect("readable").is_none()),
                (Place::Active, State::Held) => assert!(build.is_served()),
                (Place::Active, State::Orphan) => assert!(!build.is_served()),
                (Place::Ended(end), State::Ended(as_known)) if end == as_known => is_whole(&build, *end),
                (place, state) => panic!("after {after:?}: {id} is {place:?} and should be {state:?}"),
            }
            build.request().expect("readable").expect("a request");
            assert_eq!(self.spool.cancel_requested(id), known.cancelled, "after {after:?}: {id}");
            assert_eq!(build.attempts().expect("readable").list.len(), known.lost.len(), "after {after:?}: {id}");
        }
        assert_eq!(seen.len(), self.builds.len(), "after {after:?}: {:?}", self.builds);
        assert_eq!(self.spool.job_names().expect("the jobs").into_iter().collect::<BTreeSet<_>>(), self.jobs);
        for (n, standing) in self.standing.iter().enumerate() {
            assert_eq!(self.spool.platform_state(&platform(n)), *standing);
        }
    }
}

fn is_whole(build: &spool::find::Build<'_>, end: End) {
    let result = build.result().expect("readable").expect("a result");
    assert_eq!(result.outcome.succeeded(), end == End::Done);
    assert!(build.lease().expect("readable").is_none());
    for (path, digest) in build.manifest().expect("readable").iter() {
        assert_eq!(Sha256::of(&std::fs::read(build.artifact(path)).expect("an artifact")), *digest);
    }
}

//! A spool, the model beside it, and what each event does to both.

use super::operation::Operation;
use super::{JOBS, PLATFORMS, WORKERS};
use jiff::{SignedDuration, Timestamp};
use spool::build_id::BuildId;
use spool::digest::Sha256;
use spool::error::{Kind, Result};
use spool::held::{HeldBuild, Offered, Published};
use spool::job::{Job, Owed, Platforms, Queued, Wishes};
use spool::mend::Patience;
use spool::name::{JobName, Platform, WorkerName};
use spool::place::{End, Place, Priority};
use spool::platform::State as Standing;
use spool::queue::Claimed;
use spool::record::{BuildResult, Outcome};
use spool::resume::Resumed;
use spool::schedule::Every;
use spool::{Spool, clock};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;

/// For how long a worker may stay away, in seconds.
const GRACE: i64 = 100;

/// How often a build is tried.
const ATTEMPTS: usize = 2;

#[derive(Clone, Debug, PartialEq)]
enum State {
    Queued,
    /// A worker has it, and a process serves it.
    Held,
    /// A worker has it, and nobody serves it.
    Orphan,
    Ended(End),
}

#[derive(Clone, Debug)]
struct Known {
    state: State,
    /// Who has it, or ended it.
    worker: Option<usize>,
    token: String,
    lost: BTreeSet<String>,
    cancelled: bool,
}

#[derive(Default)]
struct Worker {
    held: Option<HeldBuild<'static>>,
    /// The builds that it was ever given, with their leases' tokens.
    given: Vec<(BuildId, String)>,
}

/// The spool and its model.
pub struct World {
    spool: &'static Spool,
    _dir: tempfile::TempDir,
    builds: BTreeMap<BuildId, Known>,
    jobs: BTreeSet<JobName>,
    workers: Vec<Worker>,
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

fn worker(n: usize) -> WorkerName {
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

    fn now(&self) -> Timestamp {
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

    fn known(&mut self, id: &BuildId) -> &mut Known {
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

    fn claim(&mut self, w: usize, platform: &Platform) {
        let ticket = self.spool.queue(platform).expect("a queue").pop_first();
        let (Some(ticket), None, None) = (ticket, &self.workers[w].held, self.spool.withheld(platform)) else { return };
        let of_job = |id: &BuildId| id.job() == ticket.id.job() && id.platform() == platform;
        let runs = |known: &Known| matches!(known.state, State::Held | State::Orphan);
        let full = self.builds.iter().any(|(id, known)| of_job(id) && runs(known));
        match self.spool.claim(&ticket, &worker(w)).expect("a claim") {
            Claimed::Yes(held) => {
                assert!(!full, "two builds of {} run at once", ticket.id.job());
                let token = held.lease().expect("a lease").expect("a lease").token;
                let known = self.known(&ticket.id);
                assert_eq!(known.state, State::Queued);
                (known.state, known.worker, known.token) = (State::Held, Some(w), token.clone());
                self.workers[w].held = Some(held);
                self.workers[w].given.push((ticket.id, token));
            }
            Claimed::Full => assert!(full),
            Claimed::Gone => panic!("{} can't be claimed, and nobody has it", ticket.id),
        }
    }

    fn finish(&mut self, w: usize, well: bool, artifacts: usize) {
        let Some(held) = self.workers[w].held.take() else { return };
        let id = held.id().clone();
        let contents: Vec<String> = (0..artifacts).map(|n| format!("content {}", n % 4)).collect();
        held.make_upload_area().expect("an upload area");
        let area = self.spool.upload_area(&worker(w)).expect("an area").expect("the worker's own");
        for content in contents.iter().filter(|content| !held.has(&Sha256::of(content.as_bytes()))) {
            let (draft, mut file) = area.draft().expect("a draft");
            file.write_all(content.as_bytes()).expect("written");
            drop(file);
            draft.publish(&Sha256::of(content.as_bytes())).expect("published");
        }
        let offer = |(n, content): (usize, &String)| Offered {
            path: format!("dir{}/file{n}", n % 3).parse().expect("a path"),
            sha256: Sha256::of(content.as_bytes()),
            size: content.len() as u64,
        };
        let offered: Vec<Offered> = contents.iter().enumerate().map(offer).collect();
        let Published::All(manifest) = held.publish(&offered).expect("published") else {
            panic!("something is missing")
        };
        let cancelled = self.spool.cancel_requested(&id);
        assert_eq!(cancelled, self.known(&id).cancelled);
        let outcome = if cancelled { Outcome::Cancelled } else { Outcome::Exited { code: u8::from(!well) } };
        let result = BuildResult { worker: Some(worker(w)), ..BuildResult::unrun(outcome, self.now()) };
        let end = held.finish(result, &manifest).expect("finished");
        assert_eq!(end, if well && !cancelled { End::Done } else { End::Failed });
        self.known(&id).state = State::Ended(end);
        self.known(&id).cancelled = false;
    }

    /// A build is taken from its worker.
    fn lose(&mut self, id: &BuildId) {
        let known = self.known(id);
        known.lost.insert(known.token.clone());
        known.state = match known.cancelled || known.lost.len() >= ATTEMPTS {
            true => State::Ended(End::Failed),
            false => State::Queued,
        };
        known.cancelled &= known.state == State::Queued;
    }

    fn resume(&mut self, w: usize, n: usize) {
        let given = self.workers[w].given.iter().rev().nth(n).cloned();
        let (None, Some((id, token))) = (&self.workers[w].held, given) else { return };
        let known = self.builds.get(&id).cloned();
        let ours = |known: &Known| known.worker == Some(w) && known.token == token && !known.lost.contains(&token);
        let ours = known.filter(ours).map(|known| known.state);
        match (self.spool.resume(&id, &worker(w), &token).expect("an answer"), ours) {
            (Resumed::Held(held), Some(State::Orphan)) => {
                self.known(&id).state = State::Held;
                self.workers[w].held = Some(held);
            }
            (Resumed::Over, Some(State::Ended(_))) | (Resumed::Lapsed, None | Some(State::Queued)) => {}
            (answer, state) => panic!("{id}: {answer:?} for {state:?}"),
        }
    }

    fn orphans(&self, wanted: impl Fn(&Known) -> bool) -> Vec<BuildId> {
        let orphan = |(_, known): &(&BuildId, &Known)| known.state == State::Orphan && wanted(known);
        self.builds.iter().filter(orphan).map(|(id, _)| id.clone()).collect()
    }

    fn forget(&mut self, w: usize) {
        if self.workers[w].held.is_some() {
            return;
        }
        let expected = self.orphans(|known| known.worker == Some(w));
        assert_eq!(self.spool.give_up_all_of(&worker(w)).expect("given up"), expected);
        expected.iter().for_each(|id| self.lose(id));
    }

    fn mend(&mut self, seconds: i64) {
        let patience = Patience { grace: SignedDuration::from_secs(GRACE), retry: SignedDuration::ZERO };
        let now = clock::now() + SignedDuration::from_secs(seconds);
        let expected = self.orphans(|known| known.cancelled || seconds > GRACE);
        let mended = self.spool.mend_leases(patience, now).expect("mended");
        assert_eq!(mended.iter().filter(|one| one.is_ok()).count(), expected.len(), "{mended:?}");
        expected.iter().for_each(|id| self.lose(id));
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

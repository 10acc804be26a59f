//! Workers for builds that wait, in a thread of its own: it looks, decides, notes what it has decided, and has commands run.
//!
//! What is decided is the spool library's, `spool::launch`. A command that hangs or fails holds up nothing but its own
//! platform.

use crate::starter::{self, Launched, Order};
use jiff::Timestamp;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use spool::config::Config;
use spool::error::{At, Result};
use spool::launch::{Launch, Step};
use spool::name::{Platform, WorkerName};
use spool::wake::Listener;
use spool::{Spool, clock};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};
use tracing::{error, info, warn};

/// So many commands of a platform run at once.
const TOGETHER: usize = 8;

/// How often queues are looked at though nobody tells of them: builderd tells of those in which something waits.
const RESCAN: Duration = Duration::from_secs(30);

/// The same while something waits: a worker that goes tells nobody.
const SOON: Duration = Duration::from_secs(1);

/// A look is followed by a pause so many times as long, within these bounds, however much is queued.
const LAZINESS: u32 = 20;
const SHORTEST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(5);

/// What is launched where.
type Rules = BTreeMap<Platform, Launch>;

/// What came of launching a worker on a platform.
type Report = (Platform, WorkerName, Launched);

/// The thread that launches.
pub struct Launcher {
    changes: Sender<(Spool, Rules)>,
    bell: UnixStream,
}

impl Launcher {
    /// From now on other workers are launched. What is on its way is waited for still.
    pub fn change(&self, spool: &Spool, config: &Config) {
        let _ = self.changes.send((spool.clone(), config.launch.clone()));
        ring(&self.bell);
    }
}

/// Starts the thread; it ends with the process, between any two steps. What it has launched goes on.
pub fn start(spool: &Spool, config: &Config) -> Result<Launcher> {
    let (bell, heard) = UnixStream::pair().at("make", "a socket")?;
    [&bell, &heard].into_iter().try_for_each(|end| end.set_nonblocking(true)).at("make", "a socket")?;
    let (changes, changed) = channel();
    let (report, reports) = channel();
    let mut works = Works {
        spool: spool.clone(),
        rules: Rules::new(),
        listeners: Vec::new(),
        starters: Starters { report, bell: bell.try_clone().at("make", "a socket")?, running: BTreeSet::new() },
        complained: BTreeSet::new(),
    };
    works.change(spool.clone(), config.launch.clone());
    let keeps = thread::Builder::new().name("launch".to_owned());
    keeps.spawn(move || works.run(&changed, &reports, &heard)).at("start", "a thread")?;
    Ok(Launcher { changes, bell })
}

fn ring(mut bell: &UnixStream) {
    // A bell that is full has been rung.
    let _ = bell.write(&[1]);
}

struct Works {
    spool: Spool,
    rules: Rules,
    listeners: Vec<Listener>,
    starters: Starters,
    /// The platforms on which something lasts that was said.
    complained: BTreeSet<Platform>,
}

/// Threads that run a command each.
struct Starters {
    report: Sender<Report>,
    bell: UnixStream,
    running: BTreeSet<(Platform, WorkerName)>,
}

impl Starters {
    /// The workers of a platform whose commands run.
    fn of(&self, platform: &Platform) -> impl Iterator<Item = &WorkerName> {
        self.running.iter().filter(move |(of, _)| of == platform).map(|(_, worker)| worker)
    }
}

impl Works {
    fn run(&mut self, changes: &Receiver<(Spool, Rules)>, reports: &Receiver<Report>, bell: &UnixStream) {
        loop {
            while (&*bell).read(&mut [0; 64]).is_ok_and(|got| got > 0) {}
            while let Ok((spool, rules)) = changes.try_recv() {
                self.change(spool, rules);
            }
            while let Ok((platform, worker, launched)) = reports.try_recv() {
                let noted = self.take_in(&platform, &worker, &launched);
                self.tell(&platform, noted);
                self.starters.running.remove(&(platform, worker));
            }
            for listener in &self.listeners {
                listener.drain();
            }
            let start = Instant::now();
            let wait = self.look();
            thread::sleep((start.elapsed() * LAZINESS).clamp(SHORTEST, LONGEST));
            self.sleep(bell, wait);
        }
    }

    fn change(&mut self, spool: Spool, rules: Rules) {
        let listeners = rules.keys().map(|platform| {
            // Someone may ask for it before the first build does.
            spool.know_platform(platform)?;
            Listener::new(spool.layout().wake_queue(platform))
        });
        let listeners = listeners.collect::<Result<Vec<_>>>();
        self.listeners =
            listeners.inspect_err(|e| warn!("queues are looked at now and then only: {e}")).unwrap_or_default();
        if let Err(e) = spool.forget_launches(|platform| rules.contains_key(platform)) {
            warn!("what was launched can't be forgotten: {e}");
        }
        (self.spool, self.rules) = (spool, rules);
    }

    /// Looks at all platforms. Returns how long nothing needs a look, unless somebody rings.
    fn look(&mut self) -> Option<Duration> {
        let now = clock::now();
        let mut wait = (!self.rules.is_empty()).then_some(RESCAN);
        for (platform, rules) in self.rules.clone() {
            let again = self.look_at(&platform, &rules, now);
            let again = self.tell(&platform, again).and_then(|again| until(again, now));
            wait = wait.min(again.or(wait));
        }
        wait
    }

    /// Launches what a platform needs. Returns when to look again.
    fn look_at(&mut self, platform: &Platform, rules: &Launch, now: Timestamp) -> Result<Option<Timestamp>> {
        let before = self.spool.launches(platform);
        let mut need = self.spool.need(platform, rules, &before)?;
        let running: BTreeSet<&WorkerName> = self.starters.of(platform).collect();
        need.slots.iter_mut().for_each(|slot| slot.is_started = running.contains(&slot.name));
        let step = before.decide(rules, &need, TOGETHER.saturating_sub(running.len()), now);
        if step.launches != before {
            self.spool.note_launches(platform, &step.launches)?;
        }
        tell_of(platform, &step, now);
        step.start.iter().for_each(|worker| self.start(platform, worker, rules));
        let soon = (!need.waiting.is_empty()).then(|| now.checked_add(SOON).unwrap_or(now));
        Ok(step.again.into_iter().chain(soon).min())
    }

    fn start(&mut self, platform: &Platform, worker: &WorkerName, rules: &Launch) {
        let order = Order::new(&self.spool, platform, worker, rules);
        let (report, bell) = (self.starters.report.clone(), self.starters.bell.try_clone());
        let run = move || {
            let launched = starter::carry_out(&order);
            let _ = report.send((order.platform, order.worker, launched));
            let _ = bell.as_ref().map(ring);
        };
        self.starters.running.insert((platform.clone(), worker.clone()));
        if let Err(e) = thread::Builder::new().name("launched".to_owned()).spawn(run) {
            let _ = self.starters.report.send((platform.clone(), worker.clone(), Err(e.to_string())));
        }
    }

    /// What came of a command.
    fn take_in(&mut self, platform: &Platform, worker: &WorkerName, launched: &Launched) -> Result<()> {
        let Some(rules) = self.rules.get(platform) else { return Ok(()) };
        let Err(why) = launched else { return Ok(()) };
        let (mut launches, now) = (self.spool.launches(platform), clock::now());
        launches.fail(worker, why, rules, now);
        warn!(%platform, %worker, "a launch has failed{}: {why}", next(launches.until, now));
        self.spool.note_launches(platform, &launches)
    }

    /// What lasts, such as a full disk, is said once.
    fn tell<T: Default>(&mut self, platform: &Platform, done: Result<T>) -> T {
        match done {
            Ok(done) => {
                self.complained.remove(platform);
                done
            }
            Err(e) => {
                if self.complained.insert(platform.clone()) {
                    error!(%platform, "no workers can be launched: {e}");
                }
                T::default()
            }
        }
    }

    fn sleep(&self, bell: &UnixStream, wait: Option<Duration>) {
        let timeout = wait.map(|wait| Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: wait.subsec_nanos().into() });
        let mut fds = vec![PollFd::new(bell, PollFlags::IN)];
        fds.extend(self.listeners.iter().map(|listener| PollFd::new(listener, PollFlags::IN)));
        let _ = poll(&mut fds, timeout.as_ref());
    }
}

fn tell_of(platform: &Platform, step: &Step, now: Timestamp) {
    step.came.iter().for_each(|worker| info!(%platform, %worker, "has come"));
    for worker in &step.late {
        let said = step.launches.said.as_deref().unwrap_or_default();
        warn!(%platform, %worker, "a launch has failed{}: {said}", next(step.launches.until, now));
    }
}

/// When the next one is tried.
fn next(until: Option<Timestamp>, now: Timestamp) -> String {
    until
        .and_then(|until| self::until(until, now))
        .map_or(String::new(), |wait| format!(", the next is tried in {} s", wait.as_secs_f64().ceil()))
}

/// How long it is until then; nothing when that is over.
fn until(at: Timestamp, now: Timestamp) -> Option<Duration> {
    Duration::try_from(at.duration_since(now)).ok()
}

//! The daemon's round: mend, fire, sleep until something is due or somebody rings.

use crate::ends::Ends;
use crate::eyes::Eyes;
use crate::index::Waker;
use crate::manager::Manager;
use crate::metrics::StoreSize;
use crate::reload::Reload;
use crate::timers::Timers;
use jiff::{SignedDuration, Timestamp};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use spool::config::Config;
use spool::error::{At, Error, Result};
use spool::job::Queued;
use spool::mend::{Mended, Patience};
use spool::name::JobName;
use spool::store::Collected;
use spool::wake::Listener;
use spool::{Spool, clock};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tracing::{error, info};

/// How often all jobs' files are looked through, for changes that nobody told of; with eyes on them, and without.
const RESCAN: Duration = Duration::from_secs(600);
const RESCAN_BLIND: Duration = Duration::from_secs(30);

/// So many jobs are fired at a time: others want the jobs' lock, too.
const FIRED_TOGETHER: usize = 256;

/// When a job that could not be fired is tried again.
const AGAIN: SignedDuration = SignedDuration::from_secs(60);

/// No sleep is longer: a clock that was set is noticed at its end.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);

/// How often leases are looked at, at the most; a short grace time makes it more often.
const LEASES: Duration = Duration::from_secs(5);

/// How often what a crash left is looked for.
const SWEEP: Duration = Duration::from_secs(600);

/// builderd at work.
pub struct Daemon {
    spool: Spool,
    patience: Patience,
    leases_every: Duration,
    timers: Timers,
    ends: Ends,
    eyes: Eyes,
    looked: Option<Instant>,
    bell: Listener,
    stop: Arc<AtomicBool>,
    hangup: Arc<AtomicBool>,
    signals: UnixStream,
    swept: Option<Instant>,
    index: Option<Waker>,
    manager: Manager,
    complaint: String,
    store: StoreSize,
}

impl Daemon {
    /// Gets ready to be told to stop. Who keeps the index is woken when something has changed.
    pub fn new(spool: &Spool, config: &Config, index: Option<Waker>, once: bool) -> Result<Daemon> {
        let (signals, theirs) = UnixStream::pair().at("make", "a socket")?;
        signals.set_nonblocking(true).at("make", "a socket")?;
        let (stop, hangup) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        for (signal, flag) in [(SIGTERM, &stop), (SIGINT, &stop), (SIGHUP, &hangup)] {
            signal_hook::flag::register(signal, flag.clone()).at("catch", "signals")?;
        }
        for signal in [SIGTERM, SIGINT, SIGHUP] {
            let end = theirs.try_clone().at("make", "a socket")?;
            signal_hook::low_level::pipe::register(signal, end).at("catch", "signals")?;
        }
        Ok(Daemon {
            spool: spool.clone(),
            patience: Patience::of(config),
            leases_every: leases_every(config),
            timers: Timers::new(),
            ends: Ends::start(spool, config, once),
            eyes: Eyes::open(&spool.layout().jobs()),
            looked: None,
            bell: Listener::new(spool.layout().wake_daemon())?,
            stop,
            hangup,
            signals,
            swept: None,
            index,
            manager: Manager::from_environment(),
            complaint: String::new(),
            store: StoreSize::default(),
        })
    }

    /// How large the store is, once it has been swept.
    pub fn store(&self) -> StoreSize {
        self.store.clone()
    }

    /// Works until it is told to stop; a HUP has builder.toml read again.
    pub fn run(&mut self, reload: &mut Reload) -> Result<()> {
        info!("serves {}", self.spool.layout().root().display());
        self.manager.ready();
        while !self.stop.load(Ordering::SeqCst) {
            self.drain_signals();
            if self.hangup.swap(false, Ordering::SeqCst) {
                self.reload(reload);
            }
            self.round();
            self.manager.status(self.status());
            self.sleep()?;
        }
        info!("stops");
        self.manager.stopping();
        Ok(())
    }

    /// A single round, with all that it leaves to be done.
    pub fn run_once(&mut self) -> Result<()> {
        info!("serves {}", self.spool.layout().root().display());
        self.round();
        self.ends.finish(&self.spool, &self.timers, clock::now());
        info!("stops");
        Ok(())
    }

    /// Each step that comes to its end is a sign of life.
    fn round(&mut self) {
        self.manager.alive();
        self.look();
        self.manager.alive();
        self.fire();
        self.mend();
        self.manager.alive();
        self.ends.look(&self.spool, &self.timers, clock::now());
        self.manager.alive();
        self.sweep();
    }

    /// What is wrong with the new settings is told to whoever asks how builderd is, until it is mended.
    fn reload(&mut self, reload: &mut Reload) {
        self.manager.reloading();
        self.complaint.clear();
        match reload.read_again(&self.spool) {
            Ok(config) => {
                self.spool = config.limited(&self.spool);
                self.patience = Patience::of(config);
                self.leases_every = leases_every(config);
                self.ends.change(&self.spool, config);
                info!("has read the configuration again");
            }
            Err(e) => {
                error!("the configuration can't be read again, what it said before holds: {e}");
                self.complaint = format!("; the configuration can't be read again: {e}");
            }
        }
        self.manager.status(self.status());
        self.manager.ready();
    }

    fn status(&self) -> String {
        let next = self.timers.next().map(|at| format!(", the next due {}", at.strftime("%F %T UTC")));
        let (root, jobs, next) = (self.spool.layout().root().display(), self.timers.count(), next.unwrap_or_default());
        format!("serves {root}: {jobs} jobs{next}{}", self.complaint)
    }

    /// Takes in what has changed. The bell is drained before, so that what is rung meanwhile is looked at next.
    fn look(&mut self) {
        let rung = self.bell.drain();
        if rung && let Some(index) = &self.index {
            index.wake();
        }
        let blind = self.eyes.as_fd().is_none();
        let rescan = if blind { RESCAN_BLIND } else { RESCAN };
        let all = (blind && rung) || self.looked.is_none_or(|at| at.elapsed() >= rescan);
        match self.eyes.look() {
            Some(jobs) if !all => jobs.iter().for_each(|name| self.timers.refresh_job(&self.spool, name)),
            _ => {
                let first = self.looked.replace(Instant::now()).is_none();
                report(self.timers.refresh(&self.spool));
                if first {
                    info!(jobs = self.timers.count(), "has read the jobs");
                }
            }
        }
    }

    fn fire(&mut self) {
        let now = clock::now();
        let due = self.timers.due(&self.spool, now);
        for some in due.chunks(FIRED_TOGETHER) {
            self.manager.alive();
            match self.spool.fire(some, now) {
                Ok(fired) => fired.into_iter().for_each(|(name, queued)| self.fired(&name, queued, now)),
                Err(e) => some.iter().for_each(|name| self.not_fired(name, &e, now)),
            }
        }
    }

    fn fired(&mut self, name: &JobName, queued: Result<Vec<Queued>>, now: Timestamp) {
        match queued {
            Ok(queued) => {
                for one in queued {
                    info!(job = %name, build = %one.id, already = one.already, "due");
                }
                self.timers.fired(&self.spool, name);
            }
            Err(e) => self.not_fired(name, &e, now),
        }
    }

    /// A full disk or a full queue is said again each minute, not a hundred times a second.
    fn not_fired(&mut self, name: &JobName, why: &Error, now: Timestamp) {
        error!(job = %name, "can't be fired: {why}");
        self.timers.postpone(name, now.checked_add(AGAIN).unwrap_or(Timestamp::MAX));
    }

    fn mend(&self) {
        match self.spool.mend_leases(self.patience, clock::now()) {
            Ok(all) => all.into_iter().for_each(|one| match one {
                Ok(Mended::Requeued(build)) => info!(%build, "lost its worker and is queued again"),
                Ok(Mended::Ended(build, end)) => info!(%build, end = end.directory(), "lost its worker and is over"),
                Err(e) => error!("a lost build could not be mended: {e}"),
            }),
            Err(e) => error!("leases could not be looked at: {e}"),
        }
        if let Err(e) = self.spool.tell_of_queues() {
            error!("queues could not be looked at: {e}");
        }
    }

    fn sweep(&mut self) {
        if self.swept.is_some_and(|at| at.elapsed() < SWEEP) {
            return;
        }
        let first = self.swept.replace(Instant::now()).is_none();
        self.manager.during(|| sweep(&self.spool, &self.store, first));
    }

    fn sleep(&self) -> Result<()> {
        let now = clock::now();
        let next = self.timers.next().into_iter().chain(self.ends.next()).min();
        let until_due = next.map(|next| next.duration_since(now).max(SignedDuration::ZERO));
        let until_due = until_due.and_then(|left| Duration::try_from(left).ok()).unwrap_or(LONGEST_SLEEP);
        // The wait ends just after the moment, never just before it.
        let wait = (until_due + Duration::from_millis(1)).min(LONGEST_SLEEP).min(self.leases_every);
        let wait = wait.min(self.manager.longest_silence().unwrap_or(wait));
        let timeout = Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: wait.subsec_nanos().into() };
        let mut fds = vec![PollFd::new(&self.bell, PollFlags::IN), PollFd::new(&self.signals, PollFlags::IN)];
        let eyes = self.eyes.as_fd();
        fds.extend(eyes.iter().map(|eyes| PollFd::new(eyes, PollFlags::IN)));
        match poll(&mut fds, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(e) => Err(e).at("wait for", "the next moment"),
        }
    }

    /// A HUP has everything read again.
    fn drain_signals(&mut self) {
        use std::io::Read;
        while (&self.signals).read(&mut [0; 16]).is_ok_and(|got| got > 0) {
            self.looked = None;
        }
    }
}

/// One thing that goes wrong must not keep the daemon from the others.
fn report(result: Result<()>) {
    if let Err(e) = result {
        error!("{e}");
    }
}

/// Removes what crashes left and what nothing needs any more. It takes as long as the store is large.
fn sweep(spool: &Spool, store: &StoreSize, first: bool) {
    if first {
        match spool.forget_undone_claims() {
            Ok(0) => {}
            Ok(builds) => info!(builds, "their claims were undone"),
            Err(e) => error!("queues could not be looked through: {e}"),
        }
    }
    match spool.sweep() {
        Ok(0) => {}
        Ok(count) => info!(count, "removed what a crash had left"),
        Err(e) => error!("can't sweep: {e}"),
    }
    match spool.store().collect_garbage() {
        Ok(Collected { gone, kept }) => {
            let (objects, bytes) = gone;
            if objects > 0 {
                info!(objects, bytes, "removed what nothing links to");
            }
            store.set(kept);
        }
        Err(e) => error!("can't collect garbage: {e}"),
    }
}

/// How often leases are looked at.
fn leases_every(config: &Config) -> Duration {
    let grace = Duration::from_secs(config.grace_seconds.into());
    LEASES.min(grace / 4).max(Duration::from_millis(100))
}

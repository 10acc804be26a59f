//! The daemon's round: mend, fire, sleep until something is due or somebody rings.

use crate::timers::Timers;
use jiff::SignedDuration;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use spool::config::Config;
use spool::error::{At, Result};
use spool::mend::Mended;
use spool::wake::Listener;
use spool::{Spool, clock};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tracing::{error, info};

/// A lost wake-up, and a clock that was set, cost at most this.
const RESCAN: Duration = Duration::from_secs(30);

/// How often leases are looked at, at the most; a short grace time makes it more often.
const LEASES: Duration = Duration::from_secs(5);

/// How often what a crash left is looked for.
const SWEEP: Duration = Duration::from_secs(600);

/// builderd at work.
pub struct Daemon<'a> {
    spool: &'a Spool,
    grace: SignedDuration,
    leases_every: Duration,
    timers: Timers,
    bell: Listener,
    stop: Arc<AtomicBool>,
    signals: UnixStream,
    swept: Option<Instant>,
}

impl<'a> Daemon<'a> {
    /// Gets ready to be told to stop.
    pub fn new(spool: &'a Spool, config: &Config) -> Result<Daemon<'a>> {
        let (signals, theirs) = UnixStream::pair().at("make", "a socket")?;
        signals.set_nonblocking(true).at("make", "a socket")?;
        let stop = Arc::new(AtomicBool::new(false));
        for signal in [SIGTERM, SIGINT] {
            signal_hook::flag::register(signal, stop.clone()).at("catch", "signals")?;
        }
        for signal in [SIGTERM, SIGINT, SIGHUP] {
            let end = theirs.try_clone().at("make", "a socket")?;
            signal_hook::low_level::pipe::register(signal, end).at("catch", "signals")?;
        }
        let grace = Duration::from_secs(config.grace_seconds.into());
        Ok(Daemon {
            spool,
            grace: SignedDuration::from_secs(config.grace_seconds.into()),
            leases_every: LEASES.min(grace / 4).max(Duration::from_millis(100)),
            timers: Timers::default(),
            bell: Listener::new(spool.layout().wake_daemon())?,
            stop,
            signals,
            swept: None,
        })
    }

    /// Works until it is told to stop; a single round with `once`.
    pub fn run(&mut self, once: bool) -> Result<()> {
        info!("serves {}", self.spool.layout().root().display());
        let mut looked: Option<Instant> = None;
        while !self.stop.load(Ordering::SeqCst) {
            // The bell is drained before the look, so that what is rung meanwhile is looked at next.
            let rung = self.bell.drain() | self.drain_signals();
            if rung || looked.is_none_or(|at| at.elapsed() >= RESCAN) {
                looked = Some(Instant::now());
                report(self.timers.refresh(self.spool));
            }
            self.fire();
            self.mend();
            self.sweep();
            if once {
                break;
            }
            self.sleep()?;
        }
        info!("stops");
        Ok(())
    }

    fn fire(&mut self) {
        let now = clock::now();
        for name in self.timers.due(now) {
            match self.spool.fire(&name, now) {
                Ok(queued) => {
                    for one in queued {
                        info!(job = %name, build = %one.id, already = one.already, "due");
                    }
                    report(self.timers.fired(self.spool, &name));
                }
                Err(e) => error!(job = %name, "can't be fired: {e}"),
            }
        }
    }

    fn mend(&self) {
        match self.spool.mend_leases(self.grace, clock::now()) {
            Ok(all) => all.into_iter().for_each(|one| match one {
                Ok(Mended::Requeued(build)) => info!(%build, "lost its worker and is queued again"),
                Ok(Mended::Ended(build, end)) => info!(%build, end = end.directory(), "lost its worker and is over"),
                Err(e) => error!("a lost build could not be mended: {e}"),
            }),
            Err(e) => error!("leases could not be looked at: {e}"),
        }
    }

    fn sweep(&mut self) {
        if self.swept.is_some_and(|at| at.elapsed() < SWEEP) {
            return;
        }
        self.swept = Some(Instant::now());
        match self.spool.sweep() {
            Ok(0) => {}
            Ok(count) => info!(count, "removed what a crash had left"),
            Err(e) => error!("can't sweep: {e}"),
        }
        match self.spool.store().collect_garbage() {
            Ok((0, _)) => {}
            Ok((objects, bytes)) => info!(objects, bytes, "removed what nothing links to"),
            Err(e) => error!("can't collect garbage: {e}"),
        }
    }

    fn sleep(&self) -> Result<()> {
        let now = clock::now();
        let until_due = self.timers.next(now).map(|next| next.duration_since(now));
        let until_due = until_due.and_then(|left| Duration::try_from(left).ok()).unwrap_or(RESCAN);
        // The wait ends just after the moment, never just before it.
        let wait = (until_due + Duration::from_millis(1)).min(RESCAN).min(self.leases_every);
        let timeout = Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: wait.subsec_nanos().into() };
        let mut fds = [PollFd::new(&self.bell, PollFlags::IN), PollFd::new(&self.signals, PollFlags::IN)];
        match poll(&mut fds, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(e) => Err(e).at("wait for", "the next moment"),
        }
    }

    fn drain_signals(&self) -> bool {
        use std::io::Read;
        let mut any = false;
        while (&self.signals).read(&mut [0; 16]).is_ok_and(|got| got > 0) {
            any = true;
        }
        any
    }
}

/// One thing that goes wrong must not keep the daemon from the others.
fn report(result: Result<()>) {
    if let Err(e) = result {
        error!("{e}");
    }
}

//! The index, in a thread of its own: it comes back from the spool, and goes on with what has changed, while timers and
//! leases are looked at as ever.

#[cfg(feature = "index")]
pub use with::start;

use std::thread::Thread;

/// Wakes who keeps the index.
pub struct Waker(Thread);

impl Waker {
    /// Something has changed.
    pub fn wake(&self) {
        self.0.unpark();
    }
}

/// A builderd without SQLite keeps none.
#[cfg(not(feature = "index"))]
pub fn start(_: &spool::Spool) -> Option<Waker> {
    let _ = Waker;
    None
}

#[cfg(feature = "index")]
mod with {
    use super::Waker;
    use spool::Spool;
    use spool::error::Result;
    use spool::index::{Keeper, Round};
    use std::thread;
    use std::time::{Duration, Instant};
    use tracing::{debug, error, info};

    /// How often the months are looked at when nothing is heard of them: a hand may have changed them, or the index.
    const EVERY: Duration = Duration::from_secs(10);

    /// When a month that has just changed can be trusted.
    const UNSETTLED: Duration = Duration::from_millis(2100);

    /// When it is tried again after a failure.
    const AGAIN: Duration = Duration::from_secs(60);

    /// A look at the months is followed by a pause so many times as long, however much changes; within these bounds.
    const LAZINESS: u32 = 20;
    const SHORTEST: Duration = Duration::from_millis(100);
    const LONGEST: Duration = Duration::from_secs(10);

    /// Starts the thread; it ends with the process, between any two steps.
    pub fn start(spool: &Spool) -> Option<Waker> {
        let spool = spool.clone();
        let keeps = thread::Builder::new().name("index".to_owned()).spawn(move || keep(&spool));
        let started = keeps.inspect_err(|e| error!("the index is not kept: {e}"));
        started.ok().map(|thread| Waker(thread.thread().clone()))
    }

    fn keep(spool: &Spool) {
        let mut keeper = None;
        let mut complained = false;
        loop {
            let start = Instant::now();
            let wait = match round(spool, &mut keeper) {
                Ok(round) => {
                    complained = false;
                    tell(&round, start.elapsed());
                    if round.unsettled { UNSETTLED } else { EVERY }
                }
                Err(e) => {
                    // What lasts, such as a full disk, is said once.
                    if !std::mem::replace(&mut complained, true) {
                        error!("the index is behind, and answers take longer: {e}");
                    }
                    AGAIN
                }
            };
            let pause = (start.elapsed() * LAZINESS).clamp(SHORTEST, LONGEST);
            thread::sleep(pause);
            thread::park_timeout(wait.saturating_sub(pause));
        }
    }

    fn round(spool: &Spool, keeper: &mut Option<Keeper>) -> Result<Round> {
        match keeper {
            Some(keeper) => keeper.round(),
            None => keeper.insert(Keeper::open(spool)?).round(),
        }
    }

    fn tell(round: &Round, took: Duration) {
        let (taken, gone, ms) = (round.taken, round.gone, took.as_millis());
        match taken + gone {
            0 if !round.anew => {}
            1..1000 if !round.anew => debug!(taken, gone, ms, "the index goes on"),
            _ => info!(taken, gone, ms, "the index has caught up"),
        }
        if round.unread > 0 {
            debug!(unread = round.unread, "the index lacks builds whose records can't be read");
        }
    }
}

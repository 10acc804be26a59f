//! Coming back to a build after its connection was lost: a thread that tries until the server has said what became of it.

use super::event::{Event, Mailbox};
use super::greeting::Resumed;
use super::session::{Connected, PATIENCE, Reach};
use spool::build_id::BuildId;
use spool::error::{Error, Kind, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tracing::warn;

/// The pause after the first attempt; each later one is twice as long, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// The longest pause between two attempts; a fifth of the grace time, if that is shorter.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// After so long nobody expects the worker back. A server that was down meanwhile has the build still, and gives it to
/// somebody else.
const LONGEST_ABSENCE: Duration = Duration::from_secs(24 * 3600);

/// The pause before the first attempt, when so many connections in a row were lost as soon as they were there: an sshd that
/// allows no uploads lets the worker come back each time.
pub fn pause_after(short: u32, grace: Duration) -> Duration {
    let growing = |earlier: u32| FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(earlier));
    short.checked_sub(2).map_or(Duration::ZERO, growing).min(longest_pause(grace))
}

/// The longest pause of a worker that is given up after so long; a connection that lasted less has not lasted.
pub fn longest_pause(grace: Duration) -> Duration {
    LONGEST_PAUSE.min(grace / 5)
}

/// What came of it.
pub enum Back {
    /// The build goes on over a new connection; the server has so many bytes of its console.
    Goes(Box<Connected>, u64),
    /// The build is over.
    Over,
    /// It can't go on here, and why.
    Lost(Error),
}

/// The thread. When this is dropped it stops as soon as it can.
pub struct Reconnect {
    /// By which number its event is known.
    pub number: u64,
    stop: Arc<AtomicBool>,
}

impl Reconnect {
    /// Starts to try, after this pause.
    pub fn start(
        reach: &Arc<Reach>,
        id: &BuildId,
        lease: &str,
        grace: Duration,
        pause: Duration,
        mailbox: &Mailbox,
    ) -> Reconnect {
        let (post, stop) = (mailbox.post(), Arc::new(AtomicBool::new(false)));
        let number = post.number();
        let trying = Trying {
            reach: reach.clone(),
            id: id.clone(),
            lease: lease.to_owned(),
            first_pause: pause,
            longest_pause: longest_pause(grace),
            patience: PATIENCE.min(grace / 5).max(Duration::from_secs(1)),
            stop: stop.clone(),
        };
        std::thread::spawn(move || {
            if let Some(back) = trying.run() {
                post.send(Event::Back(back));
            }
        });
        Reconnect { number, stop }
    }
}

impl Drop for Reconnect {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
    }
}

struct Trying {
    reach: Arc<Reach>,
    id: BuildId,
    lease: String,
    first_pause: Duration,
    longest_pause: Duration,
    /// For each step of an attempt.
    patience: Duration,
    stop: Arc<AtomicBool>,
}

impl Trying {
    /// Nothing when it was stopped.
    fn run(&self) -> Option<Back> {
        if !self.waits(self.first_pause) {
            return None;
        }
        let (start, mut pause) = (Instant::now(), FIRST_PAUSE.max(self.first_pause));
        loop {
            match self.attempt() {
                Ok(back) => return back,
                Err(e) if e.kind() != Kind::TryAgain && e.kind() != Kind::Io => return Some(Back::Lost(e)),
                Err(e) if start.elapsed() > LONGEST_ABSENCE => return Some(Back::Lost(e)),
                Err(e) => warn!(build = %self.id, "{e}; trying again"),
            }
            if !self.waits(pause.min(self.longest_pause)) {
                return None;
            }
            pause *= 2;
        }
    }

    /// False when it was stopped meanwhile.
    fn waits(&self, pause: Duration) -> bool {
        let until = Instant::now() + scattered(pause);
        while Instant::now() < until {
            if self.is_stopped() {
                return false;
            }
            std::thread::park_timeout(Duration::from_millis(50).min(pause));
        }
        true
    }

    fn attempt(&self) -> Result<Option<Back>> {
        let Some((connected, resumed)) = self.reach.connect_again(&self.id, &self.lease, self.patience)? else {
            return Ok(None);
        };
        if self.is_stopped() {
            return Ok(None);
        }
        Ok(Some(match resumed {
            Resumed::Goes(console) => Back::Goes(Box::new(connected), console),
            Resumed::Over => Back::Over,
            Resumed::Lapsed => Back::Lost(
                Error::new(Kind::TryAgain, format!("{} was taken from this worker: it was away for too long", self.id))
                    .hint("grace_seconds in the server's builder.toml says how long that may be"),
            ),
        }))
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::SeqCst) || self.reach.signals.caught()
    }
}

/// Between three quarters and all of a pause: the workers of a server that is back do not come all at once.
fn scattered(pause: Duration) -> Duration {
    let random = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0_u8);
    pause - pause / 4 * (random % 100) as u32 / 100
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_cut_off_again_and_again_waits_longer_each_time() {
        let pauses = |grace: u64| (0..9).map(move |short| pause_after(short, Duration::from_secs(grace)).as_millis());
        assert!(pauses(300).eq([0, 0, 250, 500, 1000, 2000, 4000, 8000, 16_000]));
        assert!(pauses(2).eq([0, 0, 250, 400, 400, 400, 400, 400, 400]));
        assert_eq!(pause_after(u32::MAX, Duration::from_secs(300)), LONGEST_PAUSE);
    }
}

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
    /// Starts to try.
    pub fn start(reach: &Arc<Reach>, id: &BuildId, lease: &str, grace: Duration, mailbox: &Mailbox) -> Reconnect {
        let (post, stop) = (mailbox.post(), Arc::new(AtomicBool::new(false)));
        let number = post.number();
        let trying = Trying {
            reach: reach.clone(),
            id: id.clone(),
            lease: lease.to_owned(),
            longest_pause: LONGEST_PAUSE.min(grace / 5),
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
    longest_pause: Duration,
    /// For each step of an attempt.
    patience: Duration,
    stop: Arc<AtomicBool>,
}

impl Trying {
    /// Nothing when it was stopped.
    fn run(&self) -> Option<Back> {
        let (start, mut pause) = (Instant::now(), FIRST_PAUSE);
        loop {
            match self.attempt() {
                Ok(back) => return back,
                Err(e) if e.kind() != Kind::TryAgain && e.kind() != Kind::Io => return Some(Back::Lost(e)),
                Err(e) if start.elapsed() > LONGEST_ABSENCE => return Some(Back::Lost(e)),
                Err(e) => warn!(build = %self.id, "{e}; trying again"),
            }
            let until = Instant::now() + scattered(pause.min(self.longest_pause));
            while Instant::now() < until {
                if self.is_stopped() {
                    return None;
                }
                std::thread::park_timeout(Duration::from_millis(50).min(pause));
            }
            pause *= 2;
        }
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

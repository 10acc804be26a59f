//! Signals that ask the worker to stop.

use super::event::{Event, Mailbox};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use spool::error::{At, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Whether one has come; a thread of their own reports each.
#[derive(Clone)]
pub struct Signals {
    caught: Arc<AtomicBool>,
}

impl Signals {
    /// Catches HUP, INT and TERM from now on.
    pub fn listen(mailbox: &Mailbox) -> Result<Signals> {
        let signals = Signals { caught: Arc::default() };
        let mut source = signal_hook::iterator::Signals::new([SIGHUP, SIGINT, SIGTERM]).at("catch", "signals")?;
        let (caught, post) = (signals.caught.clone(), mailbox.urgent_post());
        std::thread::spawn(move || {
            for _ in source.forever() {
                caught.store(true, Ordering::SeqCst);
                post.send(Event::Signal);
            }
        });
        Ok(signals)
    }

    /// Whether one has come.
    pub fn caught(&self) -> bool {
        self.caught.load(Ordering::SeqCst)
    }

    /// Waits this long. True as soon as a signal has come, also before.
    pub fn wait(&self, pause: Duration) -> bool {
        let until = Instant::now() + pause;
        while Instant::now() < until && !self.caught() {
            std::thread::park_timeout(Duration::from_millis(50).min(pause));
        }
        self.caught()
    }
}

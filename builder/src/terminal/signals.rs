//! Signals as something to wait for: the end is asked for once politely, and the second time it comes at once.

use signal_hook::consts::{SIGINT, SIGTERM, SIGTSTP, SIGWINCH};
use signal_hook::flag;
use signal_hook::low_level::{emulate_default_handler, pipe};
use spool::error::{At, Result};
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// The signals of a program that follows something. Whoever polls it is woken by each of them.
#[derive(Debug)]
pub struct Signals {
    bell: UnixStream,
    theirs: UnixStream,
    ended: Arc<AtomicUsize>,
    stopped: Arc<AtomicBool>,
}

impl Signals {
    /// Takes SIGINT and SIGTERM, each once; the next one kills. Also wakes when the terminal changes its size.
    pub fn take() -> Result<Signals> {
        let (bell, theirs) = UnixStream::pair().at("make", "a socket")?;
        bell.set_nonblocking(true).at("make", "a socket")?;
        let signals = Signals { bell, theirs, ended: Arc::default(), stopped: Arc::default() };
        let again = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            flag::register_conditional_default(signal, again.clone()).at("catch", "signals")?;
            flag::register(signal, again.clone()).at("catch", "signals")?;
            flag::register_usize(signal, signals.ended.clone(), signal as usize).at("catch", "signals")?;
        }
        [SIGINT, SIGTERM, SIGWINCH].into_iter().try_for_each(|signal| signals.wake_by(signal))?;
        Ok(signals)
    }

    fn wake_by(&self, signal: i32) -> Result<()> {
        let end = self.theirs.try_clone().at("make", "a socket")?;
        pipe::register(signal, end).map(drop).at("catch", "signals")
    }

    /// Takes SIGTSTP, too: [`Signals::stop`] must follow it.
    pub fn take_stop(&self) -> Result<()> {
        flag::register(SIGTSTP, self.stopped.clone()).at("catch", "signals")?;
        self.wake_by(SIGTSTP)
    }

    /// The signal that has asked for the end.
    pub fn ended(&self) -> Option<u8> {
        u8::try_from(self.ended.load(Ordering::Relaxed)).ok().filter(|signal| *signal != 0)
    }

    /// Whether somebody wants the program to stop for a while; said once.
    pub fn stopped(&self) -> bool {
        self.stopped.swap(false, Ordering::Relaxed)
    }

    /// Stops until somebody lets the program go on.
    pub fn stop(&self) -> Result<()> {
        emulate_default_handler(SIGTSTP).at("stop at", "a signal")
    }

    /// Forgets what has woken so far.
    pub fn drain(&self) {
        let mut bytes = [0; 64];
        while (&self.bell).read(&mut bytes).is_ok_and(|got| got > 0) {}
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }
}

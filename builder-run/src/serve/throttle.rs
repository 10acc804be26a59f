//! How fast a worker may send: what comes faster waits in its connection, until the worker waits, too.

use std::io::{self, Read};
use std::time::{Duration, Instant};

/// So much may come at once after a pause.
const BURST: Duration = Duration::from_secs(1);

/// A limit in bytes a second.
#[derive(Debug)]
pub struct Throttle {
    per_second: u64,
    /// When all that came would have come at the permitted speed.
    paid: Instant,
}

impl Throttle {
    /// So many bytes a second; 0 for as many as come.
    pub fn new(per_second: u64) -> Throttle {
        Throttle { per_second, paid: Instant::now() }
    }

    /// Counts what came.
    pub fn took(&mut self, bytes: usize) {
        if self.per_second > 0 {
            let worth = Duration::from_secs_f64(bytes as f64 / self.per_second as f64);
            self.paid = self.paid.max(Instant::now()) + worth;
        }
    }

    /// For how long nothing may be taken.
    pub fn pause(&self) -> Duration {
        self.paid.saturating_duration_since(Instant::now()).saturating_sub(BURST)
    }
}

/// A stream that is read no faster.
pub struct Throttled<R> {
    pub from: R,
    pub throttle: Throttle,
}

impl<R: Read> Read for Throttled<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let until = Instant::now() + self.throttle.pause();
        while Instant::now() < until {
            std::thread::park_timeout(until.saturating_duration_since(Instant::now()));
        }
        let got = self.from.read(buffer)?;
        self.throttle.took(got);
        Ok(got)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_too_fast_is_paid_for_later() {
        let mut throttle = Throttle::new(1000);
        throttle.took(1000);
        assert_eq!(throttle.pause(), Duration::ZERO, "a burst");
        throttle.took(10_000);
        let pause = throttle.pause();
        assert!(pause > Duration::from_secs(9) && pause <= Duration::from_secs(10), "{pause:?}");
        let mut free = Throttle::new(0);
        free.took(usize::MAX);
        assert_eq!(free.pause(), Duration::ZERO);
    }
}

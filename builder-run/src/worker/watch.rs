//! Waiting for a script's end: its own, or the one that somebody makes of it.

use super::process::Process;
use super::talk::{News, Talk};
use crate::protocol::ToWorker;
use spool::error::Result;
use spool::record::Outcome;
use std::time::{Duration, Instant};

/// No deadline is later than this.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// Why a script was not left to its own end.
pub enum Why {
    /// Its time was over.
    Deadline,
    /// It printed nothing for too long.
    Silence,
    /// It must end with this outcome: the server wants it, or its console can't be kept.
    Outcome(Outcome),
    /// The build is over already.
    Over,
    /// The worker was told to stop.
    Asked,
}

/// A watch over a running script.
pub struct Watch<'p> {
    process: &'p Process,
    deadline: Instant,
    silence: Option<Duration>,
    kill_after: Duration,
    kill_at: Option<Instant>,
    why: Option<Why>,
    console_ended: bool,
}

impl<'p> Watch<'p> {
    /// Watches a script that may run for `timeout`, print nothing for `silence`, and gets so many seconds after TERM.
    pub fn new(process: &'p Process, timeout: Duration, silence: Option<Duration>, kill_after: u32) -> Watch<'p> {
        Watch {
            process,
            deadline: process.started + timeout.min(LONGEST),
            silence,
            kill_after: Duration::from_secs(kill_after.into()),
            kill_at: None,
            why: None,
            console_ended: false,
        }
    }

    /// Waits until the script has ended, by itself or by TERM and then KILL.
    pub fn until_exit(&mut self, talk: &mut Talk<'_>) -> Result<()> {
        loop {
            let now = Instant::now();
            if self.kill_at.is_some_and(|at| now >= at) {
                self.process.kill();
                self.kill_at = Some(now + LONGEST);
            }
            if self.why.is_none() && now >= self.deadline {
                self.stop(Why::Deadline);
            }
            let quiet_until = self.silence.map(|silence| self.process.last_printed() + silence.min(LONGEST));
            if self.why.is_none() && quiet_until.is_some_and(|until| now >= until) {
                self.stop(Why::Silence);
            }
            let until = self.kill_at.unwrap_or(quiet_until.map_or(self.deadline, |until| until.min(self.deadline)));
            match talk.next(until.saturating_duration_since(Instant::now()))? {
                News::Exited => return Ok(()),
                News::Message(ToWorker::Cancel { outcome }) => self.stop(Why::Outcome(outcome)),
                News::ConsoleFailed(reason) => self.stop(Why::Outcome(Outcome::Aborted { reason })),
                News::Over => self.stop(Why::Over),
                News::Signal => self.stop(Why::Asked),
                News::ConsoleEnded => self.console_ended = true,
                News::Message(_) | News::Changed | News::Again | News::Uploaded | News::Refused(_) | News::Timeout => {}
            }
        }
    }

    /// Why the script was stopped, if it was, and whether its console has ended.
    pub fn over(self) -> (Option<Why>, bool) {
        (self.why, self.console_ended)
    }

    fn stop(&mut self, why: Why) {
        if self.why.is_none() {
            self.why = Some(why);
            self.kill_at = Some(Instant::now() + self.kill_after);
            self.process.terminate();
        }
    }
}

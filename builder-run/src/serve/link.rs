//! The server's end of a session: two streams, with sockets that wake it.

use super::streams::Streams;
use super::throttle::Throttle;
use crate::protocol::inbox::{Inbox, send};
use crate::protocol::{ToServer, ToWorker};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use spool::error::{At, Error, Kind, Result};
use spool::wake::Listener;
use std::fs::File;
use std::io::{self, Write};
use std::time::{Duration, Instant};

/// Seconds without a word after which the other end is asked whether it lives.
const QUIET: Duration = Duration::from_secs(15);

/// What a pipe takes whole.
const PIPE_BUF: usize = 4096;

/// What came next.
#[derive(Debug)]
pub enum Event {
    /// A message with its raw bytes.
    Message(ToServer, Vec<u8>),
    /// Somebody rang, or it is time to look again.
    Look,
    /// The worker is gone: end of stream, or silence for the grace time.
    Gone(String),
}

/// The two streams of a session.
#[derive(Debug)]
pub struct Link {
    input: File,
    output: File,
    inbox: Inbox,
    heard: Instant,
    asked: bool,
    /// When the worker was last told, while it talked, that it is heard.
    assured: Instant,
    patience: Duration,
    /// There is nothing to lose: a worker without a build is asked less often.
    calm: bool,
    throttle: Throttle,
}

impl Link {
    /// A worker that is silent for `patience` counts as gone.
    pub fn new(streams: Streams, patience: Duration, throttle: Throttle) -> Link {
        Link {
            input: streams.input,
            output: streams.output,
            inbox: Inbox::default(),
            heard: Instant::now(),
            asked: false,
            assured: Instant::now(),
            patience,
            calm: false,
            throttle,
        }
    }

    /// Whether there is nothing to lose: then heartbeats take their time.
    pub fn calm(&mut self, yes: bool) {
        self.calm = yes;
    }

    /// After how much silence the worker is asked, and after how much it is gone.
    fn limits(&self) -> (Duration, Duration) {
        match self.calm {
            true => (self.patience, 2 * self.patience),
            false => (QUIET.min(self.patience / 3), self.patience),
        }
    }

    /// Says something to the worker. One that takes nothing for its patience's time is gone.
    pub fn say(&self, message: &ToWorker, data: &[u8]) -> Result<()> {
        send(&mut Patient { to: &self.output, patience: self.patience }, message, data).at("write to", "the worker")
    }

    /// When the worker was heard last.
    pub fn heard(&self) -> Instant {
        self.heard
    }

    /// Waits for a message, a ring or `look` to pass. Heartbeats are answered and asked for on the way.
    pub fn next(&mut self, listeners: &[Listener], look: Duration) -> Result<Event> {
        let until = Instant::now() + look;
        loop {
            match self.inbox.message::<ToServer>() {
                Ok(Some((ToServer::Ping, _))) => {
                    self.say(&ToWorker::Pong, b"")?;
                    continue;
                }
                Ok(Some((ToServer::Pong, _))) => continue,
                Ok(Some((message, data))) => return Ok(Event::Message(message, data.to_vec())),
                Ok(None) => {}
                Err(e) => return Err(Error::new(Kind::Data, e.to_string())),
            }
            let pause = self.throttle.pause();
            if !pause.is_zero() {
                self.heard = Instant::now();
                self.assure()?;
                std::thread::park_timeout(pause.min(self.patience / 8));
                match Instant::now() < until {
                    true => continue,
                    false => return Ok(Event::Look),
                }
            }
            let silent = self.heard.elapsed();
            // What came while this process did something else was said in time.
            let (asks, gives_up) = self.limits();
            if silent > gives_up && !self.wait(&[], Duration::ZERO)?.0 {
                return Ok(Event::Gone(format!("it was silent for {} s", silent.as_secs())));
            }
            if silent > asks && !self.asked {
                self.say(&ToWorker::Ping, b"")?;
                self.asked = true;
            }
            if Instant::now() >= until {
                return Ok(Event::Look);
            }
            let due = if self.asked { gives_up } else { asks };
            let due = due.saturating_sub(self.heard.elapsed()) + Duration::from_millis(1);
            let left = until.saturating_duration_since(Instant::now()).min(due);
            let (readable, rung) = self.wait(listeners, left)?;
            // First, because a script that prints without a pause is always readable.
            if rung {
                return Ok(Event::Look);
            }
            if readable {
                self.heard = Instant::now();
                self.asked = false;
                match self.inbox.fill(&self.input) {
                    Ok(0) => return Ok(Event::Gone("it closed the connection".into())),
                    Ok(got) => self.throttle.took(got),
                    Err(e) => return Ok(Event::Gone(e.to_string())),
                }
                self.assure()?;
            }
        }
    }

    /// Lets a worker that talks without a pause know that it is heard: an answer to what it asks waits behind all that
    /// it said before.
    fn assure(&mut self) -> Result<()> {
        if self.assured.elapsed() < self.patience / 8 {
            return Ok(());
        }
        self.assured = Instant::now();
        self.say(&ToWorker::Ping, b"")
    }

    /// Does something that may take long, and lets the worker know meanwhile that nobody has died.
    pub fn while_busy<T>(&self, work: impl FnOnce() -> T) -> T {
        let (done, over) = std::sync::mpsc::channel::<()>();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                while over.recv_timeout(self.patience / 8) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                    if self.say(&ToWorker::Ping, b"").is_err() {
                        return;
                    }
                }
            });
            let result = work();
            drop(done);
            result
        })
    }

    /// Whether the worker has closed its end, whatever it said before and is not read yet.
    pub fn is_hung_up(&self) -> bool {
        let mut fds = [PollFd::new(&self.input, PollFlags::IN)];
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut fds, Some(&at_once)).is_ok() && fds[0].revents().intersects(PollFlags::HUP | PollFlags::ERR)
    }

    fn wait(&self, listeners: &[Listener], left: Duration) -> Result<(bool, bool)> {
        let mut fds = vec![PollFd::new(&self.input, PollFlags::IN)];
        fds.extend(listeners.iter().map(|listener| PollFd::new(listener, PollFlags::IN)));
        let timeout = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
        match poll(&mut fds, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e).at("wait for", "the worker"),
        }
        let ready = |fd: &PollFd<'_>| !fd.revents().is_empty();
        Ok((ready(&fds[0]), fds[1..].iter().any(ready)))
    }
}

/// An output that waits for its reader, and not for ever.
struct Patient<'a> {
    to: &'a File,
    patience: Duration,
}

impl Write for Patient<'_> {
    /// Writes what fits: whoever is ready for writing takes so much without blocking (pipe(7), "PIPE_BUF").
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let timeout = Timespec { tv_sec: self.patience.as_secs() as i64, tv_nsec: self.patience.subsec_nanos().into() };
        match poll(&mut [PollFd::new(self.to, PollFlags::OUT)], Some(&timeout)) {
            Ok(0) => Err(io::Error::new(io::ErrorKind::TimedOut, "it takes nothing")),
            Ok(_) => self.to.write(&bytes[..bytes.len().min(PIPE_BUF)]),
            Err(e) => Err(e.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A message that has no place here.
pub fn out_of_turn(message: &ToServer, expected: &str) -> Error {
    let json = serde_json::to_string(message).unwrap_or_default();
    let shown: String = json.chars().take(60).collect();
    Error::new(Kind::Data, format!("`{shown}` came where {expected} was expected"))
}

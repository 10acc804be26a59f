//! What the worker waits for, in one place.

use super::reconnect::Back;
use crate::protocol::ToWorker;
use std::cell::Cell;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Instant;

/// What the worker waits for.
pub enum Event {
    /// The server said something.
    Message(ToWorker, Vec<u8>),
    /// The connection ended.
    Closed(String),
    /// All that the script has printed is on its way to the server.
    ConsoleSent,
    /// The artifacts that the server wanted are there, or why they are not.
    Uploaded(Result<(), Failure>),
    /// What came of connecting again.
    Back(Back),
    /// The script ended. It is a zombie still, so that its number stays its own.
    Exited,
    /// All writers of the console are gone.
    ConsoleEnded,
    /// No more of the console is kept, and why.
    ConsoleFailed(String),
    /// The worker shall stop.
    Signal,
    /// Nothing happened in time.
    Timeout,
}

/// Why an upload came to nothing.
pub enum Failure {
    /// The server, or the worker's own disk, refuses something.
    Refused(String),
    /// The connection is lost.
    Lost(String),
}

/// Where all threads of the worker leave what they have to report.
///
/// Each of them has a number, and who reads says whom it is waiting for: what comes late from a connection that was given
/// up, or from the script of an earlier build, is passed over.
pub struct Mailbox {
    events: Receiver<(u64, Event)>,
    sender: Sender<(u64, Event)>,
    last: Cell<u64>,
}

/// The number whose reports are never passed over.
const ALWAYS: u64 = 0;

impl Mailbox {
    /// An empty one.
    pub fn new() -> Mailbox {
        let (sender, events) = channel();
        Mailbox { events, sender, last: Cell::new(ALWAYS) }
    }

    /// For a thread with a number of its own.
    pub fn post(&self) -> Post {
        self.last.set(self.last.get() + 1);
        Post { number: self.last.get(), to: self.sender.clone() }
    }

    /// For what concerns whoever reads.
    pub fn urgent_post(&self) -> Post {
        Post { number: ALWAYS, to: self.sender.clone() }
    }

    /// The next event from one of these numbers, or [`Event::Timeout`] when there is none until then.
    pub fn next(&self, numbers: &[u64], until: Instant) -> Event {
        loop {
            match self.events.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok((number, event)) if number == ALWAYS || numbers.contains(&number) => return event,
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return Event::Timeout,
            }
        }
    }
}

/// What a thread reports with.
#[derive(Clone)]
pub struct Post {
    number: u64,
    to: Sender<(u64, Event)>,
}

impl Post {
    /// By which number the thread is known.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Reports. False when nobody will ever read it.
    pub fn send(&self, event: Event) -> bool {
        self.to.send((self.number, event)).is_ok()
    }
}

//! The worker's end of a session: a thread that reads, and one that writes.

use super::console::Kept;
use super::event::{Event, Mailbox, Post};
use super::greeting::Greeted;
use super::outbox::{self, Feed, Order};
use crate::protocol::inbox::Inbox;
use crate::protocol::{ToServer, ToWorker};
use spool::error::Result;
use std::fs::File;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A session as the worker sees it.
pub struct Link {
    number: u64,
    orders: Sender<Order>,
    heard: Arc<Mutex<Instant>>,
    patience: Duration,
    /// There is nothing to lose: a server from which nothing but a build is awaited is asked less often.
    calm: bool,
    asked: bool,
}

impl Link {
    /// Starts to read and to write, once both sides know each other. A server that is silent for `patience` is gone.
    pub fn new(greeted: Greeted, patience: Duration, mailbox: &Mailbox) -> Link {
        let post = mailbox.post();
        let number = post.number();
        let orders = outbox::start(greeted.streams.to, post.clone());
        let heard = Arc::new(Mutex::new(Instant::now()));
        let reader = Reader { post, answers: orders.clone(), heard: heard.clone(), inbox: greeted.inbox };
        std::thread::spawn(move || reader.run(greeted.streams.from));
        Link { number, orders, heard, patience: patience.max(Duration::from_secs(1)), calm: false, asked: false }
    }

    /// Whether there is nothing to lose: then heartbeats take their time.
    pub fn calm(&mut self, yes: bool) {
        self.calm = yes;
    }

    /// Says something to the server, without waiting for it. When it can't be said, [`Event::Closed`] comes.
    pub fn say(&self, message: ToServer, data: Vec<u8>) {
        let _ = self.orders.send(Order::Say(message, data));
    }

    /// Waits until everything is written that was said, for a second at most.
    pub fn flush(&self) {
        let (done, written) = channel();
        let _ = self.orders.send(Order::Report(done));
        let _ = written.recv_timeout(Duration::from_secs(1));
    }

    /// Sends a console, behind so many bytes that the server has, and as it grows.
    ///
    /// # Errors
    /// The console can't be read, or has not so many bytes.
    pub fn send_console(&self, kept: &Arc<Kept>, from: u64) -> Result<()> {
        kept.tell(self.orders.clone());
        let _ = self.orders.send(Order::Console(Feed::new(kept, from)?));
        Ok(())
    }

    /// The next event of this link or of these numbers. A silent server is asked on the way whether it lives.
    pub fn next(&mut self, mailbox: &Mailbox, others: &[u64], until: Instant) -> Event {
        let mut numbers = others.to_vec();
        numbers.push(self.number);
        let patience = if self.calm { 4 * self.patience } else { self.patience };
        loop {
            match mailbox.next(&numbers, until.min(Instant::now() + patience / 4)) {
                Event::Timeout => {}
                event => return event,
            }
            let silent = self.heard.lock().map_or(Duration::ZERO, |heard| heard.elapsed());
            self.asked &= silent > patience / 2;
            if silent > patience {
                return Event::Closed(format!("the server was silent for {} s", silent.as_secs()));
            }
            if !self.asked && silent > patience / 2 {
                self.say(ToServer::Ping, Vec::new());
                self.asked = true;
            }
            if Instant::now() >= until {
                return Event::Timeout;
            }
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let _ = self.orders.send(Order::Close);
    }
}

/// Takes what the server says. It answers heartbeats itself, so that a worker that hashes for minutes does not seem
/// dead.
struct Reader {
    post: Post,
    answers: Sender<Order>,
    heard: Arc<Mutex<Instant>>,
    inbox: Inbox,
}

impl Reader {
    fn run(mut self, mut from: File) {
        let why = loop {
            match self.inbox.message::<ToWorker>() {
                Ok(Some((ToWorker::Pong, _))) => {}
                Ok(Some((ToWorker::Ping, _))) => {
                    let _ = self.answers.send(Order::Say(ToServer::Pong, Vec::new()));
                }
                Ok(Some((message, data))) => {
                    if !self.post.send(Event::Message(message, data.to_vec())) {
                        return;
                    }
                }
                Ok(None) => match self.inbox.fill(&mut from) {
                    Ok(1..) => {
                        if let Ok(mut heard) = self.heard.lock() {
                            *heard = Instant::now();
                        }
                    }
                    Ok(0) => break "the server closed it".to_owned(),
                    Err(e) => break e.to_string(),
                },
                Err(e) => break e.to_string(),
            }
        };
        self.post.send(Event::Closed(why));
    }
}

//! The worker's end of a session: a reader thread, a writer that threads share, and signals.

use super::transport::Streams;
use crate::protocol::inbox::{Inbox, send};
use crate::protocol::{ToServer, ToWorker};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use spool::error::{At, Error, Kind, Result};
use std::fs::File;
use std::process::ExitStatus;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

/// What the worker waits for.
#[derive(Debug)]
pub enum Event {
    /// The server said something.
    Message(ToWorker, Vec<u8>),
    /// The connection ended.
    Closed(String),
    /// The script ended. It is a zombie still, so that its number stays its own.
    Exited,
    /// All writers of the console are gone.
    ConsoleEnded,
    /// The worker shall stop.
    Signal,
    /// Nothing happened in time.
    Timeout,
}

impl Event {
    /// For a message about a lost connection.
    pub fn describe(&self) -> String {
        match self {
            Event::Closed(why) => why.clone(),
            Event::Timeout => "it is silent".into(),
            Event::Message(message, _) => format!("unexpected {message:?}").chars().take(80).collect(),
            other => format!("{other:?}"),
        }
    }
}

/// Signals that ask the worker to stop; a thread of their own passes them on.
pub struct Signals {
    caught: Arc<AtomicBool>,
    forward: Arc<Mutex<Option<Sender<Event>>>>,
}

impl Signals {
    /// Catches HUP, INT and TERM from now on.
    pub fn listen() -> Result<Signals> {
        let signals = Signals { caught: Arc::default(), forward: Arc::default() };
        let mut source = signal_hook::iterator::Signals::new([SIGHUP, SIGINT, SIGTERM]).at("catch", "signals")?;
        let (caught, forward) = (signals.caught.clone(), signals.forward.clone());
        std::thread::spawn(move || {
            for _ in source.forever() {
                caught.store(true, Ordering::SeqCst);
                if let Ok(Some(to)) = forward.lock().as_deref() {
                    let _ = to.send(Event::Signal);
                }
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
            std::thread::sleep(Duration::from_millis(50).min(pause));
        }
        self.caught()
    }
}

/// The part that several threads write to.
pub type Writer = Arc<Mutex<File>>;

/// A session as the worker sees it.
pub struct Link {
    writer: Writer,
    events: Receiver<Event>,
    sender: Sender<Event>,
    patience: Duration,
    heard: Arc<Mutex<Instant>>,
}

impl Link {
    /// Starts to read.
    pub fn new(streams: Streams, signals: &Signals) -> Result<Link> {
        let (sender, events) = channel();
        let writer = Arc::new(Mutex::new(streams.to));
        let heard = Arc::new(Mutex::new(Instant::now()));
        let reader = Reader { to: sender.clone(), answers: Arc::downgrade(&writer), heard: heard.clone() };
        std::thread::spawn(move || reader.run(streams.from));
        if let Ok(mut forward) = signals.forward.lock() {
            *forward = Some(sender.clone());
        }
        if signals.caught.load(Ordering::SeqCst) {
            let _ = sender.send(Event::Signal);
        }
        Ok(Link { writer, events, sender, patience: Duration::from_secs(60), heard })
    }

    /// A server that is silent for longer counts as gone.
    pub fn expect_life_within(&mut self, patience: Duration) {
        self.patience = patience.max(Duration::from_secs(1));
    }

    /// The error that the server has said and nobody has taken yet, once the connection is of no use any more.
    pub fn last_words(&self) -> Option<(String, u8)> {
        let until = Instant::now() + Duration::from_secs(1);
        loop {
            match self.events.recv_timeout(until.saturating_duration_since(Instant::now())).ok()? {
                Event::Message(ToWorker::Error { text, code }, _) => return Some((text, code)),
                Event::Closed(_) => return None,
                _ => {}
            }
        }
    }

    /// Says something to the server.
    pub fn say(&self, message: &ToServer, data: &[u8]) -> Result<()> {
        say(&self.writer, message, data)
    }

    /// For a thread that says something, too.
    pub fn writer(&self) -> Writer {
        self.writer.clone()
    }

    /// For a thread that has something to report.
    pub fn reporter(&self) -> Sender<Event> {
        self.sender.clone()
    }

    /// The next event, at the latest after `wait`. A silent server is asked on the way whether it lives.
    pub fn next(&mut self, wait: Duration) -> Result<Event> {
        let until = Instant::now() + wait;
        let mut asked = false;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match self.events.recv_timeout(left.min(self.patience / 3)) {
                Ok(event) => return Ok(event),
                Err(RecvTimeoutError::Disconnected) => return Ok(Event::Closed("it ended".into())),
                Err(RecvTimeoutError::Timeout) if Instant::now() >= until => return Ok(Event::Timeout),
                Err(RecvTimeoutError::Timeout) => {
                    let silent = self.heard.lock().map_or(Duration::ZERO, |heard| heard.elapsed());
                    asked &= silent > self.patience / 2;
                    if silent > self.patience {
                        return Ok(Event::Closed(format!("the server was silent for {} s", silent.as_secs())));
                    }
                    if !asked && silent > self.patience / 2 {
                        self.say(&ToServer::Ping, b"")?;
                        asked = true;
                    }
                }
            }
        }
    }
}

/// Writes one message whole.
pub fn say(writer: &Writer, message: &ToServer, data: &[u8]) -> Result<()> {
    let mut to = writer.lock().map_err(|_| Error::new(Kind::Internal, "a thread failed while it wrote"))?;
    send(&mut *to, message, data).at("write to", "the server")
}

/// Takes what the server says. It answers heartbeats itself, so that a worker that hashes or uploads for
/// minutes does not seem dead.
struct Reader {
    to: Sender<Event>,
    /// Not held, so that the server sees the end of the stream when the link is dropped.
    answers: Weak<Mutex<File>>,
    heard: Arc<Mutex<Instant>>,
}

impl Reader {
    fn run(self, mut from: File) {
        let mut inbox = Inbox::default();
        let why = loop {
            match inbox.next::<ToWorker>() {
                Ok(Some((ToWorker::Pong, _))) => {}
                Ok(Some((ToWorker::Ping, _))) => {
                    // That the answer can't be sent is seen by whoever reads next.
                    let _ = self.answers.upgrade().map(|to| say(&to, &ToServer::Pong, b""));
                }
                Ok(Some((message, data))) => {
                    if self.to.send(Event::Message(message, data.to_vec())).is_err() {
                        return;
                    }
                }
                Ok(None) => match inbox.fill(&mut from) {
                    Ok(true) => {
                        if let Ok(mut heard) = self.heard.lock() {
                            *heard = Instant::now();
                        }
                    }
                    Ok(false) => break "the server closed it".to_owned(),
                    Err(e) => break e.to_string(),
                },
                Err(e) => break e.to_string(),
            }
        };
        let _ = self.to.send(Event::Closed(why));
    }
}

/// What [`Event::Exited`] stands for, once the process is reaped.
pub fn outcome_of(status: ExitStatus) -> spool::record::Outcome {
    use spool::record::Outcome;
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => Outcome::Exited { code: code as u8 },
        (None, Some(signal)) => Outcome::Signalled { signal },
        _ => Outcome::Aborted { reason: "the system did not say how the script ended".into() },
    }
}

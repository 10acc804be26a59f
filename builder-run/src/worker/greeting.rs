//! The first words of a session, before there are threads: who the other side is, and what was in hand.

use super::ended_by_server;
use super::session::Reach;
use super::signals::Signals;
use super::transport::Streams;
use crate::protocol::inbox::{Inbox, send};
use crate::protocol::{PROTOCOL, ToServer, ToWorker};
use jiff::SignedDuration;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use spool::build_id::BuildId;
use spool::clock;
use spool::error::{At, Error, Kind, Result};
use std::time::{Duration, Instant};
use tracing::info;

/// How long a signal may wait.
const LOOK: Duration = Duration::from_millis(200);

/// A session in which both sides know each other.
pub struct Greeted {
    pub streams: Streams,
    pub inbox: Inbox,
    /// After how long a worker that is not heard loses its build.
    pub grace: Duration,
    /// The server's release.
    pub version: String,
    /// By how much the server's clock is ahead of this one; nothing when it did not say. It is as wrong as its word was
    /// long on the way.
    pub ahead: Option<SignedDuration>,
    /// How long the server may take for each word.
    patience: Duration,
}

/// What the server says to a worker that comes back to a build.
pub enum Resumed {
    /// The build is the worker's; the server has so many bytes of its console.
    Goes(u64),
    /// It is over.
    Over,
    /// It was given to somebody else.
    Lapsed,
}

impl Greeted {
    /// Takes the server's greeting and answers it. Nothing when a signal came meanwhile. The server may take as long as
    /// `patience` for each word.
    pub fn new(streams: Streams, reach: &Reach, patience: Duration) -> Result<Option<Greeted>> {
        let (inbox, grace, version) = (Inbox::default(), Duration::ZERO, String::new());
        let mut greeted = Greeted { streams, inbox, grace, version, ahead: None, patience };
        let (protocol, version, grace) = match greeted.hear(&reach.signals)? {
            Some(ToWorker::Hello { protocol, version, grace_seconds, time }) => {
                greeted.ahead = time.map(|time| time.duration_since(clock::now()));
                (protocol, version, grace_seconds)
            }
            Some(other) => {
                let shown: String = format!("{other:?}").chars().take(80).collect();
                return Err(Error::new(Kind::TryAgain, format!("the server did not greet: {shown}")));
            }
            None => return Ok(None),
        };
        let [lowest, highest] = protocol;
        if PROTOCOL[1] < lowest || PROTOCOL[0] > highest {
            return Err(Error::new(
                Kind::Data,
                format!(
                    "the server is builder {version} and speaks protocol {lowest} to {highest}, this is {PROTOCOL:?}"
                ),
            )
            .hint("install the same release on both sides"));
        }
        greeted.grace = Duration::from_secs(grace.into());
        greeted.say(&ToServer::Hello {
            protocol: PROTOCOL[1].min(highest),
            instance: reach.instance.clone(),
            platforms: reach.args.platforms.clone(),
            system: reach.described.clone(),
        })?;
        info!("connected to builder {version}");
        greeted.version = version;
        Ok(Some(greeted))
    }

    /// Waits until the server has taken in what was said, and has nothing against it.
    pub fn is_welcome(&mut self, signals: &Signals) -> Result<()> {
        // Who refuses it may have hung up already, and has said why before that.
        let _ = self.say(&ToServer::Ping);
        self.hear_until(signals, |word| matches!(word, ToWorker::Pong)).map(drop)
    }

    /// Comes back to a build. Nothing when a signal came meanwhile.
    pub fn resume(&mut self, id: &BuildId, lease: &str, signals: &Signals) -> Result<Option<Resumed>> {
        self.say(&ToServer::Resume { id: id.clone(), lease: lease.to_owned() })?;
        Ok(match self.hear(signals)? {
            Some(ToWorker::Resumed { console, .. }) => Some(Resumed::Goes(console)),
            Some(ToWorker::Finished { .. }) => Some(Resumed::Over),
            Some(ToWorker::Lapsed { .. }) => Some(Resumed::Lapsed),
            Some(_) => return Err(Error::new(Kind::Data, "the server did not say what became of the build")),
            None => None,
        })
    }

    fn say(&mut self, message: &ToServer) -> Result<()> {
        send(&mut self.streams.to, message, b"").at("write to", "the server")
    }

    /// The next word that is no heartbeat.
    fn hear(&mut self, signals: &Signals) -> Result<Option<ToWorker>> {
        self.hear_until(signals, |word| !matches!(word, ToWorker::Pong))
    }

    /// The next word that is meant.
    fn hear_until(&mut self, signals: &Signals, is_meant: impl Fn(&ToWorker) -> bool) -> Result<Option<ToWorker>> {
        let until = Instant::now() + self.patience;
        let lost = |why: String| Error::new(Kind::TryAgain, format!("the connection is lost: {why}"));
        while !signals.caught() {
            // Heartbeats don't count: who says nothing else is as silent as who says nothing.
            if Instant::now() > until {
                return Err(lost("the server is silent".into()));
            }
            match self.inbox.message::<ToWorker>().map_err(|e| lost(e.to_string()))? {
                Some((ToWorker::Ping, _)) => {
                    self.say(&ToServer::Pong)?;
                    continue;
                }
                Some((ToWorker::Error { text, code }, _)) => return Err(ended_by_server(&text, code)),
                Some((message, _)) if is_meant(&message) => return Ok(Some(message)),
                Some(_) => continue,
                None => {}
            }
            let step = Timespec { tv_sec: 0, tv_nsec: LOOK.subsec_nanos().into() };
            let readable = match poll(&mut [PollFd::new(&self.streams.from, PollFlags::IN)], Some(&step)) {
                Ok(ready) => ready > 0,
                Err(rustix::io::Errno::INTR) => false,
                Err(e) => return Err(e).at("wait for", "the server"),
            };
            if readable && self.inbox.fill(&mut self.streams.from).map_err(|e| lost(e.to_string()))? == 0 {
                return Err(lost("the server closed it".into()));
            }
        }
        Ok(None)
    }
}

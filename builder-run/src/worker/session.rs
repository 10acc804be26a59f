//! A connection to the server with a session in it, made as often as it takes.

use super::ended_by_server;
use super::event::{Event, Mailbox};
use super::greeting::{Greeted, Resumed};
use super::job::Job;
use super::link::Link;
use super::local::Local;
use super::place::Place;
use super::sandbox::Sandbox;
use super::sandbox::limits::Limits;
use super::secrets::Secrets;
use super::sign::Pen;
use super::signals::Signals;
use super::ssh::Ssh;
use super::strays::Household;
use super::transport::Transport;
use crate::args::WorkerArgs;
use crate::protocol::ToWorker;
use spool::build_id::BuildId;
use spool::error::{Error, Kind, Result};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a step of connecting may take for a worker that has no build.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The transport of a session, also for a thread that uploads.
pub type SharedTransport = Arc<Mutex<Box<dyn Transport + Send>>>;

/// How the server is reached, for whoever has to connect.
pub struct Reach {
    pub args: WorkerArgs,
    /// The configuration of a server that this one starts itself.
    pub config: Option<PathBuf>,
    pub place: Place,
    /// What names this process to the server.
    pub instance: String,
    pub signals: Signals,
    pub household: Household,
    pub pen: Pen,
    /// In what scripts run, if not beside the worker.
    pub sandbox: Option<Sandbox>,
    /// What each build may use.
    pub limits: Limits,
    /// What the worker says of itself.
    pub described: BTreeMap<String, String>,
    /// Held while a connection is made.
    pub connecting: Mutex<()>,
}

/// What names a process of a worker and no other: 32 hexadecimal digits.
pub fn fresh_instance() -> String {
    let random = || std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), std::process::id());
    format!("{:016x}{:016x}", random(), random())
}

/// A connection whose two sides know each other.
pub struct Connected {
    pub greeted: Greeted,
    pub transport: Box<dyn Transport + Send>,
}

impl Reach {
    /// Connects and greets. Nothing when a signal came meanwhile. Each step may take as long as `patience`.
    pub fn connect(&self, patience: Duration) -> Result<Option<Connected>> {
        let _one_at_a_time = self.connecting.lock().unwrap_or_else(PoisonError::into_inner);
        let mut transport: Box<dyn Transport + Send> = match (&self.args.local, &self.args.server) {
            (Some(spool), _) => Box::new(Local::new(spool, &self.args.name, self.config.as_deref())),
            (None, Some(server)) => Box::new(Ssh::connect(server, &self.args, &self.place, patience)?),
            (None, None) => {
                return Err(Error::new(Kind::Usage, "no server is named").hint("give ssh://USER@HOST or --local SPOOL"));
            }
        };
        let streams = transport.session()?;
        self.household.take_in(&transport.processes());
        let greeted = Greeted::new(streams, self, patience)?;
        Ok(greeted.map(|greeted| Connected { greeted, transport }))
    }

    /// Connects and comes back to a build. Nothing when a signal came meanwhile.
    pub fn connect_again(&self, id: &BuildId, lease: &str, patience: Duration) -> Result<Option<(Connected, Resumed)>> {
        let Some(mut connected) = self.connect(patience)? else { return Ok(None) };
        let resumed = connected.greeted.resume(id, lease, &self.signals)?;
        Ok(resumed.map(|resumed| (connected, resumed)))
    }
}

/// A session in which the worker waits, or has a build.
pub struct Session {
    pub link: Link,
    pub grace: Duration,
    transport: SharedTransport,
}

impl Session {
    /// Begins to listen.
    pub fn new(connected: Connected, mailbox: &Mailbox) -> Session {
        let grace = connected.greeted.grace;
        let link = Link::new(connected.greeted, grace / 2, mailbox);
        Session { link, grace, transport: Arc::new(Mutex::new(connected.transport)) }
    }

    /// For a thread that uploads.
    pub fn transport(&self) -> SharedTransport {
        self.transport.clone()
    }

    /// Waits for a build, not longer than it may. Nothing when the worker is to stop.
    pub fn wait(&mut self, mailbox: &Mailbox, idle: Option<Duration>) -> Result<Option<Job>> {
        let mut secrets = Secrets::default();
        let until = idle.map(|idle| Instant::now() + idle);
        self.link.calm(true);
        loop {
            let look = Instant::now() + Duration::from_secs(3600);
            match self.link.next(mailbox, &[], until.map_or(look, |until| until.min(look))) {
                Event::Message(ToWorker::Secret { name, .. }, content) => secrets.add(name, content),
                Event::Message(
                    ToWorker::Build {
                        id,
                        lease,
                        timeout_seconds,
                        silence_seconds,
                        console_bytes,
                        source_date,
                        signer,
                        vary,
                        rebuild,
                        network,
                        n: _,
                    },
                    script,
                ) => {
                    self.link.calm(false);
                    return Ok(Some(Job {
                        id,
                        lease,
                        script,
                        secrets,
                        source_date,
                        vary,
                        rebuild: rebuild.unwrap_or(0),
                        console_bytes,
                        network,
                        signer: signer.map(|signer| *signer),
                        timeout: Duration::from_secs(timeout_seconds),
                        silence: silence_seconds.map(Duration::from_secs),
                    }));
                }
                Event::Message(ToWorker::Error { text, code }, _) => return Err(ended_by_server(&text, code)),
                Event::Signal => return Ok(None),
                // A build of which something was said is on its way.
                Event::Timeout if until.is_some_and(|until| until <= Instant::now()) && secrets.is_empty() => {
                    return Ok(None);
                }
                Event::Closed(why) => {
                    return Err(Error::new(Kind::TryAgain, format!("the connection is lost: {why}")));
                }
                _ => {}
            }
        }
    }
}

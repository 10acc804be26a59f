//! The worker: connects, says what it is, waits for a build, runs it, sends what it left.

mod build;
mod collect;
mod guard;
mod handover;
mod job;
mod link;
mod local;
mod place;
mod process;
mod secrets;
mod ssh;
mod strays;
mod system;
mod talk;
mod transport;
mod watch;

pub use guard::run as guard;

use crate::args::WorkerArgs;
use crate::protocol::{PROTOCOL, ToServer, ToWorker};
use job::Job;
use link::{Event, Link};
use local::Local;
use secrets::Secrets;
use spool::error::{Error, Kind, Result};
use ssh::Ssh;
use std::path::Path;
use std::time::Duration;
use tracing::{info, warn};
use transport::Transport;

/// The longest pause between two attempts to connect.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Serves builds until one is done, or with `--keep` until it is told to stop.
pub fn run(args: &WorkerArgs, config: Option<&Path>) -> Result<()> {
    let worker = Worker::new(args, config)?;
    let mut pause = Duration::from_secs(1);
    loop {
        match worker.session(&mut pause) {
            Ok(Ended::Asked) => return Ok(()),
            Ok(Ended::OneBuild) if !args.keep => return Ok(()),
            Ok(Ended::OneBuild) => {}
            Err(e) if !args.keep => return Err(e),
            Err(e) => warn!("{e}; trying again in {} s", pause.as_secs()),
        }
        if worker.signals.wait(pause) {
            return Ok(());
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Why a session ended well.
enum Ended {
    /// A signal asked for it.
    Asked,
    /// The one build was carried out.
    OneBuild,
}

struct Worker<'a> {
    args: &'a WorkerArgs,
    /// The configuration of a server that this one starts itself.
    config: Option<&'a Path>,
    place: place::Place,
    guard: guard::Guard,
    signals: link::Signals,
}

impl<'a> Worker<'a> {
    fn new(args: &'a WorkerArgs, config: Option<&'a Path>) -> Result<Worker<'a>> {
        system::check_environment(&args.environment)?;
        let place = place::Place::open(args.work.as_deref())?;
        let guard = guard::Guard::start()?;
        Ok(Worker { args, config, place, guard, signals: link::Signals::listen()? })
    }

    fn session(&self, pause: &mut Duration) -> Result<Ended> {
        let mut transport = self.connect()?;
        let mut link = Link::new(transport.session()?, &self.signals)?;
        let ended = self.converse(transport.as_mut(), &mut link, pause);
        // A server that has refused does not read any more; what it said is the better reason.
        ended.map_err(|e| match link.last_words() {
            Some((text, code)) => ended_by_server(&text, code),
            None => e,
        })
    }

    /// Connects as the command line says.
    fn connect(&self) -> Result<Box<dyn Transport>> {
        match (&self.args.local, &self.args.server) {
            (Some(spool), _) => Ok(Box::new(Local::new(spool, &self.args.name, self.config))),
            (None, Some(server)) => Ok(Box::new(Ssh::connect(server, self.args, &self.place)?)),
            (None, None) => {
                Err(Error::new(Kind::Usage, "no server is named").hint("give ssh://USER@HOST or --local SPOOL"))
            }
        }
    }

    fn converse(&self, transport: &mut dyn Transport, link: &mut Link, pause: &mut Duration) -> Result<Ended> {
        let hello = match link.next(Duration::from_secs(30))? {
            Event::Message(ToWorker::Hello { protocol, version, grace_seconds }, _) => {
                (protocol, version, grace_seconds)
            }
            Event::Message(ToWorker::Error { text, code }, _) => return Err(ended_by_server(&text, code)),
            Event::Signal => return Ok(Ended::Asked),
            other => return Err(Error::new(Kind::TryAgain, format!("the server did not greet: {}", other.describe()))),
        };
        let ([lowest, highest], version, grace) = hello;
        if PROTOCOL[1] < lowest || PROTOCOL[0] > highest {
            return Err(Error::new(
                Kind::Data,
                format!(
                    "the server is builder {version} and speaks protocol {lowest} to {highest}, this is {PROTOCOL:?}"
                ),
            )
            .hint("install the same release on both sides"));
        }
        link.expect_life_within(Duration::from_secs(grace.into()) / 2);
        link.say(
            &ToServer::Hello {
                protocol: PROTOCOL[1].min(highest),
                platforms: self.args.platforms.clone(),
                system: system::describe(),
            },
            b"",
        )?;
        info!("connected to builder {version}");
        let mut inputs = system::Inputs::default();
        loop {
            inputs.refresh();
            link.say(&ToServer::Ready, b"")?;
            let Some(job) = self.wait(link)? else { return Ok(Ended::Asked) };
            *pause = Duration::from_secs(1);
            let ended = build::run(self, link, transport, &job, &inputs)?;
            // A signal that came while the build was handed over has waited for that.
            if matches!(ended, build::End::Asked) || self.signals.caught() {
                return Ok(Ended::Asked);
            }
            if !self.args.keep {
                return Ok(Ended::OneBuild);
            }
        }
    }

    fn wait(&self, link: &mut Link) -> Result<Option<Job>> {
        let mut secrets = Secrets::default();
        loop {
            match link.next(Duration::from_secs(3600))? {
                Event::Message(ToWorker::Secret { name, .. }, content) => secrets.add(name, content),
                Event::Message(ToWorker::Build { id, timeout_seconds, silence_seconds, source_date, .. }, script) => {
                    return Ok(Some(Job {
                        id,
                        script,
                        secrets,
                        source_date,
                        timeout: Duration::from_secs(timeout_seconds),
                        silence: silence_seconds.map(Duration::from_secs),
                    }));
                }
                Event::Message(ToWorker::Error { text, code }, _) => return Err(ended_by_server(&text, code)),
                Event::Message(..) | Event::Timeout => {}
                Event::Signal => return Ok(None),
                other => {
                    return Err(Error::new(Kind::TryAgain, format!("the connection is lost: {}", other.describe())));
                }
            }
        }
    }
}

/// The server's own words, and its class of failure.
fn ended_by_server(text: &str, code: u8) -> Error {
    let printable: String = text.chars().filter(|c| !c.is_control()).take(1000).collect();
    Error::new(Kind::of_code(code), format!("the server ended the session: {printable}"))
}

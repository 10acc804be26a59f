//! What worker and server say to each other about one build, over however many connections it takes.

use super::console::Kept;
use super::event::{Event, Failure, Mailbox, Post};
use super::job::Job;
use super::process::Process;
use super::reconnect::{Back, Reconnect, longest_pause, pause_after};
use super::session::{Reach, Session};
use super::sign::sign;
use super::system::Inputs;
use super::{ended_by_server, upload};
use crate::protocol::{Signed, ToServer, ToWorker};
use crate::sftp::client::Upload;
use spool::digest::Sha256;
use spool::error::{Error, Kind, Result};
use spool::layout::file;
use spool::manifest::Manifest;
use spool::record::Outcome;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tracing::{info, warn};

/// Somebody out of reach who holds the console open holds the build no longer than this.
const CONSOLE_ENDS: Duration = Duration::from_secs(5);

/// What the one who carries out a build hears.
pub enum News {
    /// The script ended. It is a zombie still, so that its number stays its own.
    Exited,
    /// All writers of the console are gone.
    ConsoleEnded,
    /// No more of the console is kept, and why.
    ConsoleFailed(String),
    /// The server said something else than what [`Talk`] answers itself.
    Message(ToWorker),
    /// The artifacts that the server wanted are there.
    Uploaded,
    /// They can't be, and why.
    Refused(String),
    /// The connection is lost, or all of the console is on its way.
    Changed,
    /// The connection is another one, and the server knows nothing of what was offered.
    Again,
    /// The build is over: somebody ended it while the connection was lost.
    Over,
    /// The worker shall stop.
    Signal,
    /// Nothing happened in time.
    Timeout,
}

/// A build's connection.
pub struct Talk<'w> {
    reach: &'w Arc<Reach>,
    mailbox: &'w Mailbox,
    job: &'w Job,
    environment: &'w [u8],
    inputs: &'w Inputs,
    session: Option<Session>,
    grace: Duration,
    reconnect: Option<Reconnect>,
    /// Since when there is this connection.
    since: Instant,
    /// So many connections in a row did not last.
    short: u32,
    process: Post,
    console: Option<Arc<Kept>>,
    console_sent: bool,
    console_failed: Option<String>,
    upload: Option<u64>,
    over: bool,
}

impl<'w> Talk<'w> {
    /// Takes the build, and says what goes into it.
    pub fn begin(
        reach: &'w Arc<Reach>,
        mailbox: &'w Mailbox,
        session: Session,
        job: &'w Job,
        environment: &'w [u8],
        inputs: &'w Inputs,
    ) -> Talk<'w> {
        let talk = Talk {
            reach,
            mailbox,
            job,
            environment,
            inputs,
            grace: session.grace,
            session: Some(session),
            reconnect: None,
            since: Instant::now(),
            short: 0,
            process: mailbox.post(),
            console: None,
            console_sent: true,
            console_failed: None,
            upload: None,
            over: false,
        };
        talk.accept();
        talk
    }

    /// Ends it. The session, when there is one, can have the next build.
    pub fn end(self) -> Option<Session> {
        self.session
    }

    /// What the build's process reports with.
    pub fn process(&self) -> Post {
        self.process.clone()
    }

    fn accept(&self) {
        let mut inputs = BTreeMap::from([(file::ENVIRONMENT.to_owned(), Sha256::of(self.environment))]);
        inputs.extend(self.inputs.packages().map(|(_, digest)| (file::PACKAGES.to_owned(), digest)));
        self.say(ToServer::Accept { id: self.job.id.clone(), inputs });
    }

    /// Signs what was made of the build.
    pub fn sign(&self, artifacts: &Manifest, outcome: &Outcome) -> Option<Signed> {
        let mut inputs = vec![(file::ENVIRONMENT, Sha256::of(self.environment))];
        inputs.extend(self.inputs.packages().map(|(_, digest)| (file::PACKAGES, digest)));
        sign(self.reach, self.job, inputs, artifacts, outcome)
    }

    /// Says something, if there is a connection. What is said after [`News::Again`] must be said again.
    pub fn say(&self, message: ToServer) {
        if let Some(session) = &self.session {
            session.link.say(message, Vec::new());
        }
    }

    /// Whether there is a connection.
    pub fn is_connected(&self) -> bool {
        self.session.is_some()
    }

    /// Whether somebody has ended the build.
    pub fn is_over(&self) -> bool {
        self.over
    }

    /// Gives the build back, if there is a connection.
    pub fn abandon(&self, reason: &str) {
        if let Some(session) = &self.session {
            session.link.say(ToServer::Abandon { reason: reason.to_owned() }, Vec::new());
            session.link.flush();
        }
    }

    /// From now on this is the build's console.
    ///
    /// # Errors
    /// It can't be read.
    pub fn send_console(&mut self, kept: &Arc<Kept>) -> Result<()> {
        self.console = Some(kept.clone());
        self.console_sent = false;
        match &self.session {
            Some(session) => session.link.send_console(kept, 0),
            None => Ok(()),
        }
    }

    /// Uploads artifacts; [`News::Uploaded`] or [`News::Again`] comes of it.
    pub fn upload(&mut self, files: Vec<Upload>) {
        if let Some(session) = &self.session {
            let post = self.mailbox.post();
            self.upload = Some(post.number());
            upload::start(session.transport(), files, post);
        }
    }

    /// What happens next, at the latest after `wait`.
    ///
    /// # Errors
    /// The build is not this worker's any more, or the server refuses it.
    pub fn next(&mut self, wait: Duration) -> Result<News> {
        let until = Instant::now() + wait;
        loop {
            let mut numbers = vec![self.process.number()];
            numbers.extend(self.upload);
            numbers.extend(self.reconnect.as_ref().map(|reconnect| reconnect.number));
            let event = match &mut self.session {
                Some(session) => session.link.next(self.mailbox, &numbers, until),
                None => self.mailbox.next(&numbers, until),
            };
            return Ok(match event {
                Event::Message(ToWorker::Need { inputs }, _) => {
                    inputs.iter().try_for_each(|name| self.send_input(name))?;
                    continue;
                }
                Event::Message(ToWorker::Error { text, code }, _) => {
                    let error = ended_by_server(&text, code);
                    match error.kind() {
                        Kind::TryAgain | Kind::Io => self.lose(&error.to_string()),
                        _ => return Err(error),
                    }
                }
                Event::Closed(why) => self.lose(&why),
                Event::Back(back) => self.come_back(back)?,
                Event::Uploaded(Err(Failure::Lost(why))) => self.lose(&format!("the upload failed: {why}")),
                Event::Uploaded(Err(Failure::Refused(why))) => News::Refused(why),
                Event::ConsoleSent => {
                    self.console_sent = true;
                    News::Changed
                }
                Event::Uploaded(Ok(())) => {
                    self.short = 0;
                    News::Uploaded
                }
                Event::Message(message, _) => News::Message(message),
                Event::Exited => News::Exited,
                Event::ConsoleEnded => News::ConsoleEnded,
                Event::ConsoleFailed(why) => {
                    self.console_failed.get_or_insert(why.clone());
                    News::ConsoleFailed(why)
                }
                Event::Signal => News::Signal,
                Event::Timeout => News::Timeout,
            });
        }
    }

    fn lose(&mut self, why: &str) -> News {
        self.short = if self.since.elapsed() < longest_pause(self.grace) { self.short.saturating_add(1) } else { 0 };
        let (id, pause) = (&self.job.id, pause_after(self.short, self.grace));
        warn!(build = %id, "the connection is lost: {why}; coming back in {} ms", pause.as_millis());
        (self.session, self.upload) = (None, None);
        self.reconnect = Some(Reconnect::start(self.reach, id, &self.job.lease, self.grace, pause, self.mailbox));
        News::Changed
    }

    fn come_back(&mut self, back: Back) -> Result<News> {
        self.reconnect = None;
        let (connected, has) = match back {
            Back::Goes(connected, has) => (connected, has),
            Back::Over => {
                self.over = true;
                return Ok(News::Over);
            }
            Back::Lost(error) => return Err(error),
        };
        info!(build = %self.job.id, console = has, "goes on");
        (self.session, self.since) = (Some(Session::new(*connected, self.mailbox)), Instant::now());
        self.accept();
        if let (Some(session), Some(kept)) = (&self.session, &self.console) {
            self.console_sent = false;
            session.link.send_console(kept, has)?;
        }
        Ok(News::Again)
    }

    fn send_input(&self, name: &str) -> Result<()> {
        let data = match name {
            file::ENVIRONMENT => self.environment,
            file::PACKAGES => self.inputs.packages().map_or(&b""[..], |(list, _)| list),
            _ => return Err(Error::new(Kind::Data, format!("the server needs `{}`", name.escape_default()))),
        };
        if let Some(session) = &self.session {
            session.link.say(ToServer::Input { name: name.to_owned(), n: data.len() }, data.to_vec());
        }
        Ok(())
    }

    /// Waits for the end of the console of a script that is dead.
    pub fn drain_console(&mut self, process: &Process) -> Result<()> {
        let until = Instant::now() + CONSOLE_ENDS;
        while Instant::now() < until {
            if let News::ConsoleEnded = self.next(until.saturating_duration_since(Instant::now()))? {
                return Ok(());
            }
        }
        process.hush();
        if let Some(console) = &self.console {
            console.end();
        }
        Ok(())
    }

    /// Whether all that was printed is on its way to the server.
    pub fn is_console_sent(&self) -> bool {
        self.console_sent
    }

    /// Why the console lacks something, if it does: its end may come after that of the script.
    pub fn console_failed(&self) -> Option<&str> {
        self.console_failed.as_deref()
    }
}

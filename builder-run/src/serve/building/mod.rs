//! Serving one build: from the script's hand-over to the acknowledged end.

mod end;

use super::allowance::Allowance;
use super::link::{Event, Link, out_of_turn};
use super::session::told_to_leave;
use super::{signed, space, words};
use crate::protocol::{LONGEST_CONSOLE, Signed, Signer, ToServer, ToWorker};
use jiff::SignedDuration;
use spool::Spool;
use spool::build_id::BuildId;
use spool::clock;
use spool::config::Config;
use spool::console::ConsoleWriter;
use spool::digest::Sha256;
use spool::error::{Error, Kind, Result};
use spool::held::{HeldBuild, Offered};
use spool::layout::file;
use spool::name::WorkerName;
use spool::record::{BuildResult, Outcome, Request};
use spool::secret;
use spool::wake::Listener;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// What is the same for all builds of a session.
pub struct Context<'a> {
    pub listeners: &'a [Listener],
    pub name: &'a WorkerName,
    pub system: &'a BTreeMap<String, String>,
    pub config: &'a Config,
    pub spool: &'a Spool,
    pub touch_every: Duration,
}

impl Context<'_> {
    /// A record of the worker's health that can't be kept is no reason to end its session. A full disk is not the
    /// worker's fault.
    fn note_health(&self, id: &BuildId, outcome: &Outcome, took_ms: u64) {
        // A rebuild fails for reasons of its own.
        if space::is_no_space(outcome) || id.is_rebuild() {
            return;
        }
        let took = SignedDuration::from_millis(i64::try_from(took_ms).unwrap_or(i64::MAX));
        let base = SignedDuration::from_secs(self.config.quarantine_seconds.into());
        let noted = self.spool.note_health(self.name, id.job(), outcome, took, clock::now(), base);
        if let Err(e) = noted {
            tracing::warn!(worker = %self.name, "its health can't be noted: {e}");
        }
    }
}

/// A wake-up that gets lost delays a cancellation by at most this.
const LOOK: Duration = Duration::from_secs(2);

/// The longest `want`.
const MOST_WANTED: usize = 4096;

/// What became of serving a build.
pub enum Served {
    /// It is over, and the worker may have the next one.
    Over,
    /// It could not be given out and is over; the worker waits still.
    Unfit,
    /// The worker is gone; the build waits for it, or for the grace time to pass.
    Gone,
}

/// Serves a build.
pub fn serve(context: &Context<'_>, link: &mut Link, held: HeldBuild<'_>) -> Result<Served> {
    let prepared = held.request().and_then(|request| {
        let secrets = secret::read(&context.config.secrets, held.id().job(), &request.secrets)?;
        let lease = held.lease()?.ok_or_else(|| Error::new(Kind::Internal, "its lease vanished"))?;
        Ok((request, held.script()?, secrets, lease.token))
    });
    let (request, script, secrets, lease) = match prepared {
        Ok(prepared) => prepared,
        // A build that can't be read is nobody's fault on the other side; it must not come again for ever.
        Err(e) => {
            let id = held.id().clone();
            tracing::warn!(build = %id, "it could not be given out: {e}");
            held.end_unrun(Outcome::Aborted { reason: e.to_string() }, clock::now())?;
            return Ok(Served::Unfit);
        }
    };
    let serving = Serving::new(context, link, held, &request);
    let build = ToWorker::Build {
        id: serving.held.id().clone(),
        lease,
        console_bytes: serving.allowance.console,
        timeout_seconds: serving.allowance.runs,
        silence_seconds: request.silence_seconds,
        network: request.network,
        source_date: request.source_date,
        vary: request.rebuild.iter().flat_map(|rebuild| rebuild.vary.clone()).collect(),
        rebuild: request.rebuild.as_ref().map(|rebuild| rebuild.number),
        signer: serving.signer.clone().map(Box::new),
        n: script.len(),
    };
    let mut said = Ok(());
    for one in &secrets {
        said = said.and_then(|()| {
            serving.link.say(&ToWorker::Secret { name: one.name.clone(), n: one.content.len() }, &one.content)
        });
    }
    if said.and_then(|()| serving.link.say(&build, &script)).is_err() {
        serving.held.give_up("its worker vanished before it was started", clock::now())?;
        return Ok(Served::Gone);
    }
    tracing::info!(build = %serving.held.id(), worker = %context.name, "was given out");
    serving.run()
}

/// Goes on with a build whose worker has come back.
pub fn resume(context: &Context<'_>, link: &mut Link, held: HeldBuild<'_>) -> Result<Served> {
    let request = held.request()?;
    let mut serving = Serving::new(context, link, held, &request);
    let console = serving.held.console()?;
    serving.held.touch()?;
    let resumed = ToWorker::Resumed { id: serving.held.id().clone(), console: console.length };
    serving.console = Some(console);
    tracing::info!(build = %serving.held.id(), worker = %context.name, "its worker is back");
    match serving.link.say(&resumed, b"") {
        Ok(()) => serving.run(),
        Err(_) => Ok(Served::Gone),
    }
}

/// What was seen that somebody else did, or did not.
enum Seen {
    Nothing,
    /// Another process serves the worker from now on.
    Leave,
    /// The worker has not handed the build over in its time.
    TooLate,
}

struct Serving<'a, 'l, 's> {
    context: &'a Context<'a>,
    link: &'l mut Link,
    held: HeldBuild<'s>,
    console: Option<ConsoleWriter>,
    offered: Vec<Offered>,
    /// Their bytes.
    offered_bytes: u64,
    /// Inputs that were asked for and have not come.
    needed: BTreeSet<&'static str>,
    /// The result, when it has come before them.
    finishing: Option<BuildResult>,
    /// The result, while artifacts are uploaded.
    unfinished: Option<BuildResult>,
    /// As whom the worker signs.
    signer: Option<Signer>,
    /// What it has signed, when it has finished.
    signed: Option<Signed>,
    /// Why the build was ended from here, once it was.
    stopped: Option<Outcome>,
    allowance: Allowance<'a>,
    /// Nothing that was or will be offered is kept.
    keeps_none: bool,
    touched: Instant,
    looked: Instant,
    since: jiff::Timestamp,
}

impl<'a, 'l, 's> Serving<'a, 'l, 's> {
    fn new(context: &'a Context<'a>, link: &'l mut Link, held: HeldBuild<'s>, request: &Request) -> Self {
        let since = held.lease().ok().flatten().map_or_else(clock::now, |lease| lease.since);
        Serving {
            allowance: Allowance::new(context.config, request, since),
            since,
            context,
            link,
            held,
            console: None,
            offered: Vec::new(),
            offered_bytes: 0,
            needed: BTreeSet::new(),
            finishing: None,
            unfinished: None,
            signer: signed::signer(context),
            signed: None,
            stopped: None,
            keeps_none: false,
            touched: Instant::now(),
            looked: Instant::now(),
        }
    }

    fn run(mut self) -> Result<Served> {
        loop {
            let event = self.link.next(self.context.listeners, LOOK)?;
            // A script that prints without a pause leaves no quiet moment to look in.
            if matches!(event, Event::Look) || self.looked.elapsed() > LOOK {
                match self.look()? {
                    Seen::Nothing => {}
                    Seen::Leave => return Ok(Served::Gone),
                    Seen::TooLate => return Err(self.give_up_late()?),
                }
                if let Some(outcome) = self.unfinished.as_ref().and_then(|_| space::is_starved(self.context)) {
                    return self.starve(outcome);
                }
            }
            if self.touched.elapsed() > self.context.touch_every && self.link.heard() > self.touched {
                self.touched = Instant::now();
                self.held.touch()?;
            }
            let (message, data) = match event {
                Event::Message(message, data) => (message, data),
                Event::Gone(why) => {
                    tracing::info!(build = %self.held.id(), worker = %self.context.name, "the worker is gone: {why}");
                    return Ok(Served::Gone);
                }
                Event::Look => continue,
            };
            match message {
                ToServer::Accept { id, inputs } => self.accept(&id, &inputs)?,
                ToServer::Input { name, .. } => self.input(&name, &data)?,
                ToServer::Con { ms, .. } => self.console(ms, &data)?,
                ToServer::Offer { files } => self.offer(files),
                ToServer::Withdraw { reason } => {
                    let reason = format!("its artifacts could not be uploaded: {}", words::sentence(&reason));
                    self.keep_none(reason);
                }
                ToServer::Finish { outcome, duration_ms, executable, skipped, varied, signed } => {
                    self.signed = signed;
                    let result = self.result(outcome, duration_ms, executable, skipped);
                    let varied = if self.held.id().is_rebuild() { words::system(varied) } else { BTreeMap::new() };
                    self.finishing = Some(BuildResult { varied, ..result });
                }
                ToServer::Abandon { reason } => {
                    self.held
                        .give_up(&format!("its worker gave it back: {}", words::sentence(&reason)), clock::now())?;
                    return Ok(Served::Gone);
                }
                other => return Err(out_of_turn(&other, "a message about the running build")),
            }
            if self.needed.is_empty()
                && let Some(result) = self.finishing.take()
            {
                match self.finish(result)? {
                    Some(serving) => self = serving,
                    None => return Ok(Served::Over),
                }
            }
        }
    }

    /// Looks whether the build is to end.
    fn look(&mut self) -> Result<Seen> {
        self.looked = Instant::now();
        if told_to_leave(self.context.listeners) {
            return Ok(Seen::Leave);
        }
        if self.context.spool.cancel_requested(self.held.id()) {
            self.stop(Outcome::Cancelled)?;
        }
        let now = clock::now();
        if now > self.allowance.handed_over {
            return Ok(Seen::TooLate);
        }
        if now > self.allowance.script_ends {
            self.stop(Outcome::TimedOut)?;
        }
        Ok(Seen::Nothing)
    }

    /// Ends the build of a worker that does not. Returns what the worker is told.
    fn give_up_late(self) -> Result<Error> {
        let seconds = self.context.config.limits.handover_seconds;
        let reason = format!("its worker did not hand it over within {seconds} s after its time");
        let told = Error::new(Kind::TryAgain, format!("{} is over: {reason}", self.held.id()));
        self.held.end_unrun(Outcome::Aborted { reason }, clock::now())?;
        Ok(told)
    }

    fn accept(&mut self, id: &BuildId, inputs: &BTreeMap<String, Sha256>) -> Result<()> {
        if id != self.held.id() {
            return Err(Error::new(Kind::NoPermission, format!("{id} is not this worker's build")));
        }
        self.held.make_upload_area()?;
        for (name, digest) in inputs {
            let name = input_name(name)?;
            if !self.held.link_input(name, digest)? {
                self.needed.insert(name);
            }
        }
        if !self.needed.is_empty() {
            let inputs = self.needed.iter().map(|name| (*name).to_owned()).collect();
            self.link.say(&ToWorker::Need { inputs }, b"")?;
        }
        Ok(())
    }

    fn input(&mut self, name: &str, data: &[u8]) -> Result<()> {
        let name = input_name(name)?;
        self.held.keep_input(name, data)?;
        self.needed.remove(name);
        Ok(())
    }

    fn console(&mut self, ms: u64, data: &[u8]) -> Result<()> {
        if data.len() > LONGEST_CONSOLE {
            return Err(Error::new(
                Kind::Data,
                format!("a piece of console has {} bytes, more than {LONGEST_CONSOLE}", data.len()),
            ));
        }
        // Each piece costs a line of times, which nothing else bounds.
        if self.stopped.is_some() || data.is_empty() {
            return Ok(());
        }
        let printed = self.console.as_ref().map_or(0, |console| console.length);
        if printed + data.len() as u64 > self.allowance.console {
            let reason = format!("it printed more than {} bytes", self.allowance.console);
            return self.stop(Outcome::Aborted { reason });
        }
        match space::append(self.context, self.link, &self.held, &mut self.console, (ms, data))? {
            Some(outcome) => self.stop(outcome),
            None => Ok(()),
        }
    }

    fn offer(&mut self, files: Vec<crate::protocol::Offer>) {
        if self.keeps_none {
            return;
        }
        let before = self.offered.len();
        self.offered.extend(files.into_iter().map(|file| Offered {
            path: file.path,
            sha256: file.sha256,
            size: file.size,
        }));
        let new = &self.offered[before..];
        self.offered_bytes = new.iter().fold(self.offered_bytes, |sum, one| sum.saturating_add(one.size));
        if let Some(reason) = self.allowance.refuses(new, self.offered.len(), self.offered_bytes) {
            self.keep_none(reason);
        }
    }

    fn keep_none(&mut self, reason: String) {
        self.stopped = Some(Outcome::Aborted { reason });
        self.offered.clear();
        self.offered_bytes = 0;
        self.keeps_none = true;
    }

    /// Has the script killed, and remembers what the build is to end with.
    fn stop(&mut self, outcome: Outcome) -> Result<()> {
        if self.stopped.is_none() {
            self.stopped = Some(outcome.clone());
            self.link.say(&ToWorker::Cancel { outcome }, b"")?;
        }
        Ok(())
    }
}

fn input_name(name: &str) -> Result<&'static str> {
    [file::ENVIRONMENT, file::PACKAGES]
        .into_iter()
        .find(|known| *known == name)
        .ok_or_else(|| Error::new(Kind::Data, format!("`{}` is no input", name.escape_default())))
}

//! One build on the worker: a fresh directory, the script until its end, what it left to the server.

use super::collect::{Collected, collect};
use super::link::{Event, Link, outcome_of};
use super::place::Room;
use super::process::Process;
use super::strays::Household;
use super::system::{self, Inputs};
use super::transport::Transport;
use super::{Worker, ended_by_server};
use crate::protocol::{Offer, ToServer, ToWorker};
use crate::sftp;
use rustix::process::Signal;
use spool::build_id::BuildId;
use spool::digest::Sha256;
use spool::error::{At, Error, Kind, Result};
use spool::layout::file;
use spool::record::Outcome;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::time::{Duration, Instant};
use tracing::info;

/// What the server gave out.
pub struct Job {
    pub id: BuildId,
    pub script: Vec<u8>,
    pub timeout: Duration,
}

/// How it went for the worker.
pub enum End {
    /// The server has acknowledged the end of the build.
    Finished,
    /// A signal asked the worker to stop; the build was given back.
    Asked,
}

/// Offers go in messages of about this many bytes.
const OFFER_BYTES: usize = 256 << 10;

/// Carries out a build. An error means that the connection is of no use any more; nothing of the build runs on.
pub fn run(
    worker: &Worker<'_>,
    link: &mut Link,
    transport: &mut dyn Transport,
    job: Job,
    inputs: &Inputs,
) -> Result<End> {
    info!(build = %job.id, "runs");
    let room = match worker.place.room(&job.id, &job.script) {
        Ok(room) => room,
        Err(e) => {
            accept(link, &job.id, b"", inputs)?;
            return finish_aborted(link, &job.id, &e);
        }
    };
    let environment = system::environment(&job.id, &room, &worker.args.environment);
    accept(link, &job.id, &environment.recorded, inputs)?;
    let household = Household::open();
    let started = Process::start(&room, &environment.all, link.writer(), link.reporter());
    let mut process = match started {
        Ok(process) => process,
        Err(e) => return finish_aborted(link, &job.id, &e),
    };
    worker.guard.watch(process.group());
    let mut watch = Watch {
        deadline: process.started + job.timeout,
        kill_at: None,
        why: None,
        needs: Vec::new(),
        console_ended: false,
    };
    let watched = watch.until_exit(link, &process, worker.args.kill_after);
    process.signal(Signal::KILL);
    let status = process.reap();
    household.turn_out();
    worker.guard.watch(0);
    let duration = process.started.elapsed();
    watched?;
    if !watch.console_ended {
        drain_console(link, &process)?;
    }
    if matches!(watch.why, Some(Why::Asked)) {
        link.say(&ToServer::Abandon { reason: "the worker was told to stop".into() }, b"")?;
        return Ok(End::Asked);
    }
    for name in &watch.needs {
        send_input(link, name, &environment.recorded, inputs)?;
    }
    let outcome = match watch.why {
        Some(Why::Server(outcome)) => outcome,
        Some(Why::Deadline) => Outcome::TimedOut,
        _ => outcome_of(status?),
    };
    hand_over(link, transport, &room, outcome, duration)?;
    info!(build = %job.id, "is over");
    Ok(End::Finished)
}

fn accept(link: &Link, id: &BuildId, environment: &[u8], inputs: &Inputs) -> Result<()> {
    let mut digests = BTreeMap::from([(file::ENVIRONMENT.to_owned(), Sha256::of(environment))]);
    digests.extend(inputs.packages().map(|(_, digest)| (file::PACKAGES.to_owned(), digest)));
    link.say(&ToServer::Accept { id: id.clone(), inputs: digests }, b"")
}

fn send_input(link: &Link, name: &str, environment: &[u8], inputs: &Inputs) -> Result<()> {
    let data = match name {
        file::ENVIRONMENT => environment,
        file::PACKAGES => inputs.packages().map_or(&b""[..], |(list, _)| list),
        _ => return Ok(()),
    };
    link.say(&ToServer::Input { name: name.to_owned(), n: data.len() }, data)
}

/// The script never ran: the reason is the result.
fn finish_aborted(link: &mut Link, id: &BuildId, error: &Error) -> Result<End> {
    let outcome = Outcome::Aborted { reason: error.to_string() };
    link.say(&ToServer::Finish { outcome, duration_ms: 0, executable: Vec::new(), skipped: Vec::new() }, b"")?;
    loop {
        match link.next(Duration::from_secs(3600))? {
            Event::Message(ToWorker::Finished { id: finished }, _) if finished == *id => return Ok(End::Finished),
            Event::Closed(why) => return Err(Error::new(Kind::TryAgain, format!("the connection is lost: {why}"))),
            _ => {}
        }
    }
}

/// Why a script was not left to its own end.
enum Why {
    Deadline,
    Server(Outcome),
    Asked,
}

struct Watch {
    deadline: Instant,
    kill_at: Option<Instant>,
    why: Option<Why>,
    needs: Vec<String>,
    console_ended: bool,
}

impl Watch {
    /// Waits until the script has ended, by itself or by TERM and then KILL.
    fn until_exit(&mut self, link: &mut Link, process: &Process, kill_after: u32) -> Result<()> {
        loop {
            let now = Instant::now();
            if self.kill_at.is_some_and(|at| now >= at) {
                process.signal(Signal::KILL);
                self.kill_at = Some(now + Duration::from_secs(3600));
            }
            if self.why.is_none() && now >= self.deadline {
                self.stop(Why::Deadline, process, kill_after);
            }
            let until = self.kill_at.unwrap_or(self.deadline);
            match link.next(until.saturating_duration_since(Instant::now()))? {
                Event::Exited => return Ok(()),
                Event::Message(ToWorker::Need { inputs }, _) => self.needs.extend(inputs),
                Event::Message(ToWorker::Cancel { outcome }, _) => self.stop(Why::Server(outcome), process, kill_after),
                Event::Message(ToWorker::Error { text, code }, _) => return Err(ended_by_server(&text, code)),
                Event::ConsoleEnded => self.console_ended = true,
                Event::Message(..) | Event::Timeout => {}
                Event::Signal => self.stop(Why::Asked, process, kill_after),
                Event::Closed(why) => return Err(Error::new(Kind::TryAgain, format!("the connection is lost: {why}"))),
            }
        }
    }

    fn stop(&mut self, why: Why, process: &Process, kill_after: u32) {
        if self.why.is_none() {
            self.why = Some(why);
            self.kill_at = Some(Instant::now() + Duration::from_secs(kill_after.into()));
            process.signal(Signal::TERM);
        }
    }
}

/// Everybody who could print is dead, so the console ends at once; somebody out of reach does not hold it open.
fn drain_console(link: &mut Link, process: &Process) -> Result<()> {
    let until = Instant::now() + Duration::from_secs(5);
    while Instant::now() < until {
        match link.next(until.saturating_duration_since(Instant::now()))? {
            Event::ConsoleEnded => return Ok(()),
            Event::Closed(why) => return Err(Error::new(Kind::TryAgain, format!("the connection is lost: {why}"))),
            _ => {}
        }
    }
    process.hush();
    Ok(())
}

/// Offers what is there, sends what is wanted, and waits for the acknowledgement.
fn hand_over(
    link: &mut Link,
    transport: &mut dyn Transport,
    room: &Room,
    outcome: Outcome,
    duration: Duration,
) -> Result<()> {
    let collected = collect(&room.output());
    let finish = ToServer::Finish {
        outcome,
        duration_ms: duration.as_millis() as u64,
        executable: collected.executable.clone(),
        skipped: collected.skipped.clone(),
    };
    for files in batches(&collected.offers) {
        link.say(&ToServer::Offer { files }, b"")?;
    }
    link.say(&finish, b"")?;
    let mut sent = BTreeSet::new();
    loop {
        match link.next(Duration::from_secs(3600))? {
            Event::Message(ToWorker::Finished { .. }, _) => return Ok(()),
            Event::Message(ToWorker::Want { sha256 }, _) => {
                if let Some(again) = sha256.iter().find(|digest| !sent.insert(**digest)) {
                    return Err(Error::new(Kind::TryAgain, format!("the server lost {again} after it was uploaded")));
                }
                upload(transport, &collected, &sha256)?;
                link.say(&finish, b"")?;
            }
            Event::Message(ToWorker::Error { text, code }, _) => return Err(ended_by_server(&text, code)),
            Event::Closed(why) => return Err(Error::new(Kind::TryAgain, format!("the connection is lost: {why}"))),
            _ => {}
        }
    }
}

fn batches(offers: &[Offer]) -> Vec<Vec<Offer>> {
    let mut batches = vec![Vec::new()];
    let mut bytes = 0;
    for offer in offers {
        bytes += offer.path.as_str().len() * 2 + 128;
        if bytes > OFFER_BYTES {
            batches.push(Vec::new());
            bytes = 0;
        }
        if let Some(last) = batches.last_mut() {
            last.push(offer.clone());
        }
    }
    batches.retain(|batch| !batch.is_empty());
    batches
}

fn upload(transport: &mut dyn Transport, collected: &Collected, wanted: &[Sha256]) -> Result<()> {
    let mut files = Vec::new();
    for digest in wanted {
        let source = collected
            .source(digest)
            .ok_or_else(|| Error::new(Kind::Internal, format!("the server wants {digest}, which was not offered")))?;
        let size = source.metadata().at("look at", source)?.len();
        files.push(sftp::client::Upload { path: digest.to_string(), source: source.to_owned(), size });
    }
    let (streams, _channel) = transport.sftp()?;
    sftp::pipe::widen(&streams.to);
    let open = |file: &sftp::client::Upload| File::open(&file.source);
    sftp::client::upload(streams.from, streams.to, files.into_iter(), open)
        .map_err(|e| Error::new(Kind::TryAgain, format!("the upload failed: {e}")))
}

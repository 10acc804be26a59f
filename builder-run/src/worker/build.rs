//! One build on the worker: a fresh directory, the script until its end, what it left to the server.

use super::Worker;
use super::handover::{Ran, hand_over};
use super::job::Job;
use super::link::{Link, outcome_of};
use super::place::Room;
use super::process::Process;
use super::strays::Household;
use super::system::{self, Inputs};
use super::talk::Talk;
use super::transport::Transport;
use super::watch::{Watch, Why};
use crate::protocol::ToServer;
use rustix::process::Signal;
use spool::error::Result;
use spool::record::Outcome;
use tracing::info;

/// How it went for the worker.
pub enum End {
    /// The server has acknowledged the end of the build.
    Finished,
    /// A signal asked the worker to stop; the build was given back.
    Asked,
}

/// Carries out a build. An error means that the connection is of no use any more; nothing of the build runs on.
pub fn run(
    worker: &Worker<'_>,
    link: &mut Link,
    transport: &mut dyn Transport,
    job: &Job,
    inputs: &Inputs,
) -> Result<End> {
    info!(build = %job.id, "runs");
    let room = worker.place.room(&job.script).and_then(|room| job.secrets.write_into(&room).map(|()| room));
    let environment = system::environment(job, room.as_ref().ok(), &worker.args.environment);
    let mut talk = Talk { link, environment: &environment.recorded, inputs };
    talk.accept(&job.id)?;
    let ended = match &room {
        Ok(room) => carry_out(worker, &mut talk, job, room, &environment),
        Err(e) => Ok(Some(Ran::aborted(e))),
    };
    match ended? {
        Some(ran) => hand_over(&mut talk, transport, room.ok().as_ref(), ran)?,
        None => {
            talk.link.say(&ToServer::Abandon { reason: "the worker was told to stop".into() }, b"")?;
            return Ok(End::Asked);
        }
    }
    info!(build = %job.id, "is over");
    Ok(End::Finished)
}

/// Runs the script to its end and kills whatever it has started. Nothing when the worker was told to stop.
fn carry_out(
    worker: &Worker<'_>,
    talk: &mut Talk<'_>,
    job: &Job,
    room: &Room,
    environment: &system::Environment,
) -> Result<Option<Ran>> {
    let household = Household::open();
    let mut process =
        match Process::start(room, &environment.all, job.secrets.mask(), talk.link.writer(), talk.link.reporter()) {
            Ok(process) => process,
            Err(e) => return Ok(Some(Ran::aborted(&e))),
        };
    worker.guard.watch(process.group());
    let mut watch = Watch::new(&process, job.timeout, job.silence, worker.args.kill_after);
    let watched = watch.until_exit(talk);
    let duration = process.started.elapsed();
    let (why, console_ended) = watch.over();
    process.signal(Signal::KILL);
    let status = process.reap();
    household.turn_out();
    worker.guard.watch(0);
    watched?;
    if !console_ended {
        talk.drain_console(&process)?;
    }
    let outcome = match why {
        Some(Why::Asked) => return Ok(None),
        Some(Why::Server(outcome)) => outcome,
        Some(Why::Deadline) => Outcome::TimedOut,
        Some(Why::Silence) => Outcome::Silent,
        None => outcome_of(status?),
    };
    Ok(Some(Ran { outcome, duration }))
}

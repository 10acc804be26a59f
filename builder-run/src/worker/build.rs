//! One build on the worker: a fresh directory, the script until its end, what it left to the server.

use super::Worker;
use super::console::Kept;
use super::handover::{Ran, hand_over};
use super::job::Job;
use super::place::Room;
use super::process::{Output, Process, outcome_of};
use super::sandbox;
use super::session::Session;
use super::system::{self, Environment, Inputs};
use super::talk::Talk;
use super::vary::Circumstances;
use super::watch::{Watch, Why};
use spool::error::{Error, Result};
use spool::record::Outcome;
use tracing::info;

/// How it went for the worker.
pub enum End {
    /// The server has acknowledged the end of the build. What is left of the connection can have the next one.
    Finished(Option<Session>),
    /// A signal asked the worker to stop; the build was given back, if the server could be told.
    Asked,
}

/// Carries out a build. An error means that nothing came of it here; nothing of it runs on.
pub fn run(worker: &Worker<'_>, session: Session, job: &Job, inputs: &Inputs) -> Result<End> {
    info!(build = %job.id, "runs");
    let place = &worker.reach.place;
    let varied = system::circumstances(job, &worker.args.environment, inputs);
    let room = place.room(&job.script, varied.names).and_then(|room| job.secrets.write_into(&room).map(|()| room));
    let environment = system::environment(job, room.as_ref().ok(), &worker.args.environment, &varied);
    let mut talk = Talk::begin(&worker.reach, &worker.mailbox, session, job, &environment.recorded, inputs);
    let ended = match &room {
        Ok(room) => carry_out(worker, &mut talk, job, room, &Setting { environment: &environment, varied: &varied })?,
        Err(e) => Some(Ran::aborted(e)),
    };
    let handed_over = match ended {
        Some(ran) => hand_over(&mut talk, room.ok().as_ref(), ran, varied.varied)?,
        None => false,
    };
    if !handed_over {
        talk.abandon("the worker was told to stop");
        return Ok(End::Asked);
    }
    info!(build = %job.id, "is over");
    Ok(End::Finished(talk.end()))
}

/// Under which circumstances a script runs.
struct Setting<'a> {
    environment: &'a Environment,
    varied: &'a Circumstances,
}

/// Runs the script to its end and kills whatever it has started. Nothing when the worker was told to stop.
fn carry_out(
    worker: &Worker<'_>,
    talk: &mut Talk<'_>,
    job: &Job,
    room: &Room,
    setting: &Setting<'_>,
) -> Result<Option<Ran>> {
    let household = &worker.reach.household;
    household.open();
    let mut process = match start(worker, talk, job, room, setting) {
        Ok(process) => process,
        // A script that can't be executed does no harm to the sandbox around it.
        Err(e) if worker.reach.sandbox.is_some() => {
            talk.abandon(&e.to_string());
            return Err(e);
        }
        Err(e) => return Ok(Some(Ran::aborted(&e))),
    };
    worker.guard.watch(process.group());
    let mut watch = Watch::new(&process, job.timeout, job.silence, worker.args.kill_after);
    let watched = watch.until_exit(talk);
    let duration = process.started.elapsed();
    let (why, console_ended) = watch.over();
    process.kill();
    let status = process.reap();
    household.turn_out();
    worker.guard.watch(0);
    watched?;
    if !console_ended {
        talk.drain_console(&process)?;
    }
    let outcome = match why {
        Some(Why::Asked) => return Ok(None),
        // Nobody asks any more.
        Some(Why::Over) => Outcome::Cancelled,
        Some(Why::Outcome(outcome)) => outcome,
        Some(Why::Deadline) => Outcome::TimedOut,
        Some(Why::Silence) => Outcome::Silent,
        None => match talk.console_failed() {
            Some(reason) => Outcome::Aborted { reason: reason.to_owned() },
            None => outcome_of(status?),
        },
    };
    if let Some(e) = failed_by_sandbox(worker, &outcome) {
        talk.abandon(&e.to_string());
        return Err(e);
    }
    Ok(Some(Ran { outcome, duration }))
}

/// Whether a script has failed because its sandbox could not be made: when no other one can be made now, either. Then nothing
/// is known of the build, and the next one would fare no better.
fn failed_by_sandbox(worker: &Worker<'_>, outcome: &Outcome) -> Option<Error> {
    let sandbox = worker.reach.sandbox.as_ref()?;
    let failed = matches!(outcome, Outcome::Exited { code: 1.. } | Outcome::Signalled { .. });
    let path = system::given_path(&worker.args.environment);
    failed.then(|| sandbox.examine(&worker.reach.place, &worker.reach.limits, path).err())?
}

fn start(worker: &Worker<'_>, talk: &mut Talk<'_>, job: &Job, room: &Room, setting: &Setting<'_>) -> Result<Process> {
    let (kept, writer) = Kept::new(&room.console())?;
    let output = Output { mask: job.secrets.mask(), kept: kept.clone(), writer, most: job.console_bytes };
    let (variables, umask) = (&setting.environment.all, setting.varied.umask);
    let limits = &worker.reach.limits;
    let start = match &worker.reach.sandbox {
        Some(sandbox) => sandbox.start(room, variables, umask, job.network, limits)?,
        None => sandbox::beside(room, variables, umask, limits.cell()?)?,
    };
    let process = Process::start(start, output, talk.process())?;
    talk.send_console(&kept)?;
    Ok(process)
}

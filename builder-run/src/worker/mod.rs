//! The worker: connects, says what it is, waits for a build, runs it, sends what it left.

mod build;
mod check;
mod collect;
mod console;
mod event;
mod greeting;
mod guard;
mod handover;
mod job;
mod link;
mod local;
mod outbox;
mod place;
mod process;
mod reconnect;
mod remove;
mod sandbox;
mod secrets;
mod session;
mod sign;
mod signals;
mod ssh;
mod strays;
mod system;
mod talk;
mod transport;
mod upload;
mod vary;
mod watch;

pub use guard::run as guard;
pub use sandbox::fresh_root::run as fresh_root;

use crate::args::WorkerArgs;
use crate::protocol::ToServer;
use event::Mailbox;
use place::Place;
use sandbox::Sandbox;
use sandbox::limits::Limits;
use session::{Reach, Session};
use signals::Signals;
use spool::error::{Error, Kind, Result};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use strays::Household;
use system::Inputs;
use tracing::warn;

/// The longest pause between two attempts to connect.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Serves builds until one is done, or with `--keep` until it is told to stop. With `--persist`, what keeps it from a build
/// is waited for as with `--keep`, unless that is said wrongly on this side.
pub fn run(args: &WorkerArgs, config: Option<&Path>) -> Result<()> {
    if args.check {
        return check::run(args, config);
    }
    let mut worker = Worker::new(args, config)?;
    loop {
        match worker.serve() {
            Ok(Ended::Asked) => return Ok(()),
            Ok(Ended::OneBuild) if !args.keep => return Ok(()),
            Ok(Ended::OneBuild) => continue,
            Err(e) if !worker.tries_again(&e) => return Err(e),
            Err(e) => warn!("{e}; trying again in {} s", worker.pause.as_secs()),
        }
        if worker.reach.signals.wait(worker.pause) {
            return Ok(());
        }
        worker.pause = (worker.pause * 2).min(LONGEST_PAUSE);
    }
}

/// Why nothing is left to do.
enum Ended {
    /// A signal asked for it.
    Asked,
    /// A build was carried out.
    OneBuild,
}

struct Worker<'a> {
    args: &'a WorkerArgs,
    reach: Arc<Reach>,
    mailbox: Mailbox,
    guard: guard::Guard,
    inputs: Inputs,
    session: Option<Session>,
    /// Before the next attempt to connect.
    pause: Duration,
    /// Whether there was a build.
    had_build: bool,
}

impl<'a> Worker<'a> {
    fn new(args: &'a WorkerArgs, config: Option<&Path>) -> Result<Worker<'a>> {
        system::check_environment(&args.environment)?;
        let place = Place::open(args.work.as_deref())?;
        let mut sandbox = Sandbox::of(&args.sandbox, &place, args.identity.as_deref())?;
        // Before there is another process: a cgroup that hands limits down has none of its own.
        let limits = sandbox::limits(&args.sandbox, sandbox.as_mut())?;
        let mut inputs = Inputs::default();
        look_round(&mut inputs, sandbox.as_ref(), &place, &limits, args)?;
        let guard = guard::Guard::start()?;
        let mailbox = Mailbox::new();
        let reach = Reach {
            args: args.clone(),
            config: config.map(Path::to_owned),
            place,
            instance: session::fresh_instance(),
            signals: Signals::listen(&mailbox)?,
            household: Household::default(),
            pen: sign::Pen::default(),
            described: system::describe(sandbox.as_ref(), &inputs),
            sandbox,
            limits,
            connecting: Mutex::new(()),
        };
        let pause = Duration::from_secs(1);
        Ok(Worker { args, reach: Arc::new(reach), mailbox, guard, inputs, session: None, pause, had_build: false })
    }

    /// Whether it goes on after this.
    fn tries_again(&self, e: &Error) -> bool {
        self.args.keep || self.args.persist && !self.had_build && !matches!(e.kind(), Kind::Usage | Kind::Config)
    }

    /// Waits for a build and carries it out.
    fn serve(&mut self) -> Result<Ended> {
        let mut session = match self.session.take() {
            Some(session) => session,
            None => match self.reach.connect(session::PATIENCE)? {
                Some(connected) => Session::new(connected, &self.mailbox),
                None => return Ok(Ended::Asked),
            },
        };
        let reach = &self.reach;
        look_round(&mut self.inputs, reach.sandbox.as_ref(), &reach.place, &reach.limits, self.args)?;
        session.link.say(ToServer::Ready, Vec::new());
        let idle = self.args.idle.map(|seconds| Duration::from_secs(seconds.into()));
        let Some(job) = session.wait(&self.mailbox, idle)? else { return Ok(Ended::Asked) };
        self.pause = Duration::from_secs(1);
        self.had_build = true;
        match build::run(self, session, &job, &self.inputs)? {
            build::End::Finished(session) => self.session = session,
            build::End::Asked => return Ok(Ended::Asked),
        }
        // A signal that came while the build was handed over has waited for that.
        Ok(if self.reach.signals.caught() { Ended::Asked } else { Ended::OneBuild })
    }
}

/// Looks at the system in which scripts will run. A sandbox is made for that: where it can't be, or what an earlier build has
/// left can't be removed, no build is taken.
fn look_round(
    inputs: &mut Inputs,
    sandbox: Option<&Sandbox>,
    place: &Place,
    limits: &Limits,
    args: &WorkerArgs,
) -> Result<()> {
    place.clear()?;
    match sandbox {
        Some(sandbox) => inputs.set_inside(sandbox.examine(place, limits, system::given_path(&args.environment))?),
        None => inputs.refresh(),
    }
    Ok(())
}

/// The server's own words, and its class of failure.
fn ended_by_server(text: &str, code: u8) -> Error {
    let printable: String = text.chars().filter(|c| !c.is_control()).take(1000).collect();
    Error::new(Kind::of_code(code), format!("the server ended the session: {printable}"))
}

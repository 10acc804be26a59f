//! builderd - fires schedules, takes builds from workers that vanished, sweeps what crashes left.
//!
//! It is not on the path: adding, claiming, finishing and watching work while it is down. It only looks at
//! the spool, decides, and carries out what the spool library offers; all its knowledge is on disk, so it can
//! be killed at any instant. One builderd serves a spool, and a lock makes sure of that.
//!
//! SECURITY. It runs as the spool's owner and opens no port. Users of this machine may ask at a unix socket (`door`);
//! it knows them by what the kernel says of the other end, and executes one program for them, `builder gate`, in the
//! role that builder.toml gives them. What they send is passed on unread. It reads none of their files: they open
//! those themselves and send them open.

mod daemon;
mod deadline;
mod door;
mod ends;
mod errand;
mod eyes;
mod hooks;
mod house;
mod index;
mod launch;
mod manager;
mod metrics;
mod reload;
mod retention;
mod seals;
mod settings;
mod starter;
mod timers;

use clap::Parser;
use settings::Settings;
use spool::error::{Error, Result};
use spool::{Spool, durability, owner};
use std::path::PathBuf;
use std::process::ExitCode;

/// Fires the schedules of a spool and mends what workers and crashes left
#[derive(Debug, Parser)]
#[command(name = "builderd", version)]
struct Args {
    /// The configuration file
    #[arg(long, env = "BUILDER_CONFIG")]
    config: Option<PathBuf>,
    /// The spool directory
    #[arg(long, env = "BUILDER_SPOOL")]
    spool: Option<PathBuf>,
    /// Mend, fire what is due, and exit
    #[arg(long)]
    once: bool,
    /// Say what is wrong with the configuration or the spool, and exit
    #[arg(long, conflicts_with = "once")]
    check: bool,
}

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(e) if !e.use_stderr() => {
            let _ = e.print();
            return ExitCode::SUCCESS;
        }
        Err(e) => return fail(&Error::usage("builderd", &e.to_string())),
    };
    journal::start("builderd", "info");
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => fail(&e),
    }
}

fn fail(error: &Error) -> ExitCode {
    eprintln!("builderd: {error}");
    ExitCode::from(error.exit_code())
}

fn run(args: &Args) -> Result<()> {
    let settings = Settings::read(args.config.clone())?;
    let config = settings.current();
    let spool = config.open(args.spool.as_deref().unwrap_or(&config.spool))?;
    owner::become_owner(&spool)?;
    if args.check {
        return house::House::new(&spool, &settings).map(drop);
    }
    let _lock = spool.lock_daemon()?;
    if let Some(weakness) = durability::weakness(spool.layout().root()) {
        tracing::warn!("{weakness}");
    }
    let index = if args.once { None } else { index::start(&spool) };
    let mut daemon = daemon::Daemon::new(&spool, config, index, args.once)?;
    if args.once {
        retention::round(&spool, &config.keep);
        return daemon.run_once();
    }
    let retention = retention::start(&spool, &config.keep);
    let launcher = launch::start(&spool, config)?;
    let metrics = metrics::start(&spool, config, daemon.store());
    let door = open_door(&spool, &settings);
    daemon.run(&mut reload::Reload { settings, retention, launcher, metrics, door })
}

/// Without a door everything works but what local users ask for, so timers must not wait for it.
fn open_door(spool: &Spool, settings: &Settings) -> Option<door::Door> {
    let opened = house::House::new(spool, settings).and_then(door::Door::open);
    opened.inspect_err(|e| tracing::error!("local users can't ask for anything: {e}")).ok()
}

//! builderd - fires schedules, takes builds from workers that vanished, sweeps what crashes left.
//!
//! It is not on the path: adding, claiming, finishing and watching work while it is down. It only looks at
//! the spool, decides, and carries out what the spool library offers; all its knowledge is on disk, so it can
//! be killed at any instant. One builderd serves a spool, and a lock makes sure of that.
//!
//! SECURITY. It runs as the spool's owner, opens no port and executes nothing.

mod daemon;
mod ends;
mod eyes;
mod hooks;
mod timers;

use clap::Parser;
use spool::config::Config;
use spool::error::{Error, Result};
use spool::{durability, owner};
use std::io::IsTerminal;
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
    let filter = tracing_subscriber::EnvFilter::try_from_env("BUILDER_LOG").unwrap_or_else(|_| "info".into());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
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
    let config = Config::read(args.config.as_deref())?;
    let spool = config.open(args.spool.as_deref().unwrap_or(&config.spool))?;
    owner::become_owner(&spool)?;
    let _lock = spool.lock_daemon()?;
    if let Some(weakness) = durability::weakness(spool.layout().root()) {
        tracing::warn!("{weakness}");
    }
    daemon::Daemon::new(&spool, &config)?.run(args.once)
}

//! Both ends of builder's SSH session.
//!
//! `builder-run worker` runs in a jail, a container or on a machine of its own: it connects, waits for a build,
//! runs its script in a fresh directory and sends back what it printed and left. `builder-run serve` is the
//! forced command of the worker's key on the server: it hands out builds and writes them down in the spool.
//!
//! SECURITY. `serve` trusts nothing that comes from the worker: names are parsed, lengths are bounded, and
//! the only paths that it makes are the spool's own. A worker reaches the build that it holds and no other.

mod args;
mod keys;
mod protocol;
mod serve;
mod sftp;
mod worker;

use args::{Cli, Verb};
use clap::Parser;
use spool::config::Config;
use spool::error::{Error, Result};
use std::io::IsTerminal;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) if !e.use_stderr() => {
            let _ = e.print();
            return ExitCode::SUCCESS;
        }
        Err(e) => return fail(&Error::usage("builder-run", &e.to_string())),
    };
    let filter = tracing_subscriber::EnvFilter::try_from_env("BUILDER_LOG").unwrap_or_else(|_| "info".into());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    match run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => fail(&e),
    }
}

fn fail(error: &Error) -> ExitCode {
    eprintln!("builder-run: {error}");
    ExitCode::from(error.exit_code())
}

fn run(cli: &Cli) -> Result<()> {
    let config = || Config::read(cli.config.as_deref());
    match &cli.verb {
        Verb::Worker(args) => worker::run(args, cli.config.as_deref()),
        Verb::Serve(args) => serve::run(args, &config()?),
        Verb::AuthorizedKeys(args) => keys::run(args, &config()?),
        Verb::Guard => {
            worker::guard();
            Ok(())
        }
    }
}

//! The program: what it was called for, and with which exit code it ends.

use builder_run::args::{Cli, Verb};
use builder_run::{keys, serve, worker};
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
        // It would say on standard error that nobody reads standard error, and panic.
        .log_internal_errors(false)
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
        Verb::FreshRoot(args) => worker::fresh_root(args),
    }
}

//! The program: what it was called for, and with which exit code it ends.

use builder_run::args::{Cli, Verb};
use builder_run::{keys, serve, worker};
use clap::Parser;
use journal::Goes;
use spool::config::Config;
use spool::error::{Error, Result};
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
    let log = start_log(&cli.verb);
    match run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            if log == Goes::ToTheSystem && is_sshds(&cli.verb) {
                tracing::warn!("{e}");
            }
            fail(&e)
        }
    }
}

/// What sshd starts: its standard error goes to whoever is at the other end, or nowhere.
fn is_sshds(verb: &Verb) -> bool {
    match verb {
        Verb::Serve(args) => !args.local,
        Verb::AuthorizedKeys(_) => true,
        Verb::Worker(_) | Verb::Guard | Verb::FreshRoot(_) => false,
    }
}

fn start_log(verb: &Verb) -> Goes {
    match verb {
        Verb::Serve(args) if !args.local => journal::start_apart("builder-run", Some(args.worker.to_string())),
        Verb::AuthorizedKeys(_) => journal::start_apart("builder-run", None),
        // It shares standard error with the worker, which says the same things.
        Verb::Serve(_) => journal::start("builder-run", "warn"),
        Verb::Worker(_) | Verb::Guard | Verb::FreshRoot(_) => journal::start("builder-run", "info"),
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

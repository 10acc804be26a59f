//! builder - the client that people type.
//!
//! It works on the spool itself and talks to nobody: each verb is a few calls of the spool library and some
//! text. What it prints on standard output is for people and pipes alike; hints go to standard error.
//!
//! SECURITY. Verbs that change something run as the spool's owner; the superuser becomes the owner first, after
//! the caller's own files were read.

mod args;
mod out;
mod terminal;
mod text;
mod verbs;
mod words;

use args::{Cli, Verb, WorkerVerb};
use clap::Parser;
use spool::config::Config;
use spool::error::{Error, Kind, Result};
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e)
            if e.exit_code() == 0 || e.kind() == clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand =>
        {
            let _ = e.print();
            return if e.use_stderr() { ExitCode::from(Kind::Usage as u8) } else { ExitCode::SUCCESS };
        }
        Err(e) => return fail(&Error::usage("builder", &e.to_string())),
    };
    match run(&cli) {
        Ok(code) => code,
        Err(e) => fail(&e),
    }
}

fn fail(error: &Error) -> ExitCode {
    eprintln!("builder: {error}");
    ExitCode::from(error.exit_code())
}

fn run(cli: &Cli) -> Result<ExitCode> {
    if let Verb::Next(args) = &cli.verb
        && let Some(expression) = &args.cron
    {
        return verbs::next::of_expression(args, expression).map(|()| ExitCode::SUCCESS);
    }
    let config = Config::read(cli.config.as_deref())?;
    let root = cli.spool.as_ref().unwrap_or(&config.spool);
    if let Verb::Init = cli.verb {
        return verbs::init::run(root).map(|()| ExitCode::SUCCESS);
    }
    let spool = config.open(root)?;
    match &cli.verb {
        Verb::Watch(args) => return verbs::watch::run(&spool, args),
        Verb::Ls(args) => return verbs::ls::run(&spool, args),
        Verb::Init => {}
        Verb::Add(args) => verbs::add::run(&spool, &config, args)?,
        Verb::Rm(args) => verbs::rm::run(&spool, args)?,
        Verb::Run(args) => return verbs::run::run(&spool, args),
        Verb::Set(args) => verbs::set::run(&spool, args)?,
        Verb::Edit(args) => verbs::edit::run(&spool, args)?,
        Verb::History(args) => verbs::history::run(&spool, args)?,
        Verb::Platform(verb) => verbs::platform::run(&spool, verb)?,
        Verb::Drain(args) => verbs::drain::run(&spool, args)?,
        Verb::Next(args) => verbs::next::run(&spool, args)?,
        Verb::Log(args) => verbs::log::run(&spool, args)?,
        Verb::Show(args) => verbs::show::run(&spool, args)?,
        Verb::Get(args) => verbs::get::run(&spool, args)?,
        Verb::Cancel(args) => verbs::cancel::run(&spool, args)?,
        Verb::Worker(WorkerVerb::Add(args)) => verbs::worker::add(&spool, &config, args)?,
        Verb::Worker(WorkerVerb::Ls(args)) => verbs::worker::ls(&spool, args)?,
        Verb::Worker(WorkerVerb::Rm(args)) => verbs::worker::rm(&spool, &config, args)?,
        Verb::Worker(WorkerVerb::Release(args)) => verbs::worker::release(&spool, args)?,
    }
    Ok(ExitCode::SUCCESS)
}

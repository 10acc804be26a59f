//! builder - the client that people type.
//!
//! It works on the spool itself and talks to nobody: each verb is a few calls of the spool library and some
//! text. What it prints on standard output is for people and pipes alike; hints go to standard error.
//!
//! A verb for a spool that is not the caller's is carried out elsewhere by another `builder`: over SSH (`host`), or by
//! builderd (`ask`). `gate` is what lets it in there; `terms` has what each verb takes, `travel` what is sent.
//!
//! SECURITY. Verbs that change something run as the spool's owner; the superuser becomes the owner first, after
//! the caller's own files were read. The gate runs as the owner for somebody else, and is the only judge of what that
//! person may do: it takes one verb, expands nothing, and opens no file by a name that came from outside.

mod args;
mod ask;
mod gate;
mod host;
mod out;
mod tarball;
mod terms;
mod text;
mod travel;
mod verbs;

use args::{Cli, Verb, WorkerVerb};
use clap::ArgMatches;
use spool::Spool;
use spool::config::Config;
use spool::error::{Error, Result};
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let (cli, typed) = match Cli::read(std::env::args_os()) {
        Ok(read) => read,
        Err(code) => return code,
    };
    match run(&cli, &typed) {
        Ok(code) => code,
        Err(e) => fail(&e),
    }
}

fn fail(error: &Error) -> ExitCode {
    eprintln!("builder: {error}");
    ExitCode::from(error.exit_code())
}

fn run(cli: &Cli, typed: &ArgMatches) -> Result<ExitCode> {
    if let Verb::Gate(args) = &cli.verb {
        return gate::run(cli, args);
    }
    if let Some(host) = &cli.host {
        return host::run(host, cli, typed);
    }
    let config = Config::read(cli.config.as_deref())?;
    let root = cli.spool.as_ref().unwrap_or(&config.spool);
    match ask::is_needed(root, &cli.verb) {
        true => ask::run(root, &config, cli, typed),
        false => carry_out(root, &config, &cli.verb),
    }
}

/// Does a verb here, as this user.
fn carry_out(root: &Path, config: &Config, verb: &Verb) -> Result<ExitCode> {
    if let Verb::Init = verb {
        return verbs::init::run(root).map(|()| ExitCode::SUCCESS);
    }
    let spool = Spool::open(root)?;
    match verb {
        Verb::Watch(args) => return verbs::watch::run(&spool, args),
        Verb::Init | Verb::Gate(_) => {}
        Verb::Add(args) => verbs::add::run(&spool, config, args)?,
        Verb::Rm(args) => verbs::rm::run(&spool, args)?,
        Verb::Run(args) => verbs::run::run(&spool, args)?,
        Verb::Ls(args) => verbs::ls::run(&spool, args)?,
        Verb::Log(args) => verbs::log::run(&spool, args)?,
        Verb::Show(args) => verbs::show::run(&spool, args)?,
        Verb::Get(args) => verbs::get::run(&spool, args)?,
        Verb::Cancel(args) => verbs::cancel::run(&spool, args)?,
        Verb::Worker(WorkerVerb::Add(args)) => verbs::worker::add(&spool, config, args)?,
        Verb::Worker(WorkerVerb::Ls(args)) => verbs::worker::ls(&spool, args)?,
        Verb::Worker(WorkerVerb::Rm(args)) => verbs::worker::rm(&spool, config, args)?,
    }
    Ok(ExitCode::SUCCESS)
}

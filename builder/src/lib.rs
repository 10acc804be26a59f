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
mod complete;
mod copy;
pub mod gate;
mod host;
mod out;
mod program;
pub mod rc;
pub mod robur;
mod save;
mod sending;
mod tarball;
mod terminal;
mod terms;
mod text;
mod travel;
mod verbs;
mod words;

use args::{Cli, SetupVerb, TemplateVerb, Unread, Verb, WorkerVerb};
use clap::ArgMatches;
use spool::config::Config;
use spool::error::{Error, Kind, Result};
use std::path::Path;
use std::process::ExitCode;
use terms::{Files, terms};

/// Does what the command line of this process says, and says what it must exit with.
pub fn run() -> ExitCode {
    // Who watches it takes the codes of sysexits(3) for nonsense.
    let nagios = std::env::args_os().any(|word| word == "--nagios");
    let (cli, typed) = match Cli::read(std::env::args_os()) {
        Ok(read) => read,
        Err(Unread::Wrong(error)) if nagios => return verbs::status::unknown(&error),
        Err(unread) => return unread.say(),
    };
    match start(&cli, &typed) {
        Ok(code) => code,
        Err(e) if nagios => verbs::status::unknown(&e),
        Err(e) => fail(&e),
    }
}

fn fail(error: &Error) -> ExitCode {
    eprintln!("builder: {error}");
    ExitCode::from(error.exit_code())
}

fn start(cli: &Cli, typed: &ArgMatches) -> Result<ExitCode> {
    match &cli.verb {
        Verb::Gate(args) => return gate::run(cli, args),
        Verb::Completion(args) => return complete::script(args),
        Verb::Complete(args) => return complete::run(args),
        // An expression means the same everywhere, with or without a spool.
        Verb::Next(args) if args.cron.is_some() && cli.host.is_none() => {
            return carry_out(Path::new(""), &Config::default(), &cli.verb);
        }
        // A file of the caller's is the caller's to look at, whatever server there is.
        Verb::Template(TemplateVerb::Check(_)) => return carry_out(Path::new(""), &Config::default(), &cli.verb),
        Verb::Template(_) if cli.host.is_none() => {
            return carry_out(Path::new(""), &Config::read(cli.config.as_deref())?, &cli.verb);
        }
        _ => {}
    }
    if let Some(done) = of_this_machine(cli) {
        return done;
    }
    if let Verb::Edit(args) = &cli.verb
        && let Files::Editor = terms(&cli.verb).files
        && is_elsewhere(cli)?
    {
        return verbs::edit::elsewhere(typed, args);
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

/// What is about this machine, and about nobody's spool but that of whoever is here.
fn of_this_machine(cli: &Cli) -> Option<Result<ExitCode>> {
    let (Verb::Setup(_) | Verb::Doctor(_)) = cli.verb else { return None };
    if cli.host.is_some() {
        let wrong = Error::new(Kind::Usage, "this verb is about the machine where it is typed");
        return Some(Err(wrong.hint("log in there and type it without --host, or unset BUILDER_HOST")));
    }
    let config = Config::read(cli.config.as_deref());
    let default = Config::default().spool;
    let root = cli.spool.clone().or(config.as_ref().ok().map(|config| config.spool.clone())).unwrap_or(default);
    Some(match &cli.verb {
        Verb::Setup(SetupVerb::Worker(args)) => verbs::setup::worker(args).map(|()| ExitCode::SUCCESS),
        Verb::Setup(SetupVerb::Server(args)) => {
            config.and_then(|config| verbs::setup::server(&root, &config, args)).map(|()| ExitCode::SUCCESS)
        }
        Verb::Doctor(args) => verbs::doctor::run(&root, config, args),
        _ => return None,
    })
}

/// Whether somebody else has to do the verb.
fn is_elsewhere(cli: &Cli) -> Result<bool> {
    if cli.host.is_some() {
        return Ok(true);
    }
    let config = Config::read(cli.config.as_deref())?;
    Ok(ask::is_needed(cli.spool.as_ref().unwrap_or(&config.spool), &cli.verb))
}

/// Does a verb here, as this user.
fn carry_out(root: &Path, config: &Config, verb: &Verb) -> Result<ExitCode> {
    match verb {
        Verb::Init => return verbs::init::run(root).map(|()| ExitCode::SUCCESS),
        Verb::Next(args) if args.cron.is_some() => return verbs::next::of_expression(args).map(|()| ExitCode::SUCCESS),
        Verb::Template(verb) => return verbs::template::run(config, verb).map(|()| ExitCode::SUCCESS),
        _ => {}
    }
    let spool = match (config.open(root), verb) {
        (Err(e), Verb::Status(args)) if args.nagios => return Ok(verbs::status::unknown(&e)),
        (opened, _) => opened?,
    };
    match verb {
        Verb::Watch(args) => return verbs::watch::run(&spool, args),
        Verb::Diff(args) => return verbs::diff::run(&spool, args),
        Verb::VerifySignature(args) => return verbs::verify_signature::run(&spool, args),
        Verb::Status(args) => return verbs::status::run(&spool, args),
        Verb::Ls(args) => return verbs::ls::run(&spool, config, args),
        Verb::Import(args) => return verbs::import::run(&spool, config, args),
        Verb::Init | Verb::Gate(_) | Verb::Completion(_) | Verb::Complete(_) => {}
        Verb::Template(_) | Verb::Setup(_) | Verb::Doctor(_) => {}
        Verb::Add(args) => verbs::add::run(&spool, config, args)?,
        Verb::Rm(args) => verbs::rm::run(&spool, args)?,
        Verb::Run(args) => return verbs::run::run(&spool, args),
        Verb::Set(args) => verbs::set::run(&spool, args)?,
        Verb::Edit(args) => verbs::edit::run(&spool, args)?,
        Verb::History(args) => verbs::history::run(&spool, args)?,
        Verb::Platform(verb) => verbs::platform::run(&spool, verb)?,
        Verb::Check(args) => verbs::check::run(&spool, args)?,
        Verb::Drain(args) => verbs::drain::run(&spool, args)?,
        Verb::Next(args) => verbs::next::run(&spool, args)?,
        Verb::Log(args) => verbs::log::run(&spool, args)?,
        Verb::Show(args) => verbs::show::run(&spool, args)?,
        Verb::Latest(args) => verbs::latest::run(&spool, args)?,
        Verb::Find(args) => verbs::find::run(&spool, args)?,
        Verb::Pin(args) => verbs::pin::pin(&spool, args)?,
        Verb::Unpin(args) => verbs::pin::unpin(&spool, args)?,
        Verb::Export(args) => verbs::export::run(&spool, args)?,
        Verb::Gc(args) => verbs::gc::run(&spool, config, args)?,
        Verb::Verify(args) => return verbs::verify::run(&spool, args),
        Verb::Repro(args) => verbs::repro::run(&spool, args)?,
        Verb::Get(args) => verbs::get::run(&spool, args)?,
        Verb::Cancel(args) => verbs::cancel::run(&spool, args)?,
        Verb::Worker(WorkerVerb::Add(args)) => verbs::worker::add(&spool, config, args)?,
        Verb::Worker(WorkerVerb::Ls(args)) => verbs::worker::ls(&spool, args)?,
        Verb::Worker(WorkerVerb::Rm(args)) => verbs::worker::rm(&spool, config, args)?,
        Verb::Worker(WorkerVerb::Release(args)) => verbs::worker::release(&spool, args)?,
    }
    Ok(ExitCode::SUCCESS)
}

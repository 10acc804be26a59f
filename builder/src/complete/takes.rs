//! What each argument takes of what a spool knows: the only place that says so.

use super::Paths;
use super::known::Known;
use clap::builder::StyledStr;
use clap::{Arg, Command};
use clap_complete::{ArgValueCompleter, CompletionCandidate};
use spool::place::Place;
use spool::platform::State;
use std::ffi::OsStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// What an argument takes.
#[derive(Clone, Copy)]
pub enum Takes {
    /// A file of the caller.
    File,
    /// A directory of the caller.
    Directory,
    /// One of some words.
    Words(&'static [&'static str]),
    /// A time zone.
    Zone,
    /// A job.
    Job,
    /// A job, or none.
    JobOrNone,
    /// A build that is at such a place, or a job that stands for its newest.
    Build(fn(&Place) -> bool),
    /// An artifact of the build that was named before.
    Artifact,
    /// A platform in such a state.
    Platform(fn(State) -> bool),
    /// A platform, or all.
    PlatformOrAll,
    /// A worker; only those that are in quarantine.
    Worker(bool),
    /// A template, or its file.
    Template,
}

/// What the argument with this id takes.
fn takes(verb: &[&str], argument: &str) -> Option<Takes> {
    use Takes::*;
    Some(match (verb, argument) {
        (_, "spool" | "output") => Directory,
        (_, "config" | "script" | "from" | "key") => File,
        (_, "every") => Words(&["hourly", "daily", "weekly", "never"]),
        (["gate"], "role") => Words(&["read", "submit", "admin"]),
        (_, "tz") => Zone,
        (_, "after") => JobOrNone,
        (["set" | "edit" | "rm" | "run" | "next" | "history"], "name") => Job,
        (["cancel"], "build") => Build(|place| !matches!(place, Place::Ended(_))),
        (["get"], "build") => Build(|place| matches!(place, Place::Ended(_))),
        (["watch" | "log" | "show"], "build") => Build(|_| true),
        (["get"], "paths") => Artifact,
        (["platform", "pause"], "platform") => Platform(|state| state == State::Open),
        (["platform", "resume"], "platform") => Platform(|state| state == State::Paused),
        (["platform", "drop"], "platform") => Platform(|state| state != State::Dropped),
        (["platform", "restore"], "platform") => Platform(|state| state == State::Dropped),
        (["add" | "set"], "platforms") => PlatformOrAll,
        (_, "platform" | "platforms") => Platform(|_| true),
        (["worker", "rm"], "name") => Worker(false),
        (["worker", "release"], "name") => Worker(true),
        (["add"], "template") => Template,
        _ => return None,
    })
}

/// The command line, with a completer at each argument that has one.
pub fn attached(command: Command, known: &Arc<Known>, paths: &Arc<AtomicU8>) -> Command {
    below(command, &[], known, paths)
}

fn below(command: Command, verb: &[&str], known: &Arc<Known>, paths: &Arc<AtomicU8>) -> Command {
    let command = command.mut_args(|arg| match takes(verb, arg.get_id().as_str()) {
        Some(what) => with(arg, what, known.clone(), paths.clone()),
        None => arg,
    });
    command.mut_subcommands(|sub| {
        let name = sub.get_name().to_owned();
        let verb = [verb, &[&name]].concat();
        below(sub, &verb, known, paths)
    })
}

fn with(arg: Arg, what: Takes, known: Arc<Known>, paths: Arc<AtomicU8>) -> Arg {
    arg.add(ArgValueCompleter::new(move |word: &OsStr| {
        let word = word.to_string_lossy();
        let of_paths = match what {
            Takes::File => Some(Paths::Files),
            Takes::Directory => Some(Paths::Directories),
            Takes::Template if word.starts_with(['.', '/', '~']) => Some(Paths::Files),
            _ => None,
        };
        if let Some(of_paths) = of_paths {
            paths.store(of_paths as u8, Ordering::SeqCst);
            return Vec::new();
        }
        let found = known.completes(what, &word).unwrap_or_default();
        let candidate =
            |(value, help): (String, Option<String>)| CompletionCandidate::new(value).help(help.map(StyledStr::from));
        found.into_iter().map(candidate).collect()
    }))
}

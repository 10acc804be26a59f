//! A completer at each argument of the command line.

use super::Paths;
use super::known::Known;
use super::takes::{Takes, takes};
use clap::builder::StyledStr;
use clap::{Arg, Command};
use clap_complete::{ArgValueCompleter, CompletionCandidate};
use std::ffi::OsStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

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

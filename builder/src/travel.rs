//! What travels when a verb is carried out somewhere else: its words, and the caller's own files as streams.

use crate::args::Cli;
use crate::save::Saving;
use crate::sending;
use crate::tarball::Staged;
use crate::terms::{Files, terms};
use crate::verbs::import;
use crate::{out, words};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, CommandFactory};
use spool::error::{At, Error, Kind, Result};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// A verb, ready to travel.
pub struct Parcel<'a> {
    /// The command line, quoted for a POSIX shell.
    pub command: String,
    /// What its standard input is.
    pub input: Input,
    /// What is to be done here with its standard output; without that it is the caller's.
    pub unpack: Option<Unpack<'a>>,
}

/// A standard input.
pub enum Input {
    /// The caller's.
    Inherited,
    /// A file that was opened as the caller.
    File(File),
    /// None: `while read job; do builder run "$job"; done` must find the next line still there.
    Nothing,
}

/// What is done here with what comes.
pub enum Unpack<'a> {
    /// Artifacts come as a tar archive, and are unpacked into this directory, over others when it is forced.
    Tar(&'a Path, bool),
    /// It is a file's content.
    Save(&'a Path),
}

/// Packs a verb. With `globals` its --spool and --config go along, as what was typed; variables of the environment
/// speak of this machine and stay.
///
/// # Errors
/// As the verb itself has them for its files; [`Kind::Usage`] for what can't travel.
pub fn pack<'a>(cli: &'a Cli, typed: &ArgMatches, globals: bool) -> Result<Parcel<'a>> {
    let (mut input, mut unpack, mut changes) = (Input::Nothing, None, Changes::default());
    match terms(&cli.verb).files {
        Files::Input(_, None) => input = Input::Inherited,
        Files::Input(_, Some(path)) if path == Path::new("-") => input = Input::Inherited,
        Files::Input(argument, Some(path)) => {
            input = Input::File(words::open(path)?);
            changes.standard_input = Some(argument);
        }
        Files::Inputs(named, instead) => {
            changes.dropped = &["files"];
            changes.added = Some(instead);
            input = Input::File(sending::stream(import::files(named).into_iter().collect::<Result<_>>()?)?);
        }
        Files::Template(template) if template.contains('/') => return Err(no_template()),
        Files::Output(output, force) => {
            unpack = Some(Unpack::Tar(output, force));
            changes.dropped = &["output", "force"];
            changes.added = Some("--tar");
        }
        Files::Save(to) => {
            unpack = Some(Unpack::Save(to));
            changes.dropped = &["output"];
        }
        Files::Programs(without) => changes.added = Some(without),
        Files::Template(_) | Files::None => {}
        Files::Editor => return Err(Error::new(Kind::Internal, "an editor can't travel")),
    }
    Ok(Parcel { command: command(typed, &changes, globals)?, input, unpack })
}

fn no_template() -> Error {
    Error::new(Kind::Usage, "a template's file can't be sent; only installed templates can be used there")
        .hint("name one without a slash, or write a script and add that")
}

fn command(typed: &ArgMatches, changes: &Changes, globals: bool) -> Result<String> {
    let root = Cli::command();
    let mut all = vec!["builder".to_owned()];
    let travels = |arg: &&Arg| globals && ["spool", "config"].contains(&arg.get_id().as_str());
    for arg in root.get_arguments().filter(travels) {
        all.extend(option(arg, typed)?);
    }
    verb(&root, typed, changes, &mut all)?;
    Ok(shell_words::join(all))
}

/// How the words differ from those that were typed.
#[derive(Default)]
struct Changes {
    standard_input: Option<&'static str>,
    dropped: &'static [&'static str],
    added: Option<&'static str>,
}

/// The subcommands that were typed, and the last one's arguments: options first, so that a word with a dash can be told
/// from them.
fn verb(command: &Command, typed: &ArgMatches, changes: &Changes, into: &mut Vec<String>) -> Result<()> {
    if let Some((name, below)) = typed.subcommand()
        && let Some(command) = command.find_subcommand(name)
    {
        into.push(name.to_owned());
        return verb(command, below, changes, into);
    }
    into.extend(changes.added.map(str::to_owned));
    let kept = |arg: &&Arg| !changes.dropped.contains(&arg.get_id().as_str());
    for arg in command.get_arguments().filter(|arg| !arg.is_positional()).filter(kept) {
        match (changes.standard_input == Some(arg.get_id().as_str()), arg.get_long()) {
            (true, Some(long)) => into.push(format!("--{long}=-")),
            _ => into.extend(option(arg, typed)?),
        }
    }
    let before = into.len();
    for arg in command.get_positionals().filter(kept) {
        match changes.standard_input == Some(arg.get_id().as_str()) {
            true => into.push("-".to_owned()),
            false => into.extend(values(arg, typed)?),
        }
    }
    if into[before..].iter().any(|word| word.starts_with('-') && word != "-") {
        into.insert(before, "--".to_owned());
    }
    Ok(())
}

fn option(arg: &Arg, typed: &ArgMatches) -> Result<Vec<String>> {
    let (name, before_value) = match (arg.get_long(), arg.get_short()) {
        (Some(long), _) => (format!("--{long}"), "="),
        (None, Some(short)) => (format!("-{short}"), ""),
        (None, None) => return Err(Error::new(Kind::Internal, format!("{} is no option", arg.get_id()))),
    };
    let values = values(arg, typed)?;
    Ok(match arg.get_action() {
        ArgAction::Set | ArgAction::Append => {
            values.iter().map(|value| format!("{name}{before_value}{value}")).collect()
        }
        _ if values.is_empty() => Vec::new(),
        _ => vec![name],
    })
}

fn values(arg: &Arg, typed: &ArgMatches) -> Result<Vec<String>> {
    let id = arg.get_id().as_str();
    if typed.value_source(id) != Some(ValueSource::CommandLine) {
        return Ok(Vec::new());
    }
    let text = |value: &std::ffi::OsStr| {
        let shown = value.to_string_lossy().escape_default().to_string();
        let odd = || Error::new(Kind::Usage, format!("`{shown}` is not UTF-8, so it can't be sent"));
        value.to_str().map(str::to_owned).ok_or_else(odd)
    };
    typed.get_raw(id).into_iter().flatten().map(text).collect()
}

impl Unpack<'_> {
    /// Unpacks what comes, and puts it into its place when `status` says that all has come. Prints the paths.
    pub fn receive(&self, from: impl Read, status: impl FnOnce() -> Result<u8>) -> Result<ExitCode> {
        match self {
            Unpack::Tar(output, force) => unpack(from, output, *force, status),
            Unpack::Save(to) => save(from, to, status),
        }
    }
}

fn save(mut from: impl Read, to: &Path, status: impl FnOnce() -> Result<u8>) -> Result<ExitCode> {
    let saved = Saving::begin(to).and_then(|mut saving| {
        io::copy(&mut from, &mut saving).at("write", to)?;
        Ok(saving)
    });
    // Nobody reads what is left.
    drop(from);
    let status = status();
    let saved = saved?;
    match status? {
        0 => saved.keep().map(|()| ExitCode::SUCCESS),
        failed => Ok(ExitCode::from(failed)),
    }
}

fn unpack(from: impl Read, output: &Path, force: bool, status: impl FnOnce() -> Result<u8>) -> Result<ExitCode> {
    let staged = Staged::receive(from, output, force);
    let status = status();
    let staged = staged?;
    match status? {
        0 => {}
        failed => return Ok(ExitCode::from(failed)),
    }
    let there: Vec<PathBuf> = staged.publish()?;
    out::print(&there.iter().map(|path| format!("{}\n", path.display())).collect::<String>())?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn travels(words: &[&str]) -> String {
        let all = words.iter().map(|word| (*word).into());
        let (cli, typed) = Cli::read(std::iter::once("builder".into()).chain(all)).expect("a command line");
        pack(&cli, &typed, true).expect("a parcel").command
    }

    #[test]
    fn the_words_mean_the_same_there() {
        let table: &[(&[&str], &str)] = &[
            (&["ls"], "builder ls"),
            (&["ls", "--json", "--host", "h"], "builder ls --json"),
            (&["--host=h", "--spool", "my spool", "run", "job"], "builder '--spool=my spool' run job"),
            (&["watch", "--platform=a", "x; touch y"], "builder watch '--platform=a' 'x; touch y'"),
            (&["show", "--", "--json"], "builder show -- --json"),
            (&["show", "it's\n$(id)"], "builder show 'it'\\''s\n$(id)'"),
            (&["get", "b", "a", "c", "-o", "x", "-f"], "builder get --tar b a c"),
            (&["set", "j", "--script", "-", "--timeout", "1h"], "builder set '--script=-' '--timeout=1h' j"),
            (&["get", "--tar", "b"], "builder get --tar b"),
            (&["export", "--full", "b", "-o", "x"], "builder export --full b"),
            (&["import", "-n", "-"], "builder import --dry-run -"),
            (&["next", "-n", "3", "--from=+2h", "j"], "builder next -n3 '--from=+2h' j"),
            (&["add", "-", "-", "--platform", "p"], "builder add '--platform=p' - -"),
            (
                &["worker", "add", "w", "--platform", "p", "--platform", "q"],
                "builder worker add '--platform=p' '--platform=q' w",
            ),
        ];
        for (words, sent) in table {
            assert_eq!(travels(words), *sent, "{words:?}");
        }
    }

    #[test]
    fn the_callers_file_is_opened_here() {
        let here = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
        assert_eq!(travels(&["add", "job", here, "--platform", "p"]), "builder add '--platform=p' job -");
        assert_eq!(travels(&["set", "job", "--script", here]), "builder set '--script=-' job");
        assert_eq!(travels(&["worker", "add", "w", here, "--platform", "p"]), "builder worker add '--platform=p' w -");
    }
}

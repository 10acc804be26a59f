//! What a shell asks when somebody presses TAB, and the scripts that make it ask.
//!
//! clap knows verbs and options, `takes` what an argument means, `known` what there is in the spool. A person in the
//! middle of a line wants neither an error nor to wait: what can't be read, or not soon, completes nothing. It is a verb
//! and not a variable of the environment, so that nobody can make another command answer as if it were asked.

mod attach;
mod known;
mod line;
mod takes;

use crate::args::{Cli, CompleteArgs, CompletionArgs, Shell};
use crate::out;
use clap::CommandFactory;
use clap_complete::CompletionCandidate;
use known::Known;
use line::Line;
use spool::error::Result;
use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

/// How long somebody may be kept waiting.
const PATIENCE: Duration = Duration::from_secs(2);

/// What the shell is to complete itself, which does it better; the numbers are exit codes that its script knows.
#[derive(Clone, Copy)]
enum Paths {
    Files = 10,
    Directories = 11,
}

/// Prints the script that a shell sources.
pub fn script(args: &CompletionArgs) -> Result<ExitCode> {
    out::print(match args.shell {
        Shell::Bash => include_str!("builder.bash"),
        Shell::Zsh => include_str!("builder.zsh"),
        Shell::Fish => include_str!("builder.fish"),
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Prints what the word at the cursor can become, one a line.
pub fn run(args: &CompleteArgs) -> Result<ExitCode> {
    let line = match args.shell {
        Shell::Bash => Line::of_bash(&args.words),
        Shell::Zsh | Shell::Fish => Line::of_words(&args.words),
    };
    let (shell, looked_up) = (args.shell, line.clone());
    let (answer, answered) = mpsc::channel();
    thread::spawn(move || answer.send(look_up(&looked_up)));
    // A thread that still waits for a file system goes when this process does.
    match answered.recv_timeout(PATIENCE) {
        Ok(Found { paths: 0, candidates }) => {
            out::print(&candidates.iter().map(|one| shown(shell, &line, one)).collect::<String>())?;
            Ok(ExitCode::SUCCESS)
        }
        Ok(Found { paths, .. }) => Ok(ExitCode::from(paths)),
        Err(_) => Ok(ExitCode::SUCCESS),
    }
}

struct Found {
    candidates: Vec<CompletionCandidate>,
    paths: u8,
}

fn look_up(line: &Line) -> Found {
    let paths = Arc::new(AtomicU8::new(0));
    let known = Arc::new(Known::of(&line.words));
    let mut command = attach::attached(Cli::command(), &known, &paths);
    let mut words = line.words.clone();
    words.push(line.word.clone());
    let words: Vec<OsString> = words.into_iter().map(OsString::from).collect();
    let last = words.len() - 1;
    let mut candidates = clap_complete::engine::complete(&mut command, words, last, None).unwrap_or_default();
    // Options would hide what is meant most of the time.
    candidates.retain(|one| line.word.starts_with('-') || !one.get_value().as_encoded_bytes().starts_with(b"-"));
    Found { candidates, paths: paths.load(Ordering::SeqCst) }
}

/// A candidate in a line of its own, as the shell's script reads it: bash shows no descriptions.
fn shown(shell: Shell, line: &Line, one: &CompletionCandidate) -> String {
    let value = one.get_value().to_string_lossy();
    let help = one.get_help().map(ToString::to_string).unwrap_or_default();
    let help = help.lines().next().unwrap_or_default();
    match shell {
        Shell::Bash => format!("{}\n", line.for_bash(&value)),
        _ if help.is_empty() => format!("{value}\n"),
        _ => format!("{value}\t{help}\n"),
    }
}

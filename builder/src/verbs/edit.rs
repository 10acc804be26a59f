//! `builder edit`: a job's file in an editor, checked before it takes effect, as visudo(8) and crontab(1) do it.

use crate::args::EditArgs;
use crate::{out, text};
use clap::ArgMatches;
use clap::parser::ValueSource;
use spool::digest::Sha256;
use spool::error::{At, Error, Kind, Result};
use spool::job::Job;
use spool::name::JobName;
use spool::{Spool, clock, owner};
use std::fs::File;
use std::io::{self, BufRead, IsTerminal, Read, Write};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

/// No job's text is longer, in bytes.
const LONGEST: u64 = 64 << 20;

/// Edits the job's file, or prints it.
pub fn run(spool: &Spool, args: &EditArgs) -> Result<()> {
    let name: JobName = args.name.parse()?;
    let before = spool.job_text(&name)?;
    if args.print {
        return out::print(&before);
    }
    let job = match &args.from {
        Some(path) => spool.parse_job(&name, &given(path)?)?,
        None => match edited(spool, &name, &before)? {
            Some(job) => job,
            None => return out::print("nothing was changed\n"),
        },
    };
    owner::become_owner(spool)?;
    let was = Sha256::of(before.as_bytes());
    let changed = spool.change_job(&name, |now| {
        let expected = args.was.as_ref().or(args.from.is_none().then_some(&was));
        if expected.is_some_and(|was| spool.job_text(&name).is_ok_and(|text| Sha256::of(text.as_bytes()) != *was)) {
            return Err(Error::new(Kind::TryAgain, format!("somebody else has changed {name} meanwhile"))
                .hint("edit it once more"));
        }
        Ok(effective(now, job))
    })?;
    out::print(&format!("{}\n", text::when(&name, &changed.job, clock::now())?))
}

/// Another schedule owes nothing for moments that have passed, and another script is a new one.
fn effective(before: &Job, mut job: Job) -> Job {
    let when = |job: &Job| (job.every, job.cron.clone(), job.tz.clone(), job.first, job.since);
    if when(&job) != when(before) && job.since == before.since {
        job.since = Some(clock::now());
    }
    let what = |job: &Job| (job.script.clone(), job.values.clone(), job.variants.clone());
    if what(&job) != what(before) && job.changed == before.changed {
        job.changed = Some(clock::now());
    }
    job
}

fn given(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let from: Box<dyn Read> = match path == Path::new("-") {
        true => Box::new(io::stdin().lock()),
        false => Box::new(File::open(path).at("read", path)?),
    };
    from.take(LONGEST).read_to_end(&mut bytes).at("read", path)?;
    Ok(bytes)
}

/// What came out of the editor; nothing when that is what went in.
fn edited(spool: &Spool, name: &JobName, before: &str) -> Result<Option<Job>> {
    let mut job = None;
    edit_until(name, before, |path| {
        job = Some(spool.parse_job(name, &given(path)?)?);
        Ok(())
    })?;
    Ok(job)
}

/// Lets somebody edit a text until it is taken. False when it was not changed. Text that is wrong can be edited again,
/// or is kept.
fn edit_until(name: &JobName, before: &str, mut take: impl FnMut(&Path) -> Result<()>) -> Result<bool> {
    let mut file =
        tempfile::Builder::new().prefix(&format!("{name}.")).suffix(".toml").tempfile().at("make", "a file")?;
    file.write_all(before.as_bytes()).at("write", file.path())?;
    loop {
        edit(file.path())?;
        if given(file.path())? == before.as_bytes() {
            return Ok(false);
        }
        match take(file.path()) {
            Ok(()) => return Ok(true),
            Err(e) if again(&e) => {}
            Err(e) => {
                let (_, path) = file.keep().map_err(|e| e.error).at("keep", "the text")?;
                return Err(e.hint(format!("nothing was changed; your text is in {}", path.display())));
            }
        }
    }
}

/// Edits here what is kept elsewhere: the text is fetched and sent back by two verbs of the same command line.
pub fn elsewhere(typed: &ArgMatches, args: &EditArgs) -> Result<ExitCode> {
    let name: JobName = args.name.parse()?;
    let fetched = again_with(typed, &name, &["--print"]).stderr(Stdio::inherit()).output().at("start", "builder")?;
    if !fetched.status.success() {
        return Ok(ExitCode::from(fetched.status.code().map_or(Kind::TryAgain as u8, |code| code as u8)));
    }
    let before = String::from_utf8(fetched.stdout).map_err(|_| Error::new(Kind::Data, "the job is not UTF-8 text"))?;
    let was = format!("--was={}", Sha256::of(before.as_bytes()));
    let changed = edit_until(&name, &before, |path| {
        let sent = again_with(typed, &name, &[&was, "--from"]).arg(path).output().at("start", "builder")?;
        if sent.status.success() {
            return out::print(&String::from_utf8_lossy(&sent.stdout));
        }
        let said = String::from_utf8_lossy(&sent.stderr);
        let said = said.trim().strip_prefix("builder: ").unwrap_or(said.trim()).replace('\n', " ");
        Err(Error::new(Kind::of_code(sent.status.code().unwrap_or_default() as u8), said))
    })?;
    if !changed {
        out::print("nothing was changed\n")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The options before the verb are as they were typed; variables of the environment are there as they were.
fn again_with(typed: &ArgMatches, name: &JobName, words: &[&str]) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap_or_else(|_| "builder".into()));
    for option in ["host", "spool", "config"] {
        if typed.value_source(option) == Some(ValueSource::CommandLine) {
            command.arg(format!("--{option}")).args(typed.get_raw(option).into_iter().flatten());
        }
    }
    command.args(["edit", name.as_str()]).args(words);
    command
}

fn edit(path: &Path) -> Result<()> {
    let editor = ["VISUAL", "EDITOR"].iter().find_map(|name| std::env::var(name).ok().filter(|word| !word.is_empty()));
    let editor = editor.unwrap_or_else(|| "vi".to_owned());
    // It may be a command with words of its own.
    let status = Command::new("/bin/sh").arg("-c").arg(format!("{editor} \"$1\"")).arg("sh").arg(path).status();
    let status = status.at("start", &editor)?;
    if status.success() {
        return Ok(());
    }
    Err(Error::new(Kind::Data, format!("the editor `{editor}` failed: {status}"))
        .hint("nothing was changed; set EDITOR to another one"))
}

/// Asks whether to edit again; nobody is asked where nobody is.
fn again(why: &Error) -> bool {
    if !io::stdin().is_terminal() {
        return false;
    }
    out::hint(&why.to_string());
    eprint!("edit it again? [Y/n] ");
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).is_ok_and(|got| got > 0)
        && !matches!(answer.trim(), "n" | "N" | "no" | "q")
}

//! `builder import`: what robur's builder has left.

mod build;
mod jobs;

use crate::args::ImportArgs;
use crate::robur::{Holds, full};
use crate::{out, sending, words};
use spool::config::Config;
use spool::error::{At, Error, Kind, Result};
use spool::{Spool, owner};
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use tar::Archive;

/// The name of the files with builds in the directories of robur's builder.
const FULL: &str = "full";

/// How a file is taken.
pub struct Import<'a> {
    spool: &'a Spool,
    config: &'a Config,
    template: &'a str,
    dry_run: bool,
}

/// Takes each file for itself: one that is refused leaves nothing, and the others come in all the same. Exits as the first
/// that was refused.
pub fn run(spool: &Spool, config: &Config, args: &ImportArgs) -> Result<ExitCode> {
    if args.template.contains('/') {
        return Err(Error::new(Kind::Usage, "--template names an installed template, not a path"));
    }
    if !args.dry_run {
        if !args.tar && is_for_somebody_else(spool)? {
            return by_the_owner(spool, config, args);
        }
        owner::become_owner(spool)?;
    }
    let import = Import { spool, config, template: &args.template, dry_run: args.dry_run };
    let mut code = 0;
    let mut noted = |taken: Result<()>| {
        if let Err(e) = taken {
            out::hint(&e.to_string());
            code = if code == 0 { e.exit_code() } else { code };
        }
    };
    if args.tar {
        let mut archive = Archive::new(io::stdin().lock());
        for entry in archive.entries().at("read", "the archive")? {
            let entry = entry.at("read", "the archive")?;
            let (shown, size) = (words::shown(&String::from_utf8_lossy(&entry.path_bytes())), entry.size());
            noted(import.take(&shown, BufReader::with_capacity(64 << 10, entry), size));
        }
    }
    for file in files(&args.files) {
        noted(file.and_then(|path| import.file(&path)));
    }
    Ok(ExitCode::from(code))
}

/// Whether this is the superuser, and the spool's owner may not read what they may.
fn is_for_somebody_else(spool: &Spool) -> Result<bool> {
    Ok(rustix::process::geteuid().is_root() && spool.owner()?.0 != 0)
}

/// The superuser reads the files, and another process, which becomes the owner, takes them in.
fn by_the_owner(spool: &Spool, config: &Config, args: &ImportArgs) -> Result<ExitCode> {
    if args.files == [Path::new("-")] {
        owner::become_owner(spool)?;
        return run(spool, config, args);
    }
    let mut owners = Command::new(std::env::current_exe().at("find", "this program")?);
    owners.arg("--spool").arg(spool.layout().root());
    if let Some(file) = &config.file {
        owners.arg("--config").arg(file);
    }
    owners.args(["import", "--tar", "--template", &args.template]);
    owners.stdin(sending::stream(files(&args.files).into_iter().collect::<Result<_>>()?)?);
    let status = owners.status().at("start", owners.get_program())?;
    Ok(ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(Kind::TryAgain as u8)))
}

/// The files that are named, and those called `full` in directories that are.
pub fn files(named: &[PathBuf]) -> Vec<Result<PathBuf>> {
    named.iter().flat_map(|path| if path.is_dir() { in_directory(path) } else { vec![Ok(path.clone())] }).collect()
}

fn in_directory(path: &Path) -> Vec<Result<PathBuf>> {
    let entries = walkdir::WalkDir::new(path).sort_by_file_name().into_iter();
    let full = entries.filter_map(|entry| match entry {
        Ok(entry) => (entry.file_type().is_file() && entry.file_name() == FULL).then(|| Ok(entry.into_path())),
        Err(e) => {
            let at = e.path().unwrap_or(path).to_owned();
            Some(Err(io::Error::from(e)).at("read", at))
        }
    });
    let full: Vec<_> = full.collect();
    match full.is_empty() {
        true => vec![Err(Error::new(Kind::NoInput, format!("no file below {} is called {FULL}", path.display())))],
        false => full,
    }
}

impl Import<'_> {
    fn file(&self, path: &Path) -> Result<()> {
        if path == Path::new("-") {
            return self.take("standard input", BufReader::with_capacity(64 << 10, io::stdin().lock()), full::LARGEST);
        }
        let file = words::open(path)?;
        let meta = file.metadata().at("look at", path)?;
        let size = if meta.is_file() { meta.len() } else { full::LARGEST };
        self.take(&path.display().to_string(), BufReader::with_capacity(64 << 10, file), size)
    }

    /// Takes a file of no more than so many bytes.
    fn take(&self, shown: &str, mut from: BufReader<impl Read>, size: u64) -> Result<()> {
        let first = from.fill_buf().at("read", shown)?.first().copied();
        let taken = match Holds::of(first) {
            Holds::Full => self.build(from, size),
            Holds::State => self.jobs(from, size),
        };
        taken.map_err(|e| Error::new(e.kind(), format!("{shown}: {e}")))
    }
}

//! `builder get`: artifacts out of a build, checked on the way.
//!
//! What it writes lies outside the spool, where the calls that the spool library reserves are everybody's.
#![allow(clippy::disallowed_methods)]

use crate::args::GetArgs;
use crate::copy::{check, refuse_no_directory, refuse_to_replace};
use crate::{out, tarball};
use spool::Spool;
use spool::artifact_path::ArtifactPath;
use spool::digest::Sha256;
use spool::error::{At, Error, Kind, Result};
use spool::find::Build;
use spool::place::Place;
use spool::record::BuildResult;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Copies what was asked for, and prints where it is, a path a line.
pub fn run(spool: &Spool, args: &GetArgs) -> Result<()> {
    let build = finished(spool, &args.build)?;
    let result = build.result()?;
    let wanted = match args.main {
        true => vec![main_of(&build, result.as_ref())?],
        false => wanted(&build, &args.paths)?,
    };
    let executable = result.map(|result| result.executable).unwrap_or_default();
    if args.tar {
        return tarball::send(&build, &wanted, &executable);
    }
    refuse_no_directory(&args.output)?;
    wanted.iter().filter(|_| !args.force).try_for_each(|(path, _)| refuse_to_replace(&args.output, path))?;
    for (path, sha256) in &wanted {
        let mode = if executable.contains(path) { 0o777 } else { 0o666 };
        let target = args.output.join(path.as_str());
        copy(&build.artifact(path), &target, sha256, mode)?;
        out::print(&format!("{}\n", target.display()))?;
    }
    Ok(())
}

/// The build that is meant, which must be over; a job stands for its newest that exited 0.
pub fn finished<'s>(spool: &'s Spool, text: &str) -> Result<Build<'s>> {
    if let Ok(name) = text.parse()
        && let Some(build) = spool.newest_done_of(&name)?
    {
        return Ok(build);
    }
    let build = spool.resolve(text)?;
    match build.place {
        Place::Ended(_) => Ok(build),
        _ => Err(Error::new(Kind::TryAgain, format!("{} is not over, so there are no artifacts yet", build.id))
            .hint(format!("`builder watch {}` waits for it", build.id))),
    }
}

fn main_of(build: &Build<'_>, result: Option<&BuildResult>) -> Result<(ArtifactPath, Sha256)> {
    let main = result.and_then(|result| result.main.clone());
    main.map(|main| (main.path, main.sha256)).ok_or_else(|| {
        Error::new(Kind::NoInput, format!("{} has no main artifact", build.id))
            .hint("give the path of one, or name the job's with `builder set JOB --main PATH`")
    })
}

fn wanted(build: &Build<'_>, named: &[String]) -> Result<Vec<(ArtifactPath, Sha256)>> {
    let all: Vec<(ArtifactPath, Sha256)> =
        build.manifest()?.iter().map(|(path, sha256)| (path.clone(), *sha256)).collect();
    if all.is_empty() {
        return Err(Error::new(Kind::NoInput, format!("{} has no artifacts", build.id)));
    }
    if named.is_empty() {
        return Ok(all);
    }
    let mut wanted = Vec::new();
    for name in named {
        let name = name.trim_end_matches('/');
        let below = format!("{name}/");
        let before = wanted.len();
        wanted
            .extend(all.iter().filter(|(path, _)| path.as_str() == name || path.as_str().starts_with(&below)).cloned());
        if wanted.len() == before {
            let shown: String = name.chars().take(80).flat_map(char::escape_default).collect();
            return Err(Error::new(Kind::NoInput, format!("{} has no artifact `{shown}`", build.id))
                .hint(format!("`builder show {}` lists them", build.id)));
        }
    }
    wanted.sort();
    wanted.dedup();
    Ok(wanted)
}

/// Copies beside the target first, so that a file is there whole or not at all, and only with the right content.
fn copy(from: &Path, to: &Path, sha256: &Sha256, mode: u32) -> Result<()> {
    let parent = to.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(parent).at("create", parent)?;
    let part = parent.join(format!(".builder-get.{}.part", std::process::id()));
    // A call of the same number that was killed may have left one.
    let _ = fs::remove_file(&part);
    let copied = copy_checked(from, &part, sha256, mode).and_then(|()| fs::rename(&part, to).at("create", to));
    if copied.is_err() {
        let _ = fs::remove_file(&part);
    }
    copied
}

fn copy_checked(from: &Path, part: &Path, sha256: &Sha256, mode: u32) -> Result<()> {
    let mut source = File::open(from).at("read", from)?;
    let mut options = OpenOptions::new();
    let mut file = options.read(true).write(true).create_new(true).mode(mode).open(part).at("create", part)?;
    io::copy(&mut source, &mut file).at("write", part)?;
    file.rewind().at("read", part)?;
    check(from, file, sha256)
}

//! `builder add`: a job from a script or a template.

use crate::args::AddArgs;
use crate::{out, text};
use jiff::{SignedDuration, Timestamp};
use spool::config::Config;
use spool::error::{At, Error, Kind, Result};
use spool::job::{self, Job};
use spool::name::{JobName, Platform};
use spool::schedule::Every;
use spool::template::Template;
use spool::{Spool, clock, owner};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Adds the job, and prints the ids of the builds that it owes at once, one a line.
pub fn run(spool: &Spool, config: &Config, args: &AddArgs) -> Result<()> {
    let name: JobName = args.name.parse()?;
    let job = job(config, args, clock::now())?;
    owner::become_owner(spool)?;
    let queued = spool.add_job(&name, &job)?;
    match job.schedule().next(clock::now()) {
        Some(next) if queued.is_empty() => out::hint(&format!("{name} is due at {}", text::time(next))),
        None if queued.is_empty() => out::hint(&format!("{name} is built when you say `builder run {name}`")),
        _ => {}
    }
    out::print(&queued.iter().map(|one| format!("{}\n", one.id)).collect::<String>())
}

fn job(config: &Config, args: &AddArgs, now: Timestamp) -> Result<Job> {
    let first = args.at.as_deref().map(moment).transpose()?;
    let every = match &args.every {
        Some(text) => text.parse()?,
        None if first.is_some() => Every::Never,
        None => Every::Daily,
    };
    let platforms = platforms(&args.platforms)?;
    let (script, values) = match &args.template {
        Some(template) => from_template(config, template, &args.values, &platforms)?,
        None => (script(args.script.as_deref().unwrap_or(Path::new("-")))?, BTreeMap::new()),
    };
    Ok(Job {
        created: now,
        platforms,
        every,
        first: first.or((every != Every::Never).then_some(now)),
        timeout_seconds: timeout(&args.timeout)?,
        attempts: args.attempts,
        template: args.template.as_deref().map(template_name),
        script,
        values,
    })
}

/// The platforms as they were named, each once.
pub fn platforms(named: &[String]) -> Result<Vec<Platform>> {
    let mut platforms: Vec<Platform> = Vec::new();
    for text in named {
        let platform = text.parse()?;
        if !platforms.contains(&platform) {
            platforms.push(platform);
        }
    }
    Ok(platforms)
}

fn moment(text: &str) -> Result<Timestamp> {
    text.parse().map_err(|_| {
        let shown: String = text.chars().take(40).flat_map(char::escape_default).collect();
        Error::new(Kind::Usage, format!("--at `{shown}` is no moment"))
            .hint("write it as RFC 3339 has it, such as 2026-11-25T03:00:00Z or 2026-11-25T04:00:00+01:00")
    })
}

fn timeout(text: &str) -> Result<u64> {
    let parsed = text.parse::<SignedDuration>().ok().filter(|duration| duration.as_secs() >= 1);
    parsed.map(|duration| duration.as_secs() as u64).ok_or_else(|| {
        let shown: String = text.chars().take(40).flat_map(char::escape_default).collect();
        Error::new(Kind::Usage, format!("--timeout `{shown}` is no duration of a second or more"))
            .hint("give a number with a unit, such as 90s, 30m or 2h")
    })
}

fn script(path: &Path) -> Result<String> {
    if path == Path::new("-") {
        return job::check_script(read(io::stdin().lock(), Path::new("standard input"))?, "standard input");
    }
    job::check_script(read(open(path)?, path)?, &path.display().to_string())
}

/// Opens a script's file.
pub fn open(path: &Path) -> Result<File> {
    let file = File::open(path).at("read", path)?;
    match file.metadata().at("look at", path)?.is_dir() {
        true => Err(Error::new(Kind::NoInput, format!("{} is a directory, not a script", path.display()))),
        false => Ok(file),
    }
}

/// A byte more than may be, so that what is too long is seen to be.
fn read(from: impl Read, path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(job::LONGEST_SCRIPT as u64 + 1).read_to_end(&mut bytes).at("read", path)?;
    Ok(bytes)
}

fn from_template(
    config: &Config,
    named: &str,
    pairs: &[String],
    platforms: &[Platform],
) -> Result<(String, BTreeMap<String, String>)> {
    let path = template_path(config, named)?;
    let template = Template::parse(&template_name(named), &script(&path)?)?;
    platforms.iter().try_for_each(|platform| template.check_platform(platform.as_str()))?;
    let mut given = BTreeMap::new();
    for pair in pairs {
        let Some((name, value)) = pair.split_once('=') else {
            return Err(Error::new(Kind::Usage, format!("--set {} has no '='", pair.escape_default()))
                .hint("write --set NAME=VALUE"));
        };
        if given.insert(name.to_owned(), value.to_owned()).is_some() {
            return Err(Error::new(Kind::Usage, format!("--set {} is given twice", name.escape_default())));
        }
    }
    template.fill(&given)
}

/// A word without a slash is the name of an installed template, as a command's is looked up in PATH: so that what a
/// name means does not depend on where somebody is, or is served.
fn template_path(config: &Config, named: &str) -> Result<PathBuf> {
    if named.contains('/') {
        return Ok(named.into());
    }
    let installed = config.template(named);
    installed.ok_or_else(|| {
        Error::new(Kind::NoInput, format!("there is no template `{}`", named.escape_default())).hint(format!(
            "name one of those in {}, or a file by a path with a slash, such as ./FILE",
            config.templates.display()
        ))
    })
}

fn template_name(named: &str) -> String {
    Path::new(named).file_name().map_or(named.to_owned(), |name| name.to_string_lossy().into_owned())
}

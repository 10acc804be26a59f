//! What is promised of a spool, what mends one after a power cut, and which promises are broken then.

use jiff::SignedDuration;
use spool::build_id::BuildId;
use spool::check::{Finding, Memory};
use spool::digest::Sha256;
use spool::find::Build;
use spool::job::{Job, Owed};
use spool::mend::Patience;
use spool::name::JobName;
use spool::place::Place;
use spool::{Spool, clock};
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Something that was acknowledged, and is true from then on whatever happens to the machine.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Promise {
    /// There is a spool.
    Spool,
    /// There is this job.
    Job(String),
    /// There is no such job, and nothing of it is queued.
    NoJob(String),
    /// There is this build, wherever.
    Build(String),
    /// This build is over: in `done` or `failed`, with these digests of its console, with what its worker has signed, and of
    /// its manifest.
    Ended(String, String, String, String),
    /// This build is over when everything is mended.
    Ends(String),
    /// So many builds of a job are there when everything is mended.
    Count(String, usize),
    /// This build is pinned, or it is not.
    Pinned(String, bool),
    /// This build was removed.
    Gone(String),
    /// The link to a job's latest build leads to this one.
    Latest(String),
    /// There is this worker, or there is not.
    Worker(String, bool),
    /// This is a platform's state.
    Platform(String, String),
    /// Nothing is handed out, or it is.
    Drain(bool),
}

impl fmt::Display for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Promise::Spool => write!(f, "spool"),
            Promise::Job(job) => write!(f, "job {job}"),
            Promise::NoJob(job) => write!(f, "nojob {job}"),
            Promise::Build(id) => write!(f, "build {id}"),
            Promise::Ended(id, end, console, output) => write!(f, "ended {id} {end} {console} {output}"),
            Promise::Ends(id) => write!(f, "ends {id}"),
            Promise::Count(job, count) => write!(f, "count {job} {count}"),
            Promise::Pinned(id, pinned) => write!(f, "pinned {id} {pinned}"),
            Promise::Gone(id) => write!(f, "gone {id}"),
            Promise::Latest(id) => write!(f, "latest {id}"),
            Promise::Worker(name, there) => write!(f, "worker {name} {there}"),
            Promise::Platform(name, state) => write!(f, "platform {name} {state}"),
            Promise::Drain(drains) => write!(f, "drain {drains}"),
        }
    }
}

impl FromStr for Promise {
    type Err = String;

    fn from_str(text: &str) -> Result<Promise, String> {
        let words: Vec<String> = text.split(' ').map(str::to_owned).collect();
        let wrong = || format!("`{text}` is no promise");
        Ok(match &words[..] {
            [kind] if kind == "spool" => Promise::Spool,
            [kind, job] if kind == "job" => Promise::Job(job.clone()),
            [kind, job] if kind == "nojob" => Promise::NoJob(job.clone()),
            [kind, id] if kind == "build" => Promise::Build(id.clone()),
            [kind, id, end, console, output] if kind == "ended" => {
                Promise::Ended(id.clone(), end.clone(), console.clone(), output.clone())
            }
            [kind, id] if kind == "ends" => Promise::Ends(id.clone()),
            [kind, job, count] if kind == "count" => Promise::Count(job.clone(), count.parse().map_err(|_| wrong())?),
            [kind, id, pinned] if kind == "pinned" => Promise::Pinned(id.clone(), pinned == "true"),
            [kind, id] if kind == "gone" => Promise::Gone(id.clone()),
            [kind, id] if kind == "latest" => Promise::Latest(id.clone()),
            [kind, name, there] if kind == "worker" => Promise::Worker(name.clone(), there == "true"),
            [kind, name, state] if kind == "platform" => Promise::Platform(name.clone(), state.clone()),
            [kind, drains] if kind == "drain" => Promise::Drain(drains == "true"),
            _ => return Err(wrong()),
        })
    }
}

impl Promise {
    /// What an end that was acknowledged promises.
    pub fn of_end(build: &Build<'_>) -> Promise {
        let end = build.place.word().to_owned();
        // A statement that nobody has signed is the server's, and comes later.
        let is_signed = build.dir().join("statement.sig").exists();
        let signed = if is_signed { &["statement", "statement.sig"][..] } else { &[] };
        let of_script = ["console.log", "console.times"];
        let digests = of_script.iter().chain(signed).map(|name| digest(build, name));
        let console = digests.collect::<Vec<_>>().join("+");
        Promise::Ended(build.id.to_string(), end, console, digest(build, "manifest"))
    }

    /// What of it is not so in a spool that has been mended; nothing when it is kept.
    pub fn broken(&self, spool: &Spool) -> Option<String> {
        self.is_kept(spool).unwrap_or_else(|e| Some(e.to_string())).map(|what| format!("{self}: {what}"))
    }

    fn is_kept(&self, spool: &Spool) -> spool::error::Result<Option<String>> {
        let broken = |is_so: bool, what: String| Ok((!is_so).then_some(what));
        let builds = |job: &str| -> spool::error::Result<Vec<Build<'_>>> {
            let all = spool.open_builds()?.into_iter().chain(spool.ended_builds(usize::MAX, |_| true)?);
            Ok(all.filter(|build| build.id.job().as_str() == job).collect())
        };
        match self {
            Promise::Spool => Ok(None),
            Promise::Job(job) => broken(spool.job(&job.parse()?).is_ok(), "it is not there".into()),
            Promise::NoJob(job) => {
                let queued = builds(job)?.into_iter().filter(|build| matches!(build.place, Place::Queued(_))).count();
                let there = spool.layout().job(&job.parse()?).exists();
                broken(!there && queued == 0, format!("there: {there}, queued: {queued}"))
            }
            Promise::Build(id) => broken(spool.build(&id.parse()?)?.is_some(), "it is nowhere".into()),
            Promise::Ended(id, ..) => {
                let build = spool.build(&id.parse()?)?;
                let now = build.filter(|build| matches!(build.place, Place::Ended(_))).map(|one| Promise::of_end(&one));
                broken(now.as_ref() == Some(self), format!("{now:?}"))
            }
            Promise::Ends(id) => {
                let place = spool.place(&id.parse()?)?;
                broken(matches!(place, Some(Place::Ended(_))), format!("{place:?}"))
            }
            Promise::Count(job, count) => {
                let all: Vec<String> =
                    builds(job)?.iter().map(|build| format!("{} {}", build.id, build.place.word())).collect();
                broken(all.len() == *count, format!("{all:?}"))
            }
            Promise::Pinned(id, pinned) => {
                let now = spool.build(&id.parse()?)?.is_some_and(|build| build.is_pinned());
                broken(now == *pinned, format!("{now}"))
            }
            Promise::Gone(id) => broken(spool.build(&id.parse()?)?.is_none(), "it is back".into()),
            Promise::Latest(id) => {
                let id: BuildId = id.parse()?;
                let there = std::fs::read_link(spool.layout().latest(id.job(), id.platform()));
                broken(there.as_ref().is_ok_and(|to| to.ends_with(id.as_str())), format!("{there:?}"))
            }
            Promise::Worker(name, there) => {
                let name = name.parse()?;
                let known = spool.workers()?.get(&name).is_some_and(|worker| worker.is_ok());
                let file = spool.layout().worker(&name).exists();
                let keys = std::fs::read_to_string(spool.layout().authorized_keys()).unwrap_or_default();
                let key = keys.lines().any(|line| line.ends_with(&format!(" {name}")));
                let so = if *there { known && key } else { !file && !key };
                broken(so, format!("there: {file}, its key: {key}"))
            }
            Promise::Platform(name, state) => {
                let now = spool.platform_state(&name.parse()?);
                broken(now.word() == state, now.word().into())
            }
            Promise::Drain(drains) => broken(spool.drains() == *drains, "it is the other way".into()),
        }
    }
}

fn digest(build: &Build<'_>, name: &str) -> String {
    std::fs::read(build.dir().join(name)).map_or("-".into(), |bytes| Sha256::of(&bytes).to_string())
}

/// What builderd does when it starts, long after every worker was heard for the last time, without hooks. Returns what
/// went wrong.
pub fn recover(spool: &Spool) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut note = |what: &str, result: spool::error::Result<()>| {
        wrong.extend(result.err().map(|e| format!("{what}: {e}")));
    };
    let now = clock::now();
    let note_good = |names: Vec<JobName>| names.iter().try_for_each(|name| spool.note_good(name));
    note("good versions", spool.job_names().and_then(note_good));
    note("timers", spool.job_names().and_then(|names| spool.fire(&names, now)).map(drop));
    let patience = Patience { grace: SignedDuration::ZERO, retry: SignedDuration::ZERO };
    match spool.mend_leases(patience, now + SignedDuration::from_hours(24)) {
        Ok(all) => all.into_iter().for_each(|one| note("a build that was left", one.map(drop))),
        Err(e) => note("builds that were left", Err(e)),
    }
    note("what ends owe", pay(spool));
    note("undone claims", spool.forget_undone_claims().map(drop));
    note("a sweep", spool.sweep().map(drop));
    note("garbage", spool.store().collect_garbage().map(drop));
    wrong
}

fn pay(spool: &Spool) -> spool::error::Result<()> {
    let now = clock::now();
    let jobs = spool.jobs()?;
    let mut key = None;
    for id in spool.owing()? {
        let Some(mut ended) = spool.ended(&id)? else { continue };
        let comes_after = |job: &spool::error::Result<Job>| job.as_ref().is_ok_and(|job| job.after.contains(id.job()));
        let after: Vec<JobName> =
            jobs.iter().filter(|(_, job)| comes_after(job)).map(|(name, _)| name.clone()).collect();
        if ended.owed.remove(&Owed::After) {
            spool.queue_after(&ended, &after, now)?;
        }
        if ended.owed.remove(&Owed::Retry) && spool.retry_at(&ended, SignedDuration::ZERO).is_some() {
            spool.queue_retry(&ended, now)?;
        }
        if ended.owed.remove(&Owed::Rebuild) {
            spool.queue_rebuilds(&ended, now)?;
        }
        if ended.owed.remove(&Owed::Latest) {
            spool.relink_latest(&ended)?;
        }
        if ended.owed.contains(&Owed::Seal) {
            let key = match &mut key {
                Some(key) => key,
                none => none.insert(spool.server_key(None)?),
            };
            spool.seal(&ended, key)?;
        }
        ended.owed.clear();
        spool.save_owed(&ended)?;
    }
    Ok(())
}

/// Mends what a power cut has left of a spool, and says what of it is not as it must be: what could not be mended, each
/// invariant and each promise that is broken, and what a second time would mend. `memory` has what is known from other ones.
pub fn whole<'p>(root: &Path, promises: impl IntoIterator<Item = &'p Promise>, memory: &mut Memory) -> Vec<String> {
    let promises: Vec<&Promise> = promises.into_iter().collect();
    let opened = match promises.is_empty() {
        // Nobody was told that there is one: who wants it says so again.
        true => Spool::init(root).map(|(spool, _)| spool),
        false => Spool::open(root),
    };
    let spool = match opened {
        Ok(spool) => spool,
        Err(e) => return vec![format!("no spool: {e}")],
    };
    let mut wrong = recover(&spool);
    match spool.check_again(true, memory) {
        Ok(checked) => wrong.extend(checked.findings.iter().filter(|one| !is_written_anew(one)).map(|one| {
            format!("{} {}: {}", one.invariant, one.path.strip_prefix(root).unwrap_or(&one.path).display(), one.wrong)
        })),
        Err(e) => wrong.push(format!("check: {e}")),
    }
    wrong.extend(promises.iter().filter_map(|promise| promise.broken(&spool)));
    let left = |build: &Build<'_>| matches!(build.place, Place::Active);
    let active = spool.open_builds().unwrap_or_default().into_iter().filter(left).map(|build| build.id.to_string());
    wrong.extend(active.map(|id| format!("{id} is nobody's")));
    let before = contents(root);
    wrong.extend(recover(&spool));
    let after = contents(root);
    if before != after {
        let differs = |(path, bytes): &(&PathBuf, &Vec<u8>)| after.get(*path) != Some(*bytes);
        let gone = before.iter().filter(differs).map(|(path, _)| path.display().to_string());
        let new = after.keys().filter(|path| !before.contains_key(*path)).map(|path| path.display().to_string());
        wrong.push(format!("a second recovery changes {:?}", gone.chain(new).collect::<Vec<_>>()));
    }
    wrong
}

/// What a worker last said of itself is written at each connection and promised to nobody.
fn is_written_anew(finding: &Finding) -> bool {
    finding.path.extension().is_some_and(|extension| extension == "seen")
}

/// All files below a directory, with what is in them.
fn contents(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let all = walkdir::WalkDir::new(root).into_iter().flatten();
    all.map(|entry| {
        let bytes =
            if entry.file_type().is_file() { std::fs::read(entry.path()).unwrap_or_default() } else { Vec::new() };
        (entry.path().strip_prefix(root).unwrap_or(entry.path()).to_owned(), bytes)
    })
    .collect()
}

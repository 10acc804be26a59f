//! What people wrote of jobs, workers and platforms, and what builder notes of them.

use super::eye::{Entry, Eye, Shape};
use super::finding::{Cure, Invariant};
use crate::build_id::BuildId;
use crate::error::{Kind, Result};
use crate::health::Health;
use crate::job::{self, Job, no_circle};
use crate::launch::Launches;
use crate::name::{JobName, Platform, WorkerName};
use crate::platform::Standing;
use crate::session::Seen;
use crate::worker::Worker;
use std::collections::BTreeMap;

/// Looks at all files about jobs, workers and platforms.
pub fn look(eye: &mut Eye<'_>) -> Result<()> {
    // Before the jobs: one that is removed meanwhile takes these with it.
    let notes: Vec<Entry> = ["good", "timers"]
        .map(|name| eye.entries(&eye.layout().directory(name)))
        .into_iter()
        .collect::<Result<Vec<_>>>()?
        .concat();
    let (jobs, beside) = jobs(eye)?;
    for (entry, name) in beside {
        links(eye, &entry, &name, jobs.contains_key(&name))?;
    }
    for entry in notes {
        note_of_job(eye, &entry, &jobs)?;
    }
    workers(eye)?;
    platforms(eye)?;
    launches(eye)?;
    requests(eye)
}

/// What each job comes after; a job that can't be read is there all the same.
type After = BTreeMap<JobName, Vec<JobName>>;

/// The jobs, and what lies beside their files.
fn jobs(eye: &mut Eye<'_>) -> Result<(After, Vec<(Entry, JobName)>)> {
    let (mut after, mut beside) = (After::new(), Vec::new());
    for entry in eye.entries(&eye.layout().jobs())? {
        if entry.name == ".lock" {
            eye.fits(&entry, Shape::File);
            continue;
        }
        if entry.meta.is_dir()
            && let Ok(name) = entry.name.parse()
        {
            beside.push((entry, name));
            continue;
        }
        let Some(Ok(name)) = entry.name.strip_suffix(".toml").map(str::parse::<JobName>) else {
            eye.foreign(&entry);
            continue;
        };
        let fits = eye.fits(&entry, Shape::File);
        let job = if fits { one_job(eye, &entry, &name) } else { None };
        after.insert(name, job.map_or(Vec::new(), |job| job.after));
    }
    eye.counts.jobs = after.len();
    misfits(eye, &after);
    Ok((after, beside))
}

/// The links to a job's latest builds.
fn links(eye: &mut Eye<'_>, dir: &Entry, name: &JobName, is_there: bool) -> Result<()> {
    if !is_there {
        eye.damaged(Invariant::Meant, &dir.path, format!("there is no job {name}"));
        return Ok(());
    }
    eye.fits(dir, Shape::Directory);
    for latest in eye.entries(&dir.path)? {
        if latest.name != "latest" {
            eye.foreign(&latest);
            continue;
        }
        if !eye.fits(&latest, Shape::Directory) {
            continue;
        }
        for link in eye.entries(&latest.path)? {
            match link.name.parse::<Platform>() {
                Err(_) => eye.foreign(&link),
                Ok(platform) => {
                    if eye.fits(&link, Shape::Link) && !eye.spool.is_latest_link(name, &platform) {
                        let wrong = format!("it leads to no build of {name} on {platform} that exited 0");
                        eye.damaged(Invariant::Meant, &link.path, wrong);
                    }
                }
            }
        }
    }
    Ok(())
}

fn one_job(eye: &mut Eye<'_>, entry: &Entry, name: &JobName) -> Option<Job> {
    match eye.spool.job(name) {
        Ok(job) => Some(job),
        Err(e) if [Kind::NoInput, Kind::NoPermission].contains(&e.kind()) => None,
        Err(e) => {
            let said = e.to_string();
            let wrong = said.strip_prefix(&format!("{}: ", entry.path.display())).unwrap_or(&said);
            let cure = Cure::Human("mend it; until then its last good version counts".into());
            eye.find(Invariant::Written, &entry.path, wrong, cure);
            None
        }
    }
}

/// Jobs that can't come after what they are to come after.
fn misfits(eye: &mut Eye<'_>, after: &After) {
    for (name, others) in after {
        let lonely = others.iter().filter(|other| !after.contains_key(*other));
        let lonely = lonely.map(|other| format!("it comes after {other}, and there is no such job"));
        let circle = no_circle(after, name).err().map(|e| e.to_string());
        for wrong in lonely.chain(circle) {
            let cure = Cure::Human(format!("change it with `builder set {name} --after`"));
            eye.find(Invariant::Written, &eye.layout().job(name), wrong, cure);
        }
    }
}

fn note_of_job(eye: &mut Eye<'_>, entry: &Entry, jobs: &After) -> Result<()> {
    let is_timer = entry.path.parent() == Some(&eye.layout().directory("timers"));
    let name = if is_timer { Some(entry.name.as_str()) } else { entry.name.strip_suffix(".toml") };
    let Some(Ok(name)) = name.map(str::parse::<JobName>) else {
        eye.foreign(entry);
        return Ok(());
    };
    if !eye.fits(entry, Shape::File) {
        return Ok(());
    }
    let aside = Cure::SetAside(entry.path.clone());
    if !jobs.contains_key(&name) {
        eye.find(Invariant::Meant, &entry.path, format!("there is no job {name}"), aside);
    } else if !is_timer {
        eye.record::<Job>(entry, Invariant::Noted, aside);
    } else if eye.bytes(entry).is_some_and(|bytes| !job::is_note(&bytes)) {
        eye.find(Invariant::Noted, &entry.path, "it holds no moment", aside);
    }
    Ok(())
}

fn workers(eye: &mut Eye<'_>) -> Result<()> {
    for entry in eye.entries(&eye.layout().workers())? {
        if entry.name == ".lock" {
            eye.fits(&entry, Shape::File);
            continue;
        }
        let named = entry.name.rsplit_once('.').filter(|(name, _)| name.parse::<WorkerName>().is_ok());
        let kind = named.map(|(_, kind)| kind.to_owned()).unwrap_or_default();
        if !["toml", "seen", "health"].contains(&kind.as_str()) {
            eye.foreign(&entry);
        } else if eye.fits(&entry, Shape::File) {
            let aside = Cure::SetAside(entry.path.clone());
            match kind.as_str() {
                "seen" => drop(eye.record::<Seen>(&entry, Invariant::Noted, aside)),
                "health" => drop(eye.record::<Health>(&entry, Invariant::Noted, aside)),
                _ => {
                    eye.counts.workers += 1;
                    let cure = Cure::Human("mend it; until then the worker's key opens nothing".into());
                    eye.record::<Worker>(&entry, Invariant::Written, cure);
                }
            }
        }
    }
    Ok(())
}

fn platforms(eye: &mut Eye<'_>) -> Result<()> {
    for entry in eye.entries(&eye.layout().directory("platforms"))? {
        let Some(Ok(name)) = entry.name.strip_suffix(".toml").map(str::parse::<Platform>) else {
            eye.foreign(&entry);
            continue;
        };
        if eye.fits(&entry, Shape::File) {
            let cure = Cure::Human(format!("say `builder platform resume {name}`; until then it is paused"));
            eye.record::<Standing>(&entry, Invariant::Written, cure);
        }
    }
    Ok(())
}

fn launches(eye: &mut Eye<'_>) -> Result<()> {
    for entry in eye.entries(&eye.layout().launches())? {
        if entry.name.strip_suffix(".toml").is_none_or(|name| name.parse::<Platform>().is_err()) {
            eye.foreign(&entry);
        } else if eye.fits(&entry, Shape::File) {
            eye.record::<Launches>(&entry, Invariant::Noted, Cure::SetAside(entry.path.clone()));
        }
    }
    Ok(())
}

/// Requests to cancel, and what ends owe. Those whose build is gone are builderd's to remove.
fn requests(eye: &mut Eye<'_>) -> Result<()> {
    for entry in eye.entries(&eye.layout().directory("cancel"))? {
        match entry.name.parse::<BuildId>() {
            Ok(_) if !eye.fits(&entry, Shape::File) => {}
            Ok(_) if entry.meta.len() > 0 => eye.damaged(Invariant::Noted, &entry.path, "it is not empty"),
            Ok(id) => eye.counts.leftovers += usize::from(!eye.layout().active(&id).is_dir()),
            Err(_) => eye.foreign(&entry),
        }
    }
    for entry in eye.entries(&eye.layout().all_owed())? {
        if entry.name.parse::<BuildId>().is_err() {
            eye.foreign(&entry);
        } else if eye.fits(&entry, Shape::File) && eye.bytes(&entry).is_some_and(|bytes| job::steps(&bytes) != bytes) {
            eye.find(Invariant::Noted, &entry.path, "it has lines that name no step", Cure::Cut);
        }
    }
    Ok(())
}

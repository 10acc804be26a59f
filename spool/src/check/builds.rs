//! Builds: each in one place, under its name, with what belongs to its state.

use super::ended;
use super::eye::{Entry, Eye, Shape};
use super::finding::{Cure, Invariant};
use crate::build_id::BuildId;
use crate::disk;
use crate::error::Result;
use crate::layout::file::{self, is_earlier_console};
use crate::lock;
use crate::name::Platform;
use crate::place::{End, Ticket};
use crate::record::{self, Attempts, BuildResult, Request};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The files of a build that fit, by name.
pub type Members = BTreeMap<String, Entry>;

/// The files that no build has before it is over.
const OF_WHAT_IS_OVER: [&str; 6] =
    [file::LOST, file::PINNED, file::SIGNERS, file::PROVENANCE, file::SEAL, file::SEAL_SIGNATURE];

/// Where builds were seen, in the order in which they move on.
type Seen = BTreeMap<BuildId, Vec<Entry>>;

/// Looks at every build.
pub fn look(eye: &mut Eye<'_>) -> Result<()> {
    let mut seen = Seen::new();
    queues(eye, &mut seen)?;
    active(eye, &mut seen)?;
    for end in End::ALL {
        over(eye, end, &mut seen)?;
    }
    eye.counts.builds = seen.len();
    for (id, places) in seen {
        if places.len() > 1 {
            in_two_places(eye, &id, &places)?;
        }
    }
    Ok(())
}

fn queues(eye: &mut Eye<'_>, seen: &mut Seen) -> Result<()> {
    for queue in eye.entries(&eye.layout().directory("new"))? {
        let Ok(platform) = queue.name.parse::<Platform>() else {
            eye.foreign(&queue);
            continue;
        };
        if !eye.fits(&queue, Shape::Directory) {
            continue;
        }
        for entry in eye.entries(&queue.path)? {
            let Ok(ticket) = entry.name.parse::<Ticket>() else {
                eye.foreign(&entry);
                continue;
            };
            eye.steadily(&entry, |eye| queued(eye, &entry, &ticket, &platform))?;
            seen.entry(ticket.id).or_default().push(entry);
        }
    }
    Ok(())
}

fn queued(eye: &mut Eye<'_>, dir: &Entry, ticket: &Ticket, queue: &Platform) -> Result<()> {
    if !eye.fits(dir, Shape::Directory) {
        return Ok(());
    }
    if ticket.id.platform() != queue {
        let wrong = format!("it is in the queue of {queue}");
        eye.find(Invariant::Placed, &dir.path, wrong, Cure::Move(eye.layout().queued(ticket)));
    }
    let members = members(eye, dir, |name| name == file::ATTEMPTS || is_earlier_console(name))?;
    runnable(eye, dir, &members)
}

/// What has not been run must be as it was when it was asked for, or must not run.
fn runnable(eye: &mut Eye<'_>, dir: &Entry, members: &Members) -> Result<()> {
    let aside = || Cure::SetAside(dir.path.clone());
    match members.get(file::BUILD) {
        Some(entry) => drop(eye.record::<Request>(entry, Invariant::Whole, aside())),
        None => absent(eye, &dir.path.join(file::BUILD), Invariant::Whole, aside())?,
    }
    match members.get(file::SCRIPT) {
        Some(entry) if entry.meta.len() == 0 => eye.find(Invariant::Whole, &entry.path, "it is empty", aside()),
        Some(entry) if eye.rotten.contains(&entry.identity()) => {
            eye.find(Invariant::Content, &entry.path, "it is not what was asked for", aside());
        }
        Some(entry) => kept(eye, entry),
        None => absent(eye, &dir.path.join(file::SCRIPT), Invariant::Whole, aside())?,
    }
    attempts(eye, members);
    Ok(())
}

/// Notes that a file is missing. One that is there and does not fit is a finding already, and goes first.
pub fn absent(eye: &mut Eye<'_>, path: &Path, invariant: Invariant, cure: Cure) -> Result<()> {
    if eye.entry(path)?.is_none() {
        eye.find(invariant, path, "it is missing", cure);
    }
    Ok(())
}

/// A content whose digest nobody noted: that it is in the store can be told only by reading it.
fn kept(eye: &mut Eye<'_>, entry: &Entry) {
    if eye.deep
        && let Some(digest) = eye.digest(entry)
        && eye.spool.store().size_of(&digest).is_none()
    {
        eye.find(Invariant::Kept, &entry.path, format!("the store has not got {digest}"), Cure::Name);
    }
}

/// Looks at the note of lost attempts, if there is one.
pub fn attempts(eye: &mut Eye<'_>, members: &Members) {
    if let Some(entry) = members.get(file::ATTEMPTS) {
        eye.record::<Attempts>(entry, Invariant::Noted, Cure::SetAside(entry.path.clone()));
    }
}

fn active(eye: &mut Eye<'_>, seen: &mut Seen) -> Result<()> {
    for entry in eye.entries(&eye.layout().all_active())? {
        if entry.name == ".lock" {
            eye.fits(&entry, Shape::Private);
            continue;
        }
        let Ok(id) = entry.name.parse::<BuildId>() else {
            eye.foreign(&entry);
            continue;
        };
        // What a server is at work on is not for others to judge.
        if !is_locked(&entry) {
            let before = eye.found.len();
            eye.steadily(&entry, |eye| unserved(eye, &entry, &id))?;
            if is_locked(&entry) {
                eye.found.truncate(before);
            }
        }
        seen.entry(id).or_default().push(entry);
    }
    Ok(())
}

fn is_locked(dir: &Entry) -> bool {
    disk::open_dir(&dir.path).is_ok_and(|open| lock::is_taken(&open))
}

fn unserved(eye: &mut Eye<'_>, dir: &Entry, id: &BuildId) -> Result<()> {
    if !eye.fits(dir, Shape::Directory) {
        return Ok(());
    }
    let members = members(eye, dir, |name| !OF_WHAT_IS_OVER.contains(&name))?;
    let ended =
        members.get(file::RESULT).is_some_and(|entry| matches!(record::read::<BuildResult>(&entry.path), Ok(Some(_))));
    if ended && eye.layout().owed(id).exists() {
        eye.find(Invariant::Settled, &dir.path, "its end was interrupted", Cure::Settle(id.clone()));
        return Ok(());
    }
    runnable(eye, dir, &members)
}

fn over(eye: &mut Eye<'_>, end: End, seen: &mut Seen) -> Result<()> {
    for month in eye.entries(&eye.layout().ended(end))? {
        if !is_month(&month.name) {
            eye.foreign(&month);
        } else if eye.fits(&month, Shape::Directory) {
            for entry in eye.entries(&month.path)? {
                let Ok(id) = entry.name.parse::<BuildId>() else {
                    eye.foreign(&entry);
                    continue;
                };
                eye.steadily(&entry, |eye| ended::look(eye, &entry, end, &month.name, &id))?;
                seen.entry(id).or_default().push(entry);
            }
        }
    }
    Ok(())
}

fn is_month(name: &str) -> bool {
    let digits = |text: &str, count: usize| text.len() == count && text.bytes().all(|b| b.is_ascii_digit());
    name.split_once('-').is_some_and(|(year, month)| digits(year, 4) && digits(month, 2))
}

/// The files in a build's directory that fit; what this state does not have is noted as foreign.
pub fn members(eye: &mut Eye<'_>, dir: &Entry, has: impl Fn(&str) -> bool) -> Result<Members> {
    let mut members = Members::new();
    for entry in eye.entries(&dir.path)? {
        let always = [file::BUILD, file::SCRIPT].contains(&entry.name.as_str());
        match shape_of(&entry.name).filter(|_| always || has(&entry.name)) {
            Some(shape) if eye.fits(&entry, shape) => drop(members.insert(entry.name.clone(), entry)),
            Some(_) => {}
            None => eye.foreign(&entry),
        }
    }
    Ok(members)
}

fn shape_of(name: &str) -> Option<Shape> {
    match name {
        file::BUILD
        | file::LEASE
        | file::ATTEMPTS
        | file::CONSOLE
        | file::TIMES
        | file::RESULT
        | file::PINNED
        | file::LOST
        | file::STATEMENT
        | file::STATEMENT_SIGNATURE
        | file::SIGNERS
        | file::PROVENANCE
        | file::SEAL
        | file::SEAL_SIGNATURE => Some(Shape::File),
        file::SCRIPT | file::ENVIRONMENT | file::PACKAGES | file::MANIFEST => Some(Shape::Content),
        file::ARTIFACTS | file::UPLOAD => Some(Shape::Directory),
        _ if is_earlier_console(name) => Some(Shape::File),
        _ => None,
    }
}

/// A build is trusted where it has come farthest. One that moves meanwhile is the same directory in both places.
fn in_two_places(eye: &mut Eye<'_>, id: &BuildId, places: &[Entry]) -> Result<()> {
    let mut there: Vec<PathBuf> = Vec::new();
    let mut identities = BTreeSet::new();
    for place in places {
        if let Some(now) = eye.entry(&place.path)?
            && identities.insert(now.identity())
        {
            there.push(place.path.clone());
        }
    }
    let Some(last) = there.pop() else { return Ok(()) };
    for path in there {
        let wrong = format!("{id} is also at {}", last.display());
        let is_over = |path: &PathBuf| End::ALL.iter().any(|end| path.starts_with(eye.layout().ended(*end)));
        let cure = match is_over(&path) && is_over(&last) {
            true => Cure::Human("look at both, and move away the one that you do not want".into()),
            false => Cure::SetAside(path.clone()),
        };
        eye.find(Invariant::OneState, &path, wrong, cure);
    }
    Ok(())
}

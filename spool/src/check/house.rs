//! The house: the root, and the directories that every spool has.

use super::eye::{Entry, Eye, Shape};
use super::finding::{Cure, Invariant};
use crate::build_id::BuildId;
use crate::error::Result;
use crate::layout::{DIRECTORIES, file};
use crate::name::{Platform, WorkerName};
use crate::status::Tally;
use crate::tmp;

/// Looks at all that is neither a build nor a content nor about jobs and workers.
pub fn look(eye: &mut Eye<'_>) -> Result<()> {
    directories(eye)?;
    root(eye)?;
    wake(eye)?;
    index(eye)?;
    for entry in eye.entries(&eye.layout().tmp())? {
        eye.counts.leftovers += usize::from(tmp::is_left_over(&entry.path));
    }
    Ok(())
}

fn directories(eye: &mut Eye<'_>) -> Result<()> {
    let layout = eye.layout();
    let made = DIRECTORIES.into_iter().map(|name| layout.directory(name));
    for path in made.chain(layout.shards()) {
        match eye.entry(&path)? {
            Some(entry) => drop(eye.fits(&entry, Shape::Directory)),
            None if path.parent().is_some_and(|parent| eye.is_real(parent)) => {
                eye.find(Invariant::Made, &path, "it is missing", Cure::Make);
            }
            None => {}
        }
    }
    Ok(())
}

/// Dot files are the owner's, whose home the root may be.
fn root(eye: &mut Eye<'_>) -> Result<()> {
    for entry in eye.entries(eye.layout().root())? {
        match entry.name.as_str() {
            "format" | "lock" | "drain" | "signers" => drop(eye.fits(&entry, Shape::File)),
            "tally.toml" => {
                if eye.fits(&entry, Shape::File) {
                    eye.record::<Tally>(&entry, Invariant::Noted, Cure::SetAside(entry.path.clone()));
                }
            }
            "socket" => drop(eye.fits(&entry, Shape::Socket)),
            "lost+found" => {}
            "index" | "launches" => drop(eye.fits(&entry, Shape::Directory)),
            name if name.starts_with('.') || DIRECTORIES.contains(&name) => {}
            _ => eye.foreign(&entry),
        }
    }
    Ok(())
}

/// What is in it can be had again, so nothing but the names matters.
fn index(eye: &mut Eye<'_>) -> Result<()> {
    for entry in eye.entries(&eye.layout().index())? {
        match entry.name.as_str() {
            file::INDEX | file::INDEX_JOURNAL => drop(eye.fits(&entry, Shape::File)),
            _ => eye.foreign(&entry),
        }
    }
    Ok(())
}

fn wake(eye: &mut Eye<'_>) -> Result<()> {
    for topic in eye.entries(&eye.layout().directory("wake"))? {
        match topic.name.as_str() {
            "daemon" => sockets(eye, &topic)?,
            "queue" => topics(eye, &topic, |name| name.parse::<Platform>().is_ok())?,
            "build" => topics(eye, &topic, |name| name.parse::<BuildId>().is_ok())?,
            "worker" => topics(eye, &topic, |name| name.parse::<WorkerName>().is_ok())?,
            _ => eye.foreign(&topic),
        }
    }
    Ok(())
}

fn topics(eye: &mut Eye<'_>, of: &Entry, is_named: impl Fn(&str) -> bool) -> Result<()> {
    for entry in eye.entries(&of.path)? {
        if !is_named(&entry.name) {
            eye.foreign(&entry);
        } else if eye.fits(&entry, Shape::Directory) {
            sockets(eye, &entry)?;
        }
    }
    Ok(())
}

fn sockets(eye: &mut Eye<'_>, topic: &Entry) -> Result<()> {
    for entry in eye.entries(&topic.path)? {
        eye.fits(&entry, Shape::Socket);
    }
    Ok(())
}

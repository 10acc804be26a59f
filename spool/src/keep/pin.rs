//! Builds that are kept by hand.

use crate::disk;
use crate::error::{Error, Kind, Result};
use crate::find::Build;
use crate::layout::file;
use crate::lock::Lock;
use crate::place::Place;
use crate::spool::Spool;
use crate::{record, tmp};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::os::unix::fs::MetadataExt;

/// `pinned`: why a build is never removed. It is pinned also when nobody can read this.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// Since when.
    pub since: Timestamp,
    /// Why, in the words of whoever pinned it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Build<'_> {
    /// Whether nothing removes it.
    pub fn is_pinned(&self) -> bool {
        self.dir().join(file::PINNED).symlink_metadata().is_ok()
    }

    /// Why it is pinned; nothing when it is not. Of a note that can't be read only its age is known.
    pub fn pin(&self) -> Option<Pin> {
        let path = self.dir().join(file::PINNED);
        let meta = path.symlink_metadata().ok()?;
        record::read(&path).ok().flatten().or_else(|| {
            let since = Timestamp::from_second(meta.mtime()).unwrap_or_default();
            Some(Pin { since, reason: None })
        })
    }
}

impl Spool {
    /// Keeps a finished build for good. Durable on return. Says whether it was not pinned before; then its reason stays.
    pub fn set_pin(&self, build: &Build<'_>, pin: &Pin) -> Result<bool> {
        let _lock = lock_ended(build)?;
        if build.is_pinned() {
            return Ok(false);
        }
        tmp::replace_file(self.layout(), &build.dir().join(file::PINNED), &record::to_bytes(pin)?).map(|()| true)
    }

    /// Lets a build go when its time comes. Durable on return. Says whether it was pinned.
    pub fn unpin(&self, build: &Build<'_>) -> Result<bool> {
        let _lock = lock_ended(build)?;
        if !build.is_pinned() {
            return Ok(false);
        }
        disk::remove_file(&build.dir().join(file::PINNED))?;
        disk::sync_dir(&build.dir()).map(|()| true)
    }
}

/// Nobody removes it while this is held, and it is still where it was.
pub(crate) fn lock_ended(build: &Build<'_>) -> Result<Lock> {
    let Place::Ended(_) = build.place else {
        return Err(Error::new(
            Kind::TryAgain,
            format!("{} is not over, and nothing removes it before that", build.id),
        ));
    };
    let gone = || Error::new(Kind::NoInput, format!("{} was removed", build.id));
    let path = build.dir();
    let dir = Lock::alone(disk::open_dir(&path).map_err(|_| gone())?, &path)?;
    let same = |there: std::fs::Metadata| dir.metadata().is_ok_and(|ours| disk::same_file(&ours, &there));
    match path.symlink_metadata().is_ok_and(same) {
        true => Ok(dir),
        false => Err(gone()),
    }
}

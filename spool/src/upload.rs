//! The upload area of a build, as an open directory. No name here comes from a client: contents are drafts with
//! numbers until they are complete, and then have their digests as names.

use crate::digest::Sha256;
use crate::disk;
use crate::error::Result;
use crate::layout::file;
use crate::name::WorkerName;
use crate::spool::Spool;
use rustix::fs::{AtFlags, Dir, Mode, OFlags, openat, renameat, statat, unlinkat};
use rustix::io::Errno;
use std::cell::Cell;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The length of a content's name.
const DIGEST: usize = 64;

impl Spool {
    /// The upload area of the build that a worker holds now. Nothing when it holds none.
    pub fn upload_area(&self, worker: &WorkerName) -> Result<Option<Area>> {
        for build in self.active_builds()? {
            let ours = matches!(build.lease(), Ok(Some(lease)) if lease.worker == *worker);
            if ours
                && build.is_served()
                && let Ok(directory) = disk::open_dir(&build.dir().join(file::UPLOAD))
            {
                return Ok(Some(Area::new(directory.into())));
            }
        }
        Ok(None)
    }
}

/// The directory that takes a build's uploads.
#[derive(Debug)]
pub struct Area {
    pub(crate) directory: OwnedFd,
    process: u32,
    drafts: Cell<u64>,
}

impl Area {
    /// The area that lies in an open directory.
    pub fn new(directory: OwnedFd) -> Area {
        Area { directory, process: std::process::id(), drafts: Cell::new(0) }
    }

    /// The directory itself.
    pub fn directory(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    /// How many contents are here, and how many bytes they have together.
    pub fn usage(&self) -> io::Result<(u64, u64)> {
        let (mut files, mut bytes) = (0, 0_u64);
        for entry in Dir::read_from(&self.directory)? {
            let entry = entry?;
            // A draft is counted by whoever writes it, or was left behind.
            if entry.file_name().to_bytes().len() != DIGEST {
                continue;
            }
            match statat(&self.directory, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW) {
                // It has gone into the store.
                Err(Errno::NOENT) => {}
                stat => (files, bytes) = (files + 1, bytes.saturating_add(stat?.st_size as u64)),
            }
        }
        Ok((files, bytes))
    }

    /// Makes a file for content that is still to come, `PROCESS.NUMBER.part`, readable and writable.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] when the area was removed, because the build is over.
    pub fn draft(&self) -> io::Result<(Draft<'_>, File)> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        loop {
            self.drafts.set(self.drafts.get() + 1);
            let name = format!("{}.{}.part", self.process, self.drafts.get());
            match openat(&self.directory, &name, flags, Mode::RUSR | Mode::WUSR) {
                // A process of the same number was killed here.
                Err(Errno::EXIST) => {}
                Err(e) => return Err(e.into()),
                Ok(file) => return Ok((Draft { area: self, name, published: false }, file.into())),
            }
        }
    }
}

/// A file that has no content to its name yet. It is removed unless it is published.
#[derive(Debug)]
pub struct Draft<'a> {
    area: &'a Area,
    name: String,
    published: bool,
}

impl Draft<'_> {
    /// Names the file by its digest, over a file of that name; equal names have equal contents. Not durable.
    ///
    /// The caller has dropped the file's handle, so nobody can write to it any more.
    pub fn publish(mut self, digest: &Sha256) -> io::Result<()> {
        let directory = &self.area.directory;
        renameat(directory, &self.name, directory, digest.to_string())?;
        self.published = true;
        Ok(())
    }
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        if !self.published {
            // The area is emptied with its build at the latest.
            let _ = unlinkat(&self.area.directory, &self.name, AtFlags::empty());
        }
    }
}

//! Eyes on the jobs' files: inotify(7), so that a hand's edit is seen at once and 100,000 jobs cost nothing while
//! nobody touches them.
//!
//! Nothing depends on them: what they miss is found by looking through all files now and then.

use spool::name::JobName;
use std::os::fd::BorrowedFd;
use std::path::Path;

/// A watch on a directory; none where the system has no inotify, or no more of it.
pub struct Eyes {
    #[cfg(target_os = "linux")]
    inotify: Option<std::os::fd::OwnedFd>,
}

#[cfg(target_os = "linux")]
impl Eyes {
    /// Watches a directory.
    pub fn open(directory: &Path) -> Eyes {
        use rustix::fs::inotify::{CreateFlags, WatchFlags, add_watch, init};
        let flags = WatchFlags::CLOSE_WRITE | WatchFlags::MOVE | WatchFlags::DELETE;
        let opened = init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)
            .and_then(|inotify| add_watch(&inotify, directory, flags).map(|_| inotify));
        if let Err(e) = &opened {
            tracing::warn!("can't watch {}: {e}; changes by hand are seen within half a minute", directory.display());
        }
        Eyes { inotify: opened.ok() }
    }

    /// What to wait on.
    pub fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        self.inotify.as_ref().map(std::os::fd::AsFd::as_fd)
    }

    /// Which jobs' files have changed since the last look; nothing when they are more than can be told.
    pub fn look(&self) -> Option<Vec<JobName>> {
        use rustix::fs::inotify::{ReadFlags, Reader};
        let Some(inotify) = &self.inotify else { return Some(Vec::new()) };
        let mut buffer = [std::mem::MaybeUninit::uninit(); 16384];
        let mut reader = Reader::new(inotify, &mut buffer);
        let mut jobs = Vec::new();
        while let Ok(event) = reader.next() {
            if event.events().contains(ReadFlags::QUEUE_OVERFLOW) {
                return None;
            }
            let name = event.file_name().and_then(|name| name.to_str().ok());
            jobs.extend(name.and_then(|name| name.strip_suffix(".toml")?.parse::<JobName>().ok()));
        }
        Some(jobs)
    }
}

#[cfg(not(target_os = "linux"))]
impl Eyes {
    /// Watches nothing: here the files are looked through more often instead.
    pub fn open(_: &Path) -> Eyes {
        Eyes {}
    }

    /// Nothing to wait on.
    pub fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// Nothing was seen.
    pub fn look(&self) -> Option<Vec<JobName>> {
        Some(Vec::new())
    }
}

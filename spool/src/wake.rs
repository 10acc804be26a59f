//! Waking those who wait: a datagram to each socket in a directory of `wake/`.
//!
//! Nothing depends on it. builderd tells every few seconds of queues in which something waits, and whoever waits looks by
//! itself now and then, so that a lost datagram costs time and nothing else.

use crate::disk;
use crate::error::{At, Result};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// What those who wait in a queue are told when a build there is over, and one that was held back may be taken.
pub const FREED: &str = "freed";

/// What the server process of a worker is told when that worker has connected anew, and another process serves it.
pub const LEAVE: &str = "leave";

/// Wakes everybody who listens in this directory, and removes the sockets of the dead.
pub fn ring(topic: &Path) {
    tell(topic, "");
}

/// Wakes everybody who listens in this directory and tells them why, which may get lost.
pub fn tell(topic: &Path, news: &str) {
    let Ok(dir) = disk::open_dir(topic) else { return };
    let Ok(names) = disk::names(topic) else { return };
    let Ok(socket) = UnixDatagram::unbound() else { return };
    let _ = socket.set_nonblocking(true);
    for name in names {
        if let Err(e) = socket.send_to(news.as_bytes(), short_path(dir.as_fd(), topic, &name))
            && e.kind() == std::io::ErrorKind::ConnectionRefused
            && topic.join(&name).symlink_metadata().is_ok_and(|meta| meta.file_type().is_socket())
        {
            let _ = disk::remove_file(&topic.join(name));
        }
    }
}

/// A socket's address holds about 100 bytes; through /proc a directory of any length is short.
fn short_path(dir: BorrowedFd<'_>, topic: &Path, name: &str) -> PathBuf {
    if cfg!(target_os = "linux") {
        PathBuf::from(format!("/proc/self/fd/{}/{name}", dir.as_raw_fd()))
    } else {
        topic.join(name)
    }
}

/// Somebody who waits. The socket goes when this is dropped; after a crash the next wake-up removes it.
#[derive(Debug)]
pub struct Listener {
    socket: UnixDatagram,
    topic: PathBuf,
    path: PathBuf,
}

impl Listener {
    /// Listens in a directory of `wake/`, which is made when it is missing.
    pub fn new(topic: PathBuf) -> Result<Listener> {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        disk::make_dir(&topic)?;
        let dir = disk::open_dir(&topic).at("open", &topic)?;
        let name = format!("{}.{}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed));
        let path = topic.join(&name);
        disk::remove_file(&path)?;
        let socket = UnixDatagram::bind(short_path(dir.as_fd(), &topic, &name)).at("listen at", &path)?;
        socket.set_nonblocking(true).at("listen at", &path)?;
        Ok(Listener { socket, topic, path })
    }

    /// Takes all wake-ups that have come. Says whether there was one.
    pub fn drain(&self) -> bool {
        self.news(|_| {})
    }

    /// Takes all wake-ups that have come, each with what it tells. Says whether there was one.
    pub fn news(&self, mut each: impl FnMut(&str)) -> bool {
        let mut woken = false;
        let mut buffer = [0; 512];
        while let Ok(length) = self.socket.recv(&mut buffer) {
            woken = true;
            each(std::str::from_utf8(&buffer[..length]).unwrap_or_default());
        }
        woken
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = disk::remove_file(&self.path);
        if self.topic.parent().is_some_and(|parent| parent.ends_with("build")) {
            disk::remove_dir_if_empty(&self.topic);
        }
    }
}

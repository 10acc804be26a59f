//! Where builds run: a directory of the worker's, with a fresh one in it for each build in turn.
#![allow(clippy::disallowed_methods)]

use super::remove;
use super::vary::Names;
use rustix::process::{Pid, test_kill_process};
use spool::error::{At, Error, Kind, Result};
use spool::lock::Lock;
use spool::name::SecretName;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// How the names of directories start that go with their worker.
const TEMPORARY: &str = "builder-run.";

/// How the names of ssh's directories start.
const SSH: &str = "ssh";

/// ssh puts 50 bytes behind it and a number, and FreeBSD has 104 for all (unix(4)).
const LONGEST_FOR_SOCKETS: usize = 47;

/// After how many connections another one is not tried under the next number.
const MOST_LEFT: u32 = 10_000;

/// The worker's directory, locked: two workers never share one.
pub struct Place {
    root: PathBuf,
    _lock: Lock,
    temporary: bool,
    /// How many connections were made.
    connections: AtomicU32,
}

impl Place {
    /// Opens the directory, and makes it when it is missing.
    pub fn open(named: Option<&Path>) -> Result<Place> {
        let temporary = named.is_none();
        let root = match named {
            Some(named) => std::path::absolute(named).at("find", named)?,
            None => {
                remove_abandoned(&std::env::temp_dir());
                std::env::temp_dir().join(format!("{TEMPORARY}{}", std::process::id()))
            }
        };
        // In a directory that everybody may write to, what is there already may be somebody's trap.
        if temporary || !root.is_dir() {
            DirBuilder::new().mode(0o700).create(&root).at("create", &root)?;
        }
        let lock_path = root.join("lock");
        let mut options = OpenOptions::new();
        let lock = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&lock_path)
            .at("open", &lock_path)?;
        let lock = Lock::try_alone(lock).ok_or_else(|| {
            Error::new(Kind::TryAgain, format!("another worker uses {}", root.display()))
                .hint("give each worker a directory of its own with --work")
        })?;
        remove_connections(&root);
        Ok(Place { root, _lock: lock, temporary, connections: AtomicU32::new(0) })
    }

    /// A fresh directory for ssh's control socket, that only this user can enter.
    ///
    /// A socket's path holds about 100 bytes; where the worker's own directory is too long for that, it is made in
    /// $TMPDIR, and a killed worker leaves it behind.
    pub fn ssh_directory(&self) -> Result<PathBuf> {
        let is_short = self.root.as_os_str().len() <= LONGEST_FOR_SOCKETS;
        loop {
            // An earlier connection may be about to end still.
            let number = self.connections.fetch_add(1, Ordering::Relaxed);
            let path = match is_short {
                true => self.root.join(format!("{SSH}{number}")),
                false => std::env::temp_dir().join(format!("{TEMPORARY}{}.{SSH}{number}", std::process::id())),
            };
            match DirBuilder::new().mode(0o700).create(&path) {
                // Left by a killed worker, which had the number of this process.
                Err(e) if e.kind() == ErrorKind::AlreadyExists && number < MOST_LEFT => {}
                other => return other.at("create", &path).map(|()| path),
            }
        }
    }

    /// Puts down the worker's public key, with which an agent is asked for the other half.
    pub fn public_key(&self, key: &str) -> Result<PathBuf> {
        let path = self.root.join("key.pub");
        std::fs::write(&path, format!("{key}\n")).at("write", &path)?;
        Ok(path)
    }

    /// Whether it lies in a directory, or is that.
    pub fn is_below(&self, directory: &Path) -> bool {
        self.root.canonicalize().is_ok_and(|root| root.starts_with(directory))
    }

    /// The mode bits that let others into it: what a script leaves in there would be theirs to execute, with its set-user-id bit.
    ///
    /// # Errors
    /// It is not there any more.
    pub fn others(&self) -> Result<u32> {
        let meta = self.root.metadata().at("open", &self.root)?;
        Ok(meta.permissions().mode() & 0o011)
    }

    /// Where it is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Removes what builds have left.
    ///
    /// # Errors
    /// Some of it can't be removed. There is no room for another build, and that is no fault of the build.
    pub fn clear(&self) -> Result<()> {
        Names::ROOMS.iter().try_for_each(|name| self.clear_room(name))
    }

    /// A fresh directory for a build, with the script in it. What a killed worker left goes first.
    pub fn room(&self, script: &[u8], names: Names) -> Result<Room> {
        self.clear()?;
        self.furnish(script, names)
    }

    /// A fresh directory beside that of a build, for a script of the worker's own.
    pub fn trial(&self, script: &[u8]) -> Result<Room> {
        self.clear_room(Names::TRIAL.room)?;
        self.furnish(script, Names::TRIAL)
    }

    fn clear_room(&self, name: &str) -> Result<()> {
        let left = self.root.join(name);
        remove::stubborn(&left).at("remove", &left)
    }

    fn furnish(&self, script: &[u8], names: Names) -> Result<Room> {
        let room = Room { root: self.root.join(names.room), home: names.home };
        let make = |path: &Path| DirBuilder::new().mode(0o755).create(path).at("create", path);
        make(&room.root)?;
        for dir in [room.output(), room.home(), room.temporary()] {
            make(&dir)?;
        }
        let console = room.console();
        DirBuilder::new().mode(0o700).create(&console).at("create", &console)?;
        program(&room.script(), script)?;
        Ok(room)
    }
}

/// Writes a new program.
fn program(path: &Path, text: &[u8]) -> Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o755).open(path).at("create", path)?;
    file.write_all(text).at("write", path)
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.temporary {
            remove::or_warn(&self.root);
        }
    }
}

/// Removes what a killed worker left of its connections.
fn remove_connections(root: &Path) {
    for entry in std::fs::read_dir(root).into_iter().flatten().flatten() {
        let number = entry.file_name().to_str().and_then(|name| name.strip_prefix(SSH)?.parse::<u32>().ok());
        if number.is_some() {
            remove::or_warn(&entry.path());
        }
    }
}

/// Removes the temporary directories of this user's workers that were killed. In a container that is started again, one of them
/// had the number of this process.
fn remove_abandoned(base: &Path) {
    for entry in std::fs::read_dir(base).into_iter().flatten().flatten() {
        let abandoned = entry.file_name().to_str().and_then(|name| name.strip_prefix(TEMPORARY)?.parse().ok());
        let ours = abandoned.and_then(Pid::from_raw).is_some_and(is_over)
            && entry.metadata().is_ok_and(|meta| meta.is_dir() && meta.uid() == rustix::process::geteuid().as_raw());
        if ours
            && let Ok(lock) = File::open(entry.path().join("lock"))
            && let Some(_lock) = Lock::try_alone(lock)
        {
            remove::or_warn(&entry.path());
        }
    }
}

/// Whether a worker with this number runs no more.
fn is_over(worker: Pid) -> bool {
    worker == rustix::process::getpid() || test_kill_process(worker).is_err()
}

/// One build's directory; it goes when this is dropped.
pub struct Room {
    root: PathBuf,
    home: &'static str,
}

impl Room {
    /// The script.
    pub fn script(&self) -> PathBuf {
        self.root.join("script")
    }

    /// The working directory: what is left there is an artifact.
    pub fn output(&self) -> PathBuf {
        self.root.join("output")
    }

    /// HOME.
    pub fn home(&self) -> PathBuf {
        self.root.join(self.home)
    }

    /// BUILDER_SECRETS, made only when there are some.
    pub fn secrets(&self) -> PathBuf {
        self.root.join("secrets")
    }

    /// Puts a secret where the script finds it and nobody else does.
    pub fn add_secret(&self, name: &SecretName, content: &[u8]) -> Result<()> {
        let dir = self.secrets();
        if !dir.is_dir() {
            DirBuilder::new().mode(0o700).create(&dir).at("create", &dir)?;
        }
        let path = dir.join(name.as_str());
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).at("create", &path)?;
        file.write_all(content).at("write", &path)
    }

    /// All of it.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What a sandbox executes: it sets up what the script expects, and becomes the script.
    pub fn start(&self) -> PathBuf {
        self.root.join("start")
    }

    /// Puts down what a sandbox executes.
    pub fn add_start(&self, text: &[u8]) -> Result<()> {
        program(&self.start(), text)
    }

    /// Where a sandbox mounts its root, out of everybody else's sight.
    pub fn mounts(&self) -> PathBuf {
        self.root.join("root")
    }

    /// Makes the directory for a sandbox's mounts.
    pub fn add_mounts(&self) -> Result<()> {
        let path = self.mounts();
        DirBuilder::new().mode(0o700).create(&path).at("create", &path)
    }

    /// What a trial says on standard error.
    pub fn said(&self) -> PathBuf {
        self.root.join("said")
    }

    /// Where its console is kept.
    pub fn console(&self) -> PathBuf {
        self.root.join("console")
    }

    /// TMPDIR.
    pub fn temporary(&self) -> PathBuf {
        self.root.join("tmp")
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        remove::or_warn(&self.root);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_killed_worker_with_the_same_number_leaves_its_place_to_the_next() {
        let base = tempfile::tempdir().unwrap();
        let left = base.path().join(format!("{TEMPORARY}{}", std::process::id()));
        let another = base.path().join(format!("{TEMPORARY}{}", std::os::unix::process::parent_id()));
        for place in [&left, &another] {
            std::fs::create_dir(place).unwrap();
            std::fs::write(place.join("lock"), "").unwrap();
        }
        let lock = Lock::try_alone(File::open(left.join("lock")).unwrap()).unwrap();
        remove_abandoned(base.path());
        assert!(left.exists(), "it may be somebody's in another container");
        drop(lock);
        remove_abandoned(base.path());
        assert!(!left.exists() && another.exists());
    }

    #[test]
    fn a_directory_that_a_killed_worker_left_hinders_no_connection() {
        let base = tempfile::tempdir().unwrap();
        let place = Place::open(Some(base.path())).unwrap();
        std::fs::create_dir(place.root.join("ssh0")).unwrap();
        assert_eq!(place.ssh_directory().unwrap(), place.root.join("ssh1"));
    }
}

//! Workers as rc.conf(5) has them: FreeBSD's `rc.d/builder_worker`, with a profile and a directory of keys for each.
//!
//! All of it works elsewhere, too, where there is something that does as sysrc(8): the tests have it so.
#![allow(clippy::disallowed_methods)]

use crate::program;
use spool::error::{At, Error, Kind, Result};
use spool::name::{Platform, WorkerName};
use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Who runs builds without a jail, when rc.conf names nobody else.
pub const USER: &str = "builder_worker";

/// Whether rc(8) can have a profile of this name. It stands in names of variables, and `x_jail` would share `flags` with
/// what `x` has as `jail_flags`.
pub fn is_profile(name: &str) -> bool {
    let is_plain = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    is_plain && !name.is_empty() && name != "jail" && !name.ends_with("_jail")
}

/// Refuses a name that [`is_profile`] is not true of.
///
/// # Errors
/// [`Kind::Usage`].
pub fn check(name: &WorkerName) -> Result<()> {
    match is_profile(name.as_str()) {
        true => Ok(()),
        false => Err(Error::new(Kind::Usage, format!("rc(8) can have no profile `{name}`"))
            .hint("give a name of letters, digits and '_' that does not end in `jail`, with --name")),
    }
}

/// The line that tells rc.conf of a worker without a jail, which is started when the system boots.
pub fn settings(name: &WorkerName, server: &str, platforms: &[Platform]) -> String {
    let platforms: Vec<&str> = platforms.iter().map(Platform::as_str).collect();
    let (server, platforms) = (shell_words::quote(server), platforms.join(" "));
    let platforms = shell_words::quote(&platforms);
    format!(
        "sysrc builder_worker_enable=YES builder_worker_profiles+={name} builder_worker_{name}_server={server} \
         builder_worker_{name}_platform={platforms}"
    )
}

/// The line that starts it now.
pub fn start(name: &WorkerName) -> String {
    format!("service builder_worker start {name}")
}

/// The workers that have a key below a directory.
pub fn profiles(directory: &Path) -> Vec<WorkerName> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let with_key = entries.filter(|entry| entry.path().join("key").exists());
    let name = |entry: std::fs::DirEntry| entry.file_name().to_str().filter(|name| is_profile(name))?.parse().ok();
    let mut names: Vec<WorkerName> = with_key.filter_map(name).collect();
    names.sort();
    names
}

/// What rc.conf says of a worker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Worker {
    /// Its server, as `ssh://USER@HOST`.
    pub server: String,
    /// Its options, as builder-run(8) has them.
    pub options: Vec<String>,
    /// Where its key is, when that is not the usual place.
    pub keys: Option<PathBuf>,
    /// Who runs its builds, and where; none when each has a jail.
    pub on_system: Option<(String, PathBuf)>,
    /// Whether the service would start it.
    pub is_started: bool,
}

/// sysrc(8), by which rc.conf is read.
pub struct Sysrc {
    program: PathBuf,
}

impl Default for Sysrc {
    fn default() -> Self {
        Sysrc::at("sysrc")
    }
}

impl Sysrc {
    /// The one at a path, or the first of this name in PATH.
    pub fn at(program: impl Into<PathBuf>) -> Sysrc {
        Sysrc { program: program.into() }
    }

    /// What rc.conf has of a variable; none when it has not got it.
    ///
    /// # Errors
    /// When sysrc(8) can't be run.
    fn value(&self, variable: &str) -> Result<Option<String>> {
        let done = program::run(Command::new(&self.program).args(["-n", variable]), "")?;
        Ok(done.status.success().then(|| done.output.trim().to_owned()))
    }

    /// What is said of a worker.
    ///
    /// # Errors
    /// [`Kind::NoInput`] when there is no server for it.
    pub fn worker(&self, name: &WorkerName) -> Result<Worker> {
        let own = |what: &str| match self.value(&format!("builder_worker_{name}_{what}"))? {
            Some(own) => Ok(own),
            None => Ok(self.value(&format!("builder_worker_{what}"))?.unwrap_or_default()),
        };
        let or = |text: String, usual: &str| if text.is_empty() { usual.to_owned() } else { text };
        let server = own("server")?;
        if server.is_empty() {
            return Err(Error::new(Kind::NoInput, format!("rc.conf has no server for the worker {name}"))
                .hint(format!("say `sysrc builder_worker_{name}_server=ssh://builder@HOST`")));
        }
        let (platforms, flags) = (own("platform")?, own("flags")?);
        let platforms = platforms.split_whitespace().flat_map(|platform| ["--platform", platform]);
        let options = platforms.chain(flags.split_whitespace()).map(str::to_owned).collect();
        let keys = Some(own("keys")?).filter(|keys| !keys.is_empty()).map(PathBuf::from);
        let on_system = match own("snapshot")?.is_empty() {
            true => Some((or(own("user")?, USER), PathBuf::from(or(own("dir")?, "/var/db/builder_worker")))),
            false => None,
        };
        let profiles = self.value("builder_worker_profiles")?.unwrap_or_default();
        let is_named = match profiles.is_empty() {
            true => name.as_str() == "default",
            false => profiles.split_whitespace().any(|profile| profile == name.as_str()),
        };
        let is_enabled = ["yes", "true", "on", "1"].contains(&own("enable")?.to_lowercase().as_str());
        Ok(Worker { server, options, keys, on_system, is_started: is_named && is_enabled })
    }
}

/// Gives a worker's keys to the user who runs its builds, and lets that user through to them.
///
/// # Errors
/// When the file system does not let this happen.
pub fn give(keys: &Path, uid: u32, gid: u32) -> Result<()> {
    if let Some(directory) = keys.parent() {
        let mode = directory.metadata().at("look at", directory)?.permissions().mode();
        std::fs::set_permissions(directory, Permissions::from_mode(mode | 0o011)).at("set the mode of", directory)?;
    }
    for entry in std::fs::read_dir(keys).at("read", keys)? {
        let path = entry.at("read", keys)?.path();
        chown(&path, Some(uid), Some(gid)).at("give away", &path)?;
    }
    chown(keys, Some(uid), Some(gid)).at("give away", keys)
}

/// What keeps a user from reading a file: a directory on the way to it, or the file itself.
pub fn barrier(file: &Path, uid: u32) -> Option<PathBuf> {
    let closed = |path: &Path, bit: u32| match path.metadata() {
        Ok(meta) if meta.uid() == uid => meta.mode() & (bit << 6) == 0,
        Ok(meta) => meta.mode() & bit == 0,
        Err(_) => true,
    };
    let mut way: Vec<&Path> = file.ancestors().skip(1).filter(|dir| !dir.as_os_str().is_empty()).collect();
    way.reverse();
    let first = way.into_iter().find(|dir| closed(dir, 0o1)).or_else(|| closed(file, 0o4).then_some(file));
    first.map(Path::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same names as rc.d/builder_worker lets through, of those that a worker can have.
    #[test]
    fn a_profile_is_no_part_of_anothers_variables() {
        for name in ["a", "A1", "web_1", "jail1", "jail_1", "jailer", "default"] {
            assert!(is_profile(name), "{name}");
        }
        for name in ["", "a-b", "a.b", "a+b", "jail", "a_jail", "x_y_jail"] {
            assert!(!is_profile(name), "{name}");
        }
        assert_eq!(check(&"web-1".parse().unwrap()).unwrap_err().kind(), Kind::Usage);
    }

    #[test]
    fn a_line_says_all_that_rc_conf_needs() {
        let platforms = ["freebsd-14".parse().unwrap(), "freebsd-15".parse().unwrap()];
        assert_eq!(
            settings(&"a".parse().unwrap(), "ssh://b@farm", &platforms),
            "sysrc builder_worker_enable=YES builder_worker_profiles+=a builder_worker_a_server=ssh://b@farm \
             builder_worker_a_platform='freebsd-14 freebsd-15'"
        );
    }

    #[test]
    fn a_key_is_read_by_who_comes_through_to_it() {
        let dir = tempfile::tempdir().unwrap();
        let keys = dir.path().join("a");
        std::fs::create_dir(&keys).unwrap();
        let key = keys.join("key");
        std::fs::write(&key, "").unwrap();
        let mode = |path: &Path, mode: u32| std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        let (mine, other) = (key.metadata().unwrap().uid(), u32::MAX - 1);
        mode(dir.path(), 0o700);
        mode(&key, 0o600);
        assert_eq!((barrier(&key, mine), barrier(&key, other)), (None, Some(dir.path().to_owned())));
        mode(dir.path(), 0o711);
        mode(&keys, 0o711);
        assert_eq!(barrier(&key, other), Some(key.clone()));
        mode(&key, 0o644);
        assert_eq!(barrier(&key, other), None);
        mode(&key, 0o044);
        assert_eq!(barrier(&key, mine), Some(key));
    }
}

//! Secrets: files outside of the spool, `DIRECTORY/JOB/NAME`, that nobody but their owner may read.
//!
//! They are read when a build is handed out and go to its worker; nothing here ever writes them anywhere.

use crate::disk;
use crate::error::{At, Error, Kind, Result};
use crate::name::{JobName, SecretName};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The longest, in bytes: keys and tokens, not archives.
pub const LONGEST: usize = 64 << 10;

/// A secret and its name.
pub struct Secret {
    /// What the script finds it as.
    pub name: SecretName,
    /// Its content.
    pub content: Vec<u8>,
}

/// The secrets that a build of this job asks for.
///
/// # Errors
/// [`Kind::NoInput`] when there is none of a name, [`Kind::Config`] when others could read it.
pub fn read(directory: &Path, job: &JobName, names: &[SecretName]) -> Result<Vec<Secret>> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let dir = directory.join(job.as_str());
    let me = rustix::process::geteuid().as_raw();
    for private in [directory, &dir] {
        if private.exists() {
            check_private(private, me)?;
        }
    }
    let one = |name: &SecretName| {
        let path = dir.join(name.as_str());
        let content = disk::read_if_there(&path, LONGEST as u64)?.ok_or_else(|| {
            Error::new(Kind::NoInput, format!("job {job} has no secret {name}"))
                .hint(format!("put it into {}", path.display()))
        })?;
        check_private(&path, me)?;
        Ok(Secret { name: name.clone(), content })
    };
    names.iter().map(one).collect()
}

/// The secrets and directories of secrets that a server of the spool's owner, by this number, would refuse: in a directory that
/// others can enter nothing more is looked at. Where there is nothing, or this user may not look, there is no fault.
pub fn faults(directory: &Path, owner: u32) -> Vec<Error> {
    let names = |dir: &Path| disk::names(dir).unwrap_or_default();
    let wrong = |path: &Path| check_private(path, owner).err().filter(|e| e.kind() == Kind::Config);
    let mut faults: Vec<Error> = wrong(directory).into_iter().collect();
    if !faults.is_empty() {
        return faults;
    }
    for of_job in names(directory).iter().filter(|name| name.parse::<JobName>().is_ok()) {
        let dir = directory.join(of_job);
        match wrong(&dir) {
            Some(fault) => faults.push(fault),
            None => faults.extend(names(&dir).iter().filter_map(|name| wrong(&dir.join(name)))),
        }
    }
    faults
}

/// A secret that others can read is none.
fn check_private(path: &Path, owner: u32) -> Result<()> {
    let meta = path.symlink_metadata().at("look at", path)?;
    if meta.mode() & 0o077 == 0 && (meta.uid() == owner || meta.uid() == 0) && !meta.is_symlink() {
        return Ok(());
    }
    Err(Error::new(Kind::Config, format!("{} can be read or changed by others", path.display()))
        .hint("make it the property of the spool's owner, and `chmod go=` it"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_secret_is_read_when_nobody_else_can_read_it() {
        let dir = tempfile::tempdir().unwrap();
        let (job, name): (JobName, SecretName) = ("a".parse().unwrap(), "token".parse().unwrap());
        let mode = |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        let read = || read(dir.path(), &job, std::slice::from_ref(&name));
        mode(dir.path(), 0o700);
        assert_eq!(read().err().unwrap().kind(), Kind::NoInput);
        let (of_job, file) = (dir.path().join("a"), dir.path().join("a/token"));
        std::fs::create_dir(&of_job).unwrap();
        std::fs::write(&file, "s3cret\n").unwrap();
        for path in [dir.path(), &of_job, &file] {
            mode(dir.path(), 0o700);
            mode(&of_job, 0o700);
            mode(&file, 0o600);
            assert_eq!(read().unwrap()[0].content, b"s3cret\n");
            assert!(faults(dir.path(), rustix::process::geteuid().as_raw()).is_empty());
            mode(path, 0o750);
            assert_eq!(read().err().unwrap().kind(), Kind::Config, "{}", path.display());
            let faults = faults(dir.path(), rustix::process::geteuid().as_raw());
            let named = faults.iter().map(ToString::to_string).collect::<Vec<_>>();
            assert!(named.len() == 1 && named[0].starts_with(&format!("{} can be", path.display())), "{named:?}");
        }
    }
}

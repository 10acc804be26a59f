//! Artifacts on their way to another machine, as a tar archive: both ends. `tar x` reads it, too.
//!
//! What it writes lies outside the spool, where the calls that the spool library reserves are everybody's.
#![allow(clippy::disallowed_methods)]

use crate::copy::{check, refuse_no_directory, refuse_to_replace};
use crate::out;
use spool::artifact_path::ArtifactPath;
use spool::digest::Sha256;
use spool::error::{At, Error, Kind, Result};
use spool::find::Build;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, IsTerminal, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use tar::{Archive, Builder, EntryType, Header};

/// Writes artifacts to standard output. The same build gives the same bytes.
pub fn send(build: &Build<'_>, wanted: &[(ArtifactPath, Sha256)], executable: &[ArtifactPath]) -> Result<()> {
    if io::stdout().is_terminal() {
        return Err(Error::new(Kind::Usage, "a terminal can't show a tar archive")
            .hint("send it to a file or a pipe, or leave out --tar"));
    }
    let finished = build.result()?.map_or(0, |result| result.finished.as_second().max(0) as u64);
    let mut archive = Builder::new(BufWriter::with_capacity(64 << 10, io::stdout().lock()));
    for (path, sha256) in wanted {
        let from = build.artifact(path);
        let mut file = File::open(&from).at("read", &from)?;
        // Before a byte of it is out, as nothing can call it back.
        check(&from, &mut file, sha256)?;
        file.rewind().at("read", &from)?;
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Regular);
        header.set_mode(if executable.contains(path) { 0o755 } else { 0o644 });
        header.set_mtime(finished);
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(file.metadata().at("look at", &from)?.len());
        if let Err(e) = archive.append_data(&mut header, path.as_str(), &mut file) {
            return out::unless_closed(Err(e));
        }
    }
    out::unless_closed(archive.into_inner().and_then(|mut to| to.flush()))
}

/// Artifacts that have come, in a directory of their own that goes with this: they are all there before the first one
/// gets its place.
pub struct Staged<'a> {
    output: &'a Path,
    dir: PathBuf,
    paths: Vec<ArtifactPath>,
}

impl<'a> Staged<'a> {
    /// Receives an archive. Whether it came to its end, the sender's exit status must say.
    ///
    /// # Errors
    /// [`Kind::CantCreate`] when there is such a file in `output` and no `force`; [`Kind::Data`] for anything but
    /// regular files with an artifact's path, each once.
    pub fn receive(from: impl Read, output: &'a Path, force: bool) -> Result<Staged<'a>> {
        let dir = output.join(format!(".builder-get.{}", std::process::id()));
        let mut staged = Staged { output, dir, paths: Vec::new() };
        let mut archive = Archive::new(from);
        for entry in archive.entries().at("read", "what was sent")? {
            let mut entry = entry.at("read", "what was sent")?;
            let path = artifact(&entry)?;
            if !force {
                refuse_to_replace(output, &path)?;
            }
            staged.take(&path, &mut entry)?;
            staged.paths.push(path);
        }
        Ok(staged)
    }

    fn take(&mut self, path: &ArtifactPath, entry: &mut tar::Entry<'_, impl Read>) -> Result<()> {
        if self.paths.is_empty() {
            refuse_no_directory(self.output)?;
            fs::create_dir_all(self.output).at("create", self.output)?;
            // A call of the same number that was killed may have left one.
            let _ = fs::remove_dir_all(&self.dir);
            fs::DirBuilder::new().mode(0o700).create(&self.dir).at("create", &self.dir)?;
        }
        let to = self.dir.join(path.as_str());
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent).at("create", parent)?;
        }
        let executable = entry.header().mode().is_ok_and(|mode| mode & 0o111 != 0);
        let mode = if executable { 0o777 } else { 0o666 };
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&to).at("create", &to)?;
        io::copy(entry, &mut file).at("write", &to).map(|_| ())
    }

    /// Puts everything into its place. Returns the places, in order.
    pub fn publish(self) -> Result<Vec<PathBuf>> {
        let mut there = Vec::new();
        for path in &self.paths {
            let to = self.output.join(path.as_str());
            if let Some(parent) = to.parent() {
                fs::create_dir_all(parent).at("create", parent)?;
            }
            fs::rename(self.dir.join(path.as_str()), &to).at("create", &to)?;
            there.push(to);
        }
        Ok(there)
    }
}

impl Drop for Staged<'_> {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// The path of an entry that may be unpacked.
fn artifact(entry: &tar::Entry<'_, impl Read>) -> Result<ArtifactPath> {
    let path = entry.path_bytes();
    let path: ArtifactPath = String::from_utf8_lossy(&path).parse()?;
    match entry.header().entry_type() {
        EntryType::Regular => Ok(path),
        _ => Err(Error::new(Kind::Data, format!("`{path}` was sent and is no regular file"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    /// An archive with these names as they are, which `append_data` would not write.
    fn archive(entries: &[(&str, EntryType, u32)]) -> Vec<u8> {
        let mut archive = Builder::new(Vec::new());
        for (name, kind, mode) in entries {
            let mut header = Header::new_gnu();
            header.as_gnu_mut().expect("gnu").name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_entry_type(*kind);
            header.set_mode(*mode);
            header.set_size(5);
            header.set_cksum();
            archive.append(&header, &b"hello"[..]).expect("an entry");
        }
        archive.into_inner().expect("an archive")
    }

    #[test]
    fn files_get_their_places_when_all_have_come() {
        let dir = tempfile::tempdir().expect("a directory");
        let output = dir.path().join("out");
        let bytes = archive(&[("bin/x", EntryType::Regular, 0o755), ("y", EntryType::Regular, 0o6644)]);
        let staged = Staged::receive(&bytes[..], &output, false).expect("staged");
        assert!(!output.join("y").exists());
        assert_eq!(staged.publish().expect("places"), [output.join("bin/x"), output.join("y")]);
        let mode = |name: &str| output.join(name).metadata().expect("a file").permissions().mode() & 0o7111;
        assert_eq!((mode("bin/x") & 0o100, mode("y")), (0o100, 0));
        assert_eq!(fs::read_dir(&output).expect("the output").count(), 2, "nothing is left beside them");
        let again = Staged::receive(&bytes[..], &output, false).err().expect("they are there");
        assert_eq!(again.kind(), Kind::CantCreate);
        assert_eq!(Staged::receive(&bytes[..], &output, true).expect("forced").publish().expect("places").len(), 2);
    }

    #[test]
    fn nothing_else_is_unpacked() {
        let dir = tempfile::tempdir().expect("a directory");
        let output = dir.path().join("out");
        for (name, kind) in [
            ("../x", EntryType::Regular),
            ("/tmp/builder-was-here", EntryType::Regular),
            ("a/../../x", EntryType::Regular),
            ("x", EntryType::Symlink),
            ("x", EntryType::Link),
            ("x", EntryType::Directory),
            ("x", EntryType::Fifo),
            ("good", EntryType::Regular),
        ] {
            let bytes = archive(&[("good", EntryType::Regular, 0o644), (name, kind, 0o644)]);
            assert!(Staged::receive(&bytes[..], &output, false).is_err(), "{name} {kind:?}");
            assert_eq!(below(dir.path()), [output.as_path()], "{name} {kind:?}");
        }
    }

    fn below(dir: &Path) -> Vec<PathBuf> {
        let entries = fs::read_dir(dir).expect("a directory").flatten().map(|entry| entry.path());
        entries
            .flat_map(|path| if path.is_dir() { [vec![path.clone()], below(&path)].concat() } else { vec![path] })
            .collect()
    }
}

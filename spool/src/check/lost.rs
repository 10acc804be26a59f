//! `lost+found/`: what a repair did not understand, as it was, below the path that it had.

use crate::disk::{self, Moved};
use crate::error::{At, Error, Kind, Result};
use crate::layout::Layout;
use jiff::Timestamp;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Where one repair puts things. Nothing is made before the first one comes.
pub struct LostAndFound<'a> {
    layout: &'a Layout,
    name: String,
}

impl<'a> LostAndFound<'a> {
    /// The place of a repair that begins now.
    pub fn new(layout: &'a Layout, now: Timestamp) -> LostAndFound<'a> {
        LostAndFound { layout, name: now.strftime("%Y%m%dT%H%M%S.%3fZ").to_string() }
    }

    /// Moves something there, with a line that says why. False when it is gone. Durable on return; no byte of it is
    /// touched.
    pub fn take(&self, path: &Path, why: &str) -> Result<bool> {
        if path.symlink_metadata().is_err() {
            return Ok(false);
        }
        let below = path.strip_prefix(self.layout.root()).unwrap_or(path);
        self.make()?;
        let home = self.layout.lost_and_found().join(&self.name);
        let target = home.join(below);
        let parent = target.parent().unwrap_or(&home).to_owned();
        make_all(&home, &parent)?;
        // The note comes first: of something that was noted and not moved, the next repair says the same again.
        self.note(below, why)?;
        // A directory whose files were taken before it has its place taken by them.
        let names = std::iter::once(target.clone()).chain((1u32..).map(|n| with_number(&target, n)));
        for target in names {
            match disk::rename_new(path, &target)? {
                Moved::Yes => break,
                Moved::TargetExists => {}
                Moved::SourceGone => return Ok(false),
            }
        }
        disk::sync_dir(&parent)?;
        disk::sync_dir(path.parent().unwrap_or(self.layout.root()))?;
        Ok(true)
    }

    /// The directory may be that of fsck(8), when the spool is a file system of its own.
    fn make(&self) -> Result<()> {
        let dir = self.layout.lost_and_found();
        disk::make_dir_synced(&dir)?;
        let (meta, me) = (dir.symlink_metadata().at("look at", &dir)?, rustix::process::geteuid().as_raw());
        if meta.uid() != me && me != 0 {
            let what = format!("{} belongs to user {}", dir.display(), meta.uid());
            return Err(Error::new(Kind::NoPermission, what)
                .hint(format!("as the superuser say `chown {me} {}`: fsck(8) does not mind", dir.display())));
        }
        disk::make_dir_synced(&dir.join(&self.name))
    }

    fn note(&self, below: &Path, why: &str) -> Result<()> {
        let path = self.layout.lost_and_found().join(format!("{}.txt", self.name));
        let mut notes = disk::open_for_appending(&path, 0o644)?;
        writeln!(notes, "{}: {why}", below.display()).at("write", &path)?;
        notes.sync_all().at("sync", &path)?;
        disk::sync_dir(&self.layout.lost_and_found())
    }
}

fn make_all(home: &Path, dir: &Path) -> Result<()> {
    let mut above: Vec<&Path> = dir.ancestors().take_while(|one| *one != home).collect();
    above.reverse();
    above.into_iter().try_for_each(disk::make_dir_synced)
}

fn with_number(path: &Path, number: u32) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{number}"));
    path.with_file_name(name)
}

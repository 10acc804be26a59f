//! Repair: mends what needs no guess, and moves what nobody understands to `lost+found/`.
//!
//! It is safe beside builderd, servers and clients: each step takes the lock of those who could be at work on the same
//! thing, and leaves what is locked by somebody else. It can be killed between any two steps, and said again.

use super::Checked;
use super::eye::{Memory, is_real};
use super::finding::{Cure, Finding};
use super::lost::LostAndFound;
use crate::console;
use crate::digest::Sha256;
use crate::disk::{self, Moved};
use crate::error::{At, Result};
use crate::job;
use crate::layout::file;
use crate::lock::Lock;
use crate::place::End;
use crate::spool::Spool;
use crate::tmp::{self, Draft};
use jiff::Timestamp;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::Path;

/// One cure can bring to light what another finding hid: a file in the place of a directory, and then its absence.
const ROUNDS: usize = 6;

/// No record that is rewritten is longer, in bytes.
const LONGEST: u64 = 64 << 20;

/// What a repair did, and what is left.
#[derive(Clone, Debug, Default)]
pub struct Repaired {
    /// What was wrong and is put right, in this order.
    pub done: Vec<Finding>,
    /// What could not be done, and why.
    pub failed: Vec<(Finding, String)>,
    /// Leftovers of crashes that were removed.
    pub swept: usize,
    /// The spool as it is now.
    pub checked: Checked,
}

/// Keeps others from what is being repaired, while it lives.
struct Guard {
    _lock: Option<Lock>,
}

impl Spool {
    /// Puts right what can be put right without guessing. Said twice, the second time does nothing.
    ///
    /// # Errors
    /// When the disk can't be read. What can't be mended is no error.
    pub fn repair(&self, deep: bool, now: Timestamp) -> Result<Repaired> {
        let lost = LostAndFound::new(self.layout(), now);
        let mut memory = Memory::default();
        let mut repaired = Repaired::default();
        for _ in 0..ROUNDS {
            repaired.checked = self.check_again(deep, &mut memory)?;
            repaired.failed.clear();
            let before = repaired.done.len();
            for finding in repaired.checked.findings.iter().filter(|finding| finding.cure.is_known()) {
                match self.cure_and_tell(finding, &lost) {
                    Ok(true) => repaired.done.push(finding.clone()),
                    Ok(false) => {}
                    Err(e) => repaired.failed.push((finding.clone(), e.to_string())),
                }
            }
            if repaired.done.len() == before {
                break;
            }
        }
        repaired.swept = self.sweep()?;
        Ok(repaired)
    }

    /// As [`Spool::cure`]. What the index knows of a finished build may be true no more, and builderd may take it in again
    /// in between.
    fn cure_and_tell(&self, finding: &Finding, lost: &LostAndFound<'_>) -> Result<bool> {
        if !End::ALL.iter().any(|end| finding.path.starts_with(self.layout().ended(*end))) {
            return self.cure(finding, lost);
        }
        self.drop_index()?;
        let cured = self.cure(finding, lost)?;
        self.drop_index()?;
        Ok(cured)
    }

    /// Does what a finding asks for. False when there is nothing to do any more, or somebody else is at work there.
    fn cure(&self, finding: &Finding, lost: &LostAndFound<'_>) -> Result<bool> {
        let path = &finding.path;
        if let Cure::Settle(id) = &finding.cure {
            let held = self.hold(id)?;
            return held.map_or(Ok(None), |held| held.settle_interrupted()).map(|end| end.is_some());
        }
        let Some(_guard) = self.guard(path)? else { return Ok(false) };
        if !path.parent().is_some_and(|parent| is_real(self.layout(), parent)) {
            return Ok(false);
        }
        let why = format!("{}: {}", finding.invariant, finding.wrong);
        match &finding.cure {
            Cure::SetAside(what) => lost.take(what, &why),
            Cure::Lose { build, name } => self.lose(build, name, &why, lost),
            Cure::Make => disk::make_dir_synced(path).map(|()| true),
            Cure::Mode(mode) => disk::set_mode(path, *mode),
            Cure::Move(to) => self.move_build(path, to, &why, lost),
            Cure::Settle(_) | Cure::Human(_) => Ok(false),
            Cure::Link(digest) => self.link_back(digest, path),
            Cure::Name => self.name_again(path),
            Cure::Cut => self.cut(path, &why, lost),
        }
    }

    fn lose(&self, build: &Path, name: &str, why: &str, lost: &LostAndFound<'_>) -> Result<bool> {
        let new = self.note_lost(build, name)?;
        Ok(lost.take(&build.join(name), why)? || new)
    }

    /// Notes that a file of a build is not what it was. Durable on return. Says whether that is new.
    fn note_lost(&self, build: &Path, name: &str) -> Result<bool> {
        let path = build.join(file::LOST);
        let known = disk::read_if_there(&path, LONGEST)?.unwrap_or_default();
        let mut names: BTreeSet<&str> = std::str::from_utf8(&known).unwrap_or_default().lines().collect();
        let new = names.insert(name);
        let text: String = names.iter().map(|name| format!("{name}\n")).collect();
        tmp::replace_file(self.layout(), &path, text.as_bytes())?;
        Ok(new)
    }

    fn move_build(&self, from: &Path, to: &Path, why: &str, lost: &LostAndFound<'_>) -> Result<bool> {
        let (old, new) = (from.parent().unwrap_or(from), to.parent().unwrap_or(to));
        disk::make_dir_synced(new)?;
        match disk::rename_new(from, to)? {
            Moved::Yes => {
                disk::sync_dir(new)?;
                disk::sync_dir(old)?;
                Ok(true)
            }
            Moved::TargetExists => lost.take(from, why),
            Moved::SourceGone => Ok(false),
        }
    }

    /// The store's content is read first: a wrong one must not be spread.
    fn link_back(&self, digest: &Sha256, to: &Path) -> Result<bool> {
        let object = self.layout().object(digest);
        let (real, _) = Sha256::of_reader(File::open(&object).at("read", &object)?).at("read", &object)?;
        if real != *digest {
            return Ok(false);
        }
        let mut missing: Vec<&Path> = to.ancestors().skip(1).take_while(|dir| !dir.is_dir()).collect();
        missing.reverse();
        missing.into_iter().try_for_each(disk::make_dir_synced)?;
        let linked = self.store().link_to(digest, to)?;
        disk::sync_dir(to.parent().unwrap_or(to))?;
        Ok(linked)
    }

    /// Gives a content the name that it has by its digest, whatever somebody thought that it was.
    fn name_again(&self, path: &Path) -> Result<bool> {
        let file = File::open(path).at("read", path)?;
        file.sync_all().at("sync", path)?;
        let (digest, _) = Sha256::of_reader(&file).at("read", path)?;
        self.store().name(&digest, path)
    }

    /// What can be true is complete under another name before the whole goes away.
    fn cut(&self, path: &Path, why: &str, lost: &LostAndFound<'_>) -> Result<bool> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let draft = Draft::empty_file(self.layout(), 0o644)?;
        match name.strip_prefix(file::TIMES) {
            Some(number) => {
                let log = path.with_file_name(format!("{}{number}", file::CONSOLE));
                let open = || File::open(path).map(BufReader::new).at("read", path);
                let fits = console::fitting(open()?, log.metadata().map_or(0, |meta| meta.len())).at("read", path)?;
                io::copy(&mut open()?.take(fits), &mut draft.handle()).at("copy", path)?;
                // What is kept of it is not what was sealed.
                if let Some(build) = path.parent().filter(|build| build.join(file::SEAL).exists()) {
                    self.note_lost(build, &name)?;
                }
            }
            None => {
                let Some(bytes) = disk::read_if_there(path, LONGEST)? else { return Ok(false) };
                draft.handle().write_all(&job::steps(&bytes)).at("write", draft.path())?;
            }
        }
        disk::sync_content(draft.handle()).at("sync", draft.path())?;
        if !lost.take(path, why)? || disk::rename_new(draft.path(), path)? != Moved::Yes {
            return Ok(false);
        }
        draft.published();
        disk::sync_dir(path.parent().unwrap_or(path))?;
        Ok(true)
    }

    /// Locks what a path belongs to: a build, a shard of the store, the jobs, or the workers. Nothing when somebody else
    /// is at work there.
    fn guard(&self, path: &Path) -> Result<Option<Guard>> {
        let root = self.layout().root();
        let below: Vec<&OsStr> = path.strip_prefix(root).unwrap_or(path).iter().collect();
        let first = |count: usize| below.iter().take(count).fold(root.to_owned(), |path, part| path.join(part));
        let held = |lock: Lock| Some(Guard { _lock: Some(lock) });
        if path.file_name().is_some_and(|name| name == ".lock") {
            return Ok(Some(Guard { _lock: None }));
        }
        match (below.first().and_then(|part| part.to_str()), below.len()) {
            (Some("new" | "done" | "failed"), 3..) => lock(&first(3)),
            (Some("active"), 2..) => lock(&first(2)),
            (Some("store"), 4..) => lock_waiting(&first(3)),
            (Some("jobs" | "good" | "timers" | "platforms"), 2..) => self.lock_jobs().map(held),
            (Some("workers"), 2..) => self.lock_workers().map(held),
            _ => Ok(Some(Guard { _lock: None })),
        }
    }
}

/// Locks a build's directory at once or not at all; one that is none, or is gone, is nobody's.
fn lock(dir: &Path) -> Result<Option<Guard>> {
    let Ok(open) = disk::open_dir(dir) else { return Ok(Some(Guard { _lock: None })) };
    let Some(open) = Lock::try_alone(open) else { return Ok(None) };
    let ours = open.metadata().at("look at", dir)?;
    let same = dir.symlink_metadata().is_ok_and(|there| disk::same_file(&ours, &there));
    Ok(same.then_some(Guard { _lock: Some(open) }))
}

/// Locks a shard of the store, which nobody keeps locked for long.
fn lock_waiting(shard: &Path) -> Result<Option<Guard>> {
    let Ok(open) = disk::open_dir(shard) else { return Ok(Some(Guard { _lock: None })) };
    Ok(Some(Guard { _lock: Some(Lock::alone(open, shard)?) }))
}

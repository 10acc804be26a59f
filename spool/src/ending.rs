//! How a build leaves `active/`: ended for good, back into its queue, or removed.

use crate::artifact_path::ArtifactPath;
use crate::console::ConsoleWriter;
use crate::digest::Sha256;
use crate::disk::{self, Moved};
use crate::error::{At, Error, Kind, Result};
use crate::held::HeldBuild;
use crate::inputs::{Sides, input_digest};
use crate::layout::file;
use crate::manifest::Manifest;
use crate::place::{End, Priority, Ticket};
use crate::record::{self, Attempt, Attempts, BuildResult, Outcome};
use crate::sign::Vouched;
use crate::{tmp, wake};
use jiff::Timestamp;
use std::fs::File;

/// What an attempt makes in a build's directory. The lease goes last: until then the attempt is known.
pub(crate) const OF_AN_ATTEMPT: [&str; 11] = [
    file::CONSOLE,
    file::TIMES,
    file::RESULT,
    file::MANIFEST,
    file::ARTIFACTS,
    file::UPLOAD,
    file::ENVIRONMENT,
    file::PACKAGES,
    file::STATEMENT,
    file::STATEMENT_SIGNATURE,
    file::LEASE,
];

impl HeldBuild<'_> {
    /// Ends the build for good: durable on return, in `done/` when it exited 0, else in `failed/`.
    pub fn finish(self, result: BuildResult, manifest: &Manifest) -> Result<End> {
        self.finish_signed(result, manifest, None)
    }

    /// As [`HeldBuild::finish`], with what the worker has signed.
    pub fn finish_signed(self, mut result: BuildResult, manifest: &Manifest, vouched: Option<&Vouched>) -> Result<End> {
        let dir = self.path();
        let inputs = self.input_files()?;
        self.tell_sides_apart(&mut result, manifest, &inputs)?;
        self.keep_statement(&mut result, manifest, &inputs, vouched)?;
        if manifest.is_empty() {
            // What could not be kept as a whole is not kept in part.
            disk::remove_tree(&dir.join(file::ARTIFACTS))?;
        } else {
            let target = dir.join(file::MANIFEST);
            disk::remove_file(&target)?;
            self.spool.store().keep(&manifest.to_bytes(), &target)?;
        }
        for name in [file::CONSOLE, file::TIMES] {
            let path = dir.join(name);
            if let Ok(open) = File::open(&path) {
                open.sync_data().at("sync", &path)?;
            }
        }
        self.sync_artifacts(manifest.len())?;
        disk::remove_file(&dir.join(file::RESULT))?;
        disk::write_new(&dir.join(file::RESULT), &record::to_bytes(&result)?, 0o644)?;
        self.settle(&result)
    }

    /// The last steps of the end of a build whose record is complete and durable. The note of what it owes decides: before
    /// it the worker may come back to the build, after it the build is over whatever happens.
    fn settle(self, result: &BuildResult) -> Result<End> {
        let dir = self.path();
        let layout = self.spool.layout();
        let end = if result.outcome.succeeded() { End::Done } else { End::Failed };
        disk::remove_tree(&dir.join(file::UPLOAD))?;
        self.dir.sync_all().at("sync", &dir)?;
        self.spool.note_owed(&self.id)?;
        disk::remove_file(&dir.join(file::LEASE))?;
        disk::make_dir_synced(&layout.month(end, &self.id))?;
        if disk::rename_new(&dir, &layout.finished(end, &self.id))? != Moved::Yes {
            return Err(Error::new(Kind::Internal, format!("{} is finished already", self.id)));
        }
        disk::sync_dir(&layout.month(end, &self.id))?;
        // UFS keeps the two directories of a rename apart: the old name must go durably, too.
        #[cfg(target_os = "freebsd")]
        disk::sync_dir(&layout.all_active())?;
        disk::remove_file(&layout.cancel(&self.id))?;
        wake::ring(&layout.wake_build(&self.id));
        wake::ring(&layout.wake_daemon());
        let (spool, id) = (self.spool, self.id.clone());
        drop(self);
        // A build of the same job may be waiting until this one is over.
        wake::tell(&spool.layout().wake_queue(id.platform()), wake::FREED);
        Ok(end)
    }

    fn sync_artifacts(&self, count: usize) -> Result<()> {
        let root = self.path().join(file::ARTIFACTS);
        match count {
            0 => Ok(()),
            1..=disk::FEW => walkdir::WalkDir::new(&root)
                .contents_first(true)
                .into_iter()
                .filter_map(|entry| entry.ok())
                .filter(|entry| entry.file_type().is_dir())
                .try_for_each(|entry| disk::sync_dir(entry.path())),
            _ => disk::sync_all_of(self.spool.layout().root()),
        }
    }

    /// Notes what went in and what came out. What the job named and a script that succeeded did not leave is said.
    fn tell_sides_apart(&self, result: &mut BuildResult, manifest: &Manifest, files: &[(&str, Sha256)]) -> Result<()> {
        // A request that can't be read names nothing, and keeps no build from ending.
        let (named, main) = self.request().map(|request| (request.inputs, request.main)).unwrap_or_default();
        let sides = Sides::of(manifest, &named);
        // A worker that never said what environment it used has not said what went in.
        let is_known = files.iter().any(|(name, _)| *name == file::ENVIRONMENT);
        result.input = is_known.then(|| input_digest(self.id.platform(), files, &sides.inputs));
        result.note_sides(&sides, manifest, main.as_ref());
        if result.outcome.succeeded() {
            let absent = |path: &ArtifactPath, what: &str| format!("{path}: the job's {what} was not left");
            result.skipped.extend(named.iter().filter(|path| !sides.has_input(path)).map(|path| absent(path, "input")));
            result.skipped.extend(main.filter(|_| result.main.is_none()).map(|path| absent(&path, "main artifact")));
        }
        Ok(())
    }

    /// The digests of the files that went in, those that there are.
    fn input_files(&self) -> Result<Vec<(&'static str, Sha256)>> {
        let mut digests = Vec::new();
        for name in [file::SCRIPT, file::ENVIRONMENT, file::PACKAGES] {
            let path = self.path().join(name);
            if let Ok(open) = File::open(&path) {
                digests.push((name, Sha256::of_reader(open).at("read", &path)?.0));
            }
        }
        Ok(digests)
    }

    /// Puts a build that lost its worker back into its queue, or ends it as lost when it was tried often
    /// enough, or as cancelled when somebody asked for that. One whose end was decided when a crash met it gets there.
    /// Durable on return.
    pub fn give_up(self, reason: &str, now: Timestamp) -> Result<Option<End>> {
        if let Some(result) = self.decided() {
            return self.settle(&result).map(Some);
        }
        let attempts = self.note_attempt(reason, now)?;
        if self.spool.layout().cancel(&self.id).exists() {
            return self.end_unrun(Outcome::Cancelled, now).map(Some);
        }
        if attempts.list.len() as u32 >= self.request()?.attempts {
            return self.end_unrun(Outcome::Lost, now).map(Some);
        }
        self.requeue()?;
        Ok(None)
    }

    /// Carries out the last steps of an end that a crash interrupted. Nothing when there was none.
    pub(crate) fn settle_interrupted(self) -> Result<Option<End>> {
        let result = self.decided();
        result.map(|result| self.settle(&result)).transpose()
    }

    /// The result of a build whose end was decided. Without the note of what it owes, a power cut may have taken some of
    /// what the result speaks of.
    pub(crate) fn decided(&self) -> Option<BuildResult> {
        let noted = self.spool.layout().owed(&self.id).exists();
        record::read(&self.path().join(file::RESULT)).ok().flatten().filter(|_| noted)
    }

    /// Ends a build without a word from its worker; what it printed so far stays.
    pub fn end_unrun(self, outcome: Outcome, now: Timestamp) -> Result<End> {
        self.mend_console()?;
        let mut result = BuildResult::unrun(outcome, now);
        if let Some(lease) = self.lease()? {
            result.worker = Some(lease.worker);
            result.started = Some(lease.since);
            result.duration_ms = now.duration_since(lease.since).as_millis().max(0) as u64;
        }
        self.finish(result, &Manifest::default())
    }

    /// A lease is noted once, however often a crash interrupts what follows.
    fn note_attempt(&self, reason: &str, now: Timestamp) -> Result<Attempts> {
        let mut attempts = self.attempts()?;
        let Some(lease) = self.lease()? else { return Ok(attempts) };
        if attempts.list.last().is_none_or(|last| last.lease.token != lease.token) {
            attempts.list.push(Attempt { lease, lost: now, reason: reason.to_owned() });
            tmp::replace_file(self.spool.layout(), &self.path().join(file::ATTEMPTS), &record::to_bytes(&attempts)?)?;
        }
        Ok(attempts)
    }

    fn requeue(self) -> Result<()> {
        let dir = self.path();
        self.mend_console()?;
        self.set_console_aside()?;
        self.forget_attempt()?;
        self.dir.sync_all().at("sync", &dir)?;
        let ticket = Ticket { priority: Priority::FRONT, id: self.id.clone() };
        let queue = self.spool.layout().queue(self.id.platform());
        disk::make_dir_synced(&queue)?;
        if disk::rename_new(&dir, &self.spool.layout().queued(&ticket))? != Moved::Yes {
            return Err(Error::new(Kind::Internal, format!("{} is queued already", self.id)));
        }
        disk::sync_dir(&queue)?;
        let (spool, id) = (self.spool, self.id.clone());
        drop(self);
        wake::tell(&spool.layout().wake_queue(id.platform()), &ticket.to_string());
        wake::ring(&spool.layout().wake_build(&id));
        Ok(())
    }

    /// Where a crash parted the two files of the console, they agree again.
    fn mend_console(&self) -> Result<()> {
        let there = [file::CONSOLE, file::TIMES].iter().any(|name| self.path().join(name).exists());
        if there { ConsoleWriter::open(&self.path(), None).map(drop) } else { Ok(()) }
    }

    /// Removes what an attempt has left, but for consoles that were set aside. Not durable.
    pub(crate) fn forget_attempt(&self) -> Result<()> {
        OF_AN_ATTEMPT.iter().try_for_each(|name| disk::remove_tree(&self.path().join(name)))
    }

    /// The log goes last: as long as it is there, a crash in between leads to the same number again.
    fn set_console_aside(&self) -> Result<()> {
        let dir = self.path();
        let aside = |name: &str, number: u32| dir.join(format!("{name}.{number}"));
        let number = (1..).find(|number| !aside(file::CONSOLE, *number).exists()).unwrap_or(u32::MAX);
        for name in [file::TIMES, file::CONSOLE] {
            if dir.join(name).exists() {
                disk::rename_new(&dir.join(name), &aside(name, number))?;
            }
        }
        Ok(())
    }

    /// Removes the build as if it had never been queued. Durable on return.
    pub fn remove(self) -> Result<()> {
        tmp::discard(self.spool.layout(), &self.path(), &self.spool.layout().all_active())?;
        disk::remove_file(&self.spool.layout().cancel(&self.id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build_id::BuildId;
    use crate::queue::NewBuild;
    use crate::record::{Origin, Request};
    use crate::spool::Spool;

    /// A spool with one build that a worker holds.
    struct Held {
        _dir: tempfile::TempDir,
        spool: Spool,
        ticket: Ticket,
    }

    impl Held {
        fn new() -> Held {
            let dir = tempfile::tempdir().unwrap();
            let (spool, _) = Spool::init(&dir.path().join("spool")).unwrap();
            let now = crate::clock::now();
            let id = BuildId::unique(now, &"job".parse().unwrap(), &"p".parse().unwrap()).unwrap();
            let ticket = Ticket { priority: Priority::NORMAL, id };
            let request = Request { attempts: 9, ..Request::new(Origin::Run, now, 60) };
            spool.enqueue(&NewBuild { ticket: ticket.clone(), request, script: b"true".to_vec() }).unwrap();
            Held { _dir: dir, spool, ticket }
        }

        fn claim(&self) -> HeldBuild<'_> {
            let queued = self.spool.queue(self.ticket.id.platform()).unwrap().pop_first().unwrap();
            self.spool.claim(&queued, &"w".parse().unwrap()).unwrap().won().unwrap()
        }
    }

    #[test]
    fn nobody_else_gets_hold_of_a_build_that_is_held() {
        let lab = Held::new();
        let held = lab.claim();
        assert!(lab.spool.hold(&lab.ticket.id).unwrap().is_none());
        drop(held);
        assert!(lab.spool.hold(&lab.ticket.id).unwrap().is_some());
    }

    #[test]
    fn each_lost_attempt_keeps_its_console_also_after_a_crash_in_between() {
        let lab = Held::new();
        for (number, text) in [(1, "one"), (2, "two")] {
            let held = lab.claim();
            held.console().unwrap().append(7, text.as_bytes()).unwrap();
            let dir = held.path();
            // A crash came between the two files.
            disk::rename_new(&dir.join(file::TIMES), &dir.join(format!("{}.{number}", file::TIMES))).unwrap();
            assert_eq!(held.give_up("lost", crate::clock::now()).unwrap(), None);
        }
        let dir = lab.claim().path();
        let read = |name: &str| String::from_utf8(disk::read_if_there(&dir.join(name), 99).unwrap().unwrap()).unwrap();
        assert_eq!((read("console.log.1"), read("console.log.2")), ("one".to_owned(), "two".to_owned()));
        assert_eq!((read("console.times.1"), read("console.times.2")), ("7 3\n".to_owned(), "7 3\n".to_owned()));
        assert!(!dir.join(file::CONSOLE).exists());
    }

    #[test]
    fn a_claimer_that_died_over_its_lease_leaves_a_build_that_can_be_mended() {
        let lab = Held::new();
        let held = lab.claim();
        disk::remove_file(&held.path().join(file::LEASE)).unwrap();
        disk::write_new(&held.path().join(file::LEASE), b"", 0o644).unwrap();
        assert_eq!(lab.spool.build(&lab.ticket.id).unwrap().unwrap().lease().unwrap(), None);
        assert_eq!(held.give_up("lost", crate::clock::now()).unwrap(), None);
        assert_eq!(lab.spool.queue(lab.ticket.id.platform()).unwrap().len(), 1);
        lab.claim();
    }

    #[test]
    fn artifacts_that_are_not_all_kept_are_not_kept_in_part() {
        let lab = Held::new();
        let held = lab.claim();
        let (dir, bytes) = (held.path().join(file::ARTIFACTS), b"one of two");
        disk::make_dir(&dir).unwrap();
        lab.spool.store().keep(bytes, &dir.join("one")).unwrap();
        let reason = "its artifacts could not be kept".to_owned();
        let result = BuildResult::unrun(Outcome::Aborted { reason }, crate::clock::now());
        held.finish(result, &Manifest::default()).unwrap();
        assert!(!lab.spool.layout().finished(End::Failed, &lab.ticket.id).join(file::ARTIFACTS).exists());
        assert!(lab.spool.check(true).unwrap().findings.is_empty());
    }

    #[test]
    fn a_console_that_a_power_cut_has_parted_agrees_at_the_end_and_in_the_queue() {
        for times in [true, false] {
            let lab = Held::new();
            let parted = |held: &HeldBuild<'_>| {
                held.console().unwrap().append(7, b"printed").unwrap();
                let log = held.path().join(file::CONSOLE);
                disk::remove_file(&log).unwrap();
                if times {
                    disk::write_new(&log, b"pri", 0o644).unwrap();
                }
            };
            let held = lab.claim();
            parted(&held);
            assert_eq!(held.give_up("lost", crate::clock::now()).unwrap(), None);
            let held = lab.claim();
            parted(&held);
            held.end_unrun(Outcome::Cancelled, crate::clock::now()).unwrap();
            assert_eq!(lab.spool.check(true).unwrap().findings, []);
        }
    }

    #[test]
    fn a_claim_that_a_power_cut_has_undone_leaves_nothing() {
        for by_builderd in [true, false] {
            let lab = Held::new();
            let held = lab.claim();
            held.console().unwrap().append(7, b"printed").unwrap();
            held.make_upload_area().unwrap();
            disk::rename_new(&held.path(), &lab.spool.layout().queued(&lab.ticket)).unwrap();
            drop(held);
            assert!(!lab.spool.check(true).unwrap().findings.is_empty());
            if by_builderd {
                assert_eq!(lab.spool.forget_undone_claims().unwrap(), 1);
                assert_eq!(lab.spool.forget_undone_claims().unwrap(), 0);
                assert_eq!(lab.spool.check(true).unwrap().findings, []);
            }
            assert!(!lab.claim().path().join(file::CONSOLE).exists());
        }
    }

    #[test]
    fn a_build_whose_end_was_interrupted_gets_there_and_is_not_run_again() {
        let lab = Held::new();
        let held = lab.claim();
        let result = BuildResult::unrun(Outcome::Exited { code: 0 }, crate::clock::now());
        // As in finish, up to the note.
        disk::write_new(&held.path().join(file::RESULT), &record::to_bytes(&result).unwrap(), 0o644).unwrap();
        lab.spool.note_owed(&lab.ticket.id).unwrap();
        assert_eq!(held.give_up("lost", crate::clock::now()).unwrap(), Some(End::Done));
        assert!(lab.spool.queue(lab.ticket.id.platform()).unwrap().is_empty());
        let there = lab.spool.build(&lab.ticket.id).unwrap().unwrap();
        assert_eq!(there.result().unwrap().unwrap().outcome, Outcome::Exited { code: 0 });
    }
}

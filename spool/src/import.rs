//! Builds that another builder has carried out: each comes in complete, durable and in one place, or not at all.
//!
//! Such a build owes nothing and runs nothing. Its id is made of what it is, so that it comes in once, however often
//! somebody brings it.

use crate::artifact_path::ArtifactPath;
use crate::build_id::BuildId;
use crate::console;
use crate::digest::{Hasher, Sha256};
use crate::disk::{self, Moved};
use crate::error::{At, Error, Kind, Result};
use crate::held::make_parents;
use crate::inputs::Sides;
use crate::layout::file;
use crate::manifest::Manifest;
use crate::place::End;
use crate::record::{self, BuildResult, Origin, Outcome, Request};
use crate::spool::Spool;
use crate::store;
use crate::tmp::Draft;
use jiff::Timestamp;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use uuid::Uuid;

/// How many bytes of an artifact are written between two looks at the room on the disk.
const LOOK: u64 = 64 << 20;

/// What is known of a build, beside its artifacts and its console.
#[derive(Clone, Debug)]
pub struct Facts {
    /// What was executed; not empty.
    pub script: Vec<u8>,
    /// When the script was started.
    pub started: Timestamp,
    /// When it ended.
    pub finished: Timestamp,
    /// How it ended.
    pub outcome: Outcome,
    /// Seconds that it might have run.
    pub timeout_seconds: u64,
    /// What it had and what is not kept, with the reason.
    pub skipped: Vec<String>,
}

/// A build on its way in. Unless it is finished, nothing of it stays.
#[derive(Debug)]
pub struct Import<'s> {
    spool: &'s Spool,
    id: BuildId,
    uuid: Uuid,
    draft: Draft,
    contents: Vec<Content>,
    artifacts: Vec<(ArtifactPath, Sha256)>,
    artifact_bytes: u64,
}

/// A complete file, which is to be a content of the store.
#[derive(Debug)]
struct Content {
    file: PathBuf,
    sha256: Sha256,
    name: PathBuf,
}

impl Spool {
    /// The place of the build with this UUID if it came in before.
    ///
    /// # Errors
    /// [`Kind::CantCreate`] when its id is that of another build.
    pub fn imported(&self, id: &BuildId, uuid: Uuid) -> Result<Option<End>> {
        let Some(build) = self.build(id)? else { return Ok(None) };
        match (build.place.end(), build.request()?) {
            (Some(end), Some(request)) if request.uuid == Some(uuid) => Ok(Some(end)),
            _ => Err(Error::new(Kind::CantCreate, format!("{id} is there already, and is another build"))),
        }
    }

    /// Begins to bring a build in, of which nothing is there yet. See [`BuildId::of_import`].
    ///
    /// # Errors
    /// [`Kind::TryAgain`] when only the reserve of the disk is left.
    pub fn begin_import(&self, id: &BuildId, uuid: Uuid) -> Result<Import<'_>> {
        self.make_sure_of_room()?;
        let draft = Draft::directory(self.layout())?;
        disk::make_dir(&draft.path().join(file::UPLOAD))?;
        let (id, contents, artifacts) = (id.clone(), Vec::new(), Vec::new());
        Ok(Import { spool: self, id, uuid, draft, contents, artifacts, artifact_bytes: 0 })
    }
}

impl<'s> Import<'s> {
    /// Writes the console: lines in order, each without its newline and with the milliseconds since the start. To be
    /// called once.
    pub fn console<'p>(&mut self, lines: impl Iterator<Item = (u64, &'p [u8])>) -> Result<()> {
        console::write(self.draft.path(), lines)
    }

    /// Takes an artifact, whose bytes follow.
    pub fn artifact(&mut self, path: ArtifactPath) -> Result<Incoming<'_, 's>> {
        self.spool.make_sure_of_room()?;
        let file = self.fresh();
        let handle = disk::create_new(&file, store::MODE)?;
        Ok(Incoming { import: self, path, file, handle, hasher: Hasher::default(), size: 0 })
    }

    fn fresh(&self) -> PathBuf {
        self.draft.path().join(file::UPLOAD).join(self.contents.len().to_string())
    }

    fn add(&mut self, bytes: &[u8], name: &str) -> Result<()> {
        let (file, sha256) = (self.fresh(), Sha256::of(bytes));
        disk::create_new(&file, store::MODE)?.write_all(bytes).at("write", &file)?;
        self.contents.push(Content { file, sha256, name: self.draft.path().join(name) });
        Ok(())
    }

    /// Puts the build into its place. Durable on return. Nothing when somebody else has just brought it.
    ///
    /// # Errors
    /// [`Kind::Data`] for artifacts that can't lie in one directory.
    pub fn finish(mut self, facts: &Facts) -> Result<Option<End>> {
        let manifest = Manifest::new(self.artifacts.clone())?;
        let mut result = BuildResult {
            started: Some(facts.started),
            duration_ms: u64::try_from(facts.finished.duration_since(facts.started).as_millis()).unwrap_or(0),
            artifacts: manifest.len() as u64,
            artifact_bytes: self.artifact_bytes,
            skipped: facts.skipped.clone(),
            ..BuildResult::unrun(facts.outcome.clone(), facts.finished)
        };
        result.note_sides(&Sides::of(&manifest, &[]), &manifest, None);
        self.add(&facts.script, file::SCRIPT)?;
        if !manifest.is_empty() {
            self.add(&manifest.to_bytes(), file::MANIFEST)?;
        }
        self.keep_contents(&manifest)?;
        let request =
            Request { uuid: Some(self.uuid), ..Request::new(Origin::Import, facts.started, facts.timeout_seconds) };
        self.write(file::BUILD, &record::to_bytes(&request)?)?;
        self.write(file::RESULT, &record::to_bytes(&result)?)?;
        disk::sync_all_of(self.draft.path())?;
        self.publish(if result.outcome.succeeded() { End::Done } else { End::Failed })
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let path = self.draft.path().join(name);
        disk::create_new(&path, 0o644)?.write_all(bytes).at("write", &path)
    }

    /// Contents get their names when they are durable, all by one sync; the names are when the build is.
    fn keep_contents(&self, manifest: &Manifest) -> Result<()> {
        disk::sync_all_of(self.draft.path())?;
        self.make_directories(manifest)?;
        // Elsewhere a sync of everything is one of the draft alone.
        let names_too = cfg!(not(target_os = "linux"));
        for content in &self.contents {
            self.spool.store().take(&content.file, &content.sha256, names_too, &content.name)?;
        }
        disk::remove_tree(&self.draft.path().join(file::UPLOAD))
    }

    fn make_directories(&self, manifest: &Manifest) -> Result<()> {
        let root = self.draft.path().join(file::ARTIFACTS);
        if !manifest.is_empty() {
            disk::make_dir(&root)?;
        }
        manifest.iter().try_for_each(|(path, _)| make_parents(&root, path))
    }

    fn publish(self, end: End) -> Result<Option<End>> {
        let layout = self.spool.layout();
        let month = layout.month(end, &self.id);
        disk::make_dir_synced(&month)?;
        match disk::rename_new(self.draft.path(), &layout.finished(end, &self.id))? {
            Moved::Yes => {}
            Moved::TargetExists => return Ok(None),
            Moved::SourceGone => return Err(self.draft.vanished()),
        }
        self.draft.published();
        disk::sync_dir(&month)?;
        Ok(Some(end))
    }
}

/// An artifact on its way in.
#[derive(Debug)]
pub struct Incoming<'a, 's> {
    import: &'a mut Import<'s>,
    path: ArtifactPath,
    file: PathBuf,
    handle: File,
    hasher: Hasher,
    size: u64,
}

impl Incoming<'_, '_> {
    /// Takes the next piece.
    ///
    /// # Errors
    /// [`Kind::TryAgain`] when only the reserve of the disk is left.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.handle.write_all(bytes).at("write", &self.file)?;
        self.hasher.update(bytes);
        let before = self.size / LOOK;
        self.size += bytes.len() as u64;
        if self.size / LOOK > before { self.import.spool.make_sure_of_room() } else { Ok(()) }
    }

    /// All of it has come.
    pub fn end(self) {
        let (sha256, import) = (self.hasher.finish(), self.import);
        let name = import.draft.path().join(file::ARTIFACTS).join(self.path.as_str());
        import.contents.push(Content { file: self.file, sha256, name });
        import.artifacts.push((self.path, sha256));
        import.artifact_bytes += self.size;
    }
}

/// The UUID by which another builder knows a build: the one that it came with, or one that is made of its id, by the
/// SHA-256 of `builder ID` (RFC 9562, version 8).
pub fn uuid_of(id: &BuildId, request: &Request) -> Uuid {
    request.uuid.unwrap_or_else(|| {
        let digest = Sha256::of(format!("builder {id}").as_bytes()).bytes();
        Uuid::new_v8(std::array::from_fn(|at| digest[at]))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_keeps_its_uuid_and_has_the_same_one_each_time() {
        let id: BuildId = "20261124T094701.123Z-hello@debian-12-k3f9x2".parse().unwrap();
        let request = Request::new(Origin::Run, id.time(), 60);
        let made = uuid_of(&id, &request);
        assert_eq!(made.to_string(), "748907dd-6416-849b-9e87-217bcaaaccd0");
        let came = Uuid::from_bytes([7; 16]);
        assert_eq!(uuid_of(&id, &Request { uuid: Some(came), ..request }), came);
    }
}

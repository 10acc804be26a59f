//! Builds that are over, as the library leaves them, without anybody having run them.

use jiff::Timestamp;
use spool::Spool;
use spool::build_id::BuildId;
use spool::digest::Sha256;
use spool::find::Build;
use spool::layout::file;
use spool::manifest::Manifest;
use spool::place::End;
use spool::record::{self, BuildResult, Origin, Outcome, Request};
use std::path::PathBuf;

/// A build that is over.
#[derive(Clone, Debug)]
pub struct Past {
    /// Which.
    pub id: BuildId,
    /// What its script exited with.
    pub code: u8,
    /// Who ran it.
    pub worker: String,
    /// The variables that its script saw.
    pub environment: String,
    /// Its artifacts: paths and contents.
    pub artifacts: Vec<(String, String)>,
    /// When it ended.
    pub finished: Timestamp,
}

impl Past {
    /// How it ended.
    pub fn end(&self) -> End {
        if self.code == 0 { End::Done } else { End::Failed }
    }

    /// Has it be over: made elsewhere, and moved to its month.
    pub fn make(&self, spool: &Spool) -> PathBuf {
        // Not in tmp/, where builderd removes what nobody has locked.
        let draft = spool.layout().root().with_file_name(format!("past.{}", self.id));
        std::fs::create_dir(&draft).expect("a draft");
        let request = Request::new(Origin::Run, self.id.time(), 60);
        std::fs::write(draft.join(file::BUILD), record::to_bytes(&request).expect("a request")).expect("written");
        let keep = |text: &str, name: &str| spool.store().keep(text.as_bytes(), &draft.join(name)).expect("a content");
        let (script, environment) = (keep("true\n", file::SCRIPT), keep(&self.environment, file::ENVIRONMENT));
        let platform = self.id.platform();
        let input = format!("platform {platform}\nscript {script}\nenvironment {environment}\n");
        let mut result = BuildResult::unrun(Outcome::Exited { code: self.code }, self.finished);
        result.worker = Some(self.worker.parse().expect("a name"));
        result.input = Some(Sha256::of(input.as_bytes()));
        result.artifacts = self.artifacts.len() as u64;
        result.artifact_bytes = self.artifacts.iter().map(|(_, text)| text.len() as u64).sum();
        result.output = self.keep_artifacts(spool, &draft);
        std::fs::write(draft.join(file::RESULT), record::to_bytes(&result).expect("a result")).expect("written");
        let place = spool.layout().finished(self.end(), &self.id);
        std::fs::create_dir_all(place.parent().expect("a month")).expect("a month");
        std::fs::rename(&draft, &place).expect("moved");
        place
    }

    fn keep_artifacts(&self, spool: &Spool, draft: &std::path::Path) -> Option<Sha256> {
        let entries = self.artifacts.iter().map(|(path, text)| {
            let target = draft.join(file::ARTIFACTS).join(path);
            std::fs::create_dir_all(target.parent().expect("a directory")).expect("a directory");
            let digest = spool.store().keep(text.as_bytes(), &target).expect("an artifact");
            (path.parse().expect("a path"), digest)
        });
        let manifest = Manifest::new(entries.collect::<Vec<_>>()).expect("a manifest");
        let keep = || spool.store().keep(&manifest.to_bytes(), &draft.join(file::MANIFEST)).expect("a manifest");
        (!manifest.is_empty()).then(keep)
    }

    /// It, as a reader finds it.
    pub fn found<'s>(&self, spool: &'s Spool) -> Build<'s> {
        spool.build(&self.id).expect("readable").expect("the build")
    }
}

//! How a build ends that a worker has carried out, or that has no room.

use super::super::{signed, space, words};
use super::{MOST_WANTED, Served, Serving};
use crate::protocol::ToWorker;
use spool::artifact_path::ArtifactPath;
use spool::clock;
use spool::error::Result;
use spool::held::Published;
use spool::manifest::Manifest;
use spool::record::{BuildResult, Outcome};

impl Serving<'_, '_, '_> {
    pub(super) fn result(
        &self,
        outcome: Outcome,
        duration_ms: u64,
        executable: Vec<ArtifactPath>,
        skipped: Vec<String>,
    ) -> BuildResult {
        let mut result =
            BuildResult::unrun(self.stopped.clone().unwrap_or_else(|| words::outcome(outcome)), clock::now());
        result.started = Some(self.since);
        // It can't have taken longer than the worker had it.
        let had = clock::now().duration_since(self.since).as_millis().max(0);
        result.duration_ms = duration_ms.min(u64::try_from(had).unwrap_or(u64::MAX));
        result.worker = Some(self.context.name.clone());
        result.artifacts = self.offered.len() as u64;
        result.artifact_bytes = self.offered_bytes;
        result.executable = executable;
        result.skipped = words::lines(skipped);
        result.system = self.context.system.clone();
        result
    }

    /// Ends a build whose artifacts have no room. Its worker is told by the upload, which finds its build gone.
    pub(super) fn starve(self, outcome: Outcome) -> Result<Served> {
        let result = self.unfinished.unwrap_or_else(|| BuildResult::unrun(outcome.clone(), clock::now()));
        let result = BuildResult { outcome, artifacts: 0, artifact_bytes: 0, executable: Vec::new(), ..result };
        space::wait_for_an_end(self.context, self.link, &self.held)?;
        let result = BuildResult { finished: clock::now(), ..result };
        self.link.while_busy(|| self.held.finish(result, &Manifest::default()))?;
        Ok(Served::Gone)
    }

    /// Publishes and ends the build; hands itself back when contents are missing that the worker must upload.
    pub(super) fn finish(self, mut result: BuildResult) -> Result<Option<Self>> {
        space::wait_for_an_end(self.context, self.link, &self.held)?;
        let manifest = match self.link.while_busy(|| self.held.publish(&self.offered)) {
            Ok(Published::All(manifest)) => manifest,
            Ok(Published::Missing(mut missing)) => {
                missing.truncate(MOST_WANTED);
                self.link.say(&ToWorker::Want { sha256: missing }, b"")?;
                return Ok(Some(Self { unfinished: Some(result), ..self }));
            }
            Err(e) => {
                result.outcome = Outcome::Aborted { reason: format!("its artifacts could not be kept: {e}") };
                (result.artifacts, result.artifact_bytes) = (0, 0);
                Manifest::default()
            }
        };
        result.executable.retain(|path| manifest.has(path));
        // Hours may have passed since its worker was done, for want of room, and what ended long ago is not counted.
        result.finished = clock::now();
        let id = self.held.id().clone();
        let (held, outcome, took) = (self.held, result.outcome.clone(), result.duration_ms);
        let vouched = signed::vouched(self.signer, self.signed);
        self.link.while_busy(|| held.finish_signed(result, &manifest, vouched.as_ref()))?;
        tracing::info!(build = %id, worker = %self.context.name, "is over: {outcome}");
        self.context.note_health(&id, &outcome, took);
        self.link.say(&ToWorker::Finished { id }, b"")?;
        Ok(None)
    }
}

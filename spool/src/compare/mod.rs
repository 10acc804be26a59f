//! Two finished builds side by side: what went in, and what came out. What each of them printed, when and for how long
//! is not compared.

mod having;
mod list;
mod related;

pub use crate::ended::Known;
pub use having::Having;
pub use list::{Change, Form, List};
pub use related::Related;

use crate::artifact_path::ArtifactPath;
use crate::build_id::BuildId;
use crate::digest::Sha256;
use crate::disk;
use crate::error::{Error, Kind, Result};
use crate::find::Build;
use crate::inputs::Sides;
use crate::layout::file;
use crate::manifest::Manifest;
use crate::place::Place;
use crate::spool::Spool;
use serde::Serialize;
use std::collections::BTreeSet;
use std::path::PathBuf;

/// No input that is compared line by line is longer than this, in bytes.
const LONGEST: u64 = 64 << 20;

/// What is different between two builds.
#[derive(Debug, Serialize)]
pub struct Comparison {
    /// The one on the left.
    pub left: BuildId,
    /// The one on the right.
    pub right: BuildId,
    /// The platforms, when they differ.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<Change>,
    /// Whether the scripts differ.
    pub script_differs: bool,
    /// Each list that went in or was left as an artifact, with what differs; those that are the same are not here.
    pub inputs: Vec<Input>,
    /// The artifacts that are other inputs, and not the same.
    pub input_files: Vec<Artifact>,
    /// How many artifacts are the same.
    pub same_artifacts: usize,
    /// The artifacts that are not.
    pub artifacts: Vec<Artifact>,
}

/// A list that is not the same on both sides.
#[derive(Debug, Serialize)]
pub struct Input {
    /// Which.
    pub list: List,
    /// The lines that differ, by name.
    pub changes: Vec<Change>,
}

/// An artifact that is not the same on both sides.
#[derive(Debug, Serialize)]
pub struct Artifact {
    /// Its path.
    pub path: ArtifactPath,
    /// What the left build has there.
    pub left: Option<Content>,
    /// What the right build has there.
    pub right: Option<Content>,
}

/// The content of an artifact.
#[derive(Debug, Serialize)]
pub struct Content {
    /// Its SHA-256.
    pub sha256: Sha256,
    /// Its size in bytes; missing when the file is.
    pub size: Option<u64>,
    /// Where it can be read.
    #[serde(skip)]
    pub file: PathBuf,
}

impl Comparison {
    /// Compares two builds, which must both be over.
    pub fn of(left: &Build<'_>, right: &Build<'_>) -> Result<Comparison> {
        refuse_unfinished(left)?;
        refuse_unfinished(right)?;
        let (here, there) = (sides(left)?, sides(right)?);
        let (same_artifacts, different) = artifacts((left, &here.output), (right, &there.output));
        let (_, mut input_files) = artifacts((left, &here.inputs), (right, &there.inputs));
        let inputs = inputs(left, right)?;
        input_files.retain(|one| inputs.iter().all(|input| input.list.file() != one.path.as_str()));
        let [here, there] = [left, right].map(|build| build.id.platform().to_string());
        let script = |build: &Build<'_>| disk::read_if_there(&build.dir().join(file::SCRIPT), LONGEST);
        Ok(Comparison {
            platform: (here != there).then(|| Change {
                name: "platform".to_owned(),
                left: Some(here),
                right: Some(there),
            }),
            script_differs: script(left)? != script(right)?,
            inputs,
            input_files,
            same_artifacts,
            artifacts: different,
            left: left.id.clone(),
            right: right.id.clone(),
        })
    }

    /// Whether nothing differs.
    pub fn is_same(&self) -> bool {
        self.same_input() && self.artifacts.is_empty()
    }

    /// Whether nothing that went in differs.
    pub fn same_input(&self) -> bool {
        self.platform.is_none() && !self.script_differs && self.inputs.is_empty() && self.input_files.is_empty()
    }
}

fn refuse_unfinished(build: &Build<'_>) -> Result<()> {
    match build.place {
        Place::Ended(_) => Ok(()),
        _ => Err(Error::new(Kind::TryAgain, format!("{} is not over, so there is nothing to compare yet", build.id))
            .hint(format!("`builder watch {}` waits for it", build.id))),
    }
}

fn inputs(left: &Build<'_>, right: &Build<'_>) -> Result<Vec<Input>> {
    let mut inputs = Vec::new();
    for list in List::ALL {
        let read = |build: &Build<'_>| disk::read_if_there(&list.path(build), LONGEST);
        let changes = list.form().changes(&read(left)?.unwrap_or_default(), &read(right)?.unwrap_or_default());
        if !changes.is_empty() {
            inputs.push(Input { list, changes });
        }
    }
    Ok(inputs)
}

/// What went in and what came out. A result that can't be read names no inputs.
fn sides(build: &Build<'_>) -> Result<Sides> {
    let inputs = build.result().ok().flatten().map(|result| result.inputs).unwrap_or_default();
    Ok(Sides::as_noted(&build.manifest()?, &inputs))
}

fn artifacts(left: (&Build<'_>, &Manifest), right: (&Build<'_>, &Manifest)) -> (usize, Vec<Artifact>) {
    let paths =
        |(_, manifest): (_, &'_ Manifest)| manifest.iter().map(|(path, _)| path.clone()).collect::<BTreeSet<_>>();
    let paths = &paths(left) | &paths(right);
    let all = paths.len();
    let different: Vec<Artifact> = paths
        .into_iter()
        .filter(|path| left.1.get(path) != right.1.get(path))
        .map(|path| {
            let of = |(build, manifest): (&Build<'_>, &Manifest)| {
                manifest.get(&path).map(|sha256| content(build, &path, sha256))
            };
            Artifact { left: of(left), right: of(right), path: path.clone() }
        })
        .collect();
    (all - different.len(), different)
}

fn content(build: &Build<'_>, path: &ArtifactPath, sha256: &Sha256) -> Content {
    let file = build.artifact(path);
    Content { sha256: *sha256, size: file.symlink_metadata().ok().map(|meta| meta.len()), file }
}

impl Spool {
    /// The newest build of a job that is over and has artifacts, and the newest before it, on the same platform, with other
    /// ones. The older one comes first. Nothing when there are no two such builds.
    pub fn last_two_that_differ<'s>(&'s self, newest: &Build<'s>) -> Result<Option<(Build<'s>, Build<'s>)>> {
        let builds = self.known_of(newest.id.job(), Some(newest.id.platform()))?;
        let outputs = builds.into_iter().filter_map(|(build, known)| Some((build, known.output?)));
        let mut outputs = outputs.skip_while(|(build, _)| build.id > newest.id);
        let Some((newest, output)) = outputs.next() else { return Ok(None) };
        Ok(outputs.find(|(_, other)| *other != output).map(|(older, _)| (older, newest)))
    }
}

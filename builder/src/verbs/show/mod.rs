//! `builder show`: the record of a build, and who has reproduced it.

mod page;

use super::verify;
use crate::args::ShowArgs;
use crate::out;
use serde::Serialize;
use spool::Spool;
use spool::artifact_path::ArtifactPath;
use spool::build_id::BuildId;
use spool::compare::{Known, Related};
use spool::digest::Sha256;
use spool::error::Result;
use spool::find::Build;
use spool::keep::Pin;
use spool::name::{Platform, WorkerName};
use spool::record::{Attempt, BuildResult, Lease, Request};
use spool::sign::Claimed;
use std::path::PathBuf;

#[derive(Serialize)]
struct Record {
    build: BuildId,
    state: &'static str,
    directory: PathBuf,
    files: Vec<PathBuf>,
    request: Option<Request>,
    lease: Option<Lease>,
    result: Option<BuildResult>,
    pinned: Option<Pin>,
    /// The keys of who says to have signed it; nothing is checked.
    signed_with: Claimed,
    lost_attempts: Vec<Attempt>,
    artifacts: Vec<Artifact>,
    lost: Vec<String>,
    reproduced_by: Vec<Other>,
    irreproducible_with: Vec<Other>,
    rebuilds: Vec<verify::Row>,
    compare_with: Comparable,
}

#[derive(Serialize)]
struct Artifact {
    path: ArtifactPath,
    sha256: Sha256,
    size: Option<u64>,
    /// What it is to people, when it is more than a file that came out.
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<Role>,
}

#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "lowercase")]
enum Role {
    /// It says what went in.
    Input,
    /// It is the one that people fetch.
    Main,
}

/// Another build that this one is compared with.
#[derive(Serialize)]
struct Other {
    build: BuildId,
    platform: Platform,
    same_input: bool,
    worker: Option<WorkerName>,
}

/// Builds on the same platform that one may want to compare it with.
#[derive(Serialize)]
struct Comparable {
    latest: Option<BuildId>,
    /// With another output.
    next: Option<BuildId>,
    /// With another output.
    previous: Option<BuildId>,
}

/// Shows a build.
pub fn run(spool: &Spool, args: &ShowArgs) -> Result<()> {
    let build = spool.resolve(&args.build)?;
    let record = record(spool, &build)?;
    match args.json {
        true => out::json(&record),
        false => out::print(&page::of(&record)),
    }
}

fn record(spool: &Spool, build: &Build<'_>) -> Result<Record> {
    let result = build.result()?;
    let related = result.as_ref().map(|result| Related::to(build, result)).transpose()?.unwrap_or_default();
    let input = result.as_ref().and_then(|result| result.input);
    let other = |(other, its): (Build<'_>, Known)| Other {
        platform: other.id.platform().clone(),
        same_input: input.is_some() && its.input == input,
        build: other.id,
        worker: its.worker,
    };
    let size = |path: &ArtifactPath| build.artifact(path).symlink_metadata().ok().map(|meta| meta.len());
    let role = |path: &ArtifactPath| {
        let result = result.as_ref()?;
        let is_main = result.main.as_ref().is_some_and(|main| main.path == *path);
        let is_input = result.inputs.contains(path);
        if is_main { Some(Role::Main) } else { is_input.then_some(Role::Input) }
    };
    // Only what repeats nothing itself is repeated.
    let rebuilds = match &result {
        Some(result) if !build.id.is_rebuild() => {
            let rebuilds = spool.rebuilds_of(&build.id)?;
            rebuilds.iter().map(|one| verify::row(one, result)).collect()
        }
        _ => Vec::new(),
    };
    Ok(Record {
        state: build.place.word(),
        directory: build.dir(),
        files: build.files(),
        request: build.request()?,
        lease: build.lease()?,
        pinned: build.pin(),
        signed_with: build.claimed(),
        lost_attempts: build.attempts()?.list,
        artifacts: build
            .manifest()?
            .iter()
            .map(|(path, sha256)| Artifact { size: size(path), path: path.clone(), sha256: *sha256, role: role(path) })
            .collect(),
        lost: build.lost()?,
        build: build.id.clone(),
        result,
        reproduced_by: related.reproductions.into_iter().map(other).collect(),
        irreproducible_with: related.irreproducible.into_iter().map(other).collect(),
        rebuilds,
        compare_with: Comparable {
            latest: related.latest.map(|build| build.id),
            next: related.next.map(|build| build.id),
            previous: related.previous.map(|build| build.id),
        },
    })
}

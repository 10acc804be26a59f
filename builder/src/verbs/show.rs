//! `builder show`: the record of a build, and who has reproduced it.

use crate::args::ShowArgs;
use crate::{out, text};
use serde::Serialize;
use spool::artifact_path::ArtifactPath;
use spool::build_id::BuildId;
use spool::compare::{Known, Related};
use spool::digest::Sha256;
use spool::error::Result;
use spool::find::Build;
use spool::keep::Pin;
use spool::name::{Platform, WorkerName};
use spool::record::{Attempt, BuildResult, Lease, Request};
use spool::{Spool, clock};
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
    lost_attempts: Vec<Attempt>,
    artifacts: Vec<Artifact>,
    lost: Vec<String>,
    reproduced_by: Vec<Other>,
    irreproducible_with: Vec<Other>,
    compare_with: Comparable,
}

#[derive(Serialize)]
struct Artifact {
    path: ArtifactPath,
    sha256: Sha256,
    size: Option<u64>,
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
    let record = record(&build)?;
    match args.json {
        true => out::json(&record),
        false => out::print(&render(&record)),
    }
}

fn record(build: &Build<'_>) -> Result<Record> {
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
    Ok(Record {
        state: build.place.word(),
        directory: build.dir(),
        files: build.files(),
        request: build.request()?,
        lease: build.lease()?,
        pinned: build.pin(),
        lost_attempts: build.attempts()?.list,
        artifacts: build
            .manifest()?
            .iter()
            .map(|(path, sha256)| Artifact { size: size(path), path: path.clone(), sha256: *sha256 })
            .collect(),
        lost: build.lost()?,
        build: build.id.clone(),
        result,
        reproduced_by: related.reproductions.into_iter().map(other).collect(),
        irreproducible_with: related.irreproducible.into_iter().map(other).collect(),
        compare_with: Comparable {
            latest: related.latest.map(|build| build.id),
            next: related.next.map(|build| build.id),
            previous: related.previous.map(|build| build.id),
        },
    })
}

fn render(record: &Record) -> String {
    let id = &record.build;
    let mut said = format!("Build {} of {}\n  {id}\n", text::time(id.time()), id.job());
    match &record.result {
        Some(result) => said += &outcome(id, result),
        None => said += &so_far(record),
    }
    if let Some(pin) = &record.pinned {
        let reason = pin.reason.as_ref().map(|reason| format!(": {}", text::tame(reason))).unwrap_or_default();
        said += &format!("Pinned {}{reason}\n", text::time(pin.since));
    }
    for (n, lost) in record.lost_attempts.iter().enumerate() {
        said += &format!("Attempt {} lost with worker {}: {}\n", n + 1, lost.lease.worker, lost.reason);
    }
    said += &information(record);
    said += &artifacts(record);
    said += &section("Lost to damage", &record.lost.iter().map(|name| vec![text::tame(name)]).collect::<Vec<_>>());
    let title = format!("Reproduced by {}", text::count(record.reproduced_by.len(), "build"));
    said += &others(&title, &record.reproduced_by);
    said += &others("Same input, different output (not reproducible!)", &record.irreproducible_with);
    said + &comparisons(&record.compare_with)
}

/// What `builder diff` takes.
fn comparisons(with: &Comparable) -> String {
    let known = [
        ("latest", &with.latest),
        ("next with different output", &with.next),
        ("previous with different output", &with.previous),
    ];
    let rows = known.into_iter().filter_map(|(what, build)| Some(vec![what.to_owned(), build.as_ref()?.to_string()]));
    section("Comparisons with other builds on the same platform", &rows.collect::<Vec<_>>())
}

fn outcome(id: &BuildId, result: &BuildResult) -> String {
    let mut said = format!("Built on platform {}", id.platform());
    if let Some(worker) = &result.worker {
        said += &format!(" by worker {worker}");
    }
    said += &format!("\nBuild took {}\nExecution result: {}\n", text::duration(result.duration_ms), result.outcome);
    let system: Vec<&str> =
        ["os", "kernel", "arch"].iter().filter_map(|key| result.system.get(*key).map(String::as_str)).collect();
    if !system.is_empty() {
        said += &format!("System: {}\n", system.join(", "));
    }
    said
}

fn so_far(record: &Record) -> String {
    let platform = record.build.platform();
    match &record.lease {
        Some(lease) => {
            let since = text::between(lease.since, clock::now());
            format!("Runs on platform {platform} by worker {} for {since}\n", lease.worker)
        }
        None => format!("Waits for a worker of platform {platform}, {}\n", record.state),
    }
}

/// The files that a person may want to read, those that are there.
fn information(record: &Record) -> String {
    let mut said = String::new();
    if let Some(request) = &record.request {
        said += &format!("Queued {} by {}", text::time(request.queued), request.origin.word());
        if let Some(template) = &request.template {
            let values: Vec<String> = request.values.iter().map(|(name, value)| format!("{name}={value}")).collect();
            said += &format!(", from template {template} with {}", values.join(" "));
        }
        said.push('\n');
    }
    let rows: Vec<Vec<String>> = record.files.iter().map(|path| vec![path.display().to_string()]).collect();
    said + &section("Build info", &rows)
}

fn artifacts(record: &Record) -> String {
    let row = |one: &Artifact| {
        let size = one.size.map_or("missing".to_owned(), text::size);
        vec![one.path.to_string(), format!("SHA256:{} ({size})", one.sha256)]
    };
    let mut said = section("Build artifacts", &record.artifacts.iter().map(row).collect::<Vec<_>>());
    if let Some(result) = &record.result {
        said += &section("Not kept", &result.skipped.iter().map(|line| vec![line.clone()]).collect::<Vec<_>>());
    }
    said
}

fn others(title: &str, others: &[Other]) -> String {
    let row = |one: &Other| {
        let input = if one.same_input { "same input" } else { "different input" };
        let worker = one.worker.as_ref().map(|worker| format!("worker {worker}")).unwrap_or_default();
        vec![one.build.to_string(), one.platform.to_string(), input.to_owned(), worker]
    };
    section(title, &others.iter().map(row).collect::<Vec<_>>())
}

fn section(title: &str, rows: &[Vec<String>]) -> String {
    match rows {
        [] => String::new(),
        _ => format!("{title}\n{}", text::table(rows)),
    }
}

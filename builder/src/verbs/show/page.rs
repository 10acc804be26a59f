//! The record of a build as a page.

use super::{Artifact, Comparable, Other, Record, Role};
use crate::text;
use crate::verbs::verify;
use jiff::Timestamp;
use spool::build_id::BuildId;
use spool::clock;
use spool::record::{BuildResult, Origin, Request};

/// The page that a person reads.
pub fn of(record: &Record) -> String {
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
    said += &provenance(record);
    said += &varied(record);
    said += &section("Lost to damage", &record.lost.iter().map(|name| vec![text::tame(name)]).collect::<Vec<_>>());
    let title = format!("Reproduced by {}", text::count(record.reproduced_by.len(), "build"));
    said += &others(&title, &record.reproduced_by);
    said += &others("Same input, different output (not reproducible!)", &record.irreproducible_with);
    if !record.rebuilds.is_empty() {
        said += &format!("Rebuilds\n{}", verify::rows(&record.rebuilds));
    }
    said + &comparisons(&record.compare_with)
}

/// What a rebuild had different from the build that it repeats.
fn varied(record: &Record) -> String {
    let varied = record.result.iter().flat_map(|result| &result.varied);
    let rows: Vec<Vec<String>> = varied.map(|(what, how)| vec![text::tame(what), text::tame(how)]).collect();
    section("Varied", &rows)
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
    let system: Vec<&str> = ["os", "kernel", "arch", "sandbox"]
        .iter()
        .filter_map(|key| result.system.get(*key).map(String::as_str))
        .collect();
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
        said += &format!("Queued {} {}\n", text::time(request.queued), why(request));
    }
    let rows: Vec<Vec<String>> = record.files.iter().map(|path| vec![path.display().to_string()]).collect();
    said + &section("Build info", &rows)
}

/// Who made it.
fn why(request: &Request) -> String {
    let by = format!("by {}", request.origin.word());
    match (&request.because_of, request.origin) {
        (Some(of), Origin::Retry) => format!("by retry {} of {of}", request.retry),
        (Some(of), _) => format!("{by} {of}"),
        (None, _) => by,
    }
}

/// From what it was made, and the digests of what went in and what came out.
fn provenance(record: &Record) -> String {
    let mut rows = Vec::new();
    let mut row = |what: &str, text: String| rows.push(vec![what.to_owned(), text]);
    if let Some(Request { template: Some(template), values, .. }) = &record.request {
        let values: Vec<String> = values.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let with = if values.is_empty() { String::new() } else { format!(" with {}", values.join(" ")) };
        row("template", text::tame(&format!("{template}{with}")));
    }
    if let Some(seconds) = record.request.as_ref().and_then(|request| request.source_date) {
        row("source date", text::time(Timestamp::from_second(seconds).unwrap_or_default()));
    }
    if let Some(result) = &record.result {
        let digests = [("input", &result.input), ("output", &result.output)];
        digests.into_iter().filter_map(|(what, digest)| Some((what, digest.as_ref()?))).for_each(|(what, digest)| {
            row(what, format!("SHA256:{digest}"));
        });
    }
    let keys =
        [("signed", "the worker", &record.signed_with.worker), ("sealed", "the server", &record.signed_with.server)];
    for (what, who, key) in keys.into_iter().filter_map(|(what, who, key)| Some((what, who, key.as_ref()?))) {
        rows.push(vec![what.to_owned(), format!("{key} ({who})")]);
    }
    section("Provenance", &rows)
}

fn artifacts(record: &Record) -> String {
    let row = |one: &Artifact| {
        let size = one.size.map_or("missing".to_owned(), text::size);
        let role = one.role.map(|role| match role {
            Role::Input => "input",
            Role::Main => "main artifact",
        });
        vec![one.path.to_string(), format!("SHA256:{} ({size})", one.sha256), role.unwrap_or_default().to_owned()]
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

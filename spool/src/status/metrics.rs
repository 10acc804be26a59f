//! The status as node_exporter's textfile collector reads it: Prometheus' text format.

use super::{BUCKETS, Ended, OfPlatform, Status, Tally};
use crate::disk;
use crate::error::{At, Result};
use crate::name::Platform;
use crate::place::End;
use crate::platform::State;
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Platforms beyond these have no lines: no more than that can be looked at, and whoever submits builds can name any.
const PLATFORMS: usize = 200;

/// What is measured beside the status.
#[derive(Clone, Debug)]
pub struct Measured {
    /// What was counted.
    pub tally: Tally,
    /// Builds that are over, and are kept.
    pub kept: [(End, usize); 2],
    /// The store's contents and their bytes, when a sweep has counted them.
    pub store: Option<(u64, u64)>,
    /// When builderd was started.
    pub started: Timestamp,
}

/// All metrics at a moment.
pub fn metrics(status: &Status, measured: &Measured, now: Timestamp) -> String {
    let mut text = Text::default();
    text.gauge("builder_info", "builderd, by its version", &[(&[("version", env!("CARGO_PKG_VERSION"))], 1)]);
    text.one(
        "builder_start_time_seconds",
        "When builderd was started, in seconds since 1970",
        measured.started.as_second(),
    );
    text.one("builder_draining", "Whether nothing is handed out", u8::from(status.drains));
    text.one("builder_jobs", "Jobs", status.jobs);
    of_platforms(&mut text, status, now);
    let workers = &status.workers;
    let states = [("free", workers.free), ("busy", workers.busy), ("away", workers.away)];
    let help = "Workers: connected without a build, connected with one, and not connected";
    text.gauge("builder_workers", help, &states.map(|(state, count)| ([("state", state)], count)));
    text.one("builder_workers_quarantined", "Workers that get no builds for a while", workers.quarantined);
    text.one("builder_owing_builds", "Builds that are over and whose end owes something still", status.owing);
    let kept = measured.kept.map(|(end, count)| ([("end", end.directory())], count));
    text.gauge("builder_kept_builds", "Builds that are over and kept", &kept);
    room(&mut text, status, measured);
    counters(&mut text, &measured.tally);
    text.0
}

fn of_platforms(text: &mut Text, status: &Status, now: Timestamp) {
    let age = |of: &OfPlatform| of.oldest.map_or(0, |oldest| now.duration_since(oldest).as_secs().max(0)) as u64;
    let count = |value: fn(&OfPlatform) -> usize| move |of: &OfPlatform| value(of) as u64;
    let open = |of: &OfPlatform| u64::from(of.state == State::Open);
    let failures = |of: &OfPlatform| u64::from(of.launch_failures);
    type Value<'v> = &'v dyn Fn(&OfPlatform) -> u64;
    let series: [(&str, &str, Value<'_>); 9] = [
        ("builder_platform_open", "Whether builds of the platform are handed out", &open),
        ("builder_queue_builds", "Builds that wait", &count(|of| of.waiting)),
        ("builder_queue_oldest_age_seconds", "How long the one has waited that has waited longest", &age),
        ("builder_running_builds", "Builds that run", &count(|of| of.running)),
        ("builder_lease_silent_builds", "Builds that run with a worker that is away", &count(|of| of.silent)),
        ("builder_platform_workers", "Connected workers that build for the platform", &count(|of| of.workers)),
        ("builder_platform_workers_free", "Those of them without a build", &count(|of| of.free)),
        ("builder_launched_workers", "Workers that were launched and have not come", &count(|of| of.launched)),
        ("builder_launch_failures", "Launches that have failed, one after the other", &failures),
    ];
    for (name, help, value) in series {
        let values: Vec<_> = status
            .platforms
            .iter()
            .take(PLATFORMS)
            .map(|(platform, of)| ([("platform", platform.as_str())], value(of)))
            .collect();
        text.gauge(name, help, &values);
    }
}

fn room(text: &mut Text, status: &Status, measured: &Measured) {
    let disk = &status.disk;
    text.one("builder_spool_room", "Whether there is room for more than ends", u8::from(disk.short.is_none()));
    text.one("builder_spool_size_bytes", "Size of the spool's file system", disk.bytes);
    text.one("builder_spool_free_bytes", "What is free of it for its owner", disk.free_bytes);
    text.one("builder_spool_inodes", "Inodes of the spool's file system; 0 where none are counted", disk.inodes);
    text.one("builder_spool_free_inodes", "What is free of them", disk.free_inodes);
    if let Some((contents, bytes)) = measured.store {
        text.one("builder_store_contents", "Contents in the store at the last sweep", contents);
        text.one("builder_store_bytes", "Bytes of them", bytes);
    }
}

fn counters(text: &mut Text, tally: &Tally) {
    text.head("builder_errors_total", "Failures that builderd has logged", "counter");
    text.line("builder_errors_total", &[], tally.errors);
    text.head("builder_builds_total", "Builds that have ended, by how they did", "counter");
    for (platform, of) in &tally.platforms {
        for (outcome, count) in &of.outcomes {
            text.line("builder_builds_total", &[("outcome", outcome), ("platform", platform.as_str())], count);
        }
    }
    durations(text, &tally.platforms);
}

fn durations(text: &mut Text, platforms: &BTreeMap<Platform, Ended>) {
    let name = "builder_build_duration_seconds";
    text.head(name, "How long builds took that have ended", "histogram");
    for (platform, of) in platforms {
        let platform = ("platform", platform.as_str());
        let mut sum = 0;
        for (class, count) in of.took.iter().enumerate() {
            sum += count;
            let bound = BUCKETS.get(class).map_or("+Inf".to_owned(), u64::to_string);
            text.line(&format!("{name}_bucket"), &[platform, ("le", &bound)], sum);
        }
        text.line(&format!("{name}_sum"), &[platform], of.milliseconds as f64 / 1000.0);
        text.line(&format!("{name}_count"), &[platform], sum);
    }
}

/// The text as it grows.
#[derive(Default)]
struct Text(String);

impl Text {
    fn head(&mut self, name: &str, help: &str, kind: &str) {
        self.0 += &format!("# HELP {name} {help}.\n# TYPE {name} {kind}\n");
    }

    fn line(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        self.0 += &format!("{name}{labels} {value}\n");
    }

    fn one(&mut self, name: &str, help: &str, value: impl Display) {
        self.head(name, help, "gauge");
        self.line(name, &[], value);
    }

    fn gauge<'l, L: AsRef<[(&'l str, &'l str)]>>(&mut self, name: &str, help: &str, values: &[(L, impl Display)]) {
        self.head(name, help, "gauge");
        values.iter().for_each(|(labels, value)| self.line(name, labels.as_ref(), value));
    }
}

/// What stands in a label's value, as the format wants it.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// Replaces a file that others read, outside the spool: they see the old one or the new one, whole, mode 0644.
pub fn publish(path: &Path, text: &str) -> Result<()> {
    let mut fresh = path.as_os_str().to_owned();
    // The collector reads `*.prom`.
    fresh.push(".new");
    let fresh = Path::new(&fresh);
    disk::remove_file(fresh)?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o644).open(fresh).at("create", fresh)?;
    let written = file.write_all(text.as_bytes()).at("write", fresh).and_then(|()| {
        disk::set_mode(fresh, 0o644)?;
        disk::rename_over(fresh, path)
    });
    if written.is_err() {
        let _ = disk::remove_file(fresh);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_can_hold_anything() {
        let mut text = Text::default();
        text.line("n", &[("l", "a\\b\"c\nd")], 1);
        assert_eq!(text.0, "n{l=\"a\\\\b\\\"c\\nd\"} 1\n");
    }
}

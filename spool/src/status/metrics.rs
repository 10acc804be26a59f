//! The status as node_exporter's textfile collector reads it: Prometheus' text format.

use super::{BUCKETS, Ended, OUTCOMES, OfPlatform, Status, Tally};
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

/// Platforms beyond these have no lines: no more than that can be looked at, and whoever submits builds can name any. Those on
/// which somebody builds come first.
const PLATFORMS: usize = 200;

/// What is measured beside the status.
#[derive(Clone, Debug)]
pub struct Measured {
    /// What was counted.
    pub tally: Tally,
    /// Failures that builderd has logged since it was started.
    pub errors: u64,
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
    text.one("builder_platforms", "Platforms, those without lines of their own, too", status.platforms.len());
    let shown = shown(status);
    of_platforms(&mut text, &shown, now);
    let workers = &status.workers;
    let states = [("free", workers.free), ("busy", workers.busy), ("away", workers.away)];
    let help = "Workers: connected without a build, connected with one, and not connected";
    text.gauge("builder_workers", help, &states.map(|(state, count)| ([("state", state)], count)));
    text.one("builder_workers_quarantined", "Workers that get no builds for a while", workers.quarantined);
    text.one("builder_owing_builds", "Builds that are over and whose end owes something still", status.owing);
    let kept = measured.kept.map(|(end, count)| ([("end", end.directory())], count));
    text.gauge("builder_kept_builds", "Builds that are over and kept", &kept);
    room(&mut text, status, measured);
    text.head("builder_errors_total", "Failures that builderd has logged", "counter");
    text.line("builder_errors_total", &[], measured.errors);
    counters(&mut text, &measured.tally, shown.keys().copied());
    text.0
}

/// The platforms that have lines.
fn shown(status: &Status) -> BTreeMap<&Platform, &OfPlatform> {
    let is_idle = |of: &OfPlatform| of.workers + of.launched + of.running == 0 && of.launch_failures == 0;
    let mut all: Vec<_> = status.platforms.iter().collect();
    all.sort_by_key(|(_, of)| is_idle(of));
    all.into_iter().take(PLATFORMS).collect()
}

fn of_platforms(text: &mut Text, shown: &BTreeMap<&Platform, &OfPlatform>, now: Timestamp) {
    let age = |of: &OfPlatform| of.oldest.map_or(0, |oldest| now.duration_since(oldest).as_secs().max(0)) as u64;
    let count = |value: fn(&OfPlatform) -> usize| move |of: &OfPlatform| value(of) as u64;
    let open = |of: &OfPlatform| u64::from(of.state == State::Open);
    let failures = |of: &OfPlatform| u64::from(of.launch_failures);
    type Value<'v> = &'v dyn Fn(&OfPlatform) -> u64;
    let series: [(&str, &str, Value<'_>); 9] = [
        ("builder_platform_open", "Whether builds of the platform are handed out", &open),
        ("builder_queue_builds", "Builds that wait", &count(|of| of.waiting)),
        ("builder_queue_oldest_age_seconds", "How long ago the oldest build that waits was queued, by its id", &age),
        ("builder_running_builds", "Builds that run", &count(|of| of.running)),
        ("builder_lease_silent_builds", "Builds that run with a worker that is away", &count(|of| of.silent)),
        ("builder_platform_workers", "Connected workers that build for the platform", &count(|of| of.workers)),
        ("builder_platform_workers_free", "Those of them without a build", &count(|of| of.free)),
        ("builder_launched_workers", "Workers that were launched and have not come", &count(|of| of.launched)),
        ("builder_launch_failures", "Launches that have failed, one after the other", &failures),
    ];
    for (name, help, value) in series {
        let values: Vec<_> =
            shown.iter().map(|(platform, of)| ([("platform", platform.as_str())], value(of))).collect();
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

/// What was counted. The counters of a platform are there from the start: who watches how they grow sees nothing of one that
/// begins with its first build.
fn counters<'p>(text: &mut Text, tally: &Tally, shown: impl Iterator<Item = &'p Platform>) {
    let mut tally = tally.clone();
    for platform in shown {
        if tally.has_place_for(platform) {
            tally.platforms.entry(platform.clone()).or_default();
        }
    }
    text.head("builder_builds_total", "Builds that have ended, by how they did", "counter");
    for (platform, of) in &tally.platforms {
        for outcome in OUTCOMES {
            let count = of.outcomes.get(outcome).unwrap_or(&0);
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
    use crate::spool::Spool;

    #[test]
    fn a_label_can_hold_anything() {
        let mut text = Text::default();
        text.line("n", &[("l", "a\\b\"c\nd")], 1);
        assert_eq!(text.0, "n{l=\"a\\\\b\\\"c\\nd\"} 1\n");
    }

    #[test]
    fn platforms_on_which_somebody_builds_hide_behind_no_others() {
        let dir = tempfile::tempdir().unwrap();
        let (spool, _) = Spool::init(&dir.path().join("spool")).unwrap();
        let name = |name: &str| name.parse::<Platform>().unwrap();
        ["p", "z"].iter().for_each(|platform| spool.know_platform(&name(platform)).unwrap());
        let mut status = spool.status(Timestamp::UNIX_EPOCH).unwrap();
        let idle = status.platforms[&name("p")].clone();
        status.platforms.extend((0..PLATFORMS).map(|number| (name(&format!("a{number}")), idle.clone())));
        status.platforms.get_mut(&name("z")).unwrap().workers = 1;
        let shown = shown(&status);
        let has = |platform: &str| shown.contains_key(&name(platform));
        assert_eq!((has("z"), has("p"), shown.len()), (true, false, PLATFORMS));
    }

    #[test]
    fn all_counters_of_a_platform_are_there_from_the_start() {
        let mut text = Text::default();
        let platform: Platform = "p".parse().unwrap();
        counters(&mut text, &Tally::default(), [&platform].into_iter());
        for outcome in OUTCOMES {
            let line = format!("builder_builds_total{{outcome=\"{outcome}\",platform=\"p\"}} 0\n");
            assert!(text.0.contains(&line), "{}", text.0);
        }
    }
}

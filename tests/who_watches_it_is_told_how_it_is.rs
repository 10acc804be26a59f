//! How the farm is, for people (`builder status`), for Nagios and its like, and for Prometheus: with node_exporter and promtool
//! themselves.

use harness::{Finished, Lab, PLATFORM, Running, eventually, wait_for};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeMap;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

/// A program of a Debian package that is installed, or was only unpacked.
fn of_debian(package: &str, program: &str) -> PathBuf {
    let unpacked =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/debian").join(package).join("usr/bin").join(program);
    let installed = Path::new("/usr/bin").join(program);
    let found = [unpacked, installed].into_iter().find(|path| path.exists());
    found.unwrap_or_else(|| panic!("{program} is missing: run tools/unpacked {package}"))
}

fn promtool(words: &[&str]) -> Finished {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../monitoring");
    Finished::of(Command::new(of_debian("prometheus", "promtool")).args(words).current_dir(directory))
}

/// Has builderd write metrics, in a directory of a collector's.
fn collected(lab: &Lab) -> PathBuf {
    let directory = lab.path("collector");
    std::fs::create_dir_all(&directory).expect("a directory");
    let path = directory.join("builder.prom");
    lab.configure(&format!("metrics = {path:?}\n"));
    path
}

/// builderd, once it listens: a HUP that comes before would end it.
fn serving(lab: &Lab) -> Running {
    let serves = |said: &str| said.matches(" serves ").count();
    let before = serves(&std::fs::read_to_string(lab.path("builderd.log")).unwrap_or_default());
    let daemon = lab.daemon();
    wait_for("builderd serves", || serves(&daemon.said()) > before);
    daemon
}

/// builderd writes once a minute, and at a HUP.
fn write_now(daemon: &Running) {
    let pid = i32::try_from(daemon.pid()).ok().and_then(Pid::from_raw).expect("a process");
    kill_process(pid, Signal::HUP).expect("a signal");
}

/// The lines of the file, by series, once they are as is wanted.
fn measured(path: &Path, daemon: &Running, what: &str, wanted: impl Fn(&Series) -> bool) -> Series {
    eventually(what, || {
        let series = Series::of(&std::fs::read_to_string(path).unwrap_or_default());
        if !wanted(&series) {
            write_now(daemon);
            std::thread::park_timeout(std::time::Duration::from_millis(100));
            return None;
        }
        Some(series)
    })
}

struct Series(BTreeMap<String, f64>);

impl Series {
    fn of(text: &str) -> Series {
        let lines = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.rsplit_once(' '));
        Series(lines.filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?))).collect())
    }

    fn value(&self, name: &str) -> Option<f64> {
        self.0.get(name).copied()
    }

    fn ended(&self, outcome: &str) -> f64 {
        self.value(&format!("builder_builds_total{{outcome=\"{outcome}\",platform=\"{PLATFORM}\"}}")).unwrap_or(0.0)
    }

    fn platform(&self, name: &str) -> Option<f64> {
        self.value(&format!("{name}{{platform=\"{PLATFORM}\"}}"))
    }
}

#[test]
fn node_exporter_shows_what_builderd_has_measured() {
    let lab = Lab::new();
    let path = collected(&lab);
    let daemon = serving(&lab);
    measured(&path, &daemon, "it is written", |series| series.value("builder_jobs") == Some(0.0));
    let worker = lab.local_worker("w", &["--keep"]);
    lab.job("good", "echo x >artifact");
    lab.job("bad", "exit 7");
    lab.finished(&lab.run("good"));
    lab.finished(&lab.run("bad"));
    lab.ok(&["platform", "pause", PLATFORM]);
    lab.run("good");
    lab.run("bad");
    let series = measured(&path, &daemon, "the ends are counted", |series| {
        series.ended("succeeded") == 1.0
            && series.ended("failed") == 1.0
            && series.platform("builder_queue_builds") == Some(2.0)
    });
    for (name, value) in [
        ("builder_platform_open", 0.0),
        ("builder_running_builds", 0.0),
        ("builder_lease_silent_builds", 0.0),
        ("builder_platform_workers", 1.0),
        ("builder_platform_workers_free", 1.0),
        ("builder_build_duration_seconds_count", 2.0),
    ] {
        assert_eq!(series.platform(name), Some(value), "{name}");
    }
    for (name, value) in [
        ("builder_jobs", 2.0),
        ("builder_platforms", 1.0),
        ("builder_builds_total{outcome=\"lost\",platform=\"debian-12\"}", 0.0),
        ("builder_draining", 0.0),
        ("builder_spool_room", 1.0),
        ("builder_errors_total", 0.0),
        ("builder_workers{state=\"free\"}", 1.0),
        ("builder_kept_builds{end=\"done\"}", 1.0),
        ("builder_kept_builds{end=\"failed\"}", 1.0),
    ] {
        assert_eq!(series.value(name), Some(value), "{name}");
    }
    assert!(series.platform("builder_queue_oldest_age_seconds").is_some_and(|age| (0.0..1000.0).contains(&age)));
    assert!(series.value("builder_spool_free_bytes") > Some(0.0) && series.value("builder_store_bytes").is_some());
    assert_eq!(std::fs::metadata(&path).expect("the file").permissions().mode() & 0o777, 0o644);
    // What Prometheus' own programs make of it.
    let file = std::fs::File::open(&path).expect("the file");
    let mut check = Command::new(of_debian("prometheus", "promtool"));
    let checked = Finished::reading(check.args(["check", "metrics"]), file);
    assert_eq!((checked.code, checked.stdout.as_str(), checked.stderr.as_str()), (0, "", ""), "{checked:?}");
    let shown = exported(&lab, path.parent().expect("a directory"));
    assert_eq!((shown.value("node_textfile_scrape_error"), shown.ended("failed")), (Some(0.0), 1.0));
    assert!(shown.0.keys().any(|name| name.starts_with("node_textfile_mtime_seconds{")), "{:?}", shown.0.keys());
    let ours =
        |series: &Series| series.0.keys().filter(|name| name.starts_with("builder_")).cloned().collect::<Vec<_>>();
    assert_eq!(ours(&shown).len(), ours(&series).len(), "all of it");
    drop(worker);
}

/// What node_exporter shows of a directory.
fn exported(lab: &Lab, directory: &Path) -> Series {
    let port = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a free port").port();
    let mut command = Command::new(of_debian("prometheus-node-exporter", "prometheus-node-exporter"));
    command.args(["--collector.disable-defaults", "--collector.textfile"]);
    command.arg(format!("--collector.textfile.directory={}", directory.display()));
    command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
    let _exporter = Running::start("node_exporter", &mut command, &lab.path("exporter.log"));
    let url = format!("http://127.0.0.1:{port}/metrics");
    eventually("node_exporter answers", || {
        let got = Finished::of(Command::new("curl").args(["--silent", "--noproxy", "*", "--fail", &url]));
        (got.code == 0).then(|| Series::of(&got.stdout))
    })
}

#[test]
fn each_end_is_counted_once_whatever_happens_to_builderd() {
    let lab = Lab::new();
    let path = collected(&lab);
    let daemon = serving(&lab);
    let _worker = lab.local_worker("w", &["--keep"]);
    lab.job("good", "true");
    lab.job("bad", "false");
    // Nothing before the first look counts.
    measured(&path, &daemon, "it counts", |series| series.value("builder_jobs") == Some(2.0));
    lab.finished(&lab.run("good"));
    measured(&path, &daemon, "one is counted", |series| series.ended("succeeded") == 1.0);
    daemon.kill();
    for _ in 0..3 {
        lab.finished(&lab.run("good"));
        lab.finished(&lab.run("bad"));
    }
    for _ in 0..3 {
        let daemon = serving(&lab);
        measured(&path, &daemon, "all are counted", |series| series.ended("failed") == 3.0);
        for _ in 0..3 {
            let before = std::fs::metadata(&path).and_then(|meta| meta.modified()).expect("the file");
            write_now(&daemon);
            wait_for("it is written anew", || {
                std::fs::metadata(&path).and_then(|meta| meta.modified()).is_ok_and(|now| now != before)
            });
        }
        daemon.kill();
    }
    let series = Series::of(&std::fs::read_to_string(&path).expect("the file"));
    assert_eq!((series.ended("succeeded"), series.ended("failed")), (4.0, 3.0));
    // What comes from the directories is the same.
    std::fs::remove_dir_all(lab.root().join("index")).expect("no index");
    let daemon = serving(&lab);
    lab.finished(&lab.run("bad"));
    let series = measured(&path, &daemon, "the last one is counted", |series| series.ended("failed") > 3.0);
    assert_eq!((series.ended("succeeded"), series.ended("failed")), (4.0, 4.0));
}

#[test]
fn what_can_not_be_written_is_said_once_and_stops_nothing() {
    let lab = Lab::new();
    let path = lab.path("nowhere").join("builder.prom");
    lab.configure(&format!("metrics = {path:?}\n"));
    let daemon = serving(&lab);
    let complaints = || daemon.said().lines().filter(|line| line.contains("metrics can't be written")).count();
    wait_for("it is said", || complaints() == 1);
    for number in 0..3 {
        let read = || daemon.said().lines().filter(|line| line.contains("has read the configuration")).count();
        write_now(&daemon);
        wait_for("the configuration was read", || read() > number);
    }
    let _worker = lab.local_worker("w", &["--keep"]);
    lab.job("job", "true");
    lab.finished(&lab.run("job"));
    std::fs::create_dir(lab.path("nowhere")).expect("a directory");
    let series = measured(&path, &daemon, "it is written", |series| series.value("builder_jobs") == Some(1.0));
    assert_eq!((complaints(), series.value("builder_errors_total")), (1, Some(1.0)));
    lab.configure("metrics = \"builder.prom\"\n");
    Finished::of(&mut lab.program("builderd")).refused(78, "`metrics` must be an absolute path that ends in .prom");
}

#[test]
fn the_example_alerts_go_off_when_they_should_and_only_then() {
    let checked = promtool(&["check", "rules", "alerts.yml"]);
    assert_eq!(checked.code, 0, "{checked:?}");
    let tested = promtool(&["test", "rules", "alerts_test.yml"]);
    assert_eq!(tested.code, 0, "{tested:?}");
    // Each of them is tried, and speaks of what builderd writes.
    let (rules, tests) = (include_str!("../monitoring/alerts.yml"), include_str!("../monitoring/alerts_test.yml"));
    for alert in rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")) {
        assert!(tests.matches(&format!("alertname: {alert}")).count() >= 2, "{alert}");
    }
    let lab = Lab::new();
    let path = collected(&lab);
    lab.ok(&["init"]);
    lab.spool.know_platform(&PLATFORM.parse().expect("a platform")).expect("a queue");
    let daemon = serving(&lab);
    measured(&path, &daemon, "it is written", |series| series.value("builder_jobs").is_some());
    let written = std::fs::read_to_string(&path).expect("the file");
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    for name in rules.split(|c| !is_name(c)).filter(|word| word.starts_with("builder_")) {
        assert!(written.contains(&format!("# TYPE {name} ")), "{name}");
    }
}

/// What Nagios would run.
fn plugin(lab: &Lab, words: &[&str]) -> Finished {
    lab.builder(&[&["status", "--nagios"], words].concat())
}

#[test]
fn nagios_gets_a_line_and_a_code() {
    let lab = Lab::new();
    let down = plugin(&lab, &["--free", "0,0"]);
    assert_eq!(down.code, 2, "{down:?}");
    assert!(down.stdout.starts_with("BUILDER CRITICAL - builderd does not run|waiting=0;;;0 "), "{down:?}");
    let _daemon = serving(&lab);
    let well = plugin(&lab, &["--free", "0,0"]);
    assert_eq!(well.code, 0, "{well:?}");
    assert_eq!(
        well.stdout,
        "BUILDER OK - 0 waiting, 0 running, 0 workers|waiting=0;;;0 oldest=0s;3600;43200;0 running=0;;;0 workers=0;;;0 \
         free_workers=0;;;0 quarantined=0;0;;0 "
            .to_owned() + well.stdout.split_once("quarantined=0;0;;0 ").expect("the end").1
    );
    lab.job("job", "true");
    lab.run("job");
    let waits = plugin(&lab, &["--free", "0,0", "--queue", "0,9"]);
    assert_eq!(waits.code, 1, "{waits:?}");
    assert!(waits.stdout.starts_with("BUILDER WARNING - 1 build waits"), "{waits:?}");
    assert!(waits.stdout.contains("|waiting=1;0;9;0 oldest="), "{waits:?}");
    assert_eq!(plugin(&lab, &["--queue", "0,0", "--free", "0,0"]).code, 2);
    for (words, why) in [(&["--queue", "1"][..], "are not two bounds"), (&["--nonsense"], "unexpected argument")] {
        let unknown = plugin(&lab, words);
        assert!(unknown.code == 3 && unknown.stdout.starts_with("BUILDER UNKNOWN - "), "{unknown:?}");
        assert!(unknown.stdout.contains(why) && unknown.stdout.lines().count() == 1, "{unknown:?}");
    }
    let nowhere = lab.builder(&["status", "--nagios", "--spool", "/nowhere"]);
    assert!(nowhere.code == 3 && nowhere.stdout.starts_with("BUILDER UNKNOWN - there is no spool"), "{nowhere:?}");
}

/// Whoever asks whether builderd runs must not keep one from starting.
#[test]
fn builderd_starts_while_somebody_asks_whether_it_runs() {
    let lab = Lab::new();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let asks = scope.spawn(|| {
            while !over.load(Ordering::SeqCst) {
                lab.spool.has_builderd();
            }
        });
        let done: Vec<Finished> = (0..20).map(|_| Finished::of(lab.program("builderd").arg("--once"))).collect();
        over.store(true, Ordering::SeqCst);
        asks.join().expect("it has asked");
        done.iter().for_each(|done| assert_eq!(done.code, 0, "{done:?}"));
    });
}

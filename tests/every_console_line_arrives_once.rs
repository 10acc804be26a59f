//! A console of any size arrives whole, once and in order, and nobody on its way keeps it in memory.

use harness::{Lab, Running, eventually, wait_for};
use std::io::Read;
use std::process::{Child, Stdio};
use std::time::Duration;

/// What a process may have had in memory at its largest, in KiB.
const MOST: u64 = 32 << 10;

/// The largest resident size that a process has had so far, in KiB (proc(5), VmHWM).
fn peak(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?.split_whitespace().next()?.parse().ok()
}

fn server_of(worker: &Running) -> u32 {
    eventually("the worker has its server", || {
        let found = harness::Finished::of(std::process::Command::new("pgrep").args([
            "-P",
            &worker.pid().to_string(),
            "-f",
            "builder-run serve",
        ]));
        found.stdout.lines().next()?.parse().ok()
    })
}

fn watch(lab: &Lab, id: &str) -> Child {
    let mut command = lab.program("builder");
    command.args(["watch", id]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    command.spawn().expect("builder watch")
}

/// Runs a script with a watcher that is there from the start. Returns the build's id, what the watcher printed,
/// and checks everybody's memory.
fn watched(lab: &Lab, script: &str) -> (String, Vec<u8>) {
    lab.job("loud", script);
    let id = lab.run("loud");
    let mut watcher = watch(lab, &id);
    let worker = lab.local_worker("w", &["--keep"]);
    let server = server_of(&worker);
    let mut out = watcher.stdout.take().expect("a pipe");
    let mut seen = Vec::new();
    let mut piece = vec![0; 1 << 20];
    let mut watcher_peak = 0;
    loop {
        let got = out.read(&mut piece).expect("the watcher's output");
        watcher_peak = watcher_peak.max(peak(watcher.id()).unwrap_or(0));
        if got == 0 {
            break;
        }
        seen.extend_from_slice(&piece[..got]);
    }
    assert_eq!(watcher.wait().expect("its end").code(), Some(0));
    for (who, kib) in [("serve", peak(server)), ("worker", peak(worker.pid())), ("watch", Some(watcher_peak))] {
        let kib = kib.expect("its memory");
        assert!(kib < MOST, "{who} had {kib} KiB");
        assert!(kib > 0, "{who} was not measured");
    }
    (id, seen)
}

/// The text of a watched line: what is behind `[   1.234] `.
fn text(line: &str) -> &str {
    line.split_once("] ").map_or(line, |(_, text)| text)
}

#[test]
fn a_million_lines_arrive_once_and_in_order_also_late_and_slowly() {
    let lab = Lab::new();
    let (id, seen) = watched(&lab, "seq -f '%079.0f' 1000000");
    let seen = String::from_utf8(seen).expect("UTF-8");
    let mut count = 0;
    for (n, line) in seen.lines().enumerate() {
        assert_eq!(text(line).parse::<usize>().expect("a number"), n + 1);
        count += 1;
    }
    assert_eq!(count, 1_000_000);
    let log = lab.build(&id).dir().join("console.log");
    assert_eq!(log.metadata().expect("the log").len(), 80_000_000);
    late_and_slow(&lab, &id, &seen);
}

/// A watcher that starts when all is over, and is read in small bites, prints the same.
fn late_and_slow(lab: &Lab, id: &str, expected: &str) {
    let mut watcher = watch(lab, id);
    let mut out = watcher.stdout.take().expect("a pipe");
    let mut seen = 0;
    let mut piece = [0; 3001];
    loop {
        let got = out.read(&mut piece).expect("the watcher's output");
        if got == 0 {
            break;
        }
        assert_eq!(&expected.as_bytes()[seen..seen + got], &piece[..got]);
        seen += got;
        if seen % 1000 == 0 {
            std::thread::park_timeout(Duration::from_millis(1));
        }
    }
    assert_eq!(seen, expected.len());
    assert_eq!(watcher.wait().expect("its end").code(), Some(0));
}

#[test]
fn a_line_of_a_hundred_megabytes_arrives_whole() {
    let lab = Lab::new();
    let (id, seen) = watched(&lab, "head -c 100000000 /dev/zero | tr '\\0' x");
    let xs = seen.iter().filter(|byte| **byte == b'x').count();
    assert_eq!(xs, 100_000_000);
    assert!(seen.len() < 100_000_100, "{} bytes", seen.len());
    let log = lab.build(&id).dir().join("console.log");
    assert_eq!(log.metadata().expect("the log").len(), 100_000_000);
}

#[test]
fn bytes_arrive_as_they_were_printed() {
    let lab = Lab::new();
    lab.job("bytes", "printf 'a\\0b\\377\\r\\n\\tno newline'");
    let id = lab.run("bytes");
    let _worker = lab.local_worker("w", &["--keep"]);
    let build = lab.finished(&id);
    assert_eq!(std::fs::read(build.dir().join("console.log")).expect("the log"), b"a\0b\xff\r\n\tno newline");
}

#[test]
fn a_watcher_sees_lines_while_the_script_runs() {
    let lab = Lab::new();
    let go = lab.path("go");
    lab.job("talks", &format!("echo one; while [ ! -e {} ]; do sleep 0.05; done; echo two", go.display()));
    let id = lab.run("talks");
    let mut watcher = watch(&lab, &id);
    let _worker = lab.local_worker("w", &["--keep"]);
    let mut out = watcher.stdout.take().expect("a pipe");
    let mut seen = Vec::new();
    let mut piece = [0; 1000];
    while !String::from_utf8_lossy(&seen).contains("one\n") {
        let got = out.read(&mut piece).expect("the watcher's output");
        assert!(got > 0, "the watcher ended early");
        seen.extend_from_slice(&piece[..got]);
    }
    assert!(!String::from_utf8_lossy(&seen).contains("two"));
    std::fs::write(&go, "").expect("the sign");
    out.read_to_end(&mut seen).expect("the rest");
    assert!(String::from_utf8_lossy(&seen).ends_with("two\n"));
    wait_for("it is over", || watcher.try_wait().expect("its status").is_some());
}

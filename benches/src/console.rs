//! Console lines, from a script to somebody who watches.

use crate::peers::Connection;
use crate::site::Site;
use crate::stats::Samples;
use crate::table::{Table, rate, ratio};
use harness::PLATFORM;
use std::io::Read;
use std::process::{Command, Stdio};
use std::time::Instant;

/// Lines a round, of 80 bytes each.
const LINES: usize = 2_000_000;

/// The table.
pub fn measure(site: &Site) -> Vec<Table> {
    let lab = site.lab();
    let sshd = lab.sshd();
    let key = lab.add_worker("jail1");
    let _worker = sshd.worker(&lab, "jail1", &key, &["--keep"]);
    let open = lab.key("open");
    let open_sshd = lab.open_sshd(&open);
    let plain = Connection::open(&lab, &open_sshd, &open);
    let script = format!("yes {} | head -n {LINES}\n", "x".repeat(79));
    let path = lab.script("lines.sh", &script);
    lab.ok(&["add", "lines", path.to_str().expect("UTF-8"), "--platform", PLATFORM, "--every", "never"]);
    let (mut ours, mut whole, mut limit) = (Samples::default(), Samples::default(), Samples::default());
    for _ in 0..site.rounds {
        let start = Instant::now();
        let id = lab.run("lines");
        let (last, end) = read_lines(lab.program("builder").args(["watch", &id]), start);
        ours.add(LINES as f64 / last);
        whole.add(LINES as f64 / end);
        let (last, _) = read_lines(&mut plain.ssh(script.trim()), Instant::now());
        limit.add(LINES as f64 / last);
    }
    let mut table = Table::new("Console lines a second, 80 bytes each", &["", "lines/s", "MB/s", "ours / ssh"]);
    let rows = [
        ("script to `builder watch`", &ours),
        ("the same, until the end is durable", &whole),
        ("`ssh HOST` alone", &limit),
    ];
    for (name, samples) in rows {
        let (value, share) = (samples.median(), samples.median() / limit.median());
        table.row(&[name.into(), rate(value), format!("{:.0}", value * 80.0 / 1e6), ratio(share)]);
    }
    table.remark("From before `builder run` to the last line, which both times is read from a pipe and counted.");
    vec![table]
}

/// Seconds from `start` to the last line, and to the end.
fn read_lines(command: &mut Command, start: Instant) -> (f64, f64) {
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("a process");
    let mut output = child.stdout.take().expect("its output");
    let mut buffer = vec![0; 256 << 10];
    let (mut lines, mut last) = (0, 0.0);
    loop {
        let got = output.read(&mut buffer).expect("its output");
        if got == 0 {
            break;
        }
        lines += buffer[..got].iter().filter(|byte| **byte == b'\n').count();
        last = start.elapsed().as_secs_f64();
    }
    assert_eq!(lines, LINES, "{command:?}: every line arrives once");
    assert!(child.wait().expect("its status").success(), "{command:?}");
    (last, start.elapsed().as_secs_f64())
}

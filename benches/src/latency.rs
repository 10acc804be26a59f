//! From a command that is typed to a script that runs, on a worker that was idle.

use crate::peers::{Connection, nq};
use crate::site::Site;
use crate::stats::Samples;
use crate::table::{Table, ms, ratio};
use harness::{Finished, Lab, PLATFORM, Running, eventually};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

/// Measurements a round.
const TRIES: usize = 20;

/// The table.
pub fn measure(site: &Site) -> Vec<Table> {
    let lab = site.lab();
    let sshd = lab.sshd();
    let key = lab.add_worker("jail1");
    let _worker: Running = sshd.worker(&lab, "jail1", &key, &["--keep"]);
    let stamp = Stamp::new(&lab);
    let script = stamp.script();
    lab.ok(&["add", "known", text(&script), "--platform", PLATFORM, "--every", "never"]);
    stamp.finished(&lab, || Finished::of(lab.program("builder").args(["run", "known"])));
    let open = lab.key("open");
    let open_sshd = lab.open_sshd(&open);
    let plain = Connection::open(&lab, &open_sshd, &open);
    let mut times: [Samples; 4] = Default::default();
    for n in 0..TRIES * site.rounds {
        let job = format!("daily{n}");
        let add = ["add", &job, text(&script), "--platform", PLATFORM, "--every", "daily"];
        times[0].add(stamp.finished(&lab, || Finished::of(lab.program("builder").args(["run", "known"]))));
        times[1].add(stamp.finished(&lab, || Finished::of(lab.program("builder").args(add))));
        times[2].add(stamp.taken(|| Finished::of(&mut plain.ssh(text(&script)))));
        times[3].add(stamp.taken(|| nq_one(&lab, &script)));
    }
    vec![table(&times)]
}

fn table(times: &[Samples; 4]) -> Table {
    let mut table = Table::new("From the command to the script's start", &["", "median", "p90", "ssh / this"]);
    let names = [
        "`builder run`, worker over SSH, durable",
        "`builder add --every daily`, likewise",
        "`ssh HOST script`, connected already",
        "`nq script`, local",
    ];
    for (name, times_of) in names.iter().zip(times) {
        let share = times[2].median() / times_of.median();
        table.row(&[name.to_string(), ms(times_of.median()), ms(times_of.p90()), ratio(share)]);
    }
    table.remark("From before the process is spawned to the script's first command; bash tells the time by itself.");
    table
}

fn nq_one(lab: &Lab, script: &Path) -> Finished {
    nq(lab, 1, 1, &[text(script)]);
    Finished::of(&mut Command::new("true"))
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// A file into which a script writes when it was started.
struct Stamp {
    file: PathBuf,
    script: PathBuf,
}

impl Stamp {
    fn new(lab: &Lab) -> Stamp {
        let file = lab.path("stamp");
        let body = format!("#!/bin/bash\necho $EPOCHREALTIME > {0}.new\nmv {0}.new {0}\n", file.display());
        let script = lab.script("stamp.sh", &body);
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&script, mode).expect("its mode");
        Stamp { file, script }
    }

    fn script(&self) -> PathBuf {
        self.script.clone()
    }

    /// Milliseconds from now to the script's start.
    fn taken(&self, queue: impl FnOnce() -> Finished) -> f64 {
        let before = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a clock after 1970");
        let done = queue();
        assert_eq!(done.code, 0, "{}", done.stderr);
        let at = eventually("the script runs", || std::fs::read_to_string(&self.file).ok());
        std::fs::remove_file(&self.file).expect("the stamp");
        let micros: u64 = at.trim().replace('.', "").parse().expect("EPOCHREALTIME");
        (Duration::from_micros(micros).as_secs_f64() - before.as_secs_f64()) * 1e3
    }

    /// As [`Stamp::taken`]; on return the build is over and the worker waits again.
    fn finished(&self, lab: &Lab, queue: impl FnOnce() -> Finished) -> f64 {
        let took = self.taken(queue);
        eventually("the build is over", || lab.spool.active_builds().expect("builds").is_empty().then_some(()));
        std::thread::sleep(Duration::from_millis(20));
        took
    }
}

//! builderd under a clock that is set: libfaketime gives it one, and changes it while it runs.

use harness::{Lab, PLATFORM, Running, wait_for};
use jiff::{SignedDuration, Timestamp};
use std::path::PathBuf;

/// A daemon whose clock is ahead of the others' by the seconds in a file.
struct Ahead {
    lab: Lab,
    daemon: Running,
    jumps: usize,
}

impl Ahead {
    fn start(lab: Lab) -> Ahead {
        std::fs::write(lab.path("ahead"), "+0\n").expect("the offset");
        let mut command = lab.program("builderd");
        command.env("LD_PRELOAD", faketime()).env("FAKETIME_TIMESTAMP_FILE", lab.path("ahead"));
        // What has passed is not set by anybody: only the time of day is.
        command.env("FAKETIME_NO_CACHE", "1").env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        let daemon = Running::start("builderd", &mut command, &lab.path("builderd.log"));
        let ahead = Ahead { lab, daemon, jumps: 0 };
        wait_for("it serves", || ahead.daemon.said().contains("has read the jobs"));
        ahead
    }

    /// Sets the clock, and returns how many builds of the job there are once the daemon has seen to it.
    fn set(&mut self, seconds: i64) -> usize {
        std::fs::write(self.lab.path("ahead"), format!("{seconds:+}\n")).expect("the offset");
        self.jumps += 1;
        wait_for("the daemon has noticed", || self.daemon.said().matches("the clock was set").count() == self.jumps);
        // It fires before it looks at ends, so what it owes for the new time is queued when this one's end is seen to.
        let probe = self.lab.run("probe");
        self.lab.finished(&probe);
        wait_for("all is done", || {
            let open = self.lab.spool.open_builds().expect("builds");
            open.is_empty() && self.lab.spool.owing().expect("what is owed").is_empty()
        });
        self.lab.spool.ended_of(&"hourly".parse().expect("a name"), None, usize::MAX).expect("the builds").len()
    }
}

fn faketime() -> PathBuf {
    let places = std::fs::read_dir("/usr/lib").expect("the libraries").flatten();
    let library = places.map(|place| place.path().join("faketime/libfaketime.so.1")).find(|path| path.exists());
    library.expect("libfaketime is missing: install the package libfaketime")
}

#[test]
fn each_jump_fires_once_and_nothing_comes_twice() {
    let lab = Lab::new();
    let half_an_hour_ago: Timestamp = spool::clock::now() - SignedDuration::from_mins(30);
    let script = lab.script("s", "true");
    let words = ["--platform", PLATFORM, "--every", "hourly", "--at", &half_an_hour_ago.to_string()];
    lab.ok(&[&["add", "hourly", script.to_str().expect("UTF-8")][..], &words].concat());
    lab.job("probe", "true");
    let worker = lab.local_worker("w", &["--keep"]);
    wait_for("what it owed is built", || lab.ended().len() == 1);
    let (hour, day) = (3600, 24 * 3600);
    let mut ahead = Ahead::start(lab);
    assert_eq!(ahead.set(hour), 2, "an hour forward");
    assert_eq!(ahead.set(day + hour), 3, "a day forward: once for all that was missed");
    assert_eq!(ahead.set(0), 3, "a day back");
    assert_eq!(ahead.set(hour), 3, "what was built under an earlier time is not built again");
    assert_eq!(ahead.set(2 * hour), 4, "and it goes on from where the clock is");
    assert_eq!(ahead.set(3 * hour), 5);
    assert_eq!(ahead.set(2 * hour), 5, "an hour back");
    drop(worker);
}

//! A service manager knows how builderd is: when it serves, that its round goes on, what it thinks of new settings, and
//! that it ends. The other end of NOTIFY_SOCKET is here; what systemd itself says of the units is in
//! `the_units_say_what_systemd_understands.rs`.

#![cfg(target_os = "linux")]

use harness::{DEADLINE, Finished, Lab, PLATFORM, Running, eventually, wait_for};
use rustix::process::{Pid, Signal, kill_process};
use std::io::ErrorKind;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::time::{Duration, Instant};

/// The watchdog's period. Three of them without a sign of life are silence.
const PERIOD: Duration = Duration::from_secs(1);

/// Who has started builderd.
struct Manager {
    socket: UnixDatagram,
    daemon: Running,
}

impl Manager {
    fn starts(lab: &Lab) -> Manager {
        let path = lab.path("notify");
        let socket = UnixDatagram::bind(&path).expect("a socket");
        Manager::listening(lab, socket, path.to_str().expect("UTF-8"), &[])
    }

    fn watching(lab: &Lab) -> Manager {
        let name = format!("builder-test-{}", lab.root().display());
        let address = SocketAddr::from_abstract_name(&name).expect("an address");
        let socket = UnixDatagram::bind_addr(&address).expect("a socket");
        let period = PERIOD.as_micros().to_string();
        Manager::listening(lab, socket, &format!("@{name}"), &[("WATCHDOG_USEC", &period)])
    }

    fn listening(lab: &Lab, socket: UnixDatagram, name: &str, more: &[(&str, &str)]) -> Manager {
        let mut command = lab.program("builderd");
        command.env("NOTIFY_SOCKET", name).envs(more.iter().copied());
        let daemon = Running::start("builderd", &mut command, &lab.path("builderd.log"));
        Manager { socket, daemon }
    }

    /// The next message, as lines; nothing when none comes for so long.
    fn hears(&self, patience: Duration) -> Option<Vec<String>> {
        let mut bytes = [0; 4096];
        self.socket.set_read_timeout(Some(patience)).expect("a time-out");
        match self.socket.recv(&mut bytes) {
            Ok(count) => {
                let text = String::from_utf8(bytes[..count].to_vec()).expect("UTF-8");
                Some(text.lines().map(str::to_owned).collect())
            }
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => None,
            Err(e) => panic!("can't hear: {e}"),
        }
    }

    /// The first message of which this is true; fails the test when none comes.
    fn hears_of(&self, what: &str, is: impl Fn(&[String]) -> bool) -> Vec<String> {
        let until = Instant::now() + DEADLINE;
        while Instant::now() < until {
            if let Some(message) = self.hears(PERIOD)
                && is(&message)
            {
                return message;
            }
        }
        panic!("heard nothing of {what}; the daemon said:\n{}", self.daemon.said());
    }

    fn hears_line(&self, start: &str) -> Vec<String> {
        self.hears_of(start, |message| message.iter().any(|line| line.starts_with(start)))
    }

    /// Waits until three periods pass without a word.
    fn hears_silence(&self) {
        let until = Instant::now() + DEADLINE;
        while let Some(message) = self.hears(3 * PERIOD) {
            assert!(Instant::now() < until, "it goes on and on: {message:?}");
        }
    }

    fn sends(&self, signal: Signal) {
        let pid = Pid::from_raw(self.daemon.pid().cast_signed()).expect("a process");
        kill_process(pid, signal).expect("it runs");
    }

    /// Has the settings read again. Returns the status after that.
    fn reloads(&self) -> String {
        self.sends(Signal::HUP);
        let begun = self.hears_line("RELOADING=1");
        let moment = begun.iter().find_map(|line| line.strip_prefix("MONOTONIC_USEC=")).expect("the moment");
        assert!(moment.parse::<u64>().is_ok_and(|moment| moment > 0), "{begun:?}");
        let mut status = String::new();
        loop {
            let message = self.hears_of("the end of it", |message| !message[0].starts_with("WATCHDOG"));
            match message[0].split_once('=').expect("a variable") {
                ("STATUS", text) => status = text.to_owned(),
                ("READY", "1") => return status,
                other => panic!("{other:?} while it reloads"),
            }
        }
    }
}

/// A hook that notes in a file that it ran.
fn hook(directory: &Path, note: &Path) {
    std::fs::create_dir_all(directory).expect("a directory");
    let hook = directory.join("note");
    std::fs::write(&hook, format!("#!/bin/sh\necho ran >> '{}'\n", note.display())).expect("a hook");
    harness::make_executable(&hook);
}

#[test]
fn it_is_ready_when_it_serves_and_says_that_it_stops() {
    let lab = Lab::new();
    let manager = Manager::starts(&lab);
    assert_eq!(manager.hears_line("READY=1"), ["READY=1"]);
    // Whoever comes now is too late: the lock was held before.
    Finished::of(&mut lab.program("builderd")).refused(75, "builderd");
    let status = manager.hears_line("STATUS=");
    assert_eq!(status, [format!("STATUS=serves {}: 0 jobs", lab.root().display())]);
    let script = lab.script("daily.sh", "true");
    lab.ok(&["add", "daily", script.to_str().expect("UTF-8"), "--platform", PLATFORM, "--every", "daily"]);
    let status = manager.hears_line("STATUS=").remove(0);
    assert!(status.contains(": 1 jobs, the next due 2"), "{status}");
    manager.sends(Signal::TERM);
    assert!(manager.hears_line("STOPPING=1").iter().any(|line| line.starts_with("STATUS=")));
    assert_eq!(manager.daemon.ended(), 0);
}

#[test]
fn one_that_is_frozen_gives_no_sign_of_life() {
    let lab = Lab::new();
    let manager = Manager::watching(&lab);
    manager.hears_line("READY=1");
    for _ in 0..5 {
        manager.hears_of("its life", |message| message == ["WATCHDOG=1"]);
    }
    manager.sends(Signal::STOP);
    manager.hears_silence();
    manager.sends(Signal::CONT);
    manager.hears_line("WATCHDOG=1");
}

/// A thread that gives signs of life beside the daemon's round would go on here.
#[test]
fn one_whose_round_hangs_gives_no_sign_of_life() {
    let lab = Lab::new();
    let manager = Manager::watching(&lab);
    manager.hears_line("READY=1");
    let script = lab.script("soon.sh", "true");
    let soon = format!("@{}", jiff::Timestamp::now().as_second() + 5);
    lab.ok(&["add", "soon", script.to_str().expect("UTF-8"), "--platform", PLATFORM, "--at", &soon]);
    let lock = lab.spool.lock_jobs().expect("the jobs' lock");
    manager.hears_silence();
    drop(lock);
    manager.hears_line("WATCHDOG=1");
    wait_for("it fires", || lab.is_queued("soon"));
}

/// A sweep looks at the whole store: a large one must not have builderd killed each time it starts.
#[test]
fn the_watchdog_has_more_patience_during_a_sweep() {
    let lab = Lab::new();
    let manager = Manager::watching(&lab);
    let longer = manager.hears_line("WATCHDOG_USEC=");
    let period: u128 = longer[0]["WATCHDOG_USEC=".len()..].parse().expect("microseconds");
    assert!(period > 1000 * PERIOD.as_micros(), "{longer:?}");
    let again = manager.hears_line("WATCHDOG_USEC=");
    assert_eq!(again, [format!("WATCHDOG_USEC={}", PERIOD.as_micros()), "WATCHDOG=1".to_owned()]);
}

#[test]
fn a_watchdog_for_another_process_is_not_fed() {
    let lab = Lab::new();
    let path = lab.path("notify");
    let socket = UnixDatagram::bind(&path).expect("a socket");
    let more = [("WATCHDOG_USEC", "1000"), ("WATCHDOG_PID", "1")];
    let manager = Manager::listening(&lab, socket, path.to_str().expect("UTF-8"), &more);
    // The status comes when the first round is over.
    let mut heard = Vec::new();
    while !heard.iter().any(|line: &String| line.starts_with("STATUS=")) {
        heard.extend(manager.hears(DEADLINE).expect("its status"));
    }
    assert!(!heard.iter().any(|line| line.starts_with("WATCHDOG")), "{heard:?}");
}

#[test]
fn a_hangup_has_new_settings_take_effect() {
    let lab = Lab::new();
    let (old, new) = (lab.path("old"), lab.path("new"));
    hook(&lab.path("hooks.d"), &old);
    let manager = Manager::starts(&lab);
    manager.hears_line("READY=1");
    lab.job("job", "echo x > x");
    let finished = |note: &Path, times: usize| {
        lab.run("job");
        assert_eq!(lab.local_worker("one", &["--once"]).ended(), 0);
        wait_for("the hook has run", || std::fs::read_to_string(note).is_ok_and(|text| text.lines().count() == times));
    };
    let sealed = |build: &spool::find::Build<'_>| build.dir().join("seal.sig").exists();
    finished(&old, 1);
    finished(&old, 2);
    assert!(lab.ended().iter().all(sealed));
    hook(&lab.path("others.d"), &new);
    let keep = format!("hooks = {:?}\n[keep]\nbuilds = 1\n", lab.path("others.d"));
    let plain = format!("secrets = {:?}\ngrace_seconds = 2\nseal = false\n", lab.path("secrets"));
    std::fs::write(lab.config(), plain + &keep).expect("settings");
    let status = manager.reloads();
    assert_eq!(status, "", "nothing to complain of");
    wait_for("the older build is let go", || lab.ended().len() == 1);
    finished(&new, 1);
    assert!(lab.ended().iter().any(|build| !sealed(build)), "the newest");
    assert_eq!(std::fs::read_to_string(&old).expect("notes").lines().count(), 2);
    assert!(manager.daemon.said().contains("has read the configuration again"));
}

#[test]
fn a_hangup_with_bad_settings_changes_nothing_and_says_so() {
    let lab = Lab::new();
    let note = lab.path("note");
    hook(&lab.path("hooks.d"), &note);
    let manager = Manager::starts(&lab);
    manager.hears_line("READY=1");
    let good = std::fs::read_to_string(lab.config()).expect("settings");
    for bad in
        ["hooks = \"/nowhere\"\ngrace_seconds = -1\n", "hook = \"/nowhere\"\n", "[keep\n", "[keep]\nbuilds = 0\n"]
    {
        std::fs::write(lab.config(), bad).expect("settings");
        let status = manager.reloads();
        let root = lab.root().display();
        assert!(status.starts_with(&format!("serves {root}: ")), "{bad}: {status}");
        assert!(
            status.contains("the configuration can't be read again: ") && status.contains("builder.toml"),
            "{status}"
        );
        assert!(manager.daemon.said().contains("what it said before holds"));
    }
    std::fs::remove_file(lab.config()).expect("settings");
    assert!(manager.reloads().contains("there is no configuration file"));
    lab.configure("");
    lab.job("job", "true");
    lab.run("job");
    std::fs::remove_file(lab.config()).expect("settings");
    let mut worker = std::process::Command::new(harness::binary("builder-run"));
    worker
        .args(["worker", "--once", "--platform", PLATFORM, "--local"])
        .arg(lab.root())
        .arg("--work")
        .arg(lab.path("w"));
    let worker = Finished::of(&mut worker);
    assert_eq!(worker.code, 0, "{worker:?}");
    wait_for("the hook of the old settings has run", || note.exists());
    std::fs::write(lab.config(), good).expect("settings");
    let status = manager.reloads();
    assert!(!status.contains("can't"), "{status}");
}

/// What a reload and an upgrade ask first, while another one serves.
#[test]
fn a_check_says_what_is_wrong_and_touches_nothing() {
    let lab = Lab::new();
    let daemon = lab.daemon();
    eventually("it serves", || daemon.said().contains("has read the jobs").then_some(()));
    let check = || Finished::of(lab.program("builderd").arg("--check"));
    let good = check();
    assert_eq!((good.code, good.stdout.as_str(), good.stderr.as_str()), (0, "", ""));
    lab.configure("grace = 1\n");
    check().refused(78, "builder.toml");
    lab.configure("");
    let missing = lab.path("nowhere");
    Finished::of(lab.program("builderd").arg("--check").env("BUILDER_SPOOL", &missing))
        .refused(66, "there is no spool");
    Finished::of(lab.program("builderd").args(["--check", "--once"])).refused(64, "--once");
}

#[test]
fn what_can_not_change_while_it_runs_is_named() {
    let lab = Lab::new();
    let manager = Manager::starts(&lab);
    manager.hears_line("READY=1");
    lab.configure("spool = \"/nowhere\"\nsocket = \"/nowhere/socket\"\n");
    for times in 1..=2 {
        manager.reloads();
        for name in ["spool", "socket"] {
            let words = format!("a new `{name}` takes effect when builderd is started anew");
            let said = manager.daemon.said();
            assert_eq!(said.matches(&words).count(), times, "it waits still: {said}");
        }
    }
    assert!(lab.root().join("socket").exists(), "the door is where it was");
}

/// A manager that does not listen, or that can't be reached, keeps nobody from working.
#[test]
fn it_works_as_ever_when_nobody_listens() {
    for name in ["/nowhere/notify", "@nobody-listens-here", "vsock:2:1", ""] {
        let lab = Lab::new();
        let mut command = lab.program("builderd");
        command.env("NOTIFY_SOCKET", name).env("WATCHDOG_USEC", "100000");
        let daemon = Running::start("builderd", &mut command, &lab.path("builderd.log"));
        eventually("it serves", || daemon.said().contains("has read the jobs").then_some(()));
        daemon.terminate();
        assert_eq!(daemon.ended(), 0, "{name}");
    }
}

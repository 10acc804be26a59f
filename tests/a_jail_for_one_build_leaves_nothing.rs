//! `freebsd/builder-jail` on a machine of stand-ins that note each call, in every order of failures and kills.

use harness::{Finished, eventually, make_executable, wait_for};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

struct Machine {
    dir: tempfile::TempDir,
}

const TOOLS: [&str; 9] = ["zfs", "jail", "jls", "jexec", "rctl", "mount", "umount", "lockf", "sleep"];
const SNAPSHOT: &str = "zroot/poudriere/jails/14amd64@builder";
const CLONE: &str = "zroot+builder-jails+a";

impl Machine {
    fn new() -> Machine {
        let machine = Machine { dir: tempfile::tempdir().expect("a directory") };
        for directory in ["bin", "run", "busy", "state/jails", "state/zfs", "state/rules", "keys", "local/etc/builder"]
        {
            std::fs::create_dir_all(machine.path(directory)).expect("a directory");
        }
        for file in ["keys/key", "keys/known_hosts", "calls", "kill"] {
            machine.write(file, "");
        }
        let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
        for tool in TOOLS {
            machine.install(&tests.join("freebsd/machine"), &format!("bin/{tool}"));
        }
        machine.install(&tests.join("../freebsd/builder-jail"), "builder-jail");
        std::fs::copy(tests.join("../freebsd/jail.conf"), machine.path("local/etc/builder/jail.conf")).expect("a copy");
        std::fs::create_dir_all(machine.path("local/libexec/builder")).expect("a directory");
        machine.worker("exit 3");
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).expect("a file");
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    fn install(&self, source: &Path, name: &str) {
        let place = self.dir.path().display().to_string();
        let mut text = std::fs::read_to_string(source).expect("a script");
        for (before, after) in [
            ("%PLACE%", String::new()),
            ("/usr/local/", "/local/".into()),
            ("/var/run", "/run".into()),
            ("root=/$clone", "/root/$clone".into()),
        ] {
            let variable = if before.starts_with("root=") { "root=" } else { "" };
            text = text.replace(before, &format!("{variable}{place}{after}"));
        }
        self.write(name, &text);
        make_executable(&self.path(name));
    }

    /// What builder-run does in the jail.
    fn worker(&self, text: &str) {
        let name = "local/libexec/builder/builder-run";
        self.write(name, &format!("#!/bin/sh\necho \"$@\" > {}\n{text}\n", self.path("worker").display()));
        make_executable(&self.path(name));
    }

    fn start(&self) -> Child {
        let mut command = Command::new("sh");
        command.arg("-c").arg(format!("echo $$ > {}; exec \"$0\" \"$@\"", self.path("pid").display()));
        command.arg(self.path("builder-jail"));
        command.args(["-n", "a", "-s", SNAPSHOT, "-l", "memoryuse:deny=4g", "-l", "maxproc:deny=500", "-k"]);
        command.arg(self.path("keys")).args(["-a", "10.77.0.2", "--", "ssh://builder@server", "--platform", "p"]);
        let path = std::env::var("PATH").expect("a path");
        command.env("PATH", format!("{}:{path}", self.path("bin").display())).stdin(Stdio::null());
        let said = File::options().append(true).create(true).open(self.path("said")).expect("a log");
        command.stdout(said.try_clone().expect("a log")).stderr(said).spawn().expect("builder-jail")
    }

    /// Waits for it, and for the calls that have outlived it.
    fn end(&self, mut child: Child) -> i32 {
        use std::os::unix::process::ExitStatusExt;
        let status = eventually("builder-jail has ended", || child.try_wait().expect("its status"));
        let runs = |call: &String| Path::new("/proc").join(call).exists();
        wait_for("all calls are over", || !names(&self.path("busy")).iter().any(runs));
        status.code().unwrap_or_else(|| 128 + status.signal().expect("a signal"))
    }

    fn run(&self) -> i32 {
        self.end(self.start())
    }

    fn calls(&self) -> Vec<String> {
        self.read("calls").lines().map(str::to_owned).collect()
    }

    /// What is there that should not be.
    fn left(&self) -> String {
        let mut left = Vec::new();
        for place in ["state/jails", "state/zfs", "state/rules", "root/zroot/builder-jails"] {
            left.extend(names(&self.path(place)));
        }
        left.extend(names(&self.path("run")).into_iter().filter(|name| name != "builder_a.lock"));
        left.join(" ") + &self.read("state/mounts")
    }

    /// As it is before anything was done.
    fn forget(&self) {
        for file in ["calls", "fail", "kill", "said"] {
            self.write(file, "");
        }
    }

    /// The next start finds nothing in its way, and leaves nothing.
    fn goes_on(&self, why: &str) {
        self.forget();
        assert_eq!(self.run(), 3, "{why}: {}", self.read("said"));
        assert_eq!(self.left(), "", "{why}: {:?}", self.calls());
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        for jail in names(&self.path("state/jails")) {
            for pid in self.read(&format!("state/jails/{jail}")).lines().filter_map(|line| line.parse().ok()) {
                let _ = kill_process(Pid::from_raw(pid).expect("a process"), Signal::KILL);
            }
        }
    }
}

fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().into_string().expect("UTF-8")).collect()
}

#[test]
fn a_worker_gets_a_jail_and_its_exit_code_passes_on() {
    let machine = Machine::new();
    assert_eq!(machine.run(), 3, "{}", machine.read("said"));
    assert_eq!(
        machine.read("worker"),
        "worker ssh://builder@server --platform p --once --identity /mnt/key --known-hosts /mnt/known_hosts\n"
    );
    assert_eq!(machine.left(), "");
    let calls = machine.calls();
    let at = |words: &str| calls.iter().position(|call| call.contains(words)).unwrap_or_else(|| panic!("no {words}"));
    assert!(at("zfs clone -o builder:worker=a") < at("-c builder_a"));
    assert!(at("-c builder_a") < at("rctl -a jail:builder_a:memoryuse:deny=4g"), "{calls:?}");
    assert!(at("rctl -a jail:builder_a:maxproc:deny=500") < at("jexec -l builder_a"), "limits come first: {calls:?}");
    assert!(at("jexec -l builder_a") < at("-r builder_a") && at("-r builder_a") < at("zfs destroy"), "{calls:?}");
    machine.goes_on("again");
}

#[test]
fn each_step_may_fail_once_or_for_good() {
    let machine = Machine::new();
    // What fails, how often, what comes of it, and whether something is left for the next start.
    for (words, count, code, leaves) in [
        ("lockf", 1, 75, false),
        ("zfs list", 1, 66, false),
        ("zfs clone", 1, 71, false),
        ("jail -f", 1, 71, false),
        ("rctl -a", 1, 71, false),
        ("jexec", 1, 1, false),
        ("zfs destroy", 1, 3, false),
        ("zfs destroy", 99, 3, true),
        ("jls", 1, 3, false),
        ("mount", 1, 3, false),
    ] {
        machine.forget();
        machine.write("fail", &format!("{count} {words}\n"));
        assert_eq!(machine.run(), code, "{words} {count}: {}", machine.read("said"));
        assert_eq!(!machine.left().is_empty(), leaves, "{words} {count}: {}", machine.left());
        machine.goes_on(words);
    }
}

/// A jail that can't be removed in the way in which it was made is removed in the other, and what it mounted as well.
#[test]
fn a_jail_that_will_not_go_is_removed_by_force() {
    let machine = Machine::new();
    machine.worker(&format!("echo '99 jail -f' > {}; exit 3", machine.path("fail").display()));
    assert_eq!(machine.run(), 3, "{}", machine.read("said"));
    assert_eq!(machine.left(), "");
    assert!(machine.calls().iter().any(|call| call.starts_with("jail -R")), "{:?}", machine.calls());
    // Nothing at all goes, and the failure is not taken for the build's success.
    machine.forget();
    let fails = machine.path("fail");
    machine.worker(&format!("echo '99 jail -' > {}; exit 0", fails.display()));
    assert_eq!(machine.run(), 71, "{}", machine.read("said"));
    assert!(machine.read("said").contains("the next start tries it again"), "{}", machine.read("said"));
    assert!(!machine.left().is_empty());
    machine.worker("exit 3");
    machine.goes_on("after force");
}

/// The numbers of the calls of a run that nothing disturbs.
fn undisturbed(machine: &Machine) -> usize {
    machine.goes_on("undisturbed");
    let calls = machine.calls().len();
    assert!(calls > 15, "{:?}", machine.calls());
    calls
}

#[test]
fn told_to_end_at_any_step_it_cleans_up() {
    let machine = Machine::new();
    for step in 1..=undisturbed(&machine) {
        for when in ["before", "after"] {
            machine.forget();
            machine.write("kill", &format!("{step} {when} TERM\n"));
            machine.run();
            assert_eq!(machine.left(), "", "{when} {step}: {:?}\n{}", machine.calls(), machine.read("said"));
        }
    }
    machine.goes_on("at last");
}

#[test]
fn killed_at_any_step_it_leaves_what_the_next_start_removes() {
    let machine = Machine::new();
    let mut left = 0;
    for step in 1..=undisturbed(&machine) {
        for when in ["before", "after"] {
            machine.forget();
            machine.write("kill", &format!("{step} {when} KILL\n"));
            assert_eq!(machine.run(), 137, "{when} {step}: {:?}\n{}", machine.calls(), machine.read("said"));
            left += usize::from(!machine.left().is_empty());
            machine.goes_on(&format!("{when} {step}"));
        }
    }
    assert!(left > 5, "only {left} times was anything left");
}

#[test]
fn a_build_that_is_told_to_end_ends_first() {
    let machine = Machine::new();
    let ended = machine.path("ended");
    machine.worker(&format!("trap 'echo yes > {}; exit 9' TERM; while :; do /bin/sleep 0.05; done", ended.display()));
    let child = machine.start();
    wait_for("the worker runs", || !machine.read("worker").is_empty());
    kill_process(Pid::from_child(&child), Signal::TERM).expect("told to end");
    assert_eq!(machine.end(child), 9, "{}", machine.read("said"));
    assert_eq!((machine.read("ended").as_str(), machine.left().as_str()), ("yes\n", ""));
}

#[test]
fn a_worker_that_a_crash_left_in_its_jail_ends_with_it() {
    let machine = Machine::new();
    machine.worker("exec /bin/sleep 1000");
    let child = machine.start();
    wait_for("the worker runs", || !machine.read("worker").is_empty());
    kill_process(Pid::from_child(&child), Signal::KILL).expect("a crash");
    assert_eq!(machine.end(child), 137);
    let worker: i32 = machine.read("state/jails/builder_a").trim().parse().expect("its number");
    assert!(Path::new(&format!("/proc/{worker}")).exists());
    machine.worker("exit 3");
    machine.goes_on("after a crash");
    let state = std::fs::read_to_string(format!("/proc/{worker}/stat")).unwrap_or_default();
    assert!(state.is_empty() || state.contains(") Z "), "{state}");
}

#[test]
fn two_of_one_name_are_one_too_many() {
    let machine = Machine::new();
    machine.worker("exec /bin/sleep 1000");
    let first = machine.start();
    wait_for("the worker runs", || !machine.read("worker").is_empty());
    let before = machine.left();
    assert_eq!(machine.run(), 75, "{}", machine.read("said"));
    assert!(machine.read("said").contains("builder_a is in use"), "{}", machine.read("said"));
    assert_eq!(machine.left(), before, "the first keeps its jail");
    kill_process(Pid::from_child(&first), Signal::TERM).expect("told to end");
    machine.end(first);
    assert_eq!(machine.left(), "");
    // A number that belongs to somebody else by now is nobody's.
    machine.write("run/builder_a.lock", &format!("{}\n", std::process::id()));
    machine.worker("exit 3");
    machine.goes_on("with a stale number");
}

#[test]
fn what_is_not_ours_is_not_destroyed() {
    let machine = Machine::new();
    machine.write(&format!("state/zfs/{CLONE}"), "-\n");
    assert_eq!(machine.run(), 71);
    assert!(machine.read("said").contains("dataset already exists"), "{}", machine.read("said"));
    assert_eq!(machine.left(), CLONE);
    assert!(!machine.calls().iter().any(|call| call.starts_with("zfs destroy")));
}

#[test]
fn what_is_asked_wrongly_is_said_before_anything_is_touched() {
    let machine = Machine::new();
    let keys = machine.path("keys");
    let keys = keys.to_str().expect("UTF-8");
    for (words, code, text) in [
        (vec!["-n", "a/b", "-s", SNAPSHOT, "-k", keys, "--", "s"], 64, "letters, digits"),
        (vec!["-s", SNAPSHOT, "-k", keys, "--", "s"], 64, "letters, digits"),
        (vec!["-n", "a", "-s", "pool", "-k", keys, "--", "s"], 64, "-s SNAPSHOT is like"),
        (vec!["-n", "a", "-s", SNAPSHOT, "-k", "/nowhere", "--", "s"], 66, "there is no /nowhere/key"),
        (vec!["-n", "a", "-s", SNAPSHOT, "-k", "a\"; b", "--", "s"], 64, "letters, digits"),
        (vec!["-n", "a", "-s", SNAPSHOT, "-k", keys], 64, "the server"),
    ] {
        let mut command = Command::new(machine.path("builder-jail"));
        Finished::of(command.args(&words).env("PATH", machine.path("bin"))).refused(code, text);
    }
    assert_eq!(machine.calls(), Vec::<String>::new());
    assert_eq!(machine.left(), "");
}

//! `/var/lib/builder` may be a symlink to a larger disk: whoever opens the spool by that name has the same spool, and what is written
//! down for later keeps the name.

use harness::{Finished, Lab, PLATFORM, Running, is_superuser, wait_for};
use spool::record::Outcome;
use std::path::{Path, PathBuf};

/// A spool elsewhere, and the name that leads there.
struct Moved {
    lab: Lab,
    name: PathBuf,
}

impl Moved {
    /// It was made by its name.
    fn new() -> Moved {
        let lab = Lab::new();
        let (name, disk) = (lab.path("name"), lab.path("disk"));
        std::fs::create_dir(&disk).expect("a directory");
        std::os::unix::fs::symlink(&disk, &name).expect("a symlink");
        let moved = Moved { lab, name };
        let made = moved.says(&["init"]);
        assert_eq!(made.code, 0, "{made:?}");
        moved
    }

    fn name(&self) -> &str {
        self.name.to_str().expect("UTF-8")
    }

    fn says(&self, words: &[&str]) -> Finished {
        Finished::of(self.lab.program("builder").env("BUILDER_SPOOL", &self.name).args(words))
    }

    fn ok(&self, words: &[&str]) -> String {
        let said = self.says(words);
        assert_eq!(said.code, 0, "{words:?}: {said:?}");
        said.stdout
    }

    /// A job that leaves more than is synced one by one.
    fn add(&self, name: &str) -> String {
        let script = self.lab.script("job.sh", "for n in 1 2 3 4 5 6 7 8 9 10; do echo $n >$n; done\n");
        self.ok(&["add", name, script.to_str().expect("UTF-8"), "--platform", PLATFORM]);
        self.ok(&["run", name]).trim().to_owned()
    }

    /// Waits until a build is over, and well.
    fn is_built(&self, id: &str, by: &Running) {
        let spool = spool::Spool::open(&self.name).expect("the spool");
        wait_for("it is over", || {
            spool.resolve(id).is_ok_and(|build| matches!(build.place, spool::place::Place::Ended(_)))
        });
        let result = spool.resolve(id).expect("the build").result().expect("readable").expect("a result");
        assert_eq!((result.outcome, result.artifacts), (Outcome::Exited { code: 0 }, 10), "{}", by.said());
    }
}

#[test]
fn it_is_made_added_to_drained_and_built_from_by_that_name() {
    let moved = Moved::new();
    assert!(moved.says(&["init"]).code == 0, "said again it changes nothing");
    moved.ok(&["drain"]);
    let id = moved.add("job");
    moved.ok(&["drain", "--off"]);
    let mut daemon = moved.lab.program("builderd");
    let daemon = Running::start("builderd", daemon.env("BUILDER_SPOOL", &moved.name), &moved.lab.path("builderd.log"));
    wait_for("builderd serves", || daemon.said().contains(" serves "));
    let mut worker = moved.lab.program("builder-run");
    worker.args(["worker", "--platform", PLATFORM, "--name", "w", "--local"]).arg(&moved.name).arg("--work");
    let worker = Running::start("w", worker.arg(moved.lab.path("work")), &moved.lab.path("w.log"));
    moved.is_built(&id, &worker);
    let twice = Finished::of(moved.lab.program("builderd").arg("--once").arg("--spool").arg(moved.lab.path("disk")));
    twice.refused(75, "another builderd serves");
    daemon.terminate();
    assert_eq!(daemon.ended(), 0);
    moved.ok(&["check", "--deep"]);
    moved.ok(&["rm", "job"]);
}

#[test]
fn workers_come_in_by_that_name_and_the_doctor_agrees() {
    let moved = Moved::new();
    let keys = moved.name.join(".ssh/authorized_keys");
    let sshd = moved.lab.sshd();
    let before = std::fs::read_to_string(sshd.config()).expect("a configuration");
    let there = moved.lab.spool.layout().authorized_keys();
    let with = before.replace(there.to_str().expect("UTF-8"), keys.to_str().expect("UTF-8"));
    assert_ne!(with, before);
    std::fs::write(sshd.config(), with).expect("a configuration");
    let mut sshd = sshd;
    sshd.stop();
    sshd.start(&moved.lab);
    let key = moved.lab.key("w");
    let public = key.with_extension("pub");
    moved.ok(&["worker", "add", "w", public.to_str().expect("UTF-8"), "--platform", PLATFORM]);
    let line = std::fs::read_to_string(&keys).expect("the keys");
    assert!(
        line.contains(&format!("serve --spool {} --worker w", moved.name())),
        "the name may lead elsewhere: {line}"
    );
    let asked = Finished::of(moved.lab.program("builder-run").args(["authorized-keys", "--spool", moved.name()]));
    assert!(asked.stdout.contains(&format!("serve --spool {} --worker w", moved.name())), "{asked:?}");
    let id = moved.add("job");
    let worker = sshd.worker(&moved.lab, "w", &key, &[]);
    moved.is_built(&id, &worker);
    if is_superuser() {
        let found = moved.says(&["doctor", "--sshd-config", sshd.config().to_str().expect("UTF-8")]);
        assert!(found.stdout.contains("ok    sshd reads the workers' keys from"), "{found:?}");
    }
}

/// The place of the socket is that of the spool that builder.toml names, by whichever name it is opened.
#[test]
fn a_socket_that_is_configured_is_found_by_either_name() {
    let moved = Moved::new();
    let disk = moved.lab.path("disk");
    let config = moved.lab.path("by.name.toml");
    std::fs::write(&config, format!("spool = {:?}\nsocket = \"/run/s\"\n", moved.name())).expect("settings");
    let read = spool::config::Config::read(Some(&config)).expect("settings");
    assert_eq!(read.socket(&disk), Path::new("/run/s"));
    assert_eq!(read.socket(&moved.name), Path::new("/run/s"));
    assert_eq!(read.socket(moved.lab.root()), moved.lab.root().join("socket"), "of another spool");
}

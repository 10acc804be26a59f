//! Both ends notice that the other one is out of reach, without being told by anybody: no packet comes, and no
//! connection is closed. The documented times are protocol.md's: a worker gives its server half of the grace time, a
//! server gives its worker all of it.

use harness::{Lab, Network, Running, Sshd, Weather, eventually, wait_for};
use spool::place::Place;
use spool::record::Outcome;

struct Field {
    network: Network,
    lab: Lab,
    _daemon: Running,
    sshd: Sshd,
}

impl Field {
    /// Nothing where this system has no network namespaces.
    fn new(grace_seconds: u32) -> Option<Field> {
        if !harness::is_superuser() {
            return None;
        }
        let network = Network::new()?;
        let lab = Lab::new();
        let text = std::fs::read_to_string(lab.config()).expect("the configuration");
        let text = text.replace("grace_seconds = 2", &format!("grace_seconds = {grace_seconds}"));
        std::fs::write(lab.config(), text).expect("the configuration");
        let sshd = lab.sshd_in(&network);
        Some(Field { _daemon: lab.daemon(), network, lab, sshd })
    }

    /// A worker on the other host that runs this script, once it has printed `begun`.
    fn begin(&self, script: &str) -> (String, Running) {
        let key = self.lab.add_worker("w0");
        self.lab.job("job", script);
        let id = self.lab.run("job");
        let worker = self.sshd.worker_in(&self.network, &self.lab, "w0", &key, &[]);
        wait_for("the script has begun", || self.lab.ok(&["log", &id]).contains("begun"));
        (id, worker)
    }

    /// A script that begins, waits for a file, and prints 2,000 lines.
    fn in_two_parts(&self) -> (String, String) {
        let wait = format!("while [ ! -e {} ]; do sleep 0.05; done", self.lab.path("go").display());
        let expected = format!("begun\n{}", (1..=2000).map(|n| format!("{n}\n")).collect::<String>());
        (format!("echo begun; {wait}; seq 2000; echo made > made"), expected)
    }

    fn go(&self) {
        std::fs::write(self.lab.path("go"), "").expect("a file");
    }

    fn whole(&self, id: &str, worker: Running, expected: &str) {
        let build = self.lab.finished(id);
        let result = build.result().expect("readable").expect("there");
        assert_eq!((result.outcome, result.artifacts), (Outcome::Exited { code: 0 }, 1), "{}", worker.said());
        assert!(build.attempts().expect("attempts").list.is_empty(), "{}", worker.said());
        assert_eq!(self.lab.ok(&["log", id]), expected);
        self.lab.check();
        assert_eq!(worker.ended(), 0);
    }
}

#[test]
fn the_cable_is_pulled_and_the_build_goes_on_when_it_is_back() {
    let Some(field) = Field::new(20) else { return };
    let (script, expected) = field.in_two_parts();
    let (id, worker) = field.begin(&script);
    field.network.connected(false);
    field.go();
    wait_for("the worker notices", || worker.said().contains("the server was silent"));
    wait_for("it tries", || worker.said().contains("trying again"));
    field.network.connected(true);
    field.whole(&id, worker, &expected);
}

#[test]
fn the_servers_link_goes_down_and_comes_back() {
    let Some(field) = Field::new(20) else { return };
    let (script, expected) = field.in_two_parts();
    let (id, worker) = field.begin(&script);
    field.network.link(false);
    field.go();
    wait_for("the worker notices", || worker.said().contains("the connection is lost"));
    field.network.link(true);
    field.whole(&id, worker, &expected);
}

#[test]
fn a_worker_out_of_reach_loses_its_build_after_the_grace_time() {
    let Some(field) = Field::new(3) else { return };
    let (script, _) = field.in_two_parts();
    let (id, worker) = field.begin(&script);
    field.network.connected(false);
    let said = eventually("it is shown as silent", || {
        let said = field.lab.ok(&["ls"]);
        said.contains("silent").then_some(said)
    });
    assert!(said.contains("left"), "{said}");
    wait_for("it is queued again", || matches!(field.lab.build(&id).place, Place::Queued(_)));
    assert_eq!(field.lab.build(&id).attempts().expect("attempts").list.len(), 1);
    field.network.connected(true);
    wait_for("the worker is told", || worker.said().contains("was taken from this worker"));
    assert_eq!(worker.ended(), 75);
    field.lab.check();
}

#[test]
fn packets_are_lost_and_late_and_nothing_else_is() {
    let Some(field) = Field::new(60) else { return };
    let script = "echo begun; seq 20000; head -c 2000000 /dev/urandom > made";
    field.network.weather(Weather { lost: 3, doubled: 1, delay: 20, jitter: 15 });
    let (id, worker) = field.begin(script);
    let expected = format!("begun\n{}", (1..=20000).map(|n| format!("{n}\n")).collect::<String>());
    field.whole(&id, worker, &expected);
}

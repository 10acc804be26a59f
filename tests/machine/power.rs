//! The machine is cut off, and boots again from the disk as it is then.

use super::Machine;
use crate::installed::{a_long_one, job, worker};
use harness::debian::System;
use harness::{Running, wait_for};

/// What was acknowledged by then is there, the spool is whole, and the build that ran is built again.
pub fn is_cut(machine: &mut Machine) {
    worker(machine, "power", "localhost");
    machine.ok(
        "sed -i 's/^OPTIONS=.*/& --keep/' /etc/builder/workers/power.env; systemctl enable --now builder-worker@power",
    );
    job(machine, "power-long", "debian-12", "echo begun; until [ -e /run/go ]; do sleep 0.1; done");
    let long = a_long_one(machine, "power-long");
    // Each line is said after what it says was acknowledged.
    let busy = "exec 2>/dev/null; i=0; while i=$((i + 1)); do
            builder add power-$i hello.sh --platform power --every never >/dev/null && echo added power-$i
            id=$(builder run power-$i) && echo queued $id; builder watch $id >/dev/null 2>&1 && echo built $id
        done";
    let place = tempfile::tempdir().expect("a directory");
    let busy = Running::start("ssh", &mut machine.command(busy), &place.path().join("log"));
    wait_for("some builds are over", || busy.said().lines().filter(|line| line.starts_with("built ")).count() >= 20);
    machine.cut();
    let said = busy.said();
    drop(busy);

    machine.boot();
    machine.waits("systemctl is-active builderd builder-worker@jail1 builder-worker@power");
    machine.waits("journalctl --boot --unit builderd | grep 'has read the jobs'");
    machine.ok("builder check --deep");
    let whole = &said[..=said.rfind('\n').expect("a line")];
    for line in whole.lines() {
        let (what, name) = line.split_once(' ').expect(line);
        match what {
            "added" => machine.ok(&format!("test -e /var/lib/builder/jobs/{name}.toml")),
            "queued" => machine.ok(&format!("builder show {name}")),
            "built" => {
                machine.ok(&format!("grep -qx 'hello, world' /var/lib/builder/done/*/{name}/artifacts/greeting"))
            }
            other => panic!("{other}"),
        };
    }
    machine.waits(&format!("test -e /var/lib/builder/active/{long}/attempts.toml"));
    machine.ok("touch /run/go");
    machine.waits(&format!("builder show {long} | grep 'exited 0'"));
    let queued = whole.lines().filter_map(|line| line.strip_prefix("queued ")).next_back().expect("a build");
    machine.waits(&format!("builder show {queued} | grep 'exited 0'"));
    machine.ok("builder check --deep; systemctl disable --now builder-worker@power");
}

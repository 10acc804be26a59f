//! `--memory`, `--cpus` and `--tasks`, by the unit of the package and its real cgroup.

use super::Machine;
use crate::installed::{a_long_one, built, job, worker};
use harness::debian::System;

const LIMITS: &str = "--memory 64MB --tasks 20 --cpus 0.5";

/// In both kinds of sandboxes: what takes too much is ended or held, says so, and takes nobody else along.
pub fn are_kept(machine: &mut Machine) {
    // Debian lets root alone into /var/lib/machines.
    machine.ok("mkdir -p /srv/root; mount --bind /var/lib/machines/debian-12 /srv/root");
    worker(machine, "bwrap", "localhost");
    machine.ok(&format!(
        "sed -i 's|^OPTIONS=.*|& --sandbox bwrap --root /srv/root {LIMITS} --keep|' /etc/builder/workers/bwrap.env
         systemctl start builder-worker@bwrap"
    ));
    keeps(machine, "bwrap", "builder-worker@bwrap");

    worker(machine, "nspawn", "localhost");
    machine.ok(&format!(
        "systemd-run --quiet --unit=as-root -p Delegate=yes /usr/libexec/builder/builder-run worker ssh://builder@localhost \
         --identity /etc/builder/workers/nspawn.key --known-hosts /etc/builder/workers/known_hosts --keep \
         --platform nspawn --sandbox nspawn --root /srv/root {LIMITS}"
    ));
    keeps(machine, "nspawn", "as-root");
    machine.ok("umount /srv/root");
}

fn keeps(machine: &Machine, kind: &str, unit: &str) {
    let pid = machine.pid(unit);
    let named = |what: &str| format!("{kind}-{what}");
    job(machine, &named("greedy"), kind, "echo begun; tail /dev/zero");
    job(
        machine,
        &named("bomb"),
        kind,
        "b() { b | b & }; b 2>/dev/null; sleep 2; echo held; for i in $(seq 30); do sleep 60 & done",
    );
    job(machine, &named("busy"), kind, "echo begun; while :; do :; done");
    job(machine, &named("fine"), kind, "echo fine");

    let said = built(machine, &named("greedy"));
    assert!(said.contains("begun") && said.contains("signalled 9"), "{said}");
    let said = built(machine, &named("bomb"));
    assert!(said.contains("Cannot fork") && said.contains("exited 2"), "{said}");

    let id = a_long_one(machine, &named("busy"));
    let cgroup = format!("d=$(find /sys/fs/cgroup -type d -path '*/{unit}.service/build'); cat");
    let limits = machine.ok(&format!("{cgroup} $d/cpu.max $d/memory.max $d/memory.swap.max $d/pids.max"));
    assert_eq!(limits, "50000 100000\n64000000\n0\n20");
    machine.waits(&format!("{cgroup} $d/cpu.stat | grep 'nr_throttled [1-9]'"));
    machine.ok(&format!("builder cancel {id}"));

    let said = built(machine, &named("fine"));
    assert!(said.contains("exited 0"), "{said}");
    assert_eq!(machine.pid(unit), pid, "the worker has gone on");
    machine.ok(&format!("test $(builder history {} | grep -c {kind}) = 1", named("greedy")));
    // Before it waits for the next one, the worker tries the sandbox.
    machine.waits(&format!("test -z \"$(find /sys/fs/cgroup -type d -path '*/{unit}.service/build')\""));
    machine.ok(&format!("systemctl stop {unit}"));
}

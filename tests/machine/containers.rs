//! `builder-worker-docker@` and `builder-worker-podman@`, with the real programs.

use super::Machine;
use crate::installed::{a_long_one, built, job, nothing, worker};
use harness::debian::System;

/// An image with ssh(1) in it, made of a directory, without what no build of these needs.
pub fn image(machine: &Machine, program: &str) {
    machine.ok(&format!(
        "{program} image inspect localhost/debian-12-ssh >/dev/null 2>&1 ||
             tar -C /var/lib/machines/debian-12 -c --exclude=./usr/share --exclude=./var/lib --exclude=./var/cache \
                 --exclude=./usr/lib/systemd --exclude='./usr/lib/*/perl*' --exclude='./usr/lib/*/gconv' . |
             {program} import - localhost/debian-12-ssh"
    ));
}

/// What a build leaves in its container is gone with it; the next one has another; and a build whose unit is stopped, or whose
/// container is killed, goes back into its queue.
pub fn of(machine: &Machine, program: &str) {
    image(machine, program);
    worker(machine, program, gateway(program));
    machine.ok(&format!("echo IMAGE=localhost/debian-12-ssh >> /etc/builder/workers/{program}.env"));
    let mark = "echo in $(uname -n); ls -d /.dockerenv /run/.containerenv; cat /mark && exit 1; set -e; echo x > /mark; test ! -e /etc/builder";
    job(machine, &format!("{program}-mark"), program, mark);
    job(machine, &format!("{program}-long"), program, "echo begun; sleep 1000");
    machine.ok(&format!("systemctl start builder-worker-{program}@{program}"));
    let env = if program == "docker" { "/.dockerenv" } else { "/run/.containerenv" };
    let said = [(), ()].map(|()| built(machine, &format!("{program}-mark")));
    let hosts: Vec<&str> =
        said.iter().map(|said| said.lines().find(|line| line.starts_with("in ")).expect(said)).collect();
    assert_ne!(hosts[0], hosts[1], "one container for each build");
    for said in &said {
        assert!(said.contains("exited 0") && said.contains("/mark: No such file"), "{said}");
        assert!(said.lines().any(|line| line == env), "{said}");
    }

    let id = a_long_one(machine, &format!("{program}-long"));
    machine.ok(&format!("systemctl stop builder-worker-{program}@{program}"));
    machine.waits(&format!("test -d /var/lib/builder/new/{program}/*{id}"));
    machine.ok(&format!(
        "test \"$(systemctl show --property=Result --value builder-worker-{program}@{program})\" = success"
    ));
    none_is_left(machine, program);

    machine.ok(&format!("systemctl start builder-worker-{program}@{program}"));
    machine.waits(&format!("grep begun /var/lib/builder/active/{id}/console.log"));
    machine.ok(&format!("systemctl kill --kill-whom=main --signal=KILL builder-worker-{program}@{program}"));
    machine.waits(&format!(
        "test $(systemctl show --property=NRestarts --value builder-worker-{program}@{program}) -gt 0"
    ));
    machine.waits(&format!("test $({program} ps --quiet | wc -l) = 1"));
    machine.ok(&format!("builder cancel {program}-long; systemctl stop builder-worker-{program}@{program}"));
    none_is_left(machine, program);
}

fn none_is_left(machine: &Machine, program: &str) {
    nothing(machine, &format!("{program} ps --all --quiet"));
    nothing(machine, "pgrep -f 'worker.*/run/builder/ke[y]'");
}

/// Where a container finds this machine, in the network that the program makes.
fn gateway(program: &str) -> &'static str {
    match program {
        "docker" => "172.17.0.1",
        _ => "10.88.0.1",
    }
}

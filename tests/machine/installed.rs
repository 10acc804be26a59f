//! The README's section "Installation", line by line, and what later steps build on.

use super::Machine;
use harness::debian::{System, installation, package};

/// The package, a worker, and a build of a job; all that was started is as systemd and sshd want it.
pub fn by_the_readme(machine: &mut Machine) {
    let [_, install, worker, job, _] = installation();
    machine.put(&package());
    assert_eq!(follow(machine, &install).last().map(String::as_str), Some("active"));
    machine.ok("systemctl is-enabled builderd; test -s /var/lib/builder/.ssh/builder-server");
    follow(machine, &worker);
    let said = follow(machine, &job);
    assert!(said[3].contains("by worker jail1") && said[3].contains("exited 0"), "{said:?}");
    assert!(said[4].contains("was given out") && said[4].contains("is over: exited 0"), "{said:?}");
    assert_eq!(machine.ok("systemctl --failed --plain --no-legend | grep builder || :"), "");
}

/// The last line of the section; then the spool is as it was, and nothing else is.
pub fn is_purged(machine: &mut Machine) {
    let [.., purge] = installation();
    let contents = "cd /var/lib/builder; find done failed jobs store -type f | sort | xargs sha256sum";
    let before = machine.ok(contents);
    follow(machine, &purge);
    assert_eq!(machine.ok(contents), before);
    machine.ok("sshd -t");
    for left in [
        "systemctl list-units --plain --no-legend 'builder*'",
        "ls /etc/systemd/system/*.wants | grep builder",
        "sshd -T -C user=builder,host=a,addr=::1 | grep libexec/builder",
        "pgrep -l builder",
    ] {
        nothing(machine, left);
    }
}

/// A line prints nothing, whatever it exits with.
pub fn nothing(machine: &Machine, line: &str) {
    assert_eq!(machine.ok(&format!("{line} || :")), "", "{line}");
}

fn follow(machine: &Machine, lines: &[&str]) -> Vec<String> {
    lines.iter().map(|line| machine.ok(line)).collect()
}

/// Sets a worker up as the README says, for a platform of its own, with the server under this name.
pub fn worker(machine: &Machine, name: &str, server: &str) {
    machine.ok(&format!(
        "builder setup worker ssh://builder@{server} --name {name} --platform {name} --host-key \"$(cat /etc/ssh/ssh_host_ed25519_key.pub)\"
         builder worker add {name} --platform {name} < /etc/builder/workers/{name}.key.pub"
    ));
}

/// A job for builds of this name's worker.
pub fn job(machine: &Machine, name: &str, platform: &str, script: &str) {
    machine.ok(&format!(
        "cat > {name}.sh <<'END'\n#!/bin/sh\n{script}\nEND\nbuilder add {name} {name}.sh --platform {platform} --every never"
    ));
}

/// Builds it now. Returns what `run`, `log` and `show` say of it.
pub fn built(machine: &Machine, name: &str) -> String {
    machine.ok(&format!("builder run {name} --wait 2>&1 || :; builder log {name}; builder show {name}"))
}

/// Starts a build that ends when /run/go is there. Returns its id.
pub fn a_long_one(machine: &Machine, name: &str) -> String {
    let id = machine.ok(&format!("builder run {name}"));
    machine.waits(&format!("grep begun /var/lib/builder/active/{id}/console.log"));
    id
}

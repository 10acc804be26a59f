//! on-a-machine [STEP...] - what containers can't show, on a computer of its own that qemu makes: a Debian with systemd as its first
//! process and cgroups of version 2, with real docker, podman and Slurm, which the package is installed on as the README says.
//!
//! Says each step and its seconds, or what is not as documented; then it exits with 1. Without STEP it takes all. It
//! needs the superuser, qemu-system-x86 and mmdebstrap, 4 GB of disk, and the network for the first time.

mod containers;
mod doctor;
mod installed;
mod launches;
mod limits;
mod power;
mod qemu;

use harness::debian::System;
use qemu::Machine;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Instant;

type Step = fn(&mut Machine);

/// In this order; the last one takes the package away.
const STEPS: [(&str, &str, Step); 8] = [
    ("doctor", "builder doctor finds all well, and names what is broken", doctor::names_it),
    ("docker", "each build has a container of docker, and leaves none", |machine| containers::of(machine, "docker")),
    ("podman", "each build has a container of podman, and leaves none", |machine| containers::of(machine, "podman")),
    ("limits", "memory, processors and processes are limited, for each build", limits::are_kept),
    ("slurm", "the packaged builderd launches workers by Slurm", launches::by_slurm),
    ("launch-docker", "the packaged builderd launches workers by docker", launches::by_docker),
    ("power", "the machine is cut off in the midst of builds, and nothing is lost", power::is_cut),
    ("purge", "a purge leaves the spool", installed::is_purged),
];

fn main() -> ExitCode {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    if let Some(other) = wanted.iter().find(|wanted| STEPS.iter().all(|(name, ..)| name != wanted)) {
        let names: Vec<&str> = STEPS.iter().map(|(name, ..)| *name).collect();
        eprintln!("on-a-machine: there is no step `{other}`; there are {}", names.join(", "));
        return ExitCode::from(64);
    }
    let begun = Instant::now();
    let mut machine = Machine::boots();
    println!("{}", machine.ok(&format!("date -u +%F; {VERSIONS}")));
    say(begun, "it boots");
    let mut is_well =
        carries_out(&mut machine, "the README's section Installation does what it says", installed::by_the_readme);
    for (name, what, step) in STEPS {
        if wanted.is_empty() || wanted.iter().any(|wanted| wanted == name) {
            is_well &= carries_out(&mut machine, what, step);
        }
    }
    say(begun, if is_well { "in all" } else { "in all: something is not as documented" });
    ExitCode::from(u8::from(!is_well))
}

const VERSIONS: &str = r#"echo "Linux $(uname -r), $(systemctl --version | head -n 1)"; docker --version; podman --version; slurmd -V; ssh -V 2>&1
    test "$(stat -f -c %T /sys/fs/cgroup)" = cgroup2fs"#;

/// Whether a step is as documented; what is not has been said.
fn carries_out(machine: &mut Machine, what: &str, step: Step) -> bool {
    let begun = Instant::now();
    let is_well = catch_unwind(AssertUnwindSafe(|| step(machine))).is_ok();
    say(begun, if is_well { what.to_owned() } else { format!("NOT SO: {what}") });
    is_well
}

fn say(begun: Instant, what: impl AsRef<str>) {
    println!("{:>5.0} s  {}", begun.elapsed().as_secs_f64(), what.as_ref());
}

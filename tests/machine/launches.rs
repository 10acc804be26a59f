//! Workers that the packaged builderd launches, with the settings and drop-ins that README.md and builderd(8) have.

use super::Machine;
use crate::containers::image;
use crate::installed::{built, job};
use harness::debian::System;

const README: &str = include_str!("../../README.md");
const MANUAL: &str = include_str!("../../man/builderd.8");

/// A real Slurm: one that waits becomes a job of it, whose worker builds it and is gone.
pub fn by_slurm(machine: &mut Machine) {
    machine.ok(&format!(
        "cat > /etc/slurm/slurm.conf <<'END'\n{CLUSTER}END
         systemctl restart munge slurmctld slurmd"
    ));
    machine.waits("sinfo --noheader --format=%T | grep -x idle");
    let blocks = README.split("```text\n").skip_while(|block| !block.starts_with("for n in")).take(2);
    let keys: String = blocks.map(|block| block.split("```").next().expect("a block")).collect();
    let keys = keys.replace("seq 8", "seq 2").replace("debian-12", "slurm");
    machine.ok(&format!("cp /etc/builder/workers/known_hosts .\n{keys}"));
    are_built(machine, "slurm", "slurm", "PrivateNetwork", "ssh://builder@localhost --partition=build");
    machine.waits("! squeue --noheader | grep .");
    machine.ok("systemctl stop slurmd slurmctld munge");
}

/// A real docker: a container for each build, which is gone after it.
pub fn by_docker(machine: &mut Machine) {
    image(machine, "docker");
    machine.ok("for n in 1 2; do
            d=/etc/builder/workers/docker-$n; mkdir $d; ssh-keygen -q -t ed25519 -N '' -f $d/key
            echo \"172.17.0.1 $(cat /etc/ssh/ssh_host_ed25519_key.pub)\" > $d/known_hosts
            builder worker add docker-$n --platform launched < $d/key.pub
         done");
    let more = "--volume=/usr/libexec/builder/builder-run:/usr/libexec/builder/builder-run:ro --memory=512m";
    let words = format!("ssh://builder@172.17.0.1 localhost/debian-12-ssh {more}");
    are_built(machine, "launched", "docker", "SupplementaryGroups", &words);
    machine.waits("! docker ps --all --quiet | grep .");
}

/// With a launch and the drop-in that has this word, two builds that wait are built.
fn are_built(machine: &Machine, platform: &str, launch: &str, word: &str, words: &str) {
    let mut drop_ins = MANUAL.split("[Service]\n").skip(1).map(|block| block.split(".Ed").next().expect("a block"));
    let drop_in = drop_ins.find(|block| block.starts_with(word)).expect("a drop-in");
    machine.ok(&format!(
        "mkdir -p /etc/systemd/system/builderd.service.d
         printf '[Service]\\n%s' '{drop_in}' > /etc/systemd/system/builderd.service.d/override.conf
         cp /etc/builder/builder.toml .; cat >> /etc/builder/builder.toml <<'END'
[launch.{platform}]
command = \"/usr/share/builder/launch/{launch} {words}\"
worker = \"{launch}\"
limit = 2
END
         systemctl daemon-reload; systemctl restart builderd"
    ));
    job(machine, launch, platform, "echo as $(id -un); echo $BUILDER_PLATFORM > made");
    for _ in 0..2 {
        let said = built(machine, launch);
        assert!(
            said.contains("exited 0") && said.contains(&format!("by worker {launch}-")),
            "{said}\n{}",
            machine.log()
        );
    }
    let said = machine.ok("journalctl --no-pager --unit builderd --grep 'launch' --lines 20");
    assert!(!said.contains("fail"), "{said}");
    machine.ok("cp builder.toml /etc/builder; rm -r /etc/systemd/system/builderd.service.d
         systemctl daemon-reload; systemctl restart builderd");
}

const CLUSTER: &str = "\
ClusterName=lab
SlurmctldHost=machine(127.0.0.1)
SlurmUser=slurm
AuthType=auth/munge
StateSaveLocation=/var/lib/slurm/slurmctld
SlurmdSpoolDir=/var/lib/slurm/slurmd
SlurmctldPidFile=/run/slurmctld.pid
SlurmdPidFile=/run/slurmd.pid
ProctrackType=proctrack/linuxproc
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
TaskPlugin=task/none
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
NodeName=machine NodeAddr=127.0.0.1 CPUs=2 RealMemory=1000 State=UNKNOWN
PartitionName=build Nodes=ALL Default=YES MaxTime=INFINITE State=UP
";

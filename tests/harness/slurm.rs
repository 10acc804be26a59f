//! A real Slurm on this machine: its controller, one node, and munge, on loopback and in the lab's directory.

use crate::Lab;
use crate::process::{Finished, Running, wait_for};
use crate::sshd::free_port;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A cluster of one node with eight processors. Its processes go with it; nothing is said to any other Slurm.
pub struct Slurm {
    conf: PathBuf,
    _processes: Vec<Running>,
}

impl Lab {
    /// Starts a Slurm, as the superuser.
    pub fn slurm(&self) -> Slurm {
        for program in ["/usr/sbin/munged", "/usr/sbin/slurmctld", "/usr/sbin/slurmd", "/usr/bin/sbatch"] {
            assert!(Path::new(program).exists(), "{program} is missing: install the packages slurm-wlm and munge");
        }
        let dir = self.path("cluster");
        for name in ["", "state", "node"] {
            std::fs::create_dir_all(dir.join(name)).expect("a directory");
        }
        let slurm = Slurm { conf: dir.join("slurm.conf"), _processes: Vec::new() };
        std::fs::write(&slurm.conf, configuration(&dir)).expect("Slurm's configuration");
        std::fs::write(dir.join("plugstack.conf"), "").expect("no plug-ins");
        let munge = self.munge(&dir);
        let start = |name: &str| {
            let mut command = Command::new(format!("/usr/sbin/{name}"));
            command.arg("-D").arg("-f").arg(&slurm.conf).env("SLURM_CONF", &slurm.conf);
            Running::start(name, &mut command, &dir.join(format!("{name}.log")))
        };
        let slurm = Slurm { _processes: vec![start("slurmd"), start("slurmctld"), munge], conf: slurm.conf.clone() };
        wait_for("the node is idle", || slurm.says("sinfo", &["--noheader", "--format=%T"]) == "idle\n");
        slurm
    }

    fn munge(&self, dir: &Path) -> Running {
        let key = dir.join("munge.key");
        let mut options = std::fs::File::options();
        std::os::unix::fs::OpenOptionsExt::mode(options.write(true).create_new(true), 0o600);
        let mut file = options.open(&key).expect("a key");
        std::io::Write::write_all(&mut file, &[7; 128]).expect("a key");
        let mut command = Command::new("/usr/sbin/munged");
        command.args(["--foreground", "--force", "--num-threads=2"]);
        for (option, name) in [("key-file", "munge.key"), ("socket", "munge.socket"), ("pid-file", "munge.pid")]
            .into_iter()
            .chain([("seed-file", "munge.seed"), ("log-file", "munge.log")])
        {
            command.arg(format!("--{option}={}", dir.join(name).display()));
        }
        let munge = Running::start("munged", &mut command, &dir.join("munged.log"));
        wait_for("munge answers", || dir.join("munge.socket").exists());
        munge
    }
}

impl Slurm {
    /// Its configuration, for `SLURM_CONF`.
    pub fn conf(&self) -> &Path {
        &self.conf
    }

    /// What one of its commands prints; nothing when it fails.
    pub fn says(&self, command: &str, words: &[&str]) -> String {
        Finished::of(Command::new(command).args(words).env("SLURM_CONF", &self.conf)).stdout
    }
}

/// No cgroups and no accounting: a container has neither. The node's name is this machine's, or slurmd takes it for another.
fn configuration(dir: &Path) -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").expect("a name");
    let host = host.trim().split('.').next().unwrap_or_default().to_owned();
    let (controller, node, dir) = (free_port(), free_port(), dir.display());
    format!(
        "ClusterName=lab\nSlurmctldHost={host}(127.0.0.1)\nSlurmUser=root\nSlurmdUser=root\n\
         AuthType=auth/munge\nAuthInfo=socket={dir}/munge.socket\nCredType=cred/munge\n\
         SlurmctldPort={controller}\nSlurmdPort={node}\nSlurmctldPidFile={dir}/slurmctld.pid\nSlurmdPidFile={dir}/slurmd.pid\n\
         StateSaveLocation={dir}/state\nSlurmdSpoolDir={dir}/node\nPlugStackConfig={dir}/plugstack.conf\n\
         ProctrackType=proctrack/linuxproc\nTaskPlugin=task/none\nJobAcctGatherType=jobacct_gather/none\n\
         AccountingStorageType=accounting_storage/none\nMpiDefault=none\nReturnToService=2\n\
         SelectType=select/cons_tres\nSelectTypeParameters=CR_CPU\nSchedulerType=sched/builtin\n\
         SchedulerParameters=batch_sched_delay=0\nSlurmdParameters=config_overrides\n\
         NodeName={host} NodeAddr=127.0.0.1 CPUs=8 RealMemory=100 State=UNKNOWN\n\
         PartitionName=build Nodes=ALL Default=YES MaxTime=INFINITE State=UP\n"
    )
}

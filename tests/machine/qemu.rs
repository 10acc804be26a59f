//! A computer that qemu makes: it boots as one does, and can be cut off.

use harness::debian::{System, as_root};
use harness::{Finished, Running};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// A machine that runs. Its disk is a copy, which goes with it.
pub struct Machine {
    files: PathBuf,
    place: tempfile::TempDir,
    port: u16,
    qemu: Option<Running>,
}

impl Machine {
    /// Makes one, if that has not been done, and boots it.
    pub fn boots() -> Machine {
        let made = Finished::of(&mut Command::new(repository().join("tools/debian-machine")));
        assert_eq!(made.code, 0, "{made:?}");
        let files = PathBuf::from(made.stdout.trim());
        let place = tempfile::tempdir_in(files.parent().expect("a directory")).expect("a directory");
        let copy = Finished::of(Command::new("cp").arg("--sparse=always").arg(files.join("disk")).arg(place.path()));
        assert_eq!(copy.code, 0, "{copy:?}");
        let free = TcpListener::bind(("127.0.0.1", 0)).and_then(|socket| socket.local_addr()).expect("a free port");
        let mut machine = Machine { files, place, port: free.port(), qemu: None };
        machine.boot();
        machine
    }

    /// The power is back.
    pub fn boot(&mut self) {
        let (disk, log) = (self.place.path().join("disk"), self.place.path().join("log"));
        // It goes with this program, whatever becomes of that.
        let mut qemu = Command::new("setpriv");
        qemu.args(["--pdeathsig", "KILL", "qemu-system-x86_64"]);
        qemu.args(if has_kvm() { ["-accel", "kvm"] } else { ["-accel", "tcg,thread=multi,tb-size=512"] });
        qemu.args(["-cpu", "max", "-smp", "2", "-m", "2048"]);
        qemu.args(["-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio", "-no-reboot"]);
        qemu.arg("-kernel").arg(self.files.join("kernel")).arg("-initrd").arg(self.files.join("initrd"));
        qemu.args(["-append", "root=/dev/vda rw console=ttyS0 quiet mitigations=off"]);
        // What is written is this machine's to keep at once, and its power is not cut.
        qemu.arg("-drive").arg(format!("file={},format=raw,if=virtio,cache=unsafe", disk.display()));
        // Nothing but this machine's loopback reaches it, and it reaches nothing.
        qemu.args(["-device", "virtio-rng-pci", "-device", "virtio-net-pci,netdev=net"]);
        qemu.arg("-netdev").arg(format!("user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:{}-:22", self.port));
        let mut qemu = Running::start("qemu", &mut qemu, &log);
        let until = Instant::now() + self.patience();
        while !["running\n", "degraded\n"].contains(&&*self.sh("systemctl is-system-running").stdout) {
            assert!(qemu.runs() && Instant::now() < until, "it does not boot: {}", qemu.said());
        }
        self.qemu = Some(qemu);
    }

    /// The power goes: what the disk was not told is lost.
    pub fn cut(&mut self) {
        self.qemu.take().expect("it runs").kill();
    }
}

impl System for Machine {
    fn command(&self, line: &str) -> Command {
        let mut ssh = Command::new("ssh");
        ssh.args(["-F", "none", "-q", "-o", "BatchMode=yes", "-o", "HostKeyAlias=machine", "-o", "ConnectTimeout=60"]);
        // Each key exchange takes seconds without KVM.
        ssh.args(["-o", "ControlMaster=auto", "-o", "ControlPersist=60", "-o"]);
        ssh.arg(format!("ControlPath={}", self.place.path().join("mux").display()));
        ssh.arg("-o").arg(format!("UserKnownHostsFile={}", self.files.join("known_hosts").display()));
        ssh.arg("-i").arg(self.files.join("key")).args(["-p", &self.port.to_string(), "root@127.0.0.1"]);
        ssh.arg(as_root(line, self.patience()));
        ssh
    }

    /// Without KVM a machine is ten times slower, at least.
    fn patience(&self) -> Duration {
        Duration::from_secs(600)
    }
}

/// Whether this machine's processor makes machines. There are a /dev/kvm which do it otherwise, for kernels of their own only.
fn has_kvm() -> bool {
    let flags = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    Path::new("/dev/kvm").exists() && flags.split_ascii_whitespace().any(|flag| ["vmx", "svm"].contains(&flag))
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the repository")
}

//! A Debian, or what this machine has of that kind: its package as the README makes it, and a system of the same release, or of
//! another, that is booted in a container, or only entered. What is changed in it is gone with it.

use crate::{DEADLINE, Finished, Running, eventually, wait_for};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

const README: &str = include_str!("../../README.md");

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the repository")
}

/// The lines of the README's section "Installation", block by block: where the package is made, the installation, a worker,
/// a job, and the end of it.
pub fn installation() -> [Vec<&'static str>; 5] {
    let (_, rest) = README.split_once("\n## Installation\n").expect("the section");
    let section = rest.split("\n## ").next().expect("the section");
    let blocks = section.split("\n```sh\n").skip(1).map(|block| block.split("\n```").next().expect("a block"));
    let blocks: Vec<Vec<&str>> = blocks.map(|block| block.lines().collect()).collect();
    blocks.try_into().expect("five blocks")
}

/// The package, made once for all tests of a run, as the README says it.
pub fn package() -> PathBuf {
    static PACKAGE: OnceLock<PathBuf> = OnceLock::new();
    let made = PACKAGE.get_or_init(|| {
        let mut said = String::new();
        for line in installation()[0].iter() {
            let made = Finished::of(Command::new("sh").args(["-ec", line]).current_dir(repository()));
            assert_eq!(made.code, 0, "{line}: {made:?}");
            said = made.stdout;
        }
        PathBuf::from(said.trim())
    });
    made.clone()
}

/// The package of the same programs under another revision, in a directory.
pub fn package_again(revision: &str, directory: &Path) -> PathBuf {
    let mut again = Command::new(repository().join("debian/package"));
    again.arg(repository().join("target/release")).arg(directory).env("REVISION", revision);
    let made = Finished::of(&mut again);
    assert_eq!(made.code, 0, "{made:?}");
    PathBuf::from(made.stdout.trim())
}

/// The system that is booted or entered, of a release of Debian or of this machine's; it is made once. Returns what is wrong
/// when that release can't be had here.
fn root(suite: Option<&str>) -> Result<PathBuf, String> {
    let made = Finished::of(Command::new(repository().join("tools/debian-root")).args(suite));
    if suite.is_some() && made.code == 69 {
        return Err(made.stderr.trim_end().replace('\n', " "));
    }
    assert_eq!(made.code, 0, "{made:?}");
    Ok(PathBuf::from(made.stdout.trim()))
}

/// A shell command that has a copy of the system at `place/root`, in memory, and then does something else.
fn with_a_copy(root: &Path, place: &Path, then: &str) -> Command {
    let place = place.display();
    let mut unshare = Command::new("unshare");
    unshare.args(["--mount", "--propagation", "private", "sh", "-ec"]).arg(format!(
        "mount -t tmpfs tmpfs {place}; cd {place}; mkdir up work root
         mount -t overlay overlay -o lowerdir={},upperdir=up,workdir=work root
         {then}",
        root.display()
    ));
    unshare.arg("sh");
    unshare
}

/// Runs a script as root in such a system that is not booted, with the package in the directory where it runs.
pub fn entered(package: &Path, script: &str) -> Finished {
    let place = tempfile::tempdir().expect("a directory");
    let enter = format!(
        "cp {} root/root; mount -t proc proc root/proc; mount --bind /dev root/dev
         exec timeout 300 env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root DEBIAN_FRONTEND=noninteractive chroot root sh -ec \"$1\"",
        package.display()
    );
    let root = root(None).expect("this machine's release");
    Finished::of(with_a_copy(&root, place.path(), &enter).arg(format!("cd; exec 2>&1\n{script}")))
}

/// One that is booted.
pub struct Debian {
    place: tempfile::TempDir,
    root: PathBuf,
    nspawn: Running,
    leader: Pid,
}

impl Debian {
    /// Boots one, of a release or of this machine's; the system itself is its image `/var/lib/machines/debian-12`, too. Where
    /// this machine can't, it is said past the test runner, and there is none.
    pub fn boots(suite: Option<&str>) -> Option<Debian> {
        let booted = root(suite).and_then(Debian::boot);
        let said = booted.as_ref().err().map(|why| {
            let test = std::thread::current().name().unwrap_or("a test").to_owned();
            writeln!(std::io::stderr(), "NOT TESTED: {test}: {}", why.trim_end())
        });
        drop(said);
        booted.ok()
    }

    fn boot(root: PathBuf) -> Result<Debian, String> {
        let place = tempfile::Builder::new().prefix("debian-").tempdir().expect("a directory");
        let name = place.path().file_name().expect("a name").display().to_string();
        // Without a systemd that would give it one, it has a cgroup of its own: two in one would take the other's processes
        // for theirs.
        let own = cgroup(&name).map(|own| format!("mkdir {0}; echo $$ > {0}/cgroup.procs", own.display()));
        let keep = match Path::new("/run/systemd/system").exists() {
            true => "set --".to_owned(),
            false => format!("{}; set -- --keep-unit", own.unwrap_or_else(|| ":".into())),
        };
        let boot = format!(
            "{keep}
             SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 exec systemd-nspawn --quiet --boot --register=no \"$@\" --private-network \
             --console=pipe --bind-ro={}:/var/lib/machines/debian-12 --directory=root --machine={name}",
            root.display()
        );
        let log = place.path().join("log");
        let mut nspawn = Running::start("systemd-nspawn", &mut with_a_copy(&root, place.path(), &boot), &log);
        let leader = eventually("its first process is systemd", || match leader_of(nspawn.pid()) {
            Some(leader) => Some(Some(leader)),
            None => (!nspawn.runs()).then_some(None),
        });
        let leader = leader.ok_or_else(|| format!("systemd-nspawn(1) can't boot a system here: {}", nspawn.said()))?;
        let debian = Debian { place, root, nspawn, leader };
        wait_for("it is up", || {
            ["running\n", "degraded\n"].contains(&&*debian.sh("systemctl is-system-running").stdout)
        });
        Ok(debian)
    }

    /// The system that it is a copy of.
    pub fn root(&self) -> &Path {
        &self.root
    }
}

impl System for Debian {
    fn command(&self, line: &str) -> Command {
        let mut nsenter = Command::new("nsenter");
        nsenter.args([
            "--target",
            &self.leader.as_raw_nonzero().to_string(),
            "--all",
            "sh",
            "-c",
            &as_root(line, self.patience()),
        ]);
        nsenter
    }
}

/// One that is up, in whatever it runs.
pub trait System {
    /// Runs a line of shell as root in it, by [`as_root`].
    fn command(&self, line: &str) -> Command;

    /// How long something may take.
    fn patience(&self) -> Duration {
        DEADLINE
    }

    /// Runs a line of shell as root in it, and no longer than it may take.
    fn sh(&self, line: &str) -> Finished {
        Finished::of(&mut self.command(line))
    }

    /// As [`System::sh`], and it must succeed. Returns what it printed.
    fn ok(&self, line: &str) -> String {
        let finished = self.sh(line);
        assert_eq!(finished.code, 0, "{line}: {finished:?}\n{}", self.log());
        finished.stdout.trim_end().to_owned()
    }

    /// Waits until a line succeeds.
    fn waits(&self, line: &str) {
        let until = Instant::now() + self.patience();
        while self.sh(line).code != 0 {
            assert!(std::time::Instant::now() < until, "waited in vain for {line}\n{}", self.log());
        }
    }

    /// Puts a file into the directory where lines run.
    fn put(&self, file: &Path) {
        let name = file.file_name().expect("a name").display().to_string();
        let put = Finished::reading(&mut self.command(&format!("cat > {name}")), File::open(file).expect("a file"));
        assert_eq!(put.code, 0, "{put:?}");
    }

    /// The first process of a service.
    fn pid(&self, unit: &str) -> String {
        self.ok(&format!("systemctl show --property=MainPID --value {unit}"))
    }

    /// The end of its log.
    fn log(&self) -> String {
        self.sh("journalctl --no-pager --lines=60").stdout
    }
}

/// What root's shell is told there, so that a line runs in root's home, with root's variables, for so long at the most.
pub fn as_root(line: &str, most: Duration) -> String {
    let line = format!("cd\n{line}").replace('\'', r"'\''");
    format!(
        "exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root DEBIAN_FRONTEND=noninteractive timeout {} sh -ec '{line}'",
        most.as_secs()
    )
}

impl Drop for Debian {
    fn drop(&mut self) {
        let _ = kill_process(self.leader, Signal::KILL);
        wait_for("it is down", || !self.nspawn.runs());
        let name = self.place.path().file_name().expect("a name").display().to_string();
        let cgroups = cgroup(&name).into_iter().flat_map(|own| walkdir::WalkDir::new(own).contents_first(true));
        for entry in cgroups.flatten().filter(|entry| entry.file_type().is_dir()) {
            let _ = std::fs::remove_dir(entry.path());
        }
    }
}

/// A cgroup of version 2 of this name, where this machine has such ones; proc(5).
fn cgroup(name: &str) -> Option<PathBuf> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
    let mount = mounts.lines().find(|line| line.contains(" - cgroup2 "))?;
    Some(Path::new(mount.split(' ').nth(4)?).join(name))
}

/// The first process in a container, once it is systemd.
fn leader_of(nspawn: u32) -> Option<Pid> {
    let children = std::fs::read_to_string(format!("/proc/{nspawn}/task/{nspawn}/children")).ok()?;
    let child = children.split_whitespace().find(|child| {
        std::fs::read_to_string(format!("/proc/{child}/comm")).is_ok_and(|comm| comm.trim_end() == "systemd")
    })?;
    Pid::from_raw(child.parse().ok()?)
}

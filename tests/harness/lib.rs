//! The lab: a spool, an sshd of its own on loopback, the programs, and waiting that has a deadline.

pub mod answers;
mod cable;
pub mod cellar;
pub mod debian;
pub mod expressions;
pub mod golden;
pub mod house;
mod liar;
pub mod machine;
mod network;
pub mod office;
pub mod oracle;
pub mod past;
mod person;
pub mod pf;
pub mod power;
mod process;
mod pty;
pub mod robur;
pub mod sealed;
pub mod site;
mod slurm;
mod sshd;
mod steps;

pub use cable::Weather;
pub use liar::Liar;
pub use network::Network;
pub use process::{DEADLINE, Finished, Running, eventually, is_superuser, signal, wait_for};
pub use pty::Pty;
pub use slurm::Slurm;
pub use sshd::Sshd;
pub use steps::{Verb, put_copy};

use spool::Spool;
use spool::find::Build;
use spool::place::Place;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The platform that the tests' workers build.
pub const PLATFORM: &str = "debian-12";

/// A spool with all that belongs to it, in a directory that goes with it.
pub struct Lab {
    dir: tempfile::TempDir,
    /// The spool.
    pub spool: Spool,
}

impl Lab {
    /// A fresh spool.
    pub fn new() -> Lab {
        let base = if cfg!(target_os = "linux") { Path::new("/tmp") } else { Path::new("/var/tmp") };
        Lab::below(base)
    }

    /// A fresh spool on the file system of `base`.
    pub fn below(base: &Path) -> Lab {
        let dir = tempfile::Builder::new().prefix("lab").tempdir_in(base).expect("a temporary directory");
        let (spool, _) = Spool::init(&dir.path().join("spool")).expect("a spool");
        let lab = Lab { dir, spool };
        lab.configure("");
        lab
    }

    /// A fresh spool on the file system of `base`, and all that belongs to it elsewhere.
    pub fn with_spool_below(base: &Path) -> Lab {
        let lab = Lab::new();
        let (spool, _) = Spool::init(&base.join("spool")).expect("a spool");
        Lab { spool, ..lab }
    }

    /// A path in the lab's directory, beside the spool.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The spool's directory.
    pub fn root(&self) -> &Path {
        self.spool.layout().root()
    }

    /// The configuration file that the lab's programs use; it has a grace time of two seconds.
    pub fn config(&self) -> PathBuf {
        self.path("builder.toml")
    }

    /// Writes the configuration, with some more lines: impatient, and with nothing of this system.
    pub fn configure(&self, more: &str) {
        let (hooks, secrets) = (self.path("hooks.d"), self.path("secrets"));
        let text = format!(
            "grace_seconds = 2\nretry_seconds = 0\nquarantine_seconds = 1\nhooks = {hooks:?}\nsecrets = {secrets:?}\n{more}"
        );
        std::fs::write(self.config(), text).expect("a configuration");
    }

    /// Adds a manual job with more options.
    pub fn job_with(&self, name: &str, script: &str, words: &[&str]) {
        let path = self.script(&format!("{name}.sh"), script);
        let add = ["add", name, path.to_str().expect("UTF-8"), "--platform", PLATFORM];
        self.ok(&[&add[..], words].concat());
    }

    /// How a finished build ended.
    pub fn outcome(&self, id: &str) -> spool::record::Outcome {
        self.finished(id).result().expect("a readable result").expect("a result").outcome
    }

    /// A program of ours with this spool and configuration.
    pub fn program(&self, name: &str) -> Command {
        let mut command = Command::new(binary(name));
        command.env("BUILDER_SPOOL", self.root()).env("BUILDER_CONFIG", self.config());
        command.current_dir(self.dir.path());
        command
    }

    /// `builder` with these words.
    pub fn builder(&self, words: &[&str]) -> Finished {
        Finished::of(self.program("builder").args(words))
    }

    /// `builder` with these words, which must succeed. Returns what it printed.
    pub fn ok(&self, words: &[&str]) -> String {
        let finished = self.builder(words);
        assert_eq!(finished.code, 0, "builder {words:?}: {}", finished.stderr);
        finished.stdout
    }

    /// A script file.
    pub fn script(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).expect("a script");
        path
    }

    /// Adds a manual job.
    pub fn job(&self, name: &str, script: &str) {
        let path = self.script(&format!("{name}.sh"), script);
        self.ok(&["add", name, path.to_str().expect("UTF-8"), "--platform", PLATFORM, "--every", "never"]);
    }

    /// Queues a build of a job. Returns its id.
    pub fn run(&self, job: &str) -> String {
        self.ok(&["run", job]).trim().to_owned()
    }

    /// Starts builderd.
    pub fn daemon(&self) -> Running {
        Running::start("builderd", &mut self.program("builderd"), &self.path("builderd.log"))
    }

    /// Starts a worker over a pipe.
    pub fn local_worker(&self, name: &str, words: &[&str]) -> Running {
        let mut command = self.program("builder-run");
        command.args(["worker", "--platform", PLATFORM, "--name", name, "--local"]).arg(self.root());
        command.arg("--work").arg(self.path(&format!("work.{name}"))).args(words);
        Running::start(name, &mut command, &self.path(&format!("{name}.log")))
    }

    /// The build with this id, where it is now.
    pub fn build(&self, id: &str) -> Build<'_> {
        self.spool.resolve(id).expect("the build")
    }

    /// Waits until a build is over.
    pub fn finished(&self, id: &str) -> Build<'_> {
        eventually(&format!("{id} is over"), || {
            let build = self.build(id);
            matches!(build.place, Place::Ended(_)).then_some(build)
        })
    }

    /// How many watch a build now: a socket that nobody listens at is left by one that was killed.
    pub fn watchers(&self, id: &str) -> usize {
        let topic = self.root().join("wake/build").join(id);
        let listens = |name: &String| UnixDatagram::unbound().expect("a socket").connect(topic.join(name)).is_ok();
        spool::disk::names(&topic).expect("readable").iter().filter(|name| listens(name)).count()
    }

    /// All finished builds.
    pub fn ended(&self) -> Vec<Build<'_>> {
        self.spool.ended_builds(usize::MAX, |_| true).expect("the finished builds")
    }

    /// What must be true of every spool in which nobody is at work: each build in one state and whole. What builder
    /// itself says of it is not all that is looked at.
    pub fn check(&self) {
        let checked = self.spool.check(true).expect("a spool that can be read");
        assert!(checked.findings.is_empty(), "{:#?}", checked.findings);
        let mut seen = std::collections::BTreeSet::new();
        for build in self.spool.open_builds().expect("the open builds").into_iter().chain(self.ended()) {
            assert!(seen.insert(build.id.clone()), "{} is in two states", build.id);
            assert!(
                build.dir().join("build.toml").is_file() && build.dir().join("script").is_file(),
                "{} is not whole",
                build.id
            );
            if let Place::Ended(_) = build.place {
                build.result().expect("a readable result").expect("a result");
                let manifest = build.manifest().expect("a readable manifest");
                if !manifest.is_empty() {
                    let checked = Finished::of(
                        Command::new("sha256sum").args(["--check", "--quiet", "manifest"]).current_dir(build.dir()),
                    );
                    assert_eq!(checked.code, 0, "{}: {}", build.id, checked.stderr);
                }
            }
        }
    }
}

impl Default for Lab {
    fn default() -> Lab {
        Lab::new()
    }
}

/// The variable that names the directory of our programs to a process of the lab's own, which need not build them.
pub const BUILT: &str = "HARNESS_BUILT";

/// A program of ours, built once for all tests of a run.
pub fn binary(name: &str) -> PathBuf {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    let directory = DIRECTORY.get_or_init(|| {
        if let Some(built) = std::env::var_os(BUILT) {
            return built.into();
        }
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--quiet", "--workspace", "--bins"]).current_dir(env!("CARGO_MANIFEST_DIR"));
        if !cfg!(debug_assertions) {
            cargo.arg("--release");
        }
        assert!(cargo.status().expect("cargo").success(), "the programs can't be built");
        // target/debug/deps/TEST is where a test runs, target/release/benches where a measurement does.
        let me = std::env::current_exe().expect("the test's path");
        me.ancestors().skip(1).find(|dir| !dir.ends_with("deps")).expect("target/debug").to_owned()
    });
    directory.join(name)
}

/// A copy of a program of ours in a directory, for a user who can't enter the build's.
pub fn copy_of(name: &str, directory: &Path) -> PathBuf {
    let copy = directory.join(name);
    std::fs::copy(binary(name), &copy).expect("a copy");
    make_executable(&copy);
    copy
}

/// Turns a file into a program, mode 0755.
///
/// Another process writes it anew: a handle for writing in this one may have been inherited by whatever another test's
/// thread is forking, and what is open for writing can't be executed (ETXTBSY, execve(2)).
pub fn make_executable(path: &Path) {
    let mut sh = Command::new("sh");
    sh.args(["-c", "cp -- \"$1\" \"$1.new\" && chmod 755 \"$1.new\" && mv -- \"$1.new\" \"$1\"", "sh"]).arg(path);
    let made = Finished::of(&mut sh);
    assert_eq!(made.code, 0, "{made:?}");
}

//! A lab of an ordinary user's, with a small system in which scripts can run.

use crate::{Finished, Lab, PLATFORM, Running, copy_of};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Whoever makes sandboxes here: nobody in particular, and never the superuser.
const ORDINARY: (u32, u32) = (65534, 65534);

/// A lab in which all belongs to one user.
pub struct Cellar {
    /// The spool, and what belongs to it.
    pub lab: Lab,
    superuser: bool,
}

impl Cellar {
    /// For an ordinary user: somebody else, when the tests are the superuser's.
    pub fn ordinary() -> Cellar {
        Cellar::of(false)
    }

    /// For the superuser; nothing when the tests are somebody else's.
    pub fn of_superuser() -> Option<Cellar> {
        crate::is_superuser().then(|| Cellar::of(true))
    }

    fn of(superuser: bool) -> Cellar {
        let cellar = Cellar { lab: Lab::new(), superuser };
        let lab = &cellar.lab;
        std::fs::set_permissions(lab.path(""), PermissionsExt::from_mode(0o755)).expect("its mode");
        make_root(&cellar.root());
        for directory in ["bin", "work"] {
            std::fs::create_dir(lab.path(directory)).expect("a directory");
        }
        copy_of("builder-run", &lab.path("bin"));
        if cellar.is_somebody_else() {
            let owner = format!("{}:{}", ORDINARY.0, ORDINARY.1);
            let given = Finished::of(Command::new("chown").args(["-Rh", &owner]).arg(lab.path("")));
            assert_eq!(given.code, 0, "{given:?}");
        }
        cellar
    }

    fn is_somebody_else(&self) -> bool {
        !self.superuser && rustix::process::geteuid().is_root()
    }

    /// The system of the sandboxes.
    pub fn root(&self) -> PathBuf {
        self.lab.path("root")
    }

    /// A file that is the user's.
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.lab.script(name, text);
        if self.is_somebody_else() {
            chown(&path, Some(ORDINARY.0), Some(ORDINARY.1)).expect("its owner");
        }
        path
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("/bin/sh");
        // As many file descriptors as systemd and most shells give it.
        command.args(["-c", "ulimit -Sn 1024; exec \"$0\" \"$@\""]).arg(self.lab.path("bin/builder-run"));
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("BUILDER_CONFIG", self.lab.config());
        command.args(["worker", "--platform", PLATFORM, "--local"]).arg(self.lab.root());
        if !words.contains(&"--work") {
            command.arg("--work").arg(self.lab.path("work/w"));
        }
        command.args(words).current_dir("/");
        if self.is_somebody_else() {
            command.uid(ORDINARY.0).gid(ORDINARY.1);
        }
        command
    }

    /// A worker with more words.
    pub fn worker(&self, words: &[&str]) -> Running {
        Running::start("worker", &mut self.command(words), &self.lab.path("worker.log"))
    }

    /// One that can't start.
    pub fn refused(&self, words: &[&str], code: i32, text: &str) {
        Finished::of(&mut self.command(words)).refused(code, text);
    }

    /// One with the root, in this kind of sandbox.
    pub fn boxed(&self, kind: &str, words: &[&str]) -> Running {
        let root = self.root();
        let root = root.to_str().expect("UTF-8");
        self.worker(&[&["--sandbox", kind, "--root", root][..], words].concat())
    }

    /// Adds a job, builds it once in this kind of sandbox, and returns the build's id.
    pub fn built(&self, kind: &str, job: &str, script: &str, words: &[&str]) -> String {
        self.lab.job(job, script);
        let id = self.lab.run(job);
        let worker = self.boxed(kind, words);
        self.lab.finished(&id);
        assert_eq!(worker.ended(), 0);
        id
    }

    /// What a build printed.
    pub fn log(&self, id: &str) -> String {
        std::fs::read_to_string(self.lab.build(id).dir().join("console.log")).unwrap_or_default()
    }
}

/// A system with busybox for all programs, and Debian's list of packages with its own program.
fn make_root(root: &Path) {
    for directory in ["bin", "usr/bin", "etc", "tmp", "var/lib/dpkg/info", "var/lib/dpkg/updates"] {
        std::fs::create_dir_all(root.join(directory)).expect("a directory");
    }
    std::fs::copy("/bin/busybox", root.join("bin/busybox")).expect("busybox, of the package busybox-static");
    let listed = Finished::of(Command::new("/bin/busybox").arg("--list")).stdout;
    for name in listed.lines().filter(|name| *name != "busybox") {
        symlink("busybox", root.join("bin").join(name)).expect("a program");
    }
    let texts = [
        ("etc/os-release", "PRETTY_NAME=\"A small system\"\n"),
        ("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n"),
        ("var/lib/dpkg/status", "Package: inside\nStatus: install ok installed\nVersion: 4.2\nArchitecture: all\n\n"),
    ];
    for (path, text) in texts {
        std::fs::write(root.join(path), text).expect("a file");
    }
    let needed = Finished::of(Command::new("ldd").arg("/usr/bin/dpkg-query")).stdout;
    let libraries = needed.split_ascii_whitespace().filter(|word| word.starts_with('/'));
    for file in libraries.chain(["/usr/bin/dpkg-query"]) {
        let copy = root.join(file.trim_start_matches('/'));
        std::fs::create_dir_all(copy.parent().expect("a directory")).expect("a directory");
        std::fs::copy(file, copy).expect("a copy");
    }
}

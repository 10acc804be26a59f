//! A FreeBSD in a directory, with stand-ins for rc.subr(8) and daemon(8).

use crate::{Finished, Lab, binary, make_executable, wait_for};
use rustix::process::{Pid, Signal};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A FreeBSD in a directory: what is in /usr/local, /var/run and /etc there.
pub struct Machine {
    /// Where its spool is.
    pub lab: Lab,
}

/// What rc.conf says of builderd.
pub const BUILDERD: &str = "builderd_enable=YES\n";

/// Whether there is such a process, and not only its exit status, for which nobody may have asked yet.
pub fn lives(pid: Pid) -> bool {
    std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()))
        .is_ok_and(|stat| stat.rsplit(") ").next().is_some_and(|rest| !rest.starts_with(['Z', 'X'])))
}

impl Machine {
    /// One on which nothing runs.
    pub fn new() -> Machine {
        let machine = Machine { lab: Lab::new() };
        for directory in ["run", "db", "bin", "local/bin", "local/sbin", "local/libexec/builder", "local/etc/rc.d"] {
            std::fs::create_dir_all(machine.path(directory)).expect("a directory");
        }
        for (program, place) in
            [("builder", "local/bin"), ("builderd", "local/sbin"), ("builder-run", "local/libexec/builder")]
        {
            let link = machine.path(place).join(program);
            std::os::unix::fs::symlink(binary(program), link).expect("an installed program");
        }
        let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
        machine.install(&tests.join("freebsd/rc.subr"), "rc.subr");
        machine.install(&tests.join("freebsd/daemon"), "daemon");
        machine.install(&tests.join("../rc.d/builderd"), "local/etc/rc.d/builderd");
        machine.install(&tests.join("../rc.d/builder_worker"), "local/etc/rc.d/builder_worker");
        machine.install(&tests.join("freebsd/su"), "bin/su");
        machine.install(&tests.join("freebsd/sysrc"), "bin/sysrc");
        machine.install(&tests.join("freebsd/service"), "bin/service");
        // install(1), likewise.
        machine.program("bin/install", "#!/bin/sh\nfor directory; do :; done\nmkdir -p \"$directory\"\n");
        machine
    }

    /// A path of it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.lab.path("machine").join(name)
    }

    /// A script where it is installed, with the machine's directories for the system's.
    fn install(&self, source: &Path, name: &str) {
        self.program(name, &self.here(&std::fs::read_to_string(source).expect("a script")));
    }

    /// A text that names the system's directories, with the machine's instead.
    pub fn here(&self, text: &str) -> String {
        let place = self.path("").display().to_string();
        let place = place.trim_end_matches('/');
        let mut text = text.to_owned();
        for (before, after) in [
            ("%PLACE%", ""),
            ("/etc/rc.subr", "/rc.subr"),
            ("/usr/sbin/daemon", "/daemon"),
            ("/usr/local/", "/local/"),
            ("/var/run/", "/run/"),
            ("/var/db/", "/db/"),
        ] {
            text = text.replace(before, &format!("{place}{after}"));
        }
        text
    }

    /// Types lines into a shell that ends at the first that fails, as the superuser of this machine.
    pub fn types(&self, lines: &str) -> Finished {
        let path = ["bin", "local/bin"].map(|name| self.path(name).display().to_string()).join(":");
        let mut command = Command::new("sh");
        command.args(["-ec", lines]).current_dir(self.path("")).env("HOME", self.path(""));
        command.env("BUILDER_SPOOL", self.lab.root()).env("BUILDER_CONFIG", self.lab.config());
        Finished::of(command.env("PATH", format!("{path}:{}", std::env::var("PATH").expect("a path"))))
    }

    /// From now on `su` becomes a user who owns nothing and is in no group, whoever is named. Only the superuser can have this.
    pub fn becomes_others(&self) {
        std::fs::write(self.path("su-becomes"), "").expect("a file");
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o711);
        std::fs::set_permissions(self.lab.path(""), open).expect("a way in");
    }

    /// Installs a program.
    pub fn program(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).expect("a program");
        make_executable(&self.path(name));
    }

    /// rc.conf, beside which the spool and its configuration are the lab's.
    pub fn configure(&self, text: &str) {
        let (config, spool) = (self.lab.config(), self.lab.root().display());
        let own = format!("builderd_config={}\nbuilderd_dir={spool}\n", config.display());
        std::fs::write(self.path("rc.conf"), own + text).expect("rc.conf");
    }

    /// `service NAME WORDS...`, which has the environment that service(8) gives.
    pub fn service(&self, words: &[&str]) -> Finished {
        let mut command = Command::new(self.path("local/etc/rc.d").join(words[0]));
        command.args(&words[1..]).env_clear().current_dir("/");
        let path = std::env::var("PATH").expect("a path");
        Finished::of(command.env("PATH", format!("{}:{path}", self.path("bin").display())))
    }

    /// As [`Machine::service`], and it must end with this code and have said this.
    pub fn says(&self, words: &[&str], code: i32, text: &str) {
        let finished = self.service(words);
        assert!(finished.code == code && finished.stdout.contains(text), "{words:?}: {finished:?}\n{}", self.log());
    }

    /// What went to syslog(3).
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.path("syslog")).unwrap_or_default()
    }

    /// How often daemon(8) started something with these words.
    pub fn starts(&self, words: &str) -> usize {
        self.log().lines().filter(|line| line.contains(": as ") && line.contains(words)).count()
    }

    /// The process that a file in /var/run names, when it lives.
    pub fn pid(&self, file: &str) -> Option<Pid> {
        let text = std::fs::read_to_string(self.path("run").join(file)).ok()?;
        Pid::from_raw(text.trim().parse().ok()?).filter(|pid| lives(*pid))
    }

    /// Whether builderd does.
    pub fn serves(&self) -> bool {
        self.lab.root().join("socket").exists() && self.pid("builderd.child.pid").is_some()
    }

    /// Starts builderd, and waits until it serves.
    pub fn start_builderd(&self) {
        self.says(&["builderd", "start"], 0, "Starting builderd.");
        wait_for("builderd serves", || self.serves());
    }

    /// Nothing runs, and there is no file that says so.
    pub fn is_empty(&self) {
        let mut left: Vec<_> =
            std::fs::read_dir(self.path("run")).expect("run").flatten().map(|e| e.file_name()).collect();
        left.retain(|name| name != "builder");
        assert!(left.is_empty(), "{left:?}");
        let place = self.path("");
        let place = place.to_str().expect("UTF-8");
        let running = Finished::of(Command::new("pgrep").args(["-f", place])).stdout;
        assert_eq!(running, "", "processes");
    }
}

impl Default for Machine {
    fn default() -> Self {
        Machine::new()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        for name in std::fs::read_dir(self.path("run")).into_iter().flatten().flatten() {
            let text = std::fs::read_to_string(name.path()).unwrap_or_default();
            if let Some(pid) = text.trim().parse().ok().and_then(Pid::from_raw) {
                let _ = rustix::process::kill_process(pid, Signal::KILL);
            }
        }
        if std::thread::panicking() {
            eprintln!("--- syslog:\n{}", self.log());
        }
    }
}

//! Real processes, and waiting for what they do.

use crate::Lab;
use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a test waits for something that must happen.
pub const DEADLINE: Duration = Duration::from_secs(120);

/// Waits until `look` gives something; fails the test when it does not in two minutes.
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < until, "waited in vain until {what}");
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

/// Waits until something is true.
pub fn wait_for(what: &str, mut look: impl FnMut() -> bool) {
    eventually(what, || look().then_some(()));
}

/// Whether this test can mount and be somebody else. Where it can't, it says so past the test runner, which keeps
/// what a passing test prints to itself.
pub fn is_superuser() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        let test = std::thread::current().name().unwrap_or("a test").to_owned();
        let _ = writeln!(std::io::stderr(), "NOT TESTED: {test} needs the superuser");
    }
    root
}

/// A program that has ended.
#[derive(Debug)]
pub struct Finished {
    /// Its exit code; 128 + N after signal N.
    pub code: i32,
    /// What it printed.
    pub stdout: String,
    /// What it said on standard error.
    pub stderr: String,
}

impl Finished {
    /// Runs a program to its end, without input.
    pub fn of(command: &mut Command) -> Finished {
        Finished::reading(command, Stdio::null())
    }

    /// As [`Finished::of`], with this input.
    pub fn reading(command: &mut Command, input: impl Into<Stdio>) -> Finished {
        use std::os::unix::process::ExitStatusExt;
        let output = command.stdin(input).output().unwrap_or_else(|e| panic!("{command:?} can't be started: {e}"));
        Finished {
            code: output.status.code().unwrap_or_else(|| 128 + output.status.signal().unwrap_or_default()),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Fails the test unless the program ended with this code and one line on standard error that has `text`.
    pub fn refused(&self, code: i32, text: &str) {
        assert_eq!(self.code, code, "{self:?}");
        assert_eq!(self.stderr.trim_end().lines().count(), 1, "{self:?}");
        assert!(self.stderr.contains(text), "{self:?}");
    }
}

/// A program in the background; it is killed when this is dropped.
pub struct Running {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Running {
    /// Starts a program; what it says goes to a log that is shown when the test waits for it in vain.
    pub fn start(name: &str, command: &mut Command, log: &Path) -> Running {
        let file = File::options().append(true).create(true).open(log).expect("a log");
        let errors = file.try_clone().expect("a log");
        let child = command.stdin(Stdio::null()).stdout(file).stderr(errors).spawn();
        let child = child.unwrap_or_else(|e| panic!("{command:?} can't be started: {e}"));
        Running { name: name.to_owned(), child, log: log.to_owned() }
    }

    /// Its process number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has said so far.
    pub fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Whether it runs still.
    pub fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Kills it as a crash would: it gets no chance to do anything.
    pub fn kill(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Asks it to stop.
    pub fn terminate(&self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    }

    /// Waits for its end. Returns its exit code.
    pub fn ended(mut self) -> i32 {
        let name = self.name.clone();
        let child = &mut self.child;
        let status = eventually(&format!("{name} has ended"), || child.try_wait().expect("its status"));
        status.code().unwrap_or(-1)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- {} said:\n{}", self.name, self.said());
        }
    }
}

impl Lab {
    /// The processes whose command line has these words and the spool.
    pub fn processes(&self, words: &[&str]) -> Vec<Pid> {
        let root = self.root().to_str().expect("UTF-8");
        let mut found = Vec::new();
        for entry in std::fs::read_dir("/proc").expect("/proc").flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
            let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            if line.contains(root) && words.iter().all(|word| line.contains(word)) && !line.starts_with("sh -c") {
                found.extend(Pid::from_raw(pid));
            }
        }
        found
    }

    /// What serves this worker.
    pub fn servers(&self, worker: &str) -> Vec<Pid> {
        self.processes(&["builder-run serve", &format!("--worker {worker}")])
    }
}

/// Sends a signal to each of some processes, of which there must be one.
pub fn signal(processes: &[Pid], signal: Signal) {
    assert!(!processes.is_empty(), "there is nobody to signal");
    for process in processes {
        let _ = kill_process(*process, signal);
    }
}

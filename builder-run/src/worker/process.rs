//! The script as a process: its own session and group, stdin closed, one pipe for all it prints.

use super::console::{Kept, Printing, Recorder};
use super::event::{Event, Post};
use super::place::Room;
use super::secrets::Mask;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use spool::console::ConsoleWriter;
use spool::error::{At, Result};
use spool::record::Outcome;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A running script.
pub struct Process {
    child: Child,
    group: Pid,
    printing: Printing,
    /// When it was started.
    pub started: Instant,
}

/// Where what a script prints goes.
pub struct Output {
    pub mask: Mask,
    pub kept: Arc<Kept>,
    pub writer: ConsoleWriter,
    /// Bytes that it may print.
    pub most: u64,
}

impl Process {
    /// Starts the script of a room. What it prints is kept, and its end is reported.
    pub fn start(
        room: &Room,
        environment: &BTreeMap<String, String>,
        umask: u32,
        output: Output,
        post: Post,
    ) -> Result<Process> {
        let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).at("make", "a pipe")?;
        let other = write.try_clone().at("make", "a pipe")?;
        let mut command = command(room)?;
        command.env_clear().envs(environment).current_dir(room.output());
        command.stdin(Stdio::null()).stdout(other).stderr(write);
        new_session(&mut command, umask);
        let child = spawn(&mut command).at("start", room.script())?;
        // It holds the pipe's writing ends, and the console would never end.
        drop(command);
        let started = Instant::now();
        let group = Pid::from_child(&child);
        let printing = Printing::default();
        let Output { mask, kept, writer, most } = output;
        let recorder = Recorder { started, mask, printing: printing.clone(), kept, writer, most, post: post.clone() };
        std::thread::spawn(move || recorder.run(read.into()));
        std::thread::spawn(move || {
            // It stays a zombie, and its number its own, until the group was killed.
            let _ = waitid(WaitId::Pid(group), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT);
            post.send(Event::Exited);
        });
        Ok(Process { child, group, printing, started })
    }

    /// When it printed something last; its start, when it never did.
    pub fn last_printed(&self) -> Instant {
        self.started + Duration::from_millis(self.printing.last_ms())
    }

    /// The number of its process group.
    pub fn group(&self) -> u32 {
        self.group.as_raw_nonzero().get() as u32
    }

    /// Sends a signal to all of the group.
    pub fn signal(&self, signal: Signal) {
        let _ = kill_process_group(self.group, signal);
    }

    /// Reaps the script, which has ended or was killed.
    pub fn reap(&mut self) -> Result<ExitStatus> {
        self.child.wait().at("wait for", "the script")
    }

    /// Whatever is still printed is not kept any more.
    pub fn hush(&self) {
        self.printing.hush();
    }
}

/// Starts a program. A process that another thread is forking at this moment may have the script open for writing,
/// until it executes something else (ETXTBSY, execve(2)).
fn spawn(command: &mut Command) -> std::io::Result<Child> {
    let until = Instant::now() + Duration::from_secs(2);
    loop {
        match command.spawn() {
            Err(e) if e.kind() == std::io::ErrorKind::ExecutableFileBusy && Instant::now() < until => {
                std::thread::park_timeout(Duration::from_millis(5));
            }
            other => return other,
        }
    }
}

/// Runs a script without `#!` by sh(1), as execvp(3) does.
fn command(room: &Room) -> Result<Command> {
    let script = room.script();
    let mut start = [0; 2];
    let mut file = File::open(&script).at("read", &script)?;
    let has_interpreter = file.read_exact(&mut start).is_ok() && &start == b"#!";
    Ok(if has_interpreter {
        Command::new(&script)
    } else {
        let mut command = Command::new("/bin/sh");
        command.arg(&script);
        command
    })
}

/// A session of its own: no terminal to read from, and one group to kill. The umask(2) is not the worker's, so that what comes out
/// does not depend on who has started that.
#[allow(unsafe_code)]
fn new_session(command: &mut Command, umask: u32) {
    // SAFETY: setsid(2) and umask(2) are async-signal-safe, and nothing else happens between fork and exec.
    unsafe {
        command.pre_exec(move || {
            rustix::process::umask(rustix::fs::Mode::from_raw_mode(umask as _));
            rustix::process::setsid().map(drop).map_err(Into::into)
        });
    }
}

/// How a process has ended.
pub fn outcome_of(status: ExitStatus) -> Outcome {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => Outcome::Exited { code: code as u8 },
        (None, Some(signal)) => Outcome::Signalled { signal },
        _ => Outcome::Aborted { reason: "the system did not say how the script ended".into() },
    }
}

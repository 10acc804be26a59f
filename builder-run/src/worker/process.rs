//! The script as a process: its own session and group, stdin closed, one pipe for all it prints.

use super::console::{Kept, Printing, Recorder};
use super::event::{Event, Post};
use super::place::Room;
use super::sandbox::inside;
use super::sandbox::limits::Cell;
use super::secrets::Mask;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use spool::console::ConsoleWriter;
use spool::error::{At, Result};
use spool::record::Outcome;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A running script.
pub struct Process {
    child: Child,
    group: Pid,
    printing: Printing,
    has_inside: bool,
    _cell: Option<Cell>,
    /// When it was started.
    pub started: Instant,
}

/// How a script is started.
pub struct Start {
    /// The script, or the sandbox around it.
    pub command: Command,
    /// The permissions that its files don't get, umask(2).
    pub umask: u32,
    /// What its limits are kept by.
    pub cell: Option<Cell>,
    /// Whether it is a sandbox that ends at once, and kills what is inside, when it is asked to end.
    pub has_inside: bool,
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
    pub fn start(start: Start, output: Output, post: Post) -> Result<Process> {
        let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).at("make", "a pipe")?;
        let other = write.try_clone().at("make", "a pipe")?;
        let Start { mut command, umask, cell, has_inside } = start;
        command.stdin(Stdio::null()).stdout(other).stderr(write);
        new_session(&mut command, umask, cell.as_ref())?;
        let child = spawn(&mut command).at("start", command.get_program())?;
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
        Ok(Process { child, group, printing, started, has_inside, _cell: cell })
    }

    /// When it printed something last; its start, when it never did.
    pub fn last_printed(&self) -> Instant {
        self.started + Duration::from_millis(self.printing.last_ms())
    }

    /// The number of its process group.
    pub fn group(&self) -> u32 {
        self.group.as_raw_nonzero().get() as u32
    }

    /// Asks the script to end, and all that it has started.
    pub fn terminate(&self) {
        if !(self.has_inside && inside::signal(self.group, Signal::TERM)) {
            let _ = kill_process_group(self.group, Signal::TERM);
        }
    }

    /// Kills all of the group.
    pub fn kill(&self) {
        let _ = kill_process_group(self.group, Signal::KILL);
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
pub fn spawn(command: &mut Command) -> std::io::Result<Child> {
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

/// This very program, to be started by this process: also when an upgrade has put another one in its place, proc(5).
pub fn own_program() -> Result<PathBuf> {
    let program = std::env::current_exe().at("find", "builder-run")?;
    Ok(if program.exists() { program } else { PathBuf::from("/proc/self/exe") })
}

/// The script of a room, for this machine.
pub fn command(room: &Room, environment: &BTreeMap<String, String>) -> Result<Command> {
    let words = words(room)?;
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).env_clear().envs(environment).current_dir(room.output());
    Ok(command)
}

/// Runs a script without `#!` by sh(1), as execvp(3) does.
pub fn words(room: &Room) -> Result<Vec<PathBuf>> {
    let script = room.script();
    let mut start = [0; 2];
    let mut file = File::open(&script).at("read", &script)?;
    let has_interpreter = file.read_exact(&mut start).is_ok() && &start == b"#!";
    Ok(if has_interpreter { vec![script] } else { vec!["/bin/sh".into(), script] })
}

/// A session of its own: no terminal to read from, and one group to kill. The umask(2) is not the worker's, so that what comes out
/// does not depend on who has started that.
#[allow(unsafe_code)]
pub fn new_session(command: &mut Command, umask: u32, cell: Option<&Cell>) -> Result<()> {
    let door = cell.map(Cell::door).transpose()?;
    // SAFETY: write(2), setsid(2) and umask(2) are async-signal-safe, and nothing else happens between fork and exec.
    unsafe {
        command.pre_exec(move || {
            if let Some(door) = &door {
                rustix::io::write(door, b"0")?;
            }
            rustix::process::umask(rustix::fs::Mode::from_raw_mode(umask as _));
            rustix::process::setsid().map(drop).map_err(Into::into)
        });
    }
    Ok(())
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

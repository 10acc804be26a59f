//! The script as a process: its own session and group, stdin closed, one pipe for all it prints.

use super::link::{Event, Writer, say};
use super::place::Room;
use super::secrets::Mask;
use crate::protocol::{LONGEST_CONSOLE, ToServer};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use spool::error::{At, Result};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

/// A running script.
pub struct Process {
    child: Child,
    group: Pid,
    quiet: Arc<AtomicBool>,
    /// Milliseconds after the start.
    printed: Arc<AtomicU64>,
    /// When it was started.
    pub started: Instant,
}

impl Process {
    /// Starts the script of a room. What it prints goes to the server, and its end is reported.
    pub fn start(
        room: &Room,
        environment: &BTreeMap<String, String>,
        mask: Mask,
        writer: Writer,
        reports: Sender<Event>,
    ) -> Result<Process> {
        let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).at("make", "a pipe")?;
        let output = write.try_clone().at("make", "a pipe")?;
        let mut command = command(room)?;
        command.env_clear().envs(environment).current_dir(room.output());
        command.stdin(Stdio::null()).stdout(output).stderr(write);
        new_session(&mut command);
        let child = command.spawn().at("start", room.script())?;
        // It holds the pipe's writing ends, and the console would never end.
        drop(command);
        let started = Instant::now();
        let group = Pid::from_child(&child);
        let quiet = Arc::new(AtomicBool::new(false));
        let printed = Arc::new(AtomicU64::new(0));
        let (report, console) =
            (reports.clone(), Console { started, mask, stop: quiet.clone(), printed: printed.clone() });
        std::thread::spawn(move || {
            console.forward(read.into(), &writer);
            let _ = report.send(Event::ConsoleEnded);
        });
        std::thread::spawn(move || {
            // It stays a zombie, and its number its own, until the group was killed.
            let _ = waitid(WaitId::Pid(group), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT);
            let _ = reports.send(Event::Exited);
        });
        Ok(Process { child, group, quiet, printed, started })
    }

    /// When it printed something last; its start, when it never did.
    pub fn last_printed(&self) -> Instant {
        self.started + Duration::from_millis(self.printed.load(Ordering::SeqCst))
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

    /// Whatever is still printed is not sent any more.
    pub fn hush(&self) {
        self.quiet.store(true, Ordering::SeqCst);
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

/// A session of its own: no terminal to read from, and one group to kill.
#[allow(unsafe_code)]
fn new_session(command: &mut Command) {
    // SAFETY: setsid(2) is async-signal-safe, and nothing else happens between fork and exec.
    unsafe {
        command.pre_exec(|| rustix::process::setsid().map(drop).map_err(Into::into));
    }
}

/// The way of what is printed to the server.
struct Console {
    started: Instant,
    mask: Mask,
    stop: Arc<AtomicBool>,
    printed: Arc<AtomicU64>,
}

impl Console {
    /// Passes the console on. It is drained also when nobody listens any more, so that the script never blocks
    /// on a connection that is gone.
    fn forward(mut self, mut from: File, to: &Writer) {
        let mut buffer = vec![0; LONGEST_CONSOLE];
        let mut listening = true;
        loop {
            let got = match from.read(&mut buffer) {
                Ok(got) => got,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(_) => 0,
            };
            if self.stop.load(Ordering::SeqCst) {
                return;
            }
            let ms = self.started.elapsed().as_millis() as u64;
            let shown = match got {
                0 => self.mask.rest(),
                _ => {
                    self.printed.store(ms, Ordering::SeqCst);
                    self.mask.pass(&buffer[..got])
                }
            };
            for piece in shown.chunks(LONGEST_CONSOLE) {
                listening = listening && say(to, &ToServer::Con { ms, n: piece.len() }, piece).is_ok();
            }
            if got == 0 {
                return;
            }
        }
    }
}

//! The guard: a small process that outlives a killed worker just long enough to kill its script.
//!
//! It reads lines on its standard input: the number of the process group that runs, or 0 for none. At the
//! end of its input it kills the last group that was named, and whom its first process has started, as far as that can be
//! told: systemd-nspawn(1) does not take its container with it. Who made a session of its own and has lost its
//! parent escapes it; a sandbox, a jail or a container does not let that one live on.

use super::process::own_program;
use super::sandbox::inside;
use rustix::process::Pid;
use spool::error::{At, Result};
use std::io::{BufRead, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Mutex;

/// The worker's hold on its guard.
pub struct Guard {
    child: Child,
    input: Mutex<Option<ChildStdin>>,
}

impl Guard {
    /// Starts the guard, in a process group of its own so that no Ctrl-C reaches it.
    pub fn start() -> Result<Guard> {
        let program = own_program()?;
        let mut command = Command::new(&program);
        command.arg("guard").stdin(Stdio::piped()).stdout(Stdio::null()).process_group(0);
        let mut child = command.spawn().at("start", &program)?;
        let input = Mutex::new(child.stdin.take());
        Ok(Guard { child, input })
    }

    /// Names the group that is to die with the worker; 0 for none.
    pub fn watch(&self, group: u32) {
        if let Ok(mut input) = self.input.lock()
            && let Some(input) = input.as_mut()
        {
            let _ = input.write_all(format!("{group}\n").as_bytes());
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Ok(mut input) = self.input.lock() {
            input.take();
        }
        let _ = self.child.wait();
    }
}

/// The guard's own life.
pub fn run() {
    let mut group = 0;
    for line in std::io::stdin().lock().lines().map_while(std::result::Result::ok) {
        group = line.trim().parse().unwrap_or(group);
    }
    if let Some(pid) = Pid::from_raw(group).filter(|_| group > 1) {
        inside::kill(pid);
    }
}

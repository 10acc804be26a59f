//! The processes in a sandbox, as its worker sees them from outside.

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

/// Sends a signal to what runs in the sandbox of this process, and neither to the sandbox nor to the first process of its
/// namespace, which ends only with all of it. False when nothing runs there.
#[cfg(target_os = "linux")]
pub fn signal(sandbox: Pid, signal: Signal) -> bool {
    let inside = descendants(sandbox).into_iter().filter(|pid| is_inside(*pid));
    inside.filter(|pid| kill_process(*pid, signal).is_ok()).count() > 0
}

/// Elsewhere there is no sandbox of ours.
#[cfg(not(target_os = "linux"))]
pub fn signal(_: Pid, _: Signal) -> bool {
    false
}

/// Kills the group of a process, and whom the process has started: systemd-nspawn(1) does not take its container with it.
pub fn kill(leader: Pid) {
    let started = descendants(leader);
    let _ = kill_process_group(leader, Signal::KILL);
    for pid in started {
        let _ = kill_process(pid, Signal::KILL);
    }
}

/// Whom a process has started, and whom those have: as far as each has a parent still.
#[cfg(target_os = "linux")]
pub fn descendants(of: Pid) -> Vec<Pid> {
    let (mut found, mut looked_at) = (vec![of], 0);
    while let Some(pid) = found.get(looked_at).copied() {
        looked_at += 1;
        let tasks = format!("/proc/{}/task", pid.as_raw_nonzero());
        for task in std::fs::read_dir(tasks).into_iter().flatten().flatten() {
            let text = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
            found.extend(text.split_ascii_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)));
        }
    }
    found.split_off(1)
}

/// Elsewhere that is not to be had.
#[cfg(not(target_os = "linux"))]
pub fn descendants(_: Pid) -> Vec<Pid> {
    Vec::new()
}

/// Whether a process has a number in another pid namespace than ours, and is not the first one there; proc(5).
#[cfg(target_os = "linux")]
fn is_inside(pid: Pid) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero())).unwrap_or_default();
    let ours = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let numbers = |status: &str| -> Vec<String> {
        let line = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
        line.into_iter().flat_map(str::split_ascii_whitespace).map(str::to_owned).collect()
    };
    let (its, ours) = (numbers(&status), numbers(&ours));
    its.len() > ours.len() && its.last().is_some_and(|number| number != "1")
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use std::io::{BufRead, BufReader, Read};
    use std::os::unix::process::CommandExt;
    use std::process::{Command, Stdio};

    #[test]
    fn whom_it_has_started_dies_with_it() {
        let mut command = Command::new("sh");
        command.args(["-c", "setsid sh -c 'echo; exec sleep 1000' & wait"]).process_group(0);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        said.read_line(&mut String::new()).unwrap();
        kill(Pid::from_child(&child));
        child.wait().unwrap();
        // Its end comes when nobody has it any more.
        let deadline = Timespec { tv_sec: 60, tv_nsec: 0 };
        let ended = poll(&mut [PollFd::new(said.get_ref(), PollFlags::IN)], Some(&deadline));
        assert_eq!(ended, Ok(1), "what it has started lives on");
        assert_eq!(said.read(&mut [0]).unwrap(), 0);
    }
}

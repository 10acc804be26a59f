//! Children and how long they may run: hooks and launches.

use rustix::process::{Pid, Signal, kill_process_group};
use std::io;
use std::process::{Child, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

/// How long a process that was killed may take to be gone.
const DYING: Duration = Duration::from_secs(2);

/// Waits for a child; nothing when it takes longer than it may.
pub fn wait(child: &mut Child, limit: Duration) -> io::Result<Option<ExitStatus>> {
    let until = Instant::now() + limit;
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= until {
            return Ok(None);
        }
        thread::park_timeout(pause.min(until.saturating_duration_since(Instant::now())));
        pause = (pause * 2).min(Duration::from_millis(100));
    }
}

/// Kills a child with all that it has started and that has not become a session of its own, and says in a line what it did.
///
/// One that has become another user's, as by sudo(8), can't be killed, and one that waits for a disk dies when that answers:
/// it is waited for aside then, and holds up nobody.
pub fn end(child: Child, limit: Duration) -> String {
    let pid = Pid::from_child(&child);
    let killed = kill_process_group(pid, Signal::KILL);
    let limit = limit.as_secs();
    match (dies(child, DYING), killed) {
        (true, _) => format!("it ran longer than {limit} s and was killed"),
        (false, Ok(())) => format!("it runs longer than {limit} s and does not die: process {pid}"),
        (false, Err(e)) => format!("it runs longer than {limit} s and can't be killed ({e}): process {pid}"),
    }
}

/// Whether a child is gone soon. Else somebody waits for it from now on, for as long as that takes.
fn dies(mut child: Child, soon: Duration) -> bool {
    // An error says that somebody has waited for it.
    if !matches!(wait(&mut child, soon), Ok(None)) {
        return true;
    }
    let _ = thread::Builder::new().name("overdue".to_owned()).spawn(move || child.wait());
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::{kill_process, test_kill_process};
    use std::process::Command;

    #[test]
    fn one_that_does_not_die_holds_up_nobody_and_is_reaped_when_it_has() {
        let child = Command::new("sleep").arg("600").spawn().unwrap();
        let pid = Pid::from_child(&child);
        assert!(!dies(child, Duration::from_millis(20)));
        kill_process(pid, Signal::KILL).unwrap();
        let until = Instant::now() + Duration::from_secs(60);
        while test_kill_process(pid).is_ok() {
            assert!(Instant::now() < until, "nobody has waited for it");
            thread::park_timeout(Duration::from_millis(5));
        }
    }
}

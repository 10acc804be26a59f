//! The line to whoever keeps the system's log.

use crate::entry::Entry;
use rustix::fs::fstat;
use rustix::net::{SendFlags, send};
use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const JOURNAL: &str = "/run/systemd/journal/socket";
#[cfg(target_os = "linux")]
const SYSLOG: &str = "/dev/log";
#[cfg(not(target_os = "linux"))]
const SYSLOG: &str = "/var/run/log";

/// How long whoever keeps the log is waited for; not again before something gets through.
const PATIENCE: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Speaks {
    Journal,
    Syslog,
}

/// A socket that is open from the start: later, the process may reach nothing else any more.
pub struct Line {
    socket: UnixDatagram,
    to: PathBuf,
    speaks: Speaks,
    stuck: AtomicBool,
}

impl Line {
    /// To the journal, when standard error goes there.
    pub fn of_standard_error() -> Option<Line> {
        let stream = std::env::var("JOURNAL_STREAM").ok()?;
        let standard_error = fstat(std::io::stderr()).ok()?;
        let here = format!("{}:{}", standard_error.st_dev, standard_error.st_ino);
        (stream == here).then(|| Line::open(Path::new(JOURNAL), Speaks::Journal)).flatten()
    }

    /// To the journal, or else to syslogd, where there is one.
    pub fn of_the_system() -> Option<Line> {
        let journal = Line::open(Path::new(JOURNAL), Speaks::Journal);
        journal.or_else(|| Line::open(Path::new(SYSLOG), Speaks::Syslog))
    }

    fn open(to: &Path, speaks: Speaks) -> Option<Line> {
        let socket = UnixDatagram::unbound().ok()?;
        socket.set_write_timeout(Some(PATIENCE)).ok()?;
        socket.connect(to).ok()?;
        Some(Line { socket, to: to.to_owned(), speaks, stuck: AtomicBool::new(false) })
    }

    /// Sends an entry. One that was started anew is found again where this process may still look for it.
    pub fn say(&self, program: &str, entry: &Entry) {
        let bytes = match self.speaks {
            Speaks::Journal => entry.for_the_journal(program),
            Speaks::Syslog => entry.for_syslog(program),
        };
        let gone = [io::ErrorKind::ConnectionRefused, io::ErrorKind::ConnectionReset, io::ErrorKind::NotConnected];
        if self.send(&bytes).is_err_and(|e| gone.contains(&e.kind())) && self.socket.connect(&self.to).is_ok() {
            let _ = self.send(&bytes);
        }
    }

    fn send(&self, bytes: &[u8]) -> io::Result<()> {
        let patient = !self.stuck.load(Ordering::Relaxed);
        let sent = send(&self.socket, bytes, if patient { SendFlags::empty() } else { SendFlags::DONTWAIT });
        let sent = sent.map(|_| ()).map_err(io::Error::from);
        let full = sent.as_ref().is_err_and(|e| e.kind() == io::ErrorKind::WouldBlock);
        self.stuck.store(full, Ordering::Relaxed);
        sent
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::mpsc::channel;
    use std::thread;
    use tracing::Level;

    #[test]
    fn an_entry_arrives_also_when_the_listener_was_started_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        assert!(Line::open(&path, Speaks::Syslog).is_none(), "nobody listens");
        let first = UnixDatagram::bind(&path).unwrap();
        let line = Line::open(&path, Speaks::Syslog).unwrap();
        let entry = |text: &str| Entry::new(Level::WARN, text.to_owned(), Vec::new(), []);
        let hears = |listener: &UnixDatagram| {
            let mut bytes = [0; 200];
            let count = listener.recv(&mut bytes).unwrap();
            String::from_utf8(bytes[..count].to_vec()).unwrap()
        };
        line.say("builder-run", &entry("one"));
        assert!(hears(&first).ends_with("]: one"));
        drop(first);
        line.say("builder-run", &entry("lost"));
        spool::disk::remove_file(&path).unwrap();
        let second = UnixDatagram::bind(&path).unwrap();
        line.say("builder-run", &entry("two"));
        let heard = hears(&second);
        assert!(heard.starts_with("<28>builder-run[") && heard.ends_with("]: two"), "{heard}");
    }

    /// Whoever keeps the log and reads nothing is waited for once, not for each entry.
    #[test]
    fn a_listener_that_is_stuck_is_waited_for_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let listener = UnixDatagram::bind(&path).unwrap();
        let line = Line::open(&path, Speaks::Syslog).unwrap();
        let entry = Entry::new(Level::WARN, "x".to_owned(), Vec::new(), []);
        while !line.stuck.load(Ordering::Relaxed) {
            line.say("builderd", &entry);
        }
        let full = line.send(b"x").unwrap_err();
        assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
        let (line, (says, said)) = (Arc::new(line), channel());
        let (theirs, of_theirs) = (Arc::clone(&line), Entry::new(Level::WARN, "y".to_owned(), Vec::new(), []));
        thread::spawn(move || {
            (0..1000).for_each(|_| theirs.say("builderd", &of_theirs));
            says.send(()).unwrap();
        });
        assert!(said.recv_timeout(Duration::from_secs(100)).is_ok(), "each is waited for");
        listener.set_nonblocking(true).unwrap();
        while listener.recv(&mut [0; 200]).is_ok() {}
        line.say("builderd", &entry);
        assert!(!line.stuck.load(Ordering::Relaxed), "it is waited for again");
    }
}

//! The line to whoever keeps the system's log.

use crate::entry::Entry;
use rustix::fs::fstat;
use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

const JOURNAL: &str = "/run/systemd/journal/socket";
#[cfg(target_os = "linux")]
const SYSLOG: &str = "/dev/log";
#[cfg(not(target_os = "linux"))]
const SYSLOG: &str = "/var/run/log";

/// How long whoever keeps the log is waited for.
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
        Some(Line { socket, to: to.to_owned(), speaks })
    }

    /// Sends an entry. One that was started anew is found again where this process may still look for it.
    pub fn say(&self, program: &str, entry: &Entry) {
        let bytes = match self.speaks {
            Speaks::Journal => entry.for_the_journal(program),
            Speaks::Syslog => entry.for_syslog(program),
        };
        if let Err(e) = self.socket.send(&bytes)
            && matches!(e.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotConnected)
            && self.socket.connect(&self.to).is_ok()
        {
            let _ = self.socket.send(&bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
}

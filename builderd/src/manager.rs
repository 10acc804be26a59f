//! The service manager that started builderd, when there is one: told by datagrams as sd_notify(3) has it.
//!
//! Everything is said by the daemon's own round, so that a round which hangs is not taken for one that goes on. What
//! can't be sent is lost: a manager that is gone must not keep timers waiting.

use rustix::time::{ClockId, clock_gettime};
use spool::error::{At, Error, Kind, Result};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant};
use tracing::{debug, warn};

/// How long a manager that reads nothing is waited for.
const PATIENCE: Duration = Duration::from_secs(2);

/// A step that looks at each file of a spool may take so long without being taken for one that hangs.
const LONG: Duration = Duration::from_secs(6 * 3600);

/// Who started builderd and wants to know how it is.
pub struct Manager {
    line: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
    alive: Option<Instant>,
    status: String,
}

impl Manager {
    /// The one that the environment names (`NOTIFY_SOCKET`, `WATCHDOG_USEC`, `WATCHDOG_PID`), or nobody.
    pub fn from_environment() -> Manager {
        let line = std::env::var_os("NOTIFY_SOCKET").and_then(|name| {
            let line = line(&name);
            line.inspect_err(|e| warn!("the service manager is told nothing: {e}")).ok()
        });
        let watchdog = match line {
            Some(_) => watchdog(std::env::var_os("WATCHDOG_USEC"), std::env::var_os("WATCHDOG_PID")),
            None => None,
        };
        Manager { line, watchdog, alive: None, status: String::new() }
    }

    /// builderd serves.
    pub fn ready(&self) {
        self.say("READY=1");
    }

    /// The configuration is being read again, until [`Manager::ready`].
    pub fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let microseconds = now.tv_sec * 1_000_000 + now.tv_nsec / 1000;
        self.say(&format!("RELOADING=1\nMONOTONIC_USEC={microseconds}"));
    }

    /// builderd ends.
    pub fn stopping(&self) {
        self.say("STOPPING=1\nSTATUS=stops");
    }

    /// How it is, in a line; sent when it has changed.
    pub fn status(&mut self, status: String) {
        if self.status != status {
            self.say(&format!("STATUS={}", status.replace('\n', " ")));
            self.status = status;
        }
    }

    /// The daemon's round goes on. Sent a few times in each period of the watchdog, however often it is called.
    pub fn alive(&mut self) {
        let Some(every) = self.longest_silence() else { return };
        if self.alive.is_none_or(|at| at.elapsed() >= every / 2) {
            self.say("WATCHDOG=1");
            self.alive = Some(Instant::now());
        }
    }

    /// How long the daemon may sleep; nothing when nobody watches.
    pub fn longest_silence(&self) -> Option<Duration> {
        self.watchdog.map(|period| period / 3)
    }

    /// Does something of which nobody can tell how long it takes: the watchdog has more patience meanwhile.
    pub fn during<T>(&mut self, long: impl FnOnce() -> T) -> T {
        if let Some(period) = self.watchdog {
            self.say(&format!("WATCHDOG_USEC={}", LONG.max(period).as_micros()));
        }
        let done = long();
        if let Some(period) = self.watchdog {
            self.say(&format!("WATCHDOG_USEC={}\nWATCHDOG=1", period.as_micros()));
        }
        done
    }

    fn say(&self, words: &str) {
        if let Some((socket, address)) = &self.line
            && let Err(e) = socket.send_to_addr(words.as_bytes(), address)
        {
            debug!("the service manager does not hear: {e}");
        }
    }
}

fn line(name: &OsStr) -> Result<(UnixDatagram, SocketAddr)> {
    let address = address(name)?;
    let socket = UnixDatagram::unbound().at("make", "a socket")?;
    socket.set_write_timeout(Some(PATIENCE)).at("make", "a socket")?;
    Ok((socket, address))
}

/// A path, or a name of Linux's abstract namespace, which begins with `@`.
fn address(name: &OsStr) -> Result<SocketAddr> {
    match name.as_bytes() {
        [b'/', ..] => SocketAddr::from_pathname(name).at("understand", "NOTIFY_SOCKET"),
        #[cfg(target_os = "linux")]
        [b'@', rest @ ..] => {
            use std::os::linux::net::SocketAddrExt;
            SocketAddr::from_abstract_name(rest).at("understand", "NOTIFY_SOCKET")
        }
        _ => Err(Error::new(Kind::Config, format!("NOTIFY_SOCKET={} is no unix socket", name.display()))),
    }
}

/// The watchdog's period, when it is this process that it watches.
fn watchdog(period: Option<OsString>, pid: Option<OsString>) -> Option<Duration> {
    let number = |text: OsString| text.to_str().and_then(|text| text.parse::<u64>().ok());
    let mine = pid.is_none_or(|pid| number(pid) == Some(std::process::id().into()));
    let period = period.and_then(number).filter(|microseconds| mine && *microseconds > 0)?;
    Some(Duration::from_micros(period))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watchdog_is_fed_by_whom_it_watches() {
        let text = |text: &str| Some(OsString::from(text));
        let me = std::process::id().to_string();
        assert_eq!(watchdog(text("2000000"), text(&me)), Some(Duration::from_secs(2)));
        assert_eq!(watchdog(text("2000000"), None), Some(Duration::from_secs(2)));
        assert_eq!(watchdog(text("2000000"), text("1")), None);
        for nonsense in ["", "0", "-1", "1 s"] {
            assert_eq!(watchdog(text(nonsense), None), None, "{nonsense}");
        }
    }

    #[test]
    fn only_unix_sockets_are_understood() {
        assert!(address(OsStr::new("/run/systemd/notify")).is_ok());
        assert_eq!(address(OsStr::new("@/org/notify")).is_ok(), cfg!(target_os = "linux"));
        assert!(address(OsStr::new("vsock:2:1234")).is_err());
        assert!(address(OsStr::new("")).is_err());
    }
}

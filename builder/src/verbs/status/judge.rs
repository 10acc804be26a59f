//! What is wrong, and how much so: a pure function of a status and some bounds.

use crate::args::StatusArgs;
use crate::text;
use crate::words;
use jiff::Timestamp;
use spool::error::{Error, Kind, Result};
use spool::platform::State;
use spool::status::{OfPlatform, Status};

/// The worst that can be wrong.
pub const NO_BUILDERD: &str = "builderd does not run";

/// How much something is wrong; the numbers are those of the Monitoring Plugins' guidelines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Nothing is.
    Ok = 0,
    /// Somebody should look.
    Warning = 1,
    /// Somebody must.
    Critical = 2,
}

/// A bound for a warning and one for worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// For a warning.
    pub warning: u64,
    /// For worse.
    pub critical: u64,
}

impl Bounds {
    fn above(self, value: u64) -> Level {
        match value {
            _ if value > self.critical => Level::Critical,
            _ if value > self.warning => Level::Warning,
            _ => Level::Ok,
        }
    }

    fn below(self, value: u64) -> Level {
        match value {
            _ if value < self.critical => Level::Critical,
            _ if value < self.warning => Level::Warning,
            _ => Level::Ok,
        }
    }
}

/// From where on something is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Seconds that a build may wait.
    pub age: Bounds,
    /// Builds that may wait.
    pub queue: Option<Bounds>,
    /// Percent of the disk that must be free.
    pub free: Bounds,
}

impl Limits {
    /// What was typed.
    pub fn of(args: &StatusArgs) -> Result<Limits> {
        let number = |option: &'static str| {
            move |text: &str| {
                text.parse::<u64>().map_err(|_| {
                    let shown: String = text.chars().take(60).flat_map(char::escape_default).collect();
                    Error::new(Kind::Usage, format!("{option} `{shown}` is no number"))
                })
            }
        };
        let age = bounds("--age", &args.age, |text| words::seconds("--age", text, 0))?;
        let queue = args.queue.as_deref().map(|text| bounds("--queue", text, number("--queue"))).transpose()?;
        let free = bounds("--free", &args.free, number("--free"))?;
        let upwards = |option: &str, bounds: Bounds| match bounds.warning <= bounds.critical {
            true => Ok(()),
            false => {
                Err(Error::new(Kind::Usage, format!("{option}: what is critical must not be less than the warning")))
            }
        };
        upwards("--age", age)?;
        queue.map_or(Ok(()), |queue| upwards("--queue", queue))?;
        upwards("--free", Bounds { warning: free.critical, critical: free.warning })
            .map_err(|_| Error::new(Kind::Usage, "--free: what is critical must not be more than the warning"))?;
        Ok(Limits { age, queue, free })
    }
}

fn bounds(option: &str, text: &str, parse: impl Fn(&str) -> Result<u64>) -> Result<Bounds> {
    let Some((warning, critical)) = text.split_once(',') else {
        let shown: String = text.chars().take(60).flat_map(char::escape_default).collect();
        return Err(Error::new(Kind::Usage, format!("{option} `{shown}` are not two bounds"))
            .hint("give that of a warning and that of what is critical, such as 1h,12h or 10,5"));
    };
    Ok(Bounds { warning: parse(warning)?, critical: parse(critical)? })
}

/// What is wrong, the worst first, each in a few words.
pub fn judge(status: &Status, limits: &Limits, now: Timestamp) -> Vec<(Level, String)> {
    let mut wrong = Vec::new();
    if !status.builderd {
        wrong.push((Level::Critical, NO_BUILDERD.to_owned()));
    }
    if let Some(short) = &status.disk.short {
        wrong.push((Level::Critical, format!("the disk is full: {short}")));
    }
    let percent = free_percent(status);
    match limits.free.below(percent) {
        Level::Ok => {}
        level => wrong.push((level, format!("{percent} % of the disk are free"))),
    }
    for (platform, of) in &status.platforms {
        // What its operator holds back waits as long as that is meant.
        if status.drains || of.state != State::Open {
            continue;
        }
        let queue = limits.queue.map_or(Level::Ok, |queue| queue.above(of.waiting as u64));
        match limits.age.above(age(of, now)).max(queue) {
            Level::Ok => {}
            level => wrong.push((level, format!("{} on {platform}", waiting(of, now)))),
        }
        // Where nothing waits nobody tries again, and nobody needs to.
        if let Some(said) = of.launch_failed.as_ref().filter(|_| of.waiting > 0) {
            let times = if of.launch_failures == 1 {
                "1 launch".to_owned()
            } else {
                format!("{} launches", of.launch_failures)
            };
            wrong.push((Level::Warning, format!("{times} on {platform} failed: {said}")));
        }
        if let Some(first) = of.launch_keyless.first().filter(|_| of.waiting > 0) {
            let who = match of.launch_keyless.len() {
                1 => format!("worker {first} is not launched on {platform}: it has no key"),
                some => format!("{some} workers are not launched on {platform}: they have no keys"),
            };
            wrong.push((Level::Warning, format!("{who} here, `builder worker add {first}`")));
        }
    }
    if status.workers.quarantined > 0 {
        let workers = text::count(status.workers.quarantined, "worker");
        wrong.push((Level::Warning, format!("{workers} in quarantine")));
    }
    wrong.sort_by_key(|(level, _)| std::cmp::Reverse(*level));
    wrong
}

/// `3 builds wait, the oldest for 4 min`.
pub fn waiting(of: &OfPlatform, now: Timestamp) -> String {
    let verb = if of.waiting == 1 { "waits" } else { "wait" };
    let oldest = match of.oldest {
        Some(_) if of.waiting == 1 => format!(" for {}", text::rough(age(of, now) as i64)),
        Some(_) => format!(", the oldest for {}", text::rough(age(of, now) as i64)),
        None => String::new(),
    };
    format!("{} {verb}{oldest}", text::count(of.waiting, "build"))
}

/// How many seconds ago the oldest of those that wait was queued, by its id.
pub fn age(of: &OfPlatform, now: Timestamp) -> u64 {
    of.oldest.map_or(0, |oldest| now.duration_since(oldest).as_secs().max(0) as u64)
}

/// How much of the disk is free, rounded down; all of one that does not tell its size.
pub fn free_percent(status: &Status) -> u64 {
    match status.disk.bytes {
        0 => 100,
        bytes => (u128::from(status.disk.free_bytes) * 100 / u128::from(bytes)) as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use spool::room::Disk;
    use spool::status::Workers;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn well() -> Status {
        let of = OfPlatform {
            state: State::Open,
            waiting: 0,
            oldest: None,
            running: 0,
            silent: 0,
            workers: 1,
            free: 1,
            launched: 0,
            launch_failures: 0,
            launch_failed: None,
            launch_keyless: Vec::new(),
        };
        let disk = Disk { bytes: 1000, free_bytes: 500, inodes: 0, free_inodes: 0, short: None };
        let platforms = [("p".parse().unwrap(), of)].into();
        let workers = Workers::default();
        Status { builderd: true, drains: false, jobs: 1, platforms, workers, owing: 0, disk }
    }

    fn limits(queue: Option<&str>) -> Limits {
        let (age, free, queue) = ("1h,12h".to_owned(), "10,5".to_owned(), queue.map(str::to_owned));
        Limits::of(&StatusArgs { json: false, nagios: true, age, queue, free }).unwrap()
    }

    fn wrong(change: impl FnOnce(&mut Status, &mut OfPlatform)) -> Vec<(Level, String)> {
        let mut status = well();
        let mut of = status.platforms.pop_first().unwrap().1;
        change(&mut status, &mut of);
        status.platforms.insert("p".parse().unwrap(), of);
        judge(&status, &limits(Some("5,9")), NOW)
    }

    #[test]
    fn each_thing_that_can_be_wrong_has_its_level() {
        let ago = |seconds: i64| Some(Timestamp::from_second(-seconds).unwrap());
        assert_eq!(wrong(|_, _| {}), []);
        let one = |level: Level, text: &str| vec![(level, text.to_owned())];
        assert_eq!(wrong(|status, _| status.builderd = false), one(Level::Critical, "builderd does not run"));
        assert_eq!(wrong(|_, of| (of.waiting, of.oldest) = (2, ago(3600))), []);
        assert_eq!(
            wrong(|_, of| (of.waiting, of.oldest) = (2, ago(3601))),
            one(Level::Warning, "2 builds wait, the oldest for 1 h on p")
        );
        assert_eq!(
            wrong(|_, of| (of.waiting, of.oldest) = (1, ago(12 * 3600 + 1))),
            one(Level::Critical, "1 build waits for 12 h on p")
        );
        assert_eq!(wrong(|_, of| (of.waiting, of.oldest) = (6, ago(1)))[0].0, Level::Warning);
        assert_eq!(wrong(|_, of| (of.waiting, of.oldest) = (10, ago(1)))[0].0, Level::Critical);
        let paused = |_: &mut Status, of: &mut OfPlatform| {
            (of.waiting, of.oldest, of.state) = (10, ago(1_000_000), State::Paused);
        };
        assert_eq!(wrong(paused), []);
        assert_eq!(wrong(|status, _| status.disk.free_bytes = 99), one(Level::Warning, "9 % of the disk are free"));
        assert_eq!(wrong(|status, _| status.disk.free_bytes = 49), one(Level::Critical, "4 % of the disk are free"));
        assert_eq!(wrong(|status, _| status.disk.short = Some("0 kB are free".into()))[0].0, Level::Critical);
        assert_eq!(wrong(|status, _| status.workers.quarantined = 2), one(Level::Warning, "2 workers in quarantine"));
        let launches_fail = |waiting: usize| {
            wrong(|_, of| {
                (of.waiting, of.launch_failures, of.launch_failed) = (waiting, 2, Some("no partition".into()));
            })
        };
        assert_eq!(launches_fail(1), one(Level::Warning, "2 launches on p failed: no partition"));
        assert_eq!(launches_fail(0), [], "nobody is needed");
        let keyless = |names: &[&str]| {
            let names = names.iter().map(|name| name.parse().unwrap()).collect();
            wrong(|_, of| (of.waiting, of.launch_keyless) = (1, names))
        };
        let said = "worker w-1 is not launched on p: it has no key here, `builder worker add w-1`";
        assert_eq!(keyless(&["w-1"]), one(Level::Warning, said));
        assert!(keyless(&["w-1", "w-2"])[0].1.starts_with("2 workers are not launched on p: they have no keys here"));
        let both = wrong(|status, _| (status.builderd, status.workers.quarantined) = (false, 1));
        assert_eq!((both.len(), both[0].0), (2, Level::Critical), "the worst first");
    }

    #[test]
    fn bounds_that_make_no_sense_are_refused() {
        let of = |age: &str, queue: &str, free: &str| {
            let (age, queue, free) = (age.to_owned(), Some(queue.to_owned()), free.to_owned());
            Limits::of(&StatusArgs { json: false, nagios: false, age, queue, free })
        };
        assert!(of("30m,30m", "0,1", "5,5").is_ok());
        for (age, queue, free) in [
            ("1h", "1,2", "10,5"),
            ("2h,1h", "1,2", "10,5"),
            ("1,2", "1,2", "10,5"),
            ("1h,2h", "2,1", "10,5"),
            ("1h,2h", "-1,1", "10,5"),
            ("1h,2h", "1,2", "5,10"),
            ("1h,2h", "1,2", "x,y"),
        ] {
            assert_eq!(of(age, queue, free).unwrap_err().kind(), Kind::Usage, "{age} {queue} {free}");
        }
    }
}

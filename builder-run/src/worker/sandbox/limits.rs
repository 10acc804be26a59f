//! How much of the machine a build may use: a cgroup of its own, cgroups(7) in its second version, below that of the worker.
//!
//! That takes a cgroup which was handed over to the worker: `Delegate=yes` of a unit of systemd, or of `systemd-run`. A
//! limit that nothing keeps is none: where there is no such cgroup, the worker does not start.
#![allow(clippy::disallowed_methods)]

use crate::args::SandboxArgs;
use spool::error::{At, Error, Kind, Result};
use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Microseconds of a period of cpu.max.
const PERIOD: u32 = 100_000;

/// What is wanted.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Bytes.
    memory: Option<u64>,
    /// Microseconds in each [`PERIOD`].
    processor: Option<u32>,
    /// Processes and threads.
    tasks: Option<u32>,
}

impl Wanted {
    /// From the command line.
    pub fn of(args: &SandboxArgs) -> Result<Wanted> {
        let processor = args.cpus.as_deref().map(processor).transpose()?;
        Ok(Wanted { memory: args.memory.map(spool::keep::Size::bytes), processor, tasks: args.tasks })
    }

    /// Whether nothing is.
    fn is_empty(&self) -> bool {
        self.memory.is_none() && self.processor.is_none() && self.tasks.is_none()
    }

    /// The number of processes, when nothing else is wanted.
    pub fn only_tasks(&self) -> Option<u32> {
        self.tasks.filter(|_| self.memory.is_none() && self.processor.is_none())
    }

    /// The controllers that keep it.
    fn controllers(&self) -> Vec<&'static str> {
        let all =
            [("memory", self.memory.is_some()), ("cpu", self.processor.is_some()), ("pids", self.tasks.is_some())];
        all.into_iter().filter(|(_, wanted)| *wanted).map(|(name, _)| name).collect()
    }

    /// What is written where. Without the last one, the rest of what the build has started would go on when one of its
    /// processes has used up the memory.
    fn settings(&self) -> Vec<(&'static str, String)> {
        let mut all = Vec::new();
        if let Some(bytes) = self.memory {
            all.extend([("memory.max", bytes.to_string()), ("memory.oom.group", "1".into())]);
        }
        all.extend(self.processor.map(|share| ("cpu.max", format!("{share} {PERIOD}"))));
        all.extend(self.tasks.map(|tasks| ("pids.max", tasks.to_string())));
        all
    }
}

fn processor(text: &str) -> Result<u32> {
    let number = text.parse::<f64>().ok().filter(|number| (0.01..=10_000.0).contains(number));
    number.map(|number| (number * f64::from(PERIOD)) as u32).ok_or_else(|| {
        let shown: String = text.chars().take(60).flat_map(char::escape_default).collect();
        Error::new(Kind::Usage, format!("--cpus `{shown}` is no number of processors"))
            .hint("give a number such as 2 or 0.5, 0.01 at least")
    })
}

/// Limits that are kept; none, unless some are wanted.
#[derive(Debug, Default)]
pub struct Limits {
    kept: Option<Kept>,
}

#[derive(Debug)]
struct Kept {
    wanted: Wanted,
    /// The worker's cgroup, in which those of builds are made.
    above: PathBuf,
}

impl Limits {
    /// Makes room for the cgroups of builds.
    pub fn open(wanted: &Wanted) -> Result<Limits> {
        if wanted.is_empty() {
            return Ok(Limits::default());
        }
        let refused = |why: String| {
            Error::new(Kind::Config, format!("the limits can't be kept: {why}"))
                .hint("start the worker in a unit with Delegate=yes, or by `systemd-run --scope -p Delegate=yes`")
        };
        let above = own_cgroup().ok_or_else(|| refused("this system has no cgroups of version 2".into()))?;
        prepare(&above, wanted).map_err(refused)?;
        Ok(Limits { kept: Some(Kept { wanted: wanted.clone(), above }) })
    }

    /// A cgroup for a build, if there are limits.
    pub fn cell(&self) -> Result<Option<Cell>> {
        let Some(kept) = &self.kept else { return Ok(None) };
        let cell = Cell { directory: kept.above.join("build") };
        // What a killed worker has left in it is of no use to anybody.
        cell.empty();
        match std::fs::create_dir(&cell.directory) {
            Err(e) if e.kind() != ErrorKind::AlreadyExists => return Err(e).at("create", &cell.directory),
            _ => {}
        }
        for (file, value) in kept.wanted.settings() {
            let path = cell.directory.join(file);
            std::fs::write(&path, value).at("write", &path)?;
        }
        // Where nothing is swapped there is no such file.
        if kept.wanted.memory.is_some() {
            let _ = std::fs::write(cell.directory.join("memory.swap.max"), "0");
        }
        Ok(Some(cell))
    }
}

/// A build's cgroup. It is emptied and goes when this is dropped.
#[derive(Debug)]
pub struct Cell {
    directory: PathBuf,
}

impl Cell {
    /// Who writes `0` to it is inside.
    pub fn door(&self) -> Result<File> {
        let path = self.directory.join("cgroup.procs");
        OpenOptions::new().write(true).open(&path).at("open", path)
    }

    fn empty(&self) {
        let until = Instant::now() + Duration::from_secs(10);
        while self.directory.is_dir() && Instant::now() < until {
            let _ = std::fs::write(self.directory.join("cgroup.kill"), "1");
            self.remove();
            if self.directory.is_dir() {
                std::thread::park_timeout(Duration::from_millis(5));
            }
        }
    }

    /// A cgroup goes when there is none below it: systemd-nspawn(1) makes some, and leaves them.
    fn remove(&self) {
        for group in walkdir::WalkDir::new(&self.directory).contents_first(true).into_iter().flatten() {
            if group.file_type().is_dir() {
                let _ = std::fs::remove_dir(group.path());
            }
        }
    }
}

impl Drop for Cell {
    fn drop(&mut self) {
        self.empty();
    }
}

/// Moves the worker into a cgroup below its own, since one with limits for those below it may have no process itself, and hands
/// the controllers down.
fn prepare(above: &Path, wanted: &Wanted) -> std::result::Result<(), String> {
    let there = std::fs::read_to_string(above.join("cgroup.controllers")).unwrap_or_default();
    let there: Vec<&str> = there.split_ascii_whitespace().collect();
    if let Some(missing) = wanted.controllers().iter().find(|name| !there.contains(name)) {
        return Err(format!("{} has no controller `{missing}`", above.display()));
    }
    let ours = above.join("worker");
    match std::fs::create_dir(&ours) {
        Err(e) if e.kind() != ErrorKind::AlreadyExists => return Err(format!("{}: {e}", ours.display())),
        _ => {}
    }
    std::fs::write(ours.join("cgroup.procs"), std::process::id().to_string())
        .map_err(|e| format!("{}: {e}", ours.display()))?;
    let down: Vec<String> = wanted.controllers().iter().map(|name| format!("+{name}")).collect();
    std::fs::write(above.join("cgroup.subtree_control"), down.join(" "))
        .map_err(|e| format!("{}: {e}", above.display()))
}

/// The directory of this process's cgroup; nothing where there is none of version 2.
fn own_cgroup() -> Option<PathBuf> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
    let own = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    directory_of(&mounts, &own)
}

/// From mountinfo and cgroup of proc(5).
fn directory_of(mounts: &str, own: &str) -> Option<PathBuf> {
    let own = own.lines().find_map(|line| line.strip_prefix("0::"))?;
    let (root, mounted) = mounts.lines().find_map(|line| {
        let (front, back) = line.split_once(" - ")?;
        let mut fields = front.split(' ').skip(3);
        back.starts_with("cgroup2 ").then(|| Some((fields.next()?, fields.next()?)))?
    })?;
    let below = Path::new(own).strip_prefix(root).ok()?;
    Some(Path::new(mounted).join(below))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted() -> Wanted {
        Wanted { memory: Some(1 << 30), processor: Some(processor("1.5").unwrap()), tasks: Some(50) }
    }

    #[test]
    fn what_is_no_number_of_processors_is_refused() {
        for text in ["", "0", "-1", "NaN", "inf", "two", "1e9"] {
            assert!(processor(text).is_err(), "{text}");
        }
        assert_eq!(processor("0.5").unwrap(), 50_000);
    }

    #[test]
    fn the_own_cgroup_is_found() {
        let mounts =
            "24 1 0:22 / /proc rw - proc proc rw\n30 24 0:26 /a /sys/fs/cgroup rw shared:9 - cgroup2 cgroup2 rw\n";
        let own = "3:cpu:/x\n0::/a/system.slice/w.service\n";
        assert_eq!(directory_of(mounts, own), Some("/sys/fs/cgroup/system.slice/w.service".into()));
        assert_eq!(directory_of(mounts, "0::/elsewhere"), None);
        assert_eq!(directory_of("24 1 0:22 / /proc rw - proc proc rw\n", own), None);
    }

    /// A directory with the files of a cgroup; the real thing is in `a_sandbox_holds_what_runs_in_it`.
    #[test]
    fn the_worker_moves_and_hands_down_what_is_needed() {
        let directory = tempfile::tempdir().unwrap();
        let above = directory.path();
        std::fs::write(above.join("cgroup.controllers"), "cpu memory\n").unwrap();
        assert!(prepare(above, &wanted()).unwrap_err().ends_with("has no controller `pids`"));
        assert!(!above.join("worker").exists(), "nothing is done by halves");
        std::fs::write(above.join("cgroup.controllers"), "cpuset cpu memory pids\n").unwrap();
        prepare(above, &wanted()).unwrap();
        let text = |path: &str| std::fs::read_to_string(above.join(path)).unwrap();
        assert_eq!(text("worker/cgroup.procs"), std::process::id().to_string());
        assert_eq!(text("cgroup.subtree_control"), "+memory +cpu +pids");
    }

    #[test]
    fn a_cell_has_all_limits() {
        let directory = tempfile::tempdir().unwrap();
        let limits = Limits { kept: Some(Kept { wanted: wanted(), above: directory.path().to_owned() }) };
        let cell = limits.cell().unwrap().unwrap();
        let text = |path: &str| std::fs::read_to_string(cell.directory.join(path)).unwrap();
        assert_eq!((text("memory.max").as_str(), text("memory.oom.group").as_str()), ("1073741824", "1"));
        assert_eq!((text("memory.swap.max").as_str(), text("cpu.max").as_str()), ("0", "150000 100000"));
        assert_eq!(text("pids.max"), "50");
        // Files of a real cgroup go with it.
        std::fs::remove_dir_all(&cell.directory).unwrap();
    }

    #[test]
    fn a_cell_goes_with_the_cgroups_that_were_made_in_it() {
        let directory = tempfile::tempdir().unwrap();
        let build = directory.path().join("build");
        std::fs::create_dir_all(build.join("payload/system.slice/a.service")).unwrap();
        std::fs::create_dir(build.join("supervisor")).unwrap();
        let cell = Cell { directory: build.clone() };
        // A real one can't be written to, but for its files.
        cell.remove();
        assert!(!build.exists());
        drop(cell);
    }
}

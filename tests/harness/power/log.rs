//! A recorded life as operations on inodes, with what was promised between them.

use super::DIARY;
use super::trace::Call;
use super::whole::Promise;
use spool::build_id::BuildId;
use spool::place::Ticket;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// An inode's number: an index into [`Log::inodes`].
pub type Inode = usize;

/// What changes.
#[derive(Clone, Debug)]
pub enum Op {
    /// Names come and go, all at once: of each the directory, and what it means from then on.
    Names(Vec<(Inode, String, Option<Inode>)>),
    /// Permissions.
    Mode(Inode, u32),
    /// Bytes are written, at the end or at an offset.
    Write(Inode, Option<u64>, Vec<u8>),
    /// A file gets a length.
    Truncate(Inode, u64),
    /// A file, or a directory's names, are durable; and which sync that is.
    Sync(Inode, usize),
    /// Everything is durable; and which sync that is.
    SyncAll(usize),
}

/// A file or a directory.
#[derive(Clone, Debug)]
pub struct Node {
    /// Whether it is a directory.
    pub is_dir: bool,
    /// Its first permissions.
    pub mode: u32,
    /// Where it leads, when it is a symbolic link.
    pub target: Option<PathBuf>,
}

/// The life.
#[derive(Default)]
pub struct Log {
    /// All files and directories that there ever were. The first is the directory that holds the spool.
    pub inodes: Vec<Node>,
    /// What happened.
    pub ops: Vec<Op>,
    /// What holds from before an operation on, or does not any more: its index, whether it holds, and the promise.
    pub promises: Vec<(usize, bool, Promise)>,
    /// What the syncs are for, each kind once.
    pub syncs: Vec<String>,
    /// How many of the operations were before the first moment that is of interest, and are durable.
    pub start: usize,
    /// Where each of the operations happened, for people.
    pub notes: Vec<String>,
    live: BTreeMap<Inode, BTreeMap<String, Inode>>,
    said: Vec<(usize, Vec<u8>)>,
    /// Syncs, by operation: whether it is a directory's, and the path, before what comes later is known.
    synced: Vec<(usize, Option<Inode>, String, u32)>,
    renamed: Vec<(usize, Inode, String, u32)>,
    /// Whose call is being taken in.
    process: u32,
}

impl Log {
    /// The log of calls on a spool that was not there before.
    pub fn of(calls: Vec<(u32, Call)>, root: &Path) -> Log {
        let mut log = Log::empty();
        log.take_all(calls, root);
        log.name_syncs();
        log.read_diary();
        log
    }

    /// The log of what `change` does to a spool that is there, while these promises hold.
    pub fn of_change(root: &Path, promises: &[Promise], change: impl FnOnce() -> Vec<(u32, Call)>) -> Log {
        let mut log = Log::empty();
        log.take_all(made(root), root);
        log.start = log.ops.len();
        log.take_all(change(), root);
        log.name_syncs();
        log.promises = promises.iter().map(|promise| (0, true, promise.clone())).collect();
        log
    }

    fn empty() -> Log {
        let inodes = vec![Node { is_dir: true, mode: 0o755, target: None }];
        Log { inodes, live: BTreeMap::from([(0, BTreeMap::new())]), ..Log::default() }
    }

    fn take_all(&mut self, calls: Vec<(u32, Call)>, root: &Path) {
        let base = root.parent().expect("a parent").to_owned();
        for (process, call) in calls {
            self.process = process;
            self.take(call, &base, root);
        }
    }

    fn find(&self, path: &Path, base: &Path) -> Option<Inode> {
        let below = path.strip_prefix(base).ok()?;
        below.iter().try_fold(0, |at, part| self.live.get(&at)?.get(part.to_str()?).copied())
    }

    fn slot(&self, path: &Path, base: &Path) -> Option<(Inode, String)> {
        Some((self.find(path.parent()?, base)?, path.file_name()?.to_str()?.to_owned()))
    }

    fn push(&mut self, op: Op, note: String) {
        if let Op::Names(names) = &op {
            for (dir, name, to) in names {
                let dir = self.live.entry(*dir).or_default();
                match to {
                    Some(inode) => drop(dir.insert(name.clone(), *inode)),
                    None => drop(dir.remove(name)),
                }
            }
        }
        self.ops.push(op);
        self.notes.push(note);
    }

    fn node(&mut self, is_dir: bool, mode: u32) -> Inode {
        self.inodes.push(Node { is_dir, mode, target: None });
        let inode = self.inodes.len() - 1;
        if is_dir {
            self.live.insert(inode, BTreeMap::new());
        }
        inode
    }

    /// Calls on what is not the spool are passed over, and so are those on files without a name: nobody gets to them any
    /// more.
    fn take(&mut self, call: Call, base: &Path, root: &Path) {
        let note =
            format!("{call:?}").chars().take(200).collect::<String>().replace(&root.display().to_string(), "SPOOL");
        // What SQLite does to the index is its own to get right, and nothing depends on it.
        let index = root.join("index");
        let ours = |path: &PathBuf| path.starts_with(root) && (*path == index || !path.starts_with(&index));
        match call {
            Call::Open(path, mode, empties) if ours(&path) => match self.find(&path, base) {
                Some(inode) if empties => self.push(Op::Truncate(inode, 0), note),
                Some(_) => {}
                None => {
                    let Some((dir, name)) = self.slot(&path, base) else { return };
                    let inode = self.node(false, mode & 0o755);
                    self.push(Op::Names(vec![(dir, name, Some(inode))]), note);
                }
            },
            Call::MakeDir(path) if ours(&path) => {
                let Some((dir, name)) = self.slot(&path, base) else { return };
                let inode = self.node(true, 0o755);
                self.push(Op::Names(vec![(dir, name, Some(inode))]), note);
            }
            Call::Write(path, offset, bytes) if ours(&path) => {
                if let Some(inode) = self.find(&path, base) {
                    self.push(Op::Write(inode, offset, bytes), note);
                }
            }
            Call::Write(path, _, bytes) => {
                self.said.push((self.ops.len(), bytes.clone()));
                if path == base.join(DIARY) {
                    self.promises.push((self.ops.len(), false, Promise::Spool));
                }
            }
            Call::Truncate(path, length) if ours(&path) => {
                if let Some(inode) = self.find(&path, base) {
                    self.push(Op::Truncate(inode, length), note);
                }
            }
            Call::Remove(path) if ours(&path) => {
                if let (Some(_), Some((dir, name))) = (self.find(&path, base), self.slot(&path, base)) {
                    self.push(Op::Names(vec![(dir, name, None)]), note);
                }
            }
            Call::Rename(from, to) if ours(&to) => {
                let (Some(inode), Some(old), Some(new)) =
                    (self.find(&from, base), self.slot(&from, base), self.slot(&to, base))
                else {
                    return;
                };
                let pattern = pattern(to.strip_prefix(root).unwrap_or(&to));
                self.renamed.push((self.ops.len(), inode, pattern, self.process));
                self.push(Op::Names(vec![(new.0, new.1, Some(inode)), (old.0, old.1, None)]), note);
            }
            Call::Link(from, to) if ours(&to) => {
                if let (Some(inode), Some((dir, name))) = (self.find(&from, base), self.slot(&to, base)) {
                    self.push(Op::Names(vec![(dir, name, Some(inode))]), note);
                }
            }
            Call::Symlink(target, path) if ours(&path) => {
                let Some((dir, name)) = self.slot(&path, base) else { return };
                let inode = self.node(false, 0o777);
                self.inodes[inode].target = Some(target);
                self.push(Op::Names(vec![(dir, name, Some(inode))]), note);
            }
            Call::Mode(path, mode) if ours(&path) => {
                if let Some(inode) = self.find(&path, base) {
                    self.push(Op::Mode(inode, mode), note);
                }
            }
            Call::Sync(path) if ours(&path) || path == base => {
                if let Some(inode) = self.find(&path, base) {
                    let path = pattern(path.strip_prefix(root).unwrap_or(Path::new("the spool's parent")));
                    self.synced.push((self.ops.len(), Some(inode), path, self.process));
                    self.push(Op::Sync(inode, 0), note);
                }
            }
            Call::Other(_, files) => assert!(!files.iter().any(ours), "{note}"),
            Call::SyncAll => {
                self.synced.push((self.ops.len(), None, String::new(), self.process));
                self.push(Op::SyncAll(0), note);
            }
            _ => {}
        }
    }

    /// A sync is known by what it makes durable, and by the name that this gets next.
    fn name_syncs(&mut self) {
        for (at, inode, path, process) in std::mem::take(&mut self.synced) {
            let next = |inode: Inode| {
                let later = self.renamed.iter().find(|(when, which, ..)| *when > at && *which == inode);
                later.map(|(_, _, pattern, _)| format!(", before it is {pattern}")).unwrap_or_default()
            };
            let name = match inode {
                Some(inode) if self.inodes[inode].is_dir => format!("names in {path}{}", next(inode)),
                Some(inode) => format!("content of {path}{}", next(inode)),
                None => {
                    let next = self.renamed.iter().find(|(when, _, _, by)| *when > at && *by == process);
                    format!("everything, before {}", next.map_or("the end", |(_, _, pattern, _)| pattern))
                }
            };
            let known = self.syncs.iter().position(|sync| *sync == name).unwrap_or(self.syncs.len());
            if known == self.syncs.len() {
                self.syncs.push(name);
            }
            match &mut self.ops[at] {
                Op::Sync(_, which) | Op::SyncAll(which) => *which = known,
                _ => {}
            }
        }
    }

    /// A promise holds from the moment on at which a program has said it, not when the diary was written.
    fn read_diary(&mut self) {
        let lines = std::mem::take(&mut self.promises);
        let mut promises = Vec::new();
        for (at, ..) in lines {
            for (when, bytes) in self.said.iter().filter(|(when, _)| *when == at) {
                let text = String::from_utf8_lossy(bytes);
                let words: Vec<&str> = text.trim_end().split('\t').collect();
                let [said, sign, promise] = words[..] else { continue };
                let Ok(promise) = promise.parse() else { continue };
                let has_said = |(_, bytes): &&(usize, Vec<u8>)| String::from_utf8_lossy(bytes).contains(said);
                let from = match said {
                    "" => *when,
                    _ => self.said.iter().find(has_said).map_or(*when, |(from, _)| *from),
                };
                let new = (from.min(*when), sign == "+", promise);
                if !promises.contains(&new) {
                    promises.push(new);
                }
            }
        }
        promises.sort_by_key(|(at, ..)| *at);
        self.promises = promises;
    }

    /// What is promised after so many operations.
    pub fn promised(&self, ops: usize) -> Vec<&Promise> {
        let mut now: Vec<&Promise> = Vec::new();
        for (_, holds, promise) in self.promises.iter().take_while(|(from, ..)| *from <= ops) {
            match holds {
                true => now.push(promise),
                false => now.retain(|one| *one != promise),
            }
        }
        now
    }
}

/// Calls that make what is there now, durably.
fn made(root: &Path) -> Vec<(u32, Call)> {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let mut first: BTreeMap<u64, PathBuf> = BTreeMap::new();
    let mut calls = Vec::new();
    for entry in walkdir::WalkDir::new(root).sort_by_file_name() {
        let entry = entry.expect("readable");
        let (path, meta) = (entry.path().to_owned(), entry.metadata().expect("there"));
        match first.get(&meta.ino()) {
            _ if meta.is_dir() => calls.push(Call::MakeDir(path)),
            _ if meta.is_symlink() => {
                calls.push(Call::Symlink(std::fs::read_link(&path).expect("a link"), path));
            }
            Some(other) => calls.push(Call::Link(other.clone(), path)),
            None => {
                first.insert(meta.ino(), path.clone());
                calls.push(Call::Open(path.clone(), meta.permissions().mode() & 0o7777, false));
                calls.push(Call::Write(path.clone(), None, std::fs::read(&path).expect("readable")));
            }
        }
    }
    calls.push(Call::SyncAll);
    calls.into_iter().map(|call| (0, call)).collect()
}

/// What a path below the root is called in `spool-layout.md`, more or less.
fn pattern(path: &Path) -> String {
    let parts: Vec<&str> = path.iter().filter_map(|part| part.to_str()).collect();
    let mut named: Vec<String> = Vec::new();
    for (depth, part) in parts.iter().enumerate() {
        let extension = part.rsplit_once('.').map_or("", |(_, extension)| extension);
        let hex = part.bytes().all(|byte| byte.is_ascii_hexdigit());
        let name = match (parts[0], depth) {
            ("tmp", 1) => "DRAFT".to_owned(),
            ("jobs" | "good", 1) if part.ends_with(".toml") => "JOB.toml".to_owned(),
            ("jobs", 1) if *part != ".lock" => "JOB".to_owned(),
            ("jobs", 3) => "PLATFORM".to_owned(),
            ("timers", 1) => "JOB".to_owned(),
            ("workers", 1) if *part != ".lock" => format!("WORKER.{extension}"),
            ("platforms", 1) => "PLATFORM.toml".to_owned(),
            ("new", 1) => "PLATFORM".to_owned(),
            ("done" | "failed", 1) => "MONTH".to_owned(),
            ("store", 2) if hex => "SHARD".to_owned(),
            ("store", 3) if hex => "REST".to_owned(),
            _ if part.parse::<BuildId>().is_ok() => "BUILD".to_owned(),
            _ if part.parse::<Ticket>().is_ok() => "TICKET".to_owned(),
            _ if named.last().is_some_and(|above| above == "upload") && hex => "SHA".to_owned(),
            _ if named.last().is_some_and(|above| above == "upload") => "DRAFT.part".to_owned(),
            _ if named.last().is_some_and(|above| above == "artifacts") => {
                named.push("PATH".into());
                break;
            }
            _ => (*part).to_owned(),
        };
        named.push(name);
    }
    match named.is_empty() {
        true => "the root".into(),
        false => named.join("/").replace("done/", "END/").replace("failed/", "END/"),
    }
}

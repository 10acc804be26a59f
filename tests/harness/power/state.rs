//! What a file system may have kept when the power went.
//!
//! Two models. In the *ordered* one, of a journal (ext4, xfs, btrfs), names and permissions reach the disk in their order,
//! and each sync takes all before it along. In the *weak* one, which is all that fsync(2) promises, those that no sync
//! has made durable may each be there or not: of one name the later is not there without the earlier, a rename is there
//! at both ends or at neither, and a file's fsync says nothing of its name. In both, what was written to a file and not
//! synced may be there, cut short, zeros, or missing.

use super::log::{Inode, Log, Op};
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

/// What is known of the order in which names reach the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Model {
    /// In their own.
    Ordered,
    /// In none but that of fsync(2).
    Weak,
}

/// What became of bytes that were not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Bytes {
    /// They are lost.
    Missing,
    /// Some of them are there.
    Cut,
    /// There is room for them, with nothing in it.
    Zeros,
    /// They are there.
    Whole,
}

/// All that can be.
pub const BYTES: [Bytes; 4] = [Bytes::Missing, Bytes::Cut, Bytes::Zeros, Bytes::Whole];

/// A disk at a moment: what is durable, and what is not yet.
#[derive(Clone)]
pub struct Disk<'l> {
    log: &'l Log,
    model: Model,
    /// Syncs of this kind do nothing.
    without: Option<usize>,
    /// How many operations have happened.
    pub at: usize,
    names: BTreeMap<Inode, BTreeMap<String, Inode>>,
    modes: BTreeMap<Inode, u32>,
    /// Operations on names and permissions that are not durable, in their order.
    pub pending: Vec<usize>,
    /// Of each file the operations on its content, and how many of them are durable.
    contents: BTreeMap<Inode, (Vec<usize>, usize)>,
}

/// A choice among what may have been kept.
#[derive(Clone, Debug)]
pub struct Choice {
    /// Those of the pending operations that are there.
    pub kept: BTreeSet<usize>,
    /// What became of the bytes.
    pub bytes: Bytes,
}

/// What is on the disk after the power cut.
pub struct State {
    /// The files' contents and permissions; a directory has no content.
    nodes: BTreeMap<Inode, (Option<Vec<u8>>, u32)>,
    /// Where symbolic links lead.
    links: BTreeMap<Inode, PathBuf>,
    /// The names, parents first, below the directory that holds the spool.
    names: Vec<(PathBuf, Inode)>,
}

impl<'l> Disk<'l> {
    /// An empty one.
    pub fn new(log: &'l Log, model: Model, without: Option<usize>) -> Disk<'l> {
        let (names, modes, contents) = Default::default();
        Disk { log, model, without, at: 0, names, modes, pending: Vec::new(), contents }
    }

    /// Lets the next operation happen.
    pub fn step(&mut self) {
        let number = self.at;
        self.at += 1;
        match &self.log.ops[number] {
            Op::Names(..) | Op::Mode(..) => self.pending.push(number),
            Op::Write(inode, ..) | Op::Truncate(inode, _) => self.contents.entry(*inode).or_default().0.push(number),
            Op::Sync(_, kind) | Op::SyncAll(kind) if self.without == Some(*kind) => {}
            Op::SyncAll(_) => {
                self.settle(|_, _| true);
                self.contents.values_mut().for_each(|(all, durable)| *durable = all.len());
            }
            Op::Sync(inode, _) => {
                if let Some((all, durable)) = self.contents.get_mut(inode) {
                    *durable = all.len();
                }
                let ordered = self.model == Model::Ordered;
                let touches = |op: &Op| match op {
                    Op::Names(names) => names.iter().any(|(dir, ..)| dir == inode),
                    Op::Mode(of, _) => of == inode,
                    _ => false,
                };
                self.settle(|log, op| ordered || touches(&log.ops[op]));
            }
        }
    }

    /// Makes pending operations durable, with all that they need.
    fn settle(&mut self, wanted: impl Fn(&Log, usize) -> bool) {
        let log = self.log;
        let wanted: BTreeSet<usize> = self.pending.iter().copied().filter(|op| wanted(log, *op)).collect();
        let settled = self.with_needs(&wanted);
        let (settled, pending) = self.pending.iter().partition(|op| settled.contains(op));
        self.pending = pending;
        let settled: Vec<usize> = settled;
        settled.iter().for_each(|op| apply(&log.ops[*op], &mut self.names, &mut self.modes));
    }

    /// These, and the earlier ones of the same names.
    fn with_needs(&self, wanted: &BTreeSet<usize>) -> BTreeSet<usize> {
        let mut all = BTreeSet::new();
        let mut touched: BTreeSet<(Inode, &str)> = BTreeSet::new();
        for op in self.pending.iter().rev() {
            let keys = keys(&self.log.ops[*op]);
            if wanted.contains(op) || keys.iter().any(|key| touched.contains(key)) {
                touched.extend(keys);
                all.insert(*op);
            }
        }
        all
    }

    /// All pending operations but this one and those that need it.
    pub fn without(&self, lost: usize) -> BTreeSet<usize> {
        let mut touched: BTreeSet<(Inode, &str)> = BTreeSet::new();
        let mut kept = BTreeSet::new();
        for op in &self.pending {
            let keys = keys(&self.log.ops[*op]);
            if *op == lost || keys.iter().any(|key| touched.contains(key)) {
                touched.extend(keys);
            } else {
                kept.insert(*op);
            }
        }
        kept
    }

    /// This pending operation alone, with those that it needs.
    pub fn only(&self, kept: usize) -> BTreeSet<usize> {
        self.with_needs(&BTreeSet::from([kept]))
    }

    /// The files with bytes that are not durable.
    pub fn dirty(&self) -> BTreeSet<Inode> {
        self.contents.iter().filter(|(_, (all, durable))| durable < &all.len()).map(|(inode, _)| *inode).collect()
    }

    /// What is there when this was kept.
    pub fn state(&self, choice: &Choice) -> State {
        let (mut names, mut modes) = (self.names.clone(), self.modes.clone());
        let kept = self.pending.iter().filter(|op| choice.kept.contains(op));
        kept.for_each(|op| apply(&self.log.ops[*op], &mut names, &mut modes));
        let mut state = State { nodes: BTreeMap::new(), links: BTreeMap::new(), names: Vec::new() };
        let mut open = vec![(PathBuf::new(), 0)];
        while let Some((path, dir)) = open.pop() {
            for (name, inode) in names.get(&dir).into_iter().flatten() {
                let path = path.join(name);
                state.names.push((path.clone(), *inode));
                let node = &self.log.inodes[*inode];
                if node.is_dir {
                    open.push((path, *inode));
                }
                if let Some(target) = &node.target {
                    state.links.insert(*inode, target.clone());
                }
                state.nodes.entry(*inode).or_insert_with(|| {
                    let mode = modes.get(inode).copied().unwrap_or(node.mode);
                    ((!node.is_dir).then(|| self.content(*inode, choice.bytes)), mode)
                });
            }
        }
        state
    }

    fn content(&self, inode: Inode, bytes: Bytes) -> Vec<u8> {
        let mut content = Vec::new();
        let Some((all, durable)) = self.contents.get(&inode) else { return content };
        let kept = match bytes {
            Bytes::Missing => *durable,
            Bytes::Cut => durable + (all.len() - durable) / 2,
            Bytes::Zeros | Bytes::Whole => all.len(),
        };
        all[..kept].iter().for_each(|op| write(&self.log.ops[*op], &mut content, false));
        let unsynced = &all[*durable..];
        if bytes == Bytes::Cut && kept < all.len() {
            let before = content.len();
            write(&self.log.ops[all[kept]], &mut content, false);
            if content.len() > before {
                content.truncate(before + (content.len() - before) / 2);
            }
        }
        if bytes == Bytes::Zeros && !unsynced.is_empty() {
            content.clear();
            all[..*durable].iter().for_each(|op| write(&self.log.ops[*op], &mut content, false));
            unsynced.iter().for_each(|op| write(&self.log.ops[*op], &mut content, true));
        }
        content
    }
}

fn keys(op: &Op) -> Vec<(Inode, &str)> {
    match op {
        Op::Names(names) => names.iter().map(|(dir, name, _)| (*dir, name.as_str())).collect(),
        // Of the same file the last permissions count.
        Op::Mode(inode, _) => vec![(*inode, "")],
        _ => Vec::new(),
    }
}

fn apply(op: &Op, names: &mut BTreeMap<Inode, BTreeMap<String, Inode>>, modes: &mut BTreeMap<Inode, u32>) {
    match op {
        Op::Names(changes) => {
            for (dir, name, to) in changes {
                let dir = names.entry(*dir).or_default();
                match to {
                    Some(inode) => drop(dir.insert(name.clone(), *inode)),
                    None => drop(dir.remove(name)),
                }
            }
        }
        Op::Mode(inode, mode) => drop(modes.insert(*inode, *mode)),
        _ => {}
    }
}

fn write(op: &Op, content: &mut Vec<u8>, zeros: bool) {
    match op {
        Op::Truncate(_, length) => content.resize(*length as usize, 0),
        Op::Write(_, offset, bytes) => {
            let at = offset.map_or(content.len(), |offset| offset as usize);
            content.resize(content.len().max(at + bytes.len()), 0);
            if !zeros {
                content[at..at + bytes.len()].copy_from_slice(bytes);
            }
        }
        _ => {}
    }
}

impl State {
    /// The same for the same state.
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        for (path, inode) in &self.names {
            (path, self.nodes.get(inode), self.links.get(inode)).hash(&mut hasher);
        }
        hasher.finish()
    }

    /// Makes it, below an empty directory.
    pub fn make(&self, base: &Path) -> std::io::Result<()> {
        use std::os::unix::fs::PermissionsExt;
        let mut first: BTreeMap<Inode, PathBuf> = BTreeMap::new();
        for (path, inode) in &self.names {
            let path = base.join(path);
            match &self.nodes[inode] {
                (None, _) => std::fs::create_dir(&path)?,
                (Some(_), _) if self.links.contains_key(inode) => {
                    std::os::unix::fs::symlink(&self.links[inode], &path)?;
                }
                (Some(_), _) if first.contains_key(inode) => std::fs::hard_link(&first[inode], &path)?,
                (Some(content), mode) => {
                    std::fs::write(&path, content)?;
                    if *mode != 0o644 {
                        std::fs::set_permissions(&path, PermissionsExt::from_mode(*mode))?;
                    }
                    first.insert(*inode, path);
                }
            }
        }
        Ok(())
    }
}

//! Power cuts at every moment of a life, each recovered from and looked at.

use super::log::Log;
use super::state::{BYTES, Bytes, Choice, Disk, Model, State};
use super::trace::Call;
use super::whole::{Promise, whole};
use spool::check::Memory;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};

/// How much is tried.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// States for each moment and model, at the most.
    pub states: usize,
    /// States for each sync that is left out, at the most.
    pub without: usize,
    /// How many recoveries are cut short.
    pub recoveries: usize,
    /// How many at once.
    pub threads: usize,
}

impl Plan {
    /// What CI does.
    pub const QUICK: Plan = Plan { states: 1, without: 60, recoveries: 12, threads: 2 };
    /// All of them, but for subsets that differ from others by more than one operation.
    pub const EXHAUSTIVE: Plan = Plan { states: usize::MAX, without: usize::MAX, recoveries: 400, threads: 2 };
}

/// A state after which something was not as it must be.
#[derive(Clone, Debug)]
pub struct Broken {
    /// When, where, and what was kept.
    pub cut: String,
    /// What was wrong.
    pub wrong: Vec<String>,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// How many different states were recovered from.
    pub states: usize,
    /// Those that were not.
    pub broken: Vec<Broken>,
}

/// A small generator, so that each run tries the same.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: usize) -> Dice {
        Dice(seed as u64 ^ 0x9e37_79b9_7f4a_7c15)
    }

    pub(super) fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % limit.max(1)
    }
}

/// A state to be tried.
struct Trial<'l> {
    state: State,
    cut: String,
    promises: Vec<&'l Promise>,
}

/// Cuts the power at each moment of a life.
pub fn replay(log: &Log, model: Model, plan: &Plan) -> Outcome {
    tried(plan, usize::MAX, |try_it| {
        let mut seen = HashSet::new();
        let mut disk = Disk::new(log, model, None);
        for _ in 0..log.ops.len() {
            disk.step();
            if disk.at <= log.start {
                continue;
            }
            // Before there is a spool, one moment is much like the next.
            if plan.states == 1 && log.promised(disk.at).is_empty() && !disk.at.is_multiple_of(10) {
                continue;
            }
            let mut numbers: Vec<usize> = (0..count(&disk, model)).collect();
            let mut dice = Dice::new(disk.at);
            for _ in 0..plan.states.min(numbers.len()) {
                let choice = choice(&disk, model, numbers.swap_remove(dice.below(numbers.len())));
                let state = disk.state(&choice);
                if seen.insert((state.fingerprint(), log.promised(disk.at).len()))
                    && !try_it(trial(log, &disk, state, &choice))
                {
                    return;
                }
            }
        }
    })
}

/// Cuts the power once more, at each moment of the recovery from some power cuts of a life; `recorded` records what a
/// recovery does.
pub fn replay_recoveries(log: &Log, plan: &Plan, recorded: impl Fn(&Path) -> Vec<(u32, Call)>) -> Outcome {
    let mut outcome = Outcome::default();
    let mut disk = Disk::new(log, Model::Weak, None);
    let cuts = plan.recoveries.min(log.ops.len());
    for cut in 1..=cuts {
        while disk.at < cut * log.ops.len() / cuts {
            disk.step();
        }
        let choices = count(&disk, Model::Weak);
        let choice = choice(&disk, Model::Weak, Dice::new(cut).below(choices));
        let dir = memory();
        disk.state(&choice).make(dir.path()).expect("a state");
        let root = dir.path().join("spool");
        let promises: Vec<Promise> = log.promised(disk.at).into_iter().cloned().collect();
        if promises.is_empty() {
            continue;
        }
        let again = Log::of_change(&root, &promises, || recorded(&root));
        for model in [Model::Ordered, Model::Weak] {
            let one = replay(&again, model, plan);
            outcome.states += one.states;
            outcome.broken.extend(one.broken);
        }
    }
    outcome
}

/// What is lost that a sync would have kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Lost {
    /// One operation on names or permissions, and what needs it.
    One(usize),
    /// All of them.
    All,
    /// Bytes.
    Bytes(Bytes),
}

/// As [`replay`] for the weak model with syncs of one kind left out, for states that those would have made impossible; up
/// to the first that can't be recovered from.
pub fn replay_without(log: &Log, sync: usize, plan: &Plan) -> Outcome {
    let mut chosen = losses(log, sync, plan.without);
    chosen.sort();
    tried(plan, 1, |try_it| {
        let mut seen = HashSet::new();
        let (mut with, mut disk) = (Disk::new(log, Model::Weak, None), Disk::new(log, Model::Weak, Some(sync)));
        for (at, lost) in chosen {
            while disk.at < at {
                with.step();
                disk.step();
            }
            let durable: BTreeSet<usize> = with.pending.iter().copied().collect();
            let (kept, bytes) = match lost {
                Lost::One(op) => (disk.without(op), Bytes::Whole),
                Lost::All => (disk.pending.iter().copied().filter(|op| durable.contains(op)).collect(), Bytes::Whole),
                Lost::Bytes(bytes) => (disk.pending.iter().copied().collect(), bytes),
            };
            let choice = Choice { kept, bytes };
            let state = disk.state(&choice);
            if seen.insert((state.fingerprint(), log.promised(at).len())) && !try_it(trial(log, &disk, state, &choice))
            {
                return;
            }
        }
    })
}

/// When what is to be lost: of each thing that a sync of this kind would have made durable, just before it is durable all
/// the same, and when the next promise is made; the rest by lot.
fn losses(log: &Log, sync: usize, most: usize) -> Vec<(usize, Lost)> {
    let (mut with, mut without) = (Disk::new(log, Model::Weak, None), Disk::new(log, Model::Weak, Some(sync)));
    let mut ends: BTreeMap<(bool, usize), (usize, Option<usize>)> = BTreeMap::new();
    let mut all = Vec::new();
    let mut promised = 0;
    for at in 1..=log.ops.len() {
        with.step();
        without.step();
        let durable: BTreeSet<usize> = with.pending.iter().copied().collect();
        let names = without.pending.iter().copied().filter(|op| !durable.contains(op));
        let dirty = with.dirty();
        let bytes = without.dirty().into_iter().filter(|inode| !dirty.contains(inode));
        let now = log.promised(at).len();
        for lost in names.map(|op| (false, op)).chain(bytes.map(|inode| (true, inode))) {
            let end = ends.entry(lost).or_default();
            end.0 = at;
            if now > promised {
                end.1.get_or_insert(at);
            }
            all.push((at, if lost.0 { Lost::Bytes(Bytes::Zeros) } else { Lost::One(lost.1) }));
        }
        promised = now;
    }
    let mut chosen = BTreeSet::new();
    for ((is_bytes, what), (last, promise)) in ends {
        for at in [Some(last), promise].into_iter().flatten() {
            let kinds = match is_bytes {
                true => [Lost::Bytes(Bytes::Missing), Lost::Bytes(Bytes::Zeros)],
                false => [Lost::One(what), Lost::All],
            };
            chosen.extend(kinds.map(|lost| (at, lost)));
        }
    }
    let mut dice = Dice::new(sync);
    while chosen.len() < most && !all.is_empty() {
        chosen.insert(all.swap_remove(dice.below(all.len())));
    }
    chosen.into_iter().collect()
}

/// How many choices there are at a moment.
fn count(disk: &Disk<'_>, model: Model) -> usize {
    let pending = disk.pending.len();
    let kept = if model == Model::Ordered { 1 + pending } else { 2 + 3 * pending };
    kept * bytes(disk).len()
}

fn bytes(disk: &Disk<'_>) -> &'static [Bytes] {
    if disk.dirty().is_empty() { &BYTES[3..] } else { &BYTES }
}

/// One of them: a subset of what is pending, with a kind of bytes. Of the weak model it is all, nothing, all but one, one
/// alone, or one half by lot.
fn choice(disk: &Disk<'_>, model: Model, number: usize) -> Choice {
    let (kinds, pending) = (bytes(disk), &disk.pending);
    let (kept, bytes) = (number / kinds.len(), kinds[number % kinds.len()]);
    let all = || pending.iter().copied().collect();
    let kept = match (model, kept) {
        (Model::Ordered, count) => pending[..count].iter().copied().collect(),
        (Model::Weak, 0) => all(),
        (Model::Weak, 1) => BTreeSet::new(),
        (Model::Weak, other) => {
            let op = pending[(other - 2) % pending.len()];
            match (other - 2) / pending.len() {
                0 => disk.without(op),
                1 => disk.only(op),
                _ => {
                    let mut dice = Dice::new(disk.at + other);
                    pending.iter().filter(|_| dice.below(2) == 0).flat_map(|op| disk.only(*op)).collect()
                }
            }
        }
    };
    Choice { kept, bytes }
}

fn trial<'l>(log: &'l Log, disk: &Disk<'_>, state: State, choice: &Choice) -> Trial<'l> {
    let note = |op: usize| format!("{op} {}", log.notes[op]);
    let lost: Vec<String> = disk.pending.iter().filter(|op| !choice.kept.contains(op)).map(|op| note(*op)).collect();
    let cut = format!(
        "after {} ({}), {} pending, bytes {:?}, of names lost {lost:#?}",
        disk.at,
        note(disk.at - 1),
        disk.pending.len(),
        choice.bytes
    );
    Trial { state, cut, promises: log.promised(disk.at) }
}

/// Tries what it is given, on several threads, until so many are broken.
fn tried<'l>(plan: &Plan, most_broken: usize, give: impl FnOnce(&mut dyn FnMut(Trial<'l>) -> bool)) -> Outcome {
    let (outcome, states, enough) = (Mutex::new(Vec::new()), AtomicUsize::new(0), AtomicBool::new(false));
    let (to, from) = sync_channel::<Trial<'l>>(4);
    let from = Mutex::new(from);
    std::thread::scope(|scope| {
        for _ in 0..plan.threads {
            scope.spawn(|| {
                let (dir, mut known) = (memory(), Memory::default());
                while let Some(trial) = next(&from) {
                    if enough.load(Ordering::Relaxed) {
                        continue;
                    }
                    states.fetch_add(1, Ordering::Relaxed);
                    let wrong = look(dir.path(), &trial, &mut known);
                    if !wrong.is_empty() {
                        let mut broken = outcome.lock().expect("no thread has died");
                        broken.push(Broken { cut: trial.cut, wrong });
                        enough.store(broken.len() >= most_broken, Ordering::Relaxed);
                    }
                }
            });
        }
        give(&mut |trial| !enough.load(Ordering::Relaxed) && to.send(trial).is_ok());
        drop(to);
    });
    Outcome { states: states.into_inner(), broken: outcome.into_inner().expect("no thread has died") }
}

fn next<'l>(from: &Mutex<Receiver<Trial<'l>>>) -> Option<Trial<'l>> {
    from.lock().expect("no thread has died").recv().ok()
}

/// A directory in memory, where there is such a thing: what is done there is synced at once.
pub(super) fn memory() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let base = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    tempfile::Builder::new().prefix("cut").tempdir_in(base).expect("a directory")
}

fn look(dir: &Path, trial: &Trial<'_>, known: &mut Memory) -> Vec<String> {
    let base: PathBuf = dir.join("disk");
    let _ = std::fs::remove_dir_all(&base);
    std::fs::create_dir(&base).expect("made");
    if let Err(e) = trial.state.make(&base) {
        return vec![format!("this state can't be: {e}")];
    }
    whole(&base.join("spool"), trial.promises.iter().copied(), known)
}

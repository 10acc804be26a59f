//! disk-cut [KIND...] [--states N] - a spool's life on a real file system, and what a power cut may leave of its disk.
//!
//! The disk is a file below a loop device, in a file system of this program's own (fuse(4)), so that every page that is
//! written and every flush is on record. At a moment of that record, what was written before the last flush is on the
//! disk; what came after it may be, page by page, in any combination. Such a disk is mounted, which replays the
//! file system's journal; the spool is mended as builderd does when it starts; and everything that was acknowledged up to
//! the moment must be there. It needs the superuser, and says at the end how much was tried: it exits with 1 when a promise
//! is broken.

mod diary;
mod drives;
mod image;
mod mounted;

use diary::{Entry, Reader};
use drives::Drives;
use harness::Lab;
use harness::power::{Promise, life, whole};
use image::{Image, Page, Step};
use mounted::{KINDS, Kind, Mounted};
use spool::check::Memory;
use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::Instant;

/// In how many ways what was not flushed is mixed at each moment, beside all and nothing of it.
const MIXTURES: u64 = 2;

fn main() -> ExitCode {
    let Some((kinds, mixtures)) = wanted(std::env::args().skip(1)) else {
        eprintln!("disk-cut: say some of ext4, xfs and btrfs, or nothing for all, and perhaps --states N");
        return ExitCode::from(64);
    };
    let broken: usize = kinds.into_iter().map(|kind| cut(kind, mixtures)).sum();
    ExitCode::from(u8::from(broken > 0))
}

fn wanted(mut words: impl Iterator<Item = String>) -> Option<(Vec<Kind>, u64)> {
    let (mut kinds, mut mixtures) = (Vec::new(), MIXTURES);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--states" => mixtures = words.next()?.parse().ok()?,
            name => kinds.push(KINDS.into_iter().find(|kind| kind.name == name)?),
        }
    }
    Some((if kinds.is_empty() { KINDS.to_vec() } else { kinds }, mixtures))
}

/// Records a life on this kind of file system and cuts it everywhere. Returns in how many states a promise was broken.
fn cut(kind: Kind, mixtures: u64) -> usize {
    let mut drives = Drives::new(kind.size).expect("a file system in user space");
    let disk = drives.add(Image::default());
    kind.make(&disk);
    let start = drives.record();
    let mounted = Mounted::new(kind, &disk).expect("mounted");
    let lab = Lab::with_spool_below(mounted.root());
    let reader = Reader::start(lab.path(""), drives.counter());
    life(&lab);
    let entries = reader.finish();
    drop((lab, mounted));
    let steps = drives.recorded();
    drives.remove_newest();

    let begun = Instant::now();
    let (mut states, mut broken) = (0, 0);
    for (moment, image) in moments(&start, &steps, &entries, mixtures) {
        states += 1;
        let faults = look(kind, &mut drives, image, &diary::promised(&entries, moment));
        if !faults.is_empty() {
            broken += 1;
            println!("{}: after step {moment} of {}:\n  {}", kind.name, steps.len(), faults.join("\n  "));
        }
    }
    let each = begun.elapsed().as_millis() / u128::from(u64::max(states, 1));
    let flushes = steps.iter().filter(|step| matches!(step, Step::Flushed)).count();
    println!(
        "{}: {} pages, {flushes} flushes, {} promises; {states} states, {broken} with a broken promise, {each} ms each",
        kind.name,
        steps.len() - flushes,
        entries.len()
    );
    broken
}

/// Each moment that is looked at, with the states that its disk may be in: before every flush, and when something was
/// acknowledged.
fn moments<'a>(
    start: &Image,
    steps: &'a [Step],
    entries: &[Entry],
    mixtures: u64,
) -> impl Iterator<Item = (usize, Image)> + 'a {
    let acknowledged: BTreeSet<usize> = entries.iter().filter(|entry| entry.given).map(|entry| entry.at).collect();
    let (mut durable, mut loose) = (start.clone(), Vec::new());
    let mut dice = Dice(20261127);
    (0..=steps.len()).flat_map(move |at| {
        let mut states = Vec::new();
        let flush = matches!(steps.get(at), Some(Step::Flushed) | None);
        if flush || acknowledged.contains(&at) {
            let mixed_up = (0..mixtures).map(|_| dice.next()).chain(flush.then_some(ALL));
            // With nothing that is not flushed there is one state.
            let seeds = std::iter::once(NOTHING).chain(mixed_up).take(if loose.is_empty() { 1 } else { usize::MAX });
            states.extend(seeds.map(|seed| (at, mixed(&durable, &loose, seed))));
        }
        match steps.get(at) {
            Some(Step::Wrote(page)) => loose.push(page),
            Some(Step::Flushed) => loose.drain(..).for_each(|page| durable.put(page)),
            None => {}
        }
        states
    })
}

/// The seeds for none and for all of what was not flushed.
const NOTHING: u64 = 0;
const ALL: u64 = u64::MAX;

/// A disk with a part of what was not flushed.
fn mixed(durable: &Image, loose: &[&(u64, Page)], seed: u64) -> Image {
    let (mut image, mut dice) = (durable.clone(), Dice(seed));
    for page in loose {
        if seed == ALL || seed != NOTHING && dice.next().is_multiple_of(2) {
            image.put(page);
        }
    }
    image
}

/// What of a disk in this state is not as it was promised.
fn look(kind: Kind, drives: &mut Drives, image: Image, promises: &[Promise]) -> Vec<String> {
    let disk = drives.add(image);
    let faults = match Mounted::new(kind, &disk) {
        Ok(mounted) => whole(&mounted.root().join("spool"), promises, &mut Memory::default()),
        Err(said) => vec![format!("it can't be mounted: {said}")],
    };
    drives.remove_newest();
    faults
}

/// A small generator, so that a failure can be repeated.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        self.0 >> 33
    }
}

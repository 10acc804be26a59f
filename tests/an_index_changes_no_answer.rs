//! An index makes answers fast and changes none, whatever happens to builds and whenever it looks.

use harness::answers::{Dice, catch_up, indexed, listed, same, truth};
use harness::past::Past;
use harness::{Finished, Lab, eventually};
use spool::Spool;
use spool::digest::Sha256;
use spool::index::Keeper;
use std::path::PathBuf;

/// Moves a month away and back as a hand does that restores a copy of it, with all times as they were.
fn restore(lab: &Lab, month: &PathBuf) {
    let kept = lab.path("kept");
    for words in [["cp", "-a"], ["rm", "-rf"], ["mv", ""]] {
        let mut command = std::process::Command::new(words[0]);
        command.args(words[1..].iter().filter(|word| !word.is_empty()));
        match words[0] {
            "cp" => command.arg(month).arg(&kept),
            "rm" => command.arg(month),
            _ => command.arg(&kept).arg(month),
        };
        assert_eq!(Finished::of(&mut command).code, 0, "{command:?}");
    }
}

#[test]
fn whatever_happens_to_builds_and_whenever_the_index_looks() {
    let lab = Lab::new();
    let spool = &lab.spool;
    let mut dice = Dice(20261127);
    let mut builds: Vec<Past> = Vec::new();
    let mut keeper = Some(Keeper::open(spool).expect("an index"));
    same(spool, &builds, "with nothing there");
    for epoch in 0..4 {
        for step in 0..24 {
            let state = format!("epoch {epoch}, step {step}");
            match dice.roll(12) {
                0..6 => {
                    let past = dice.past();
                    past.make(spool);
                    builds.push(past);
                }
                6 if !builds.is_empty() => {
                    let gone = builds.swap_remove(dice.roll(builds.len()));
                    let place = gone.found(spool).dir();
                    std::fs::rename(&place, spool::tmp::fresh_path(spool.layout())).expect("moved");
                }
                7 if !builds.is_empty() => {
                    let month =
                        builds[dice.roll(builds.len())].found(spool).dir().parent().expect("a month").to_owned();
                    restore(&lab, &month);
                }
                8 => keeper = None,
                _ => {
                    let keeper = keeper.get_or_insert_with(|| Keeper::open(spool).expect("an index"));
                    keeper.round().expect("a round");
                }
            }
            same(spool, &builds, &state);
        }
        let keeper = keeper.get_or_insert_with(|| Keeper::open(spool).expect("an index"));
        catch_up(spool, keeper);
        same(spool, &builds, &format!("after epoch {epoch}"));
        // The same ids come again, in months of which the index has spoken already.
        let gone = builds[0].found(spool).dir();
        let aside = lab.path("aside");
        std::fs::rename(&gone, &aside).expect("moved");
        same(spool, &builds[1..], "with one away");
        std::fs::rename(&aside, &gone).expect("moved back");
        same(spool, &builds, "with all there again");
    }
    assert!(builds.len() > 30, "{}", builds.len());
}

/// Two changes of a directory may leave it the same times.
#[test]
fn builds_that_end_within_the_grain_of_the_clock_are_not_missed() {
    let lab = Lab::new();
    let mut dice = Dice(11);
    let first = Past { code: 0, artifacts: Vec::new(), ..dice.past() };
    let mut keeper = Keeper::open(&lab.spool).expect("an index");
    let ended = |spool: &Spool| spool.ended_of(first.id.job(), None, usize::MAX).expect("the builds").len();
    for n in 0..150 {
        let pasts = ["00", "01"].map(|end| {
            let start = first.id.as_str().strip_suffix(first.id.tail()).expect("a tail");
            let id = format!("{start}{n:04}{end}").parse().expect("an id");
            let past = Past { id, ..first.clone() };
            let (there, away) = (past.make(&lab.spool), lab.path(end));
            std::fs::rename(&there, &away).expect("moved away");
            (away, there)
        });
        let pause = dice.roll(3000);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for (away, there) in &pasts {
                    std::fs::rename(away, there).expect("moved back");
                    (0..pause).for_each(|_| std::thread::yield_now());
                }
            });
            keeper.round().expect("a round");
        });
        keeper.round().expect("a round");
        assert_eq!(ended(&lab.spool), ended(&lab.spool.clone().without_index()), "after {n}");
        assert_eq!(ended(&lab.spool), 2 * (n + 1));
    }
    // So a month that has just changed is not believed yet.
    let unsettled = || {
        dice.past().make(&lab.spool);
        let unsettled = keeper.round().expect("a round").unsettled;
        (unsettled && !truth(&lab)).then_some(())
    };
    eventually("a month is looked at in the two seconds after it has changed", unsettled);
}

#[test]
fn an_index_that_is_true_is_what_answers() {
    let (lab, builds) = indexed();
    let good = |past: &&Past| past.code == 0 && !past.artifacts.is_empty() && !past.id.is_rebuild();
    let good = builds.iter().find(good).expect("a good one");
    let content = Sha256::of(good.artifacts[0].1.as_bytes()).to_string();
    let (job, tail) = (good.id.job().as_str(), good.id.tail());
    let questions = [["show", tail], ["latest", job], ["find", &content], ["history", job], ["ls", ""], ["show", job]];
    let month = |dir: &String| dir.contains("/done/2") || dir.contains("/failed/2");
    for words in &questions {
        let words: Vec<&str> = words.iter().copied().filter(|word| !word.is_empty()).collect();
        assert_eq!(listed(&lab, &words).into_iter().filter(month).collect::<Vec<_>>(), [""; 0], "{words:?}");
    }
    // A month that has changed is listed, and no other.
    let past = Past {
        id: format!("{}-zzzzzz", good.id.as_str().strip_suffix(&format!("-{tail}")).expect("a tail"))
            .parse()
            .expect("an id"),
        ..good.clone()
    };
    let place = past.make(&lab.spool);
    let months: Vec<String> = listed(&lab, &["latest", job]).into_iter().filter(month).collect();
    assert!(!months.is_empty() && months.iter().all(|dir| place.starts_with(dir)), "{months:?}");
}

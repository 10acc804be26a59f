//! All that can be asked about finished builds, with an index and without: the answers must be the same.

use crate::past::Past;
use crate::{Finished, Lab, binary, eventually};
use jiff::{SignedDuration, Timestamp};
use spool::Spool;
use spool::build_id::BuildId;
use spool::compare::Related;
use spool::digest::Sha256;
use spool::error::Result;
use spool::find::Build;
use spool::index::{Keeper, Round};
use spool::name::{JobName, Platform};
use std::fmt::Debug;

/// Some of the names begin with others, and one is like an id's end.
const JOBS: [&str; 4] = ["a", "a-b", "k3f9x2", "z"];

const PLATFORMS: [&str; 2] = ["p", "p-2"];

const CONTENTS: [&str; 4] = ["one", "two", "three", "four"];

/// Numbers that are the same in each run.
pub struct Dice(pub u64);

impl Dice {
    /// A number below this one.
    pub fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % sides
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.roll(of.len())]
    }

    /// A build.
    pub fn past(&mut self) -> Past {
        let start: Timestamp = "2026-01-01T00:00:00Z".parse().expect("a moment");
        // Ids of the same millisecond, too.
        let at = start
            + SignedDuration::from_hours(24 * 31 * self.roll(5) as i64)
            + SignedDuration::from_secs(self.roll(60) as i64);
        let (job, platform) = (self.one(&JOBS), self.one(&PLATFORMS));
        let id = BuildId::unique(at, &job.parse().expect("a name"), &platform.parse().expect("a name")).expect("an id");
        let repeats = self.roll(5) == 0;
        let code = [0, 0, 3][self.roll(3)];
        let many = if code == 0 { self.roll(3) } else { 0 };
        let artifacts = (0..many).map(|n| (format!("d/{n}"), self.one(&CONTENTS).to_owned())).collect();
        Past {
            id: if repeats { BuildId::unique_rebuild(at, &id).expect("an id") } else { id },
            code,
            worker: self.one(&["w1", "w2"]).to_owned(),
            environment: self.one(&["A=1\n", "A=2\n"]).to_owned(),
            artifacts,
            finished: at + SignedDuration::from_hours(self.roll(2000) as i64),
        }
    }
}

fn shown<T: Debug>(answer: Result<T>) -> String {
    answer.map_or_else(|e| e.to_string(), |answer| format!("{answer:?}"))
}

fn ids(builds: Result<Vec<Build<'_>>>) -> String {
    shown(builds.map(|builds| builds.iter().map(|one| (one.id.to_string(), one.place.word())).collect::<Vec<_>>()))
}

/// The answers to all questions about these builds.
fn answers(spool: &Spool, builds: &[Past]) -> Vec<String> {
    let mut all = Vec::new();
    let mut say = |question: String, answer: String| all.push(format!("{question}: {answer}"));
    let place = |build: Option<Build<'_>>| build.map(|one| (one.id.to_string(), one.place.word()));
    for job in JOBS.iter().chain(&["none"]) {
        let name: JobName = job.parse().expect("a name");
        for platform in [None, Some("p"), Some("p-2"), Some("none")] {
            let platform: Option<Platform> = platform.map(|platform| platform.parse().expect("a name"));
            for most in [1, 3, usize::MAX] {
                say(format!("{most} ended of {job} {platform:?}"), ids(spool.ended_of(&name, platform.as_ref(), most)));
            }
            say(format!("newest {job} {platform:?}"), shown(spool.newest_of(&name, platform.as_ref()).map(place)));
            if let Some(platform) = &platform {
                say(format!("usual {job} {platform}"), shown(spool.usual_duration(&name, platform)));
            }
            for most in [2, usize::MAX] {
                for job in [None, Some(&name)] {
                    let failed = spool.failed_of(job, platform.as_ref(), most);
                    say(format!("{most} failed of {job:?} {platform:?}"), ids(failed));
                }
            }
        }
        say(format!("done {job}"), shown(spool.newest_done_of(&name).map(place)));
        let latest = spool.latest_of(&name).map(|all| all.into_values().collect());
        say(format!("latest {job}"), ids(latest));
    }
    for content in CONTENTS.iter().chain(&["none"]) {
        let having = spool.having(&Sha256::of(content.as_bytes()));
        let having =
            having.map(|all| all.into_iter().map(|one| (place(Some(one.build)), one.paths)).collect::<Vec<_>>());
        say(format!("having {content}"), shown(having));
    }
    for since in ["2026-01-01T00:00:00Z", "2026-03-05T00:00:00Z", "2026-06-01T00:00:00Z"] {
        for end in [None, Some(spool::place::End::Failed)] {
            let found = spool.ended_since(since.parse().expect("a moment"), end);
            let found =
                found.map(|all| all.into_iter().map(|(build, result)| (build.id, result.finished)).collect::<Vec<_>>());
            say(format!("{end:?} since {since}"), shown(found));
        }
    }
    for part in ["202601", "Z-a@p-", "a@p-", "", "a-b@p-2", "0260", "k3f9x2", "-a-b@", "000000"] {
        say(format!("part {part}"), shown(spool.resolve(part).map(|build| build.id.to_string())));
    }
    // Of the oldest and the newest of them; the questions above are about all.
    let some = builds.iter().take(6).chain(builds.iter().skip(6).rev().take(6));
    for past in some {
        let (id, tail) = (&past.id, past.id.tail());
        let name = format!("{}@{}-{tail}", id.job(), id.platform());
        for text in [tail, &name, &tail[1..], id.as_str(), &format!("-{tail}"), &id.as_str()[..20]] {
            say(format!("resolve {text}"), shown(spool.resolve(text).map(|build| build.id.to_string())));
        }
        say(format!("before {id}"), shown(spool.end_before(id)));
        say(format!("outputs beside {id}"), shown(spool.outputs_of(id.job(), id.platform())));
        let Ok(Some(build)) = spool.build(id) else { continue };
        if let Ok(Some(result)) = build.result() {
            let related = Related::to(&build, &result).map(|all| {
                let known = |list: Vec<(Build<'_>, spool::compare::Known)>| {
                    list.into_iter().map(|(one, known)| (one.id, known)).collect::<Vec<_>>()
                };
                (known(all.reproductions), known(all.irreproducible), [all.latest, all.previous, all.next].map(place))
            });
            say(format!("related {id}"), shown(related));
        }
        let two = spool.last_two_that_differ(&build).map(|two| two.map(|(a, b)| (a.id, b.id)));
        say(format!("last two up to {id}"), shown(two));
    }
    all
}

/// Compares all answers.
pub fn same(spool: &Spool, builds: &[Past], state: &str) {
    let (with, without) = (answers(spool, builds), answers(&spool.clone().without_index(), builds));
    for (with, without) in with.iter().zip(&without) {
        assert_eq!(with, without, "with the index and without, {state}");
    }
    assert_eq!(with.len(), without.len(), "{state}");
}

/// Lets the index catch up, which takes as long as months need to settle.
pub fn catch_up(spool: &Spool, keeper: &mut Keeper) -> Round {
    let settled = || {
        let round = keeper.round().expect("a round");
        (!round.unsettled).then_some(round)
    };
    let round = eventually("all months have settled", settled);
    assert!(spool.index_is_true().expect("readable"));
    round
}

/// Some builds, with an index that has caught up.
pub fn indexed() -> (Lab, Vec<Past>) {
    let lab = Lab::new();
    let mut dice = Dice(7);
    let builds: Vec<Past> = (0..30).map(|_| dice.past()).collect();
    builds.iter().for_each(|past| drop(past.make(&lab.spool)));
    let mut keeper = Keeper::open(&lab.spool).expect("an index");
    catch_up(&lab.spool, &mut keeper);
    (lab, builds)
}

/// Whether the index speaks for all builds.
pub fn truth(lab: &Lab) -> bool {
    lab.spool.index_is_true().expect("readable")
}

/// The names of directories that a program lists, as strace(1) sees it.
pub fn listed(lab: &Lab, words: &[&str]) -> Vec<String> {
    let trace = lab.path("trace");
    let mut strace = std::process::Command::new("strace");
    strace.args(["-f", "-y", "-qq", "-e", "trace=getdents64", "-o"]).arg(&trace);
    strace.arg(binary("builder")).arg("--spool").arg(lab.root()).args(words).env("BUILDER_CONFIG", lab.config());
    let done = Finished::of(&mut strace);
    assert_eq!(done.code, 0, "{done:?}");
    let text = std::fs::read_to_string(trace).expect("a trace");
    let inside = |line: &str| Some(line.split_once('<')?.1.split_once('>')?.0.to_owned());
    text.lines().filter_map(inside).collect()
}

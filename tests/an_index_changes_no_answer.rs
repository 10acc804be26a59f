//! With an index or without, behind the spool, half made or damaged: each question has the same answer. And it comes back.

use harness::past::Past;
use harness::{Finished, Lab, PLATFORM, eventually, is_superuser, wait_for};
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
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;

/// Some of the names begin with others, and one is like an id's end.
const JOBS: [&str; 4] = ["a", "a-b", "k3f9x2", "z"];
const PLATFORMS: [&str; 2] = ["p", "p-2"];
const CONTENTS: [&str; 4] = ["one", "two", "three", "four"];

/// Numbers that are the same in each run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % sides
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.roll(of.len())]
    }

    fn past(&mut self) -> Past {
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
        say(format!("output before {id}"), shown(spool.output_before(id)));
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
fn same(spool: &Spool, builds: &[Past], state: &str) {
    let (with, without) = (answers(spool, builds), answers(&spool.clone().without_index(), builds));
    for (with, without) in with.iter().zip(&without) {
        assert_eq!(with, without, "with the index and without, {state}");
    }
    assert_eq!(with.len(), without.len(), "{state}");
}

/// Lets the index catch up, which takes as long as months need to settle.
fn catch_up(spool: &Spool, keeper: &mut Keeper) -> Round {
    let settled = || {
        let round = keeper.round().expect("a round");
        (!round.unsettled).then_some(round)
    };
    let round = eventually("all months have settled", settled);
    assert!(spool.index_is_true().expect("readable"));
    round
}

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
        let pause = std::time::Duration::from_micros(dice.roll(3000) as u64);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for (away, there) in &pasts {
                    std::fs::rename(away, there).expect("moved back");
                    std::thread::sleep(pause);
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

/// Some builds, with an index that has caught up.
fn indexed() -> (Lab, Vec<Past>) {
    let lab = Lab::new();
    let mut dice = Dice(7);
    let builds: Vec<Past> = (0..30).map(|_| dice.past()).collect();
    builds.iter().for_each(|past| drop(past.make(&lab.spool)));
    let mut keeper = Keeper::open(&lab.spool).expect("an index");
    catch_up(&lab.spool, &mut keeper);
    (lab, builds)
}

fn truth(lab: &Lab) -> bool {
    lab.spool.index_is_true().expect("readable")
}

/// The names of directories that a program lists, as strace(1) sees it.
fn listed(lab: &Lab, words: &[&str]) -> Vec<String> {
    let trace = lab.path("trace");
    let mut strace = std::process::Command::new("strace");
    strace.args(["-f", "-y", "-qq", "-e", "trace=getdents64", "-o"]).arg(&trace);
    strace
        .arg(harness::binary("builder"))
        .arg("--spool")
        .arg(lab.root())
        .args(words)
        .env("BUILDER_CONFIG", lab.config());
    let done = Finished::of(&mut strace);
    assert_eq!(done.code, 0, "{done:?}");
    let text = std::fs::read_to_string(trace).expect("a trace");
    let inside = |line: &str| Some(line.split_once('<')?.1.split_once('>')?.0.to_owned());
    text.lines().filter_map(inside).collect()
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

/// Something that can become of the index's file.
type Damage = (&'static str, fn(&Lab));

/// All of that.
fn damages() -> Vec<Damage> {
    fn bytes(lab: &Lab, at: u64, bytes: &[u8]) {
        let file = std::fs::File::options().write(true).open(lab.spool.layout().index_file()).expect("the index");
        file.write_all_at(bytes, at).expect("written");
    }
    fn length(lab: &Lab, of: impl Fn(u64) -> u64) {
        let file = std::fs::File::options().write(true).open(lab.spool.layout().index_file()).expect("the index");
        file.set_len(of(file.metadata().expect("its size").len())).expect("cut");
    }
    vec![
        ("deleted", |lab| std::fs::remove_file(lab.spool.layout().index_file()).expect("removed")),
        ("deleted with its directory", |lab| std::fs::remove_dir_all(lab.spool.layout().index()).expect("removed")),
        ("empty", |lab| length(lab, |_| 0)),
        ("cut in half", |lab| length(lab, |all| all / 2)),
        ("cut within a page", |lab| length(lab, |all| all - 1000)),
        ("no database", |lab| std::fs::write(lab.spool.layout().index_file(), "x".repeat(100_000)).expect("written")),
        ("of an older release", |lab| bytes(lab, 60, &0u32.to_be_bytes())),
        ("of a newer release", |lab| bytes(lab, 60, &99u32.to_be_bytes())),
        ("damaged at its beginning", |lab| bytes(lab, 100, &[0xff; 400])),
        ("damaged in many pages", |lab| (1..12).for_each(|page| bytes(lab, 4096 * page, &[0x5a; 64]))),
        ("a directory", |lab| {
            std::fs::remove_file(lab.spool.layout().index_file()).expect("removed");
            std::fs::create_dir(lab.spool.layout().index_file()).expect("made");
        }),
        ("without a mode", |lab| {
            let mode = std::fs::Permissions::from_mode(0o000);
            std::fs::set_permissions(lab.spool.layout().index_file(), mode).expect("set");
        }),
        ("another spool's", |lab| {
            let other = Lab::new();
            Dice(99).past().make(&other.spool);
            catch_up(&other.spool, &mut Keeper::open(&other.spool).expect("an index"));
            std::fs::copy(other.spool.layout().index_file(), lab.spool.layout().index_file()).expect("copied");
        }),
        ("beside a journal of another one", |lab| {
            std::fs::write(lab.spool.layout().index_journal(), "x".repeat(5000)).expect("written");
        }),
    ]
}

#[test]
fn whatever_becomes_of_the_file_under_builderds_hands() {
    let (lab, builds) = indexed();
    let _daemon = lab.daemon();
    for (what, damage) in damages() {
        wait_for(&format!("the index is there, before it is {what}"), || truth(&lab));
        damage(&lab);
        same(&lab.spool, &builds, what);
        // Something happens, and builderd, which has the file open, is told.
        let place = Dice(what.len() as u64).past().make(&lab.spool);
        same(&lab.spool, &builds, what);
        std::fs::remove_dir_all(place).expect("removed");
        spool::wake::ring(&lab.spool.layout().wake_daemon());
    }
    wait_for("the index is back", || truth(&lab));
    lab.check();
}

#[test]
fn whatever_becomes_of_the_file_and_it_comes_back() {
    let (lab, builds) = indexed();
    for (what, damage) in damages() {
        damage(&lab);
        same(&lab.spool, &builds, what);
        let daemon = lab.daemon();
        wait_for(&format!("the index is back that was {what}"), || truth(&lab));
        same(&lab.spool, &builds, what);
        drop(daemon);
    }
    lab.check();
}

#[test]
fn builderd_is_killed_over_and_over_while_builds_end() {
    let lab = Lab::new();
    let mut dice = Dice(3);
    let mut builds = Vec::new();
    for round in 0..12 {
        let daemon = lab.daemon();
        for _ in 0..20 {
            let past = dice.past();
            past.make(&lab.spool);
            builds.push(past);
        }
        let waits = dice.roll(4);
        wait_for("it has begun", || waits == 0 || lab.spool.layout().index_file().exists());
        std::thread::sleep(std::time::Duration::from_millis(dice.roll(40) as u64));
        daemon.kill();
        same(&lab.spool, &builds[builds.len() - 10..], &format!("round {round}"));
    }
    let _daemon = lab.daemon();
    wait_for("the index has caught up", || truth(&lab));
    same(&lab.spool, &builds, "at the end");
}

#[test]
fn a_repair_that_changes_a_record_is_heeded() {
    let (lab, mut builds) = indexed();
    let at = builds.iter().position(|past| past.code == 0 && !past.artifacts.is_empty()).expect("a good one");
    let dir = builds[at].found(&lab.spool).dir();
    std::fs::remove_file(dir.join("manifest")).expect("removed");
    // The index is made while it is missing.
    std::fs::remove_file(lab.spool.layout().index_file()).expect("removed");
    catch_up(&lab.spool, &mut Keeper::open(&lab.spool).expect("an index"));
    lab.ok(&["check", "--repair"]);
    same(&lab.spool, &builds, "with a manifest that was linked back");
    let _daemon = lab.daemon();
    wait_for("the index is back", || truth(&lab));
    same(&lab.spool, &builds, "with the index of the repaired spool");
    let result = builds[at].found(&lab.spool).dir().join("result.toml");
    std::fs::write(&result, "nonsense").expect("written");
    lab.ok(&["check", "--repair"]);
    builds.remove(at);
    same(&lab.spool, &builds, "without the one that was set aside");
}

/// Whoever may read the spool may lock the index for reading.
#[test]
fn a_reader_who_holds_it_for_ever_costs_time_only() {
    let (lab, mut builds) = indexed();
    // Another process: what SQLite closes in this one would let go of its locks, too.
    let hold = "import fcntl, sys, time; f = open(sys.argv[1]); fcntl.lockf(f, fcntl.LOCK_SH); print('holds', flush=True); time.sleep(999)";
    let mut python = std::process::Command::new("python3");
    python.args(["-c", hold]).arg(lab.spool.layout().index_file());
    let holder = harness::Running::start("holder", &mut python, &lab.path("holder.log"));
    wait_for("somebody holds it", || holder.said().contains("holds"));
    let _daemon = lab.daemon();
    lab.job("goes-on", "true");
    let worker = lab.local_worker("w", &[]);
    lab.finished(&lab.run("goes-on"));
    worker.ended();
    let past = Dice(5).past();
    past.make(&lab.spool);
    builds.push(past);
    same(&lab.spool, &builds, "with a reader that does not let go");
    assert!(!truth(&lab), "it can't go on");
    drop(holder);
    wait_for("the index has caught up", || truth(&lab));
    same(&lab.spool, &builds, "after it has gone");
}

/// Such a reader can write neither the index nor anything beside it.
#[test]
fn another_user_is_answered_from_it() {
    if !is_superuser() {
        return;
    }
    let (lab, builds) = indexed();
    for path in [lab.root().to_owned(), lab.path("")] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("open");
    }
    let program = harness::copy_of("builder", &lab.path(""));
    let as_nobody = |words: &[&str]| {
        let mut command = std::process::Command::new(&program);
        command.args(words).arg("--spool").arg(lab.root()).env("BUILDER_CONFIG", lab.config());
        Finished::of(command.uid(65534).gid(65534).current_dir("/"))
    };
    let daemon = lab.daemon();
    wait_for("the index is true", || truth(&lab));
    let job = builds[0].id.job().as_str();
    let question = ["history", job, "--json"];
    let expected = lab.ok(&question);
    assert_eq!(as_nobody(&question).stdout, expected);
    drop(daemon);
    assert_eq!(as_nobody(&question).stdout, expected);
    std::fs::write(lab.spool.layout().index_journal(), "x".repeat(5000)).expect("written");
    assert_eq!(as_nobody(&question).stdout, expected);
}

/// A spool of a release that had none has it as soon as builderd has looked.
#[test]
fn a_spool_without_one_gets_it() {
    let (lab, builds) = indexed();
    std::fs::remove_dir_all(lab.spool.layout().index()).expect("removed");
    lab.check();
    same(&lab.spool, &builds, "without a directory");
    let once = Finished::of(lab.program("builderd").arg("--once"));
    assert_eq!(once.code, 0, "{once:?}");
    assert!(!lab.spool.layout().index().exists(), "who comes and goes keeps none");
    let _daemon = lab.daemon();
    wait_for("it is there", || truth(&lab));
    lab.job("later", "true");
    let worker = lab.local_worker("w", &[]);
    let id = lab.finished(&lab.run("later")).id;
    worker.ended();
    wait_for("it has caught up", || truth(&lab));
    assert_eq!(listed(&lab, &["show", id.tail()]).into_iter().filter(|dir| dir.contains("/done/2")).count(), 0);
    assert_eq!(id.platform().as_str(), PLATFORM);
}

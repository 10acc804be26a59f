//! Damage of every kind to every file: it is named, the rest goes on, a repair mends what it can, and no byte is lost.

use harness::{Finished, Lab, PLATFORM, house};
use spool::check::{Checked, Cure, Finding};
use spool::digest::Sha256;
use spool::place::{End, Place};
use spool::record::{BuildResult, Outcome};
use spool::{Spool, clock};
use std::collections::BTreeSet;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Memory: what is tested here is not what a power cut leaves.
const FAST: &str = "/dev/shm";

/// What happens to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Damage {
    Missing,
    Empty,
    Truncated,
    Garbage,
    Owner,
    Directory,
    Symlink,
    Dangling,
}

use Damage::*;

const CONTENT: [Damage; 4] = [Missing, Empty, Truncated, Garbage];
const SHAPE: [Damage; 4] = [Owner, Directory, Symlink, Dangling];

impl Damage {
    /// Does it, in place where that is possible: then whoever has a link to the content has it, too.
    fn to(self, path: &Path) {
        let bytes = std::fs::read(path).expect("a file");
        let write = |bytes: &[u8]| std::fs::write(path, bytes).expect("written");
        if !CONTENT[1..].contains(&self) && self != Owner {
            std::fs::remove_file(path).expect("removed");
        }
        match self {
            Missing => {}
            Empty => write(b""),
            Truncated => write(&bytes[..bytes.len() / 2]),
            Garbage => write(b"\xff\xfe\x00 = [[\n0 99999\n\x1b[2J"),
            Owner => {
                std::fs::set_permissions(path, PermissionsExt::from_mode(0o600)).expect("a mode");
                std::os::unix::fs::chown(path, Some(65534), None).expect("another owner");
            }
            Directory => {
                std::fs::create_dir(path).expect("a directory");
                std::fs::write(path.join("within"), "something\n").expect("written");
                let owner = path.parent().and_then(|above| above.metadata().ok()).map(|above| above.uid());
                std::os::unix::fs::chown(path, owner, None).expect("an owner");
            }
            Symlink => std::os::unix::fs::symlink("/etc/passwd", path).expect("a symlink"),
            Dangling => std::os::unix::fs::symlink("/nowhere/at/all", path).expect("a symlink"),
        }
    }
}

/// A copy with its hard links, owners and modes.
fn copy(of: &Path, to: &Path) {
    let copied = Finished::of(Command::new("cp").arg("-a").arg(of).arg(to));
    assert_eq!(copied.code, 0, "{copied:?}");
}

/// All files of a spool, relative to its root; of the undamaged build none, and none that stand for the same as another.
fn files(root: &Path) -> Vec<PathBuf> {
    let mut kinds = BTreeSet::new();
    let all = walkdir::WalkDir::new(root).sort_by_file_name().into_iter().flatten();
    let files = all
        .filter(|entry| entry.file_type().is_file())
        .map(|entry| entry.path().strip_prefix(root).expect("below the root").to_owned());
    let is_good = |path: &PathBuf| {
        let named = path.to_string_lossy().contains("-good@") || path.ends_with("good.toml");
        named || (path.starts_with("store") && std::fs::read_to_string(root.join(path)).expect("text").contains("good"))
    };
    files.filter(|path| !is_good(path)).filter(|path| kinds.insert(kind(root, path))).collect()
}

/// What a file is, whatever it is called. Contents differ by their first word, and by whether they are in the store.
fn kind(root: &Path, path: &Path) -> String {
    let parts: Vec<String> = path.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    match parts[0].as_str() {
        "store" => {
            let content = std::fs::read_to_string(root.join(path)).expect("text");
            format!("store {} lines of {:.2}", content.lines().count(), content)
        }
        "new" => format!("queued {}", parts[3..].join("/")),
        "active" => format!("active {}", parts[1..].last().expect("a name")),
        "done" | "failed" => format!("over {:.13}", parts[3..].join("/")),
        "jobs" | "good" | "timers" | "owed" => format!("{} {}", parts[0], path.ends_with(".lock")),
        _ => parts.join("/"),
    }
}

/// What can't be told from what was meant: the layout says what an absence means, and nothing vouches for a console.
fn is_no_fault(path: &Path, damage: Damage) -> bool {
    let text = path.to_string_lossy();
    let name = path.file_name().expect("a name").to_string_lossy();
    let is_lock = name == ".lock" || name == "lock";
    let may_be_absent = ["jobs/", "good/", "timers/", "platforms/", "workers/", "cancel/", "owed/", ".ssh/"];
    let stem = name.trim_end_matches(|c: char| c == '.' || c.is_ascii_digit());
    let is_active = text.starts_with("active/");
    match damage {
        _ if text.starts_with(".ssh/") => true,
        Missing => {
            is_lock
                || may_be_absent.iter().any(|room| text.starts_with(room))
                || ["attempts.toml", "console.times"].contains(&stem)
                || (is_active && ["lease.toml", "console.log"].contains(&stem))
                || (text.contains("console.log.") && is_open(&text))
        }
        Empty => {
            is_lock
                || text.starts_with("cancel/")
                || text.starts_with("owed/")
                || text.ends_with(".seen")
                || text.ends_with(".health")
                || name == "attempts.toml"
                || stem == "console.times"
                || (is_active && (stem == "lease.toml" || stem == "console.log"))
                || (text.contains("console.log.") && is_open(&text))
        }
        Truncated => {
            is_lock
                || ["cancel/", "owed/", "format"].iter().any(|room| text.starts_with(room))
                || stem == "console.times"
                || (is_active && ["lease.toml", "console.log"].contains(&stem))
        }
        Garbage => is_lock || stem == "console.log" || (is_active && ["lease.toml", "console.times"].contains(&stem)),
        Owner | Directory | Symlink | Dangling => false,
    }
}

fn is_open(text: &str) -> bool {
    text.starts_with("new/") || text.starts_with("active/")
}

fn check(spool: &Spool) -> Checked {
    spool.check(true).expect("a check")
}

/// Whether a finding names this file, or the build that it is part of; of a content its digest, and of a console
/// whichever of its two files.
fn names(finding: &Finding, damaged: &Path) -> bool {
    let told = finding.path.to_string_lossy().replace("console.times", "console.log");
    let (told, damaged) = (Path::new(&told), damaged.to_string_lossy().replace("console.times", "console.log"));
    let rest = damaged.rsplit('/').next().expect("a name");
    Path::new(&damaged).starts_with(told) || told.starts_with(&damaged) || finding.wrong.contains(rest)
}

/// What all programs do with a spool, by the library. Things may fail here and there, and nothing panics or hangs.
fn use_it(spool: &Spool) {
    let now = clock::now();
    let names = spool.job_names().unwrap_or_default();
    let _ = spool.fire(&names, now);
    let long = jiff::SignedDuration::from_secs(1000);
    let _ = spool.mend_leases(spool::mend::Patience { grace: long, retry: long }, now);
    let _ = spool.sweep();
    for id in spool.owing().unwrap_or_default() {
        let _ = spool.ended(&id);
    }
    let _ =
        (spool.jobs().map(|jobs| jobs.len()), spool.workers().map(|workers| workers.len()), spool.platform_states());
    for build in spool.open_builds().into_iter().flatten().chain(spool.ended_builds(99, |_| true).into_iter().flatten())
    {
        let _ = (build.request().is_ok(), build.result().is_ok(), build.manifest().is_ok(), build.lease().is_ok());
        if let Ok(Some(mut console)) = build.console() {
            while console.next_chunk().is_ok_and(|chunk| chunk.is_some()) {}
        }
    }
}

/// Carries out the build that nothing is wrong with.
fn build_the_good_one(spool: &Spool) {
    let queue = spool.queue(&PLATFORM.parse().expect("a name")).expect("a queue");
    let ticket = queue.into_iter().find(|ticket| ticket.id.job().as_str() == "good").expect("the undamaged build");
    let held = spool.claim(&ticket, &"w".parse().expect("a name")).expect("a claim").won().expect("the build");
    let result = BuildResult::unrun(Outcome::Exited { code: 0 }, clock::now());
    held.finish(result, &spool::manifest::Manifest::default()).expect("finished");
    let there = spool.build(&ticket.id).expect("readable").expect("the build");
    assert_eq!(there.place, Place::Ended(End::Done));
}

/// What only a human can do, and does here.
fn obey(root: &Path, finding: &Finding) {
    match &finding.cure {
        Cure::Human(what) if what.contains("chown") => {
            let owner = root.metadata().expect("the root").uid();
            std::os::unix::fs::chown(&finding.path, Some(owner), None).expect("an owner");
        }
        Cure::Human(what) if what.contains("mend it") || what.contains("builder platform") => {
            std::fs::remove_file(&finding.path).expect("removed");
        }
        other => panic!("{finding:?}: {other}"),
    }
}

fn damage_and_mend(template: &Path, scratch: &Path, path: &Path, damage: Damage) {
    let what = format!("{} {damage:?}", path.display());
    copy(template, scratch);
    damage.to(&scratch.join(path));
    // Half of a short number is another number.
    if path == Path::new("format") && ![Truncated, Owner].contains(&damage) {
        let refused = Spool::open(scratch).expect_err(&what).to_string();
        assert!(!refused.contains('\n') && refused.contains("; "), "{what}: {refused}");
        return;
    }
    let spool = Spool::open(scratch).expect(&what);
    let found = check(&spool).findings;
    let named = found.iter().any(|finding| names(finding, &scratch.join(path)));
    assert_eq!(named, !is_no_fault(path, damage), "{what}: {found:#?}");
    use_it(&spool);
    let before = house::contents(scratch);
    let repaired = spool.repair(true, clock::now()).expect(&what);
    assert!(repaired.failed.is_empty(), "{what}: {:#?}", repaired.failed);
    let after: BTreeSet<Sha256> = house::contents(scratch).into_iter().collect();
    assert!(before.iter().all(|digest| after.contains(digest)), "{what}: {:#?}", repaired.done);
    if !repaired.checked.findings.is_empty() {
        repaired.checked.findings.iter().for_each(|finding| obey(scratch, finding));
        spool.repair(true, clock::now()).expect(&what);
    }
    build_the_good_one(&spool);
    let again = spool.repair(true, clock::now()).expect(&what);
    assert!(again.done.is_empty() && again.checked.findings.is_empty(), "{what}: {again:#?}\nfirst {repaired:#?}");
}

fn damage_all(damages: &[Damage]) {
    let lab = Lab::below(Path::new(FAST));
    let template = lab.path("template");
    assert_eq!(check(&house::furnish(&template)).findings, []);
    let files = files(&template);
    assert!(files.len() > 40, "{files:#?}");
    let scratch = lab.path("scratch");
    let mut wrong = Vec::new();
    for (path, damage) in files.iter().flat_map(|path| damages.iter().map(move |damage| (path, *damage))) {
        let tried = std::panic::catch_unwind(|| damage_and_mend(&template, &scratch, path, damage));
        if tried.is_err() {
            wrong.push((path, damage));
        }
        std::fs::remove_dir_all(&scratch).expect("removed");
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The user who owns the spool when real programs are at work: not the superuser, to whom nothing is forbidden.
const OWNER: u32 = 4242;

/// Without these nothing can be handed out, or fired, or asked for: the programs say so in a line, and that is all.
fn stops_work(path: &Path) -> bool {
    ["format", "lock", "active/.lock", "jobs/.lock"].iter().any(|lock| path == Path::new(lock))
}

/// Fails unless a program ended by itself, and said why when it did not do what it was asked for.
fn ended_well(what: &str, done: &Finished) -> bool {
    assert!(!done.stderr.contains("panicked"), "{what}: {done:?}");
    assert!(done.code == 0 || (64..=78).contains(&done.code) && !done.stderr.is_empty(), "{what}: {done:?}");
    done.code == 0
}

fn worker(lab: &Lab, what: &str) -> bool {
    let mut command = lab.program("builder-run");
    command.args(["worker", "--platform", PLATFORM, "--name", "v", "--local"]).arg(lab.root());
    command.arg("--work").arg(lab.path("work"));
    ended_well(&format!("{what}: worker"), &Finished::of(&mut command))
}

fn is_done(lab: &Lab, job: &str) -> bool {
    lab.ended().iter().any(|build| build.id.job().as_str() == job && build.place == Place::Ended(End::Done))
}

fn programs_go_on(lab: &Lab, path: &Path, damage: Damage) {
    let what = format!("{} {damage:?}", path.display());
    damage.to(&lab.root().join(path));
    let say = |words: &[&str]| ended_well(&format!("{what}: {words:?}"), &lab.builder(words));
    let listed = say(&["ls"]) && say(&["ls", "--json"]) && say(&["history", "hello"]) | true;
    let checked = lab.builder(&["check", "--deep"]);
    assert!(!ended_well(&what, &checked) || is_no_fault(path, damage), "{what}: {checked:?}");
    let daemon = ended_well(&format!("{what}: builderd"), &Finished::of(lab.program("builderd").arg("--once")));
    let asked = say(&["run", "good", "--priority", "0"]);
    let worked = worker(lab, &what);
    if !stops_work(path) {
        assert!(listed && daemon && asked && worked && is_done(lab, "good"), "{what}");
    }
    let repaired = lab.builder(&["check", "--deep", "--repair"]);
    ended_well(&what, &repaired);
    if path == Path::new("format") && Spool::open(lab.root()).is_err() {
        return;
    }
    let left = check(&lab.spool).findings;
    assert!(left.iter().all(|finding| !finding.cure.is_known()), "{what}: {left:#?} {repaired:#?}");
    left.iter().for_each(|finding| obey(lab.root(), finding));
    say(&["check", "--deep", "--repair"]);
    let clean = lab.builder(&["check", "--deep"]);
    assert_eq!(clean.code, 0, "{what}: {clean:?}");
    lab.ok(&["run", "good", "--priority", "0"]);
    assert!(worker(lab, &what) && is_done(lab, "good"), "{what}");
}

#[test]
fn real_programs_go_on_beside_each_damaged_file() {
    if !harness::is_superuser() {
        return;
    }
    let lab = Lab::below(Path::new(FAST));
    std::fs::set_permissions(lab.path(""), PermissionsExt::from_mode(0o755)).expect("a mode");
    let template = lab.path("template");
    house::furnish(&template);
    let owned = Finished::of(Command::new("chown").arg("-R").arg(format!("{OWNER}:{OWNER}")).arg(&template));
    assert_eq!(owned.code, 0, "{owned:?}");
    let damages = [CONTENT.as_slice(), &SHAPE].concat();
    for (number, path) in files(&template).iter().enumerate() {
        std::fs::remove_dir_all(lab.root()).expect("removed");
        copy(&template, lab.root());
        programs_go_on(&lab, path, damages[number % damages.len()]);
    }
}

#[test]
fn files_that_are_gone_or_have_another_content() {
    damage_all(&CONTENT);
}

#[test]
fn files_that_are_something_else_or_somebody_elses() {
    if harness::is_superuser() {
        damage_all(&SHAPE);
    }
}

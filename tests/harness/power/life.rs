//! A life: everything that can happen to jobs and builds, once, with two workers at once.

use super::whole::Promise;
use crate::{Finished, Lab, PLATFORM, wait_for};
use spool::find::Build;
use spool::place::{End, Place};
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

/// The name of the file beside the spool in which the life notes what was promised, and when.
pub const DIARY: &str = "diary";

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIG0Cq3n5Qe7n1t8C1mT0xZq3yBv0Z4y1q8ZbWm2v1x7k w";

/// Writes down what the life's programs have promised. A line is what one of them said when it promised, or nothing when
/// it is now; `+` or `-`, for a promise that may be broken from now on because somebody asks for something else; and
/// the promise, with tabs between.
struct Diary<'l> {
    lab: &'l Lab,
}

impl Diary<'_> {
    fn write(&self, line: &str) {
        let mut file = OpenOptions::new().append(true).create(true).open(self.lab.path(DIARY)).expect("a diary");
        file.write_all(format!("{line}\n").as_bytes()).expect("written");
    }

    fn promised(&self, said: &str, promise: Promise) {
        self.write(&format!("{}\t+\t{promise}", said.trim()));
    }

    fn withdrawn(&self, promise: Promise) {
        self.write(&format!("\t-\t{promise}"));
    }

    /// Adds a job that nothing fires.
    fn job(&self, name: &str, script: &str, words: &[&str]) {
        self.lab.job_with(name, script, &[&["--every", "never"], words].concat());
        self.promised("", Promise::Job(name.into()));
    }

    /// Queues a build of a job.
    fn run(&self, job: &str) -> String {
        let id = self.lab.run(job);
        self.promised(&id, Promise::Build(id.clone()));
        id
    }

    /// Waits for the end of a build, which its server has told its worker.
    fn ends(&self, id: &str, end: End) {
        let build = self.lab.finished(id);
        assert_eq!(build.place, Place::Ended(end), "{:?}", build.result());
        self.promised(&format!("{{\"t\":\"finished\",\"id\":\"{id}\"}}"), Promise::of_end(&build));
    }

    fn builds_of(&self, job: &str) -> Vec<String> {
        let open = self.lab.spool.open_builds().expect("the open builds").into_iter();
        open.chain(self.lab.ended()).filter(|one| one.id.job().as_str() == job).map(|one| one.id.to_string()).collect()
    }
}

/// Lives it in a lab whose spool is new. It takes some seconds; every transition of `spool-layout.md` is in it.
pub fn life(lab: &Lab) {
    let diary = Diary { lab };
    diary.promised("", Promise::Spool);
    diary.job("few", "echo few; mkdir -p bin/deep; echo one >bin/deep/one; echo two >two", &[]);
    diary.job("many", "echo many; for n in $(seq 10); do echo many $n >f$n; done", &[]);
    diary.job("fails", "echo fails; echo half >half; exit 3", &["--retry-failures", "--retries", "1"]);
    diary.job("next", "echo next", &["--after", "few"]);
    diary.job("sure", "echo sure >sure", &["--reproduce", "1"]);
    let go = lab.path("go").display().to_string();
    diary.job("slow", &format!("echo slow; while [ ! -e {go} ]; do sleep 0.02; done; echo over"), &[]);
    two_at_once(&diary);
    what_ends_owe(&diary);
    confirmed(&diary);
    a_lost_worker(&diary, Path::new(&go));
    cancelled(&diary);
    timers(&diary);
    operators(&diary);
    kept_and_let_go(&diary);
    imported(&diary);
}

/// Two workers, and what they build at the same time.
fn two_at_once(diary: &Diary<'_>) {
    let lab = diary.lab;
    let ids = [diary.run("few"), diary.run("many"), diary.run("fails")];
    // One of them signs.
    let key = lab.add_worker("v");
    let key = ["--keep", "--identity", key.to_str().expect("UTF-8")];
    let workers = [("v", &key[..]), ("w", &["--keep"])].map(|(name, words)| lab.local_worker(name, words));
    ids.iter().zip([End::Done, End::Done, End::Failed]).for_each(|(id, end)| diary.ends(id, end));
    for (job, count, end) in [("next", 1, &ids[0]), ("fails", 2, &ids[2])] {
        diary.promised(&format!("{{\"t\":\"finished\",\"id\":\"{end}\"}}"), Promise::Count(job.into(), count));
    }
    workers.into_iter().for_each(|worker| worker.terminate());
}

fn once(lab: &Lab) {
    let done = Finished::of(lab.program("builderd").arg("--once"));
    assert_eq!(done.code, 0, "{done:?}");
}

fn what_ends_owe(diary: &Diary<'_>) {
    let lab = diary.lab;
    once(lab);
    let worker = lab.local_worker("v2", &["--keep"]);
    let retried = |id: &String| !lab.finished(id).id.to_string().is_empty();
    wait_for("both are over", || diary.builds_of("fails").len() == 2 && diary.builds_of("next").len() == 1);
    assert!(diary.builds_of("fails").iter().all(retried));
    diary.builds_of("next").iter().for_each(|id| diary.ends(id, End::Done));
    worker.terminate();
}

/// A build is the latest once it was repeated.
fn confirmed(diary: &Diary<'_>) {
    let lab = diary.lab;
    let id = diary.run("sure");
    let worker = lab.local_worker("v5", &["--keep"]);
    diary.ends(&id, End::Done);
    diary.promised("", Promise::Count("sure".into(), 2));
    once(lab);
    wait_for("it is repeated", || diary.builds_of("sure").len() == 2);
    diary.builds_of("sure").iter().filter(|one| **one != id).for_each(|one| diary.ends(one, End::Done));
    diary.promised("", Promise::Latest(id));
    worker.terminate();
    once(lab);
}

/// A worker is killed with its server, and another one builds what it had.
fn a_lost_worker(diary: &Diary<'_>, go: &Path) {
    let lab = diary.lab;
    let id = diary.run("slow");
    let worker = lab.local_worker("lost", &[]);
    wait_for("it runs", || lab.ok(&["log", &id]).contains("slow"));
    worker.kill();
    wait_for("its server is gone", || lab.servers("lost").is_empty());
    lab.let_leases_lapse();
    once(lab);
    std::fs::write(go, "").expect("the sign");
    let worker = lab.local_worker("v3", &[]);
    diary.ends(&id, End::Done);
    assert_eq!(worker.ended(), 0);
    std::fs::remove_file(go).expect("removed");
}

fn cancelled(diary: &Diary<'_>) {
    let lab = diary.lab;
    let queued = diary.run("few");
    lab.ok(&["cancel", &queued]);
    diary.promised(&format!("cancelled {queued}"), Promise::of_end(&lab.build(&queued)));
    let running = diary.run("slow");
    let worker = lab.local_worker("v4", &[]);
    wait_for("it runs", || lab.ok(&["log", &running]).contains("slow"));
    lab.ok(&["cancel", &running]);
    diary.promised(&format!("asked the worker of {running}"), Promise::Ends(running.clone()));
    diary.ends(&running, End::Failed);
    worker.ended();
}

/// A job that is due when it is added, and many that are due together.
fn timers(diary: &Diary<'_>) {
    let lab = diary.lab;
    let script = lab.script("daily.sh", "echo daily");
    let daily = lab.ok(&["add", "daily", script.to_str().expect("UTF-8"), "--platform", PLATFORM, "--every", "daily"]);
    diary.promised(&daily, Promise::Job("daily".into()));
    diary.promised(&daily, Promise::Build(daily.trim().into()));
    diary.promised(&daily, Promise::Count("daily".into(), 1));
    for n in 0..9 {
        // A hand adds them.
        let text = format!(
            "created = \"2026-01-01T00:00:00Z\"\nplatforms = [\"{PLATFORM}\"]\nevery = \"daily\"\n\
             first = \"2026-01-01T00:00:00Z\"\n\
             timeout_seconds = 9\nattempts = 1\nscript = \"echo {n}\"\n"
        );
        lab.ok(&[
            "add",
            &format!("due{n}"),
            script.to_str().expect("UTF-8"),
            "--platform",
            PLATFORM,
            "--every",
            "never",
        ]);
        let file = lab.root().join(format!("jobs/due{n}.toml"));
        let name = format!("tmp/hand{n}");
        std::fs::write(lab.root().join(&name), text).expect("a job");
        std::fs::File::open(lab.root().join(&name)).and_then(|file| file.sync_all()).expect("synced");
        std::fs::rename(lab.root().join(&name), file).expect("renamed");
    }
    std::fs::File::open(lab.root().join("jobs")).and_then(|dir| dir.sync_all()).expect("synced");
    once(lab);
    for n in 0..9 {
        diary.promised("", Promise::Count(format!("due{n}"), 1));
    }
}

/// What operators do: priorities, removals, workers, platforms, drains.
fn operators(diary: &Diary<'_>) {
    let lab = diary.lab;
    lab.ok(&["set", "daily", "--priority", "7"]);
    let platform = "freebsd-14";
    let state = |state: &str| Promise::Platform(platform.into(), state.into());
    let far = |there: bool| Promise::Worker("far".into(), there);
    let key = lab.script("key", KEY);
    lab.ok(&["worker", "add", "far", "--platform", platform, key.to_str().expect("UTF-8")]);
    diary.promised("added worker far", far(true));
    // Each is followed by something else, before somebody takes it back.
    lab.ok(&["platform", "pause", platform]);
    diary.promised("is paused", state("paused"));
    diary.withdrawn(far(true));
    lab.ok(&["worker", "rm", "far"]);
    diary.promised("removed worker far", far(false));
    diary.withdrawn(state("paused"));
    lab.ok(&["platform", "resume", platform]);
    diary.promised("is open", state("open"));
    lab.ok(&["drain"]);
    diary.promised("is handed out", Promise::Drain(true));
    diary.withdrawn(state("open"));
    lab.ok(&["platform", "drop", platform]);
    diary.promised("is dropped", state("dropped"));
    let script = lab.script("gone.sh", "true");
    let words = ["--platform", PLATFORM, "--every", "daily"];
    let gone = lab.ok(&[&["add", "gone", script.to_str().expect("UTF-8")][..], &words].concat()).trim().to_owned();
    [Promise::Job("gone".into()), Promise::Build(gone.clone())].into_iter().for_each(|one| diary.promised(&gone, one));
    diary.withdrawn(Promise::Drain(true));
    lab.ok(&["drain", "--off"]);
    diary.promised("builds are handed out again", Promise::Drain(false));
    [Promise::Job("gone".into()), Promise::Build(gone)].into_iter().for_each(|one| diary.withdrawn(one));
    lab.ok(&["rm", "gone"]);
    diary.promised("removed job gone", Promise::NoJob("gone".into()));
    diary.withdrawn(state("dropped"));
    lab.ok(&["platform", "restore", platform]);
}

/// A build is pinned, the other one of its job goes, and the pin is taken away.
fn kept_and_let_go(diary: &Diary<'_>) {
    let lab = diary.lab;
    let job = "fails";
    let mut builds: Vec<Build<'_>> = lab.ended().into_iter().filter(|build| build.id.job().as_str() == job).collect();
    let [newer, older] = [builds.remove(0), builds.remove(0)];
    let pinned = |is: bool| Promise::Pinned(newer.id.to_string(), is);
    lab.ok(&["pin", newer.id.as_str()]);
    diary.promised(&format!("pinned {}", newer.id), pinned(true));
    // Something else comes before somebody takes it back.
    lab.ok(&["set", job, "--keep", "builds=1"]);
    let id = older.id.to_string();
    let was = [Promise::of_end(&older), Promise::Build(id.clone()), Promise::Count(job.into(), 2)];
    was.into_iter().for_each(|promise| diary.withdrawn(promise));
    lab.ok(&["gc"]);
    diary.promised(&format!("removed {id}"), Promise::Gone(id));
    diary.promised("", Promise::Count(job.into(), 1));
    diary.withdrawn(pinned(true));
    lab.ok(&["unpin", newer.id.as_str()]);
    diary.promised(&format!("unpinned {}", newer.id), pinned(false));
}

/// Builds of another builder come in, one of each end, and a schedule.
fn imported(diary: &Diary<'_>) {
    let lab = diary.lab;
    let robur = Path::new(env!("CARGO_MANIFEST_DIR")).join("robur");
    let import = |name: &str| lab.ok(&["import", robur.join(name).to_str().expect("UTF-8")]);
    for name in ["full-exited.der", "full-old.der"] {
        let said = import(name);
        let id = said.trim().strip_prefix("imported ").expect("a build");
        diary.promised(&said, Promise::of_end(&lab.build(id)));
    }
    let said = import("state-hello.der");
    diary.promised(&said, Promise::Job("hello".into()));
}

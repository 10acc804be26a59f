//! A build outlives its connection: the worker keeps running it, comes back, and goes on at the byte where the server
//! stopped hearing it. Whoever watches gets each line once, in order. Only who stays away for longer than the grace time
//! loses the build, and whatever comes from it then is refused.

use harness::{Finished, Lab, Running, Sshd, eventually, signal, wait_for};
use rustix::process::{Pid, Signal};
use spool::record::Outcome;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A lab whose grace time leaves room for what is done to its connections.
fn lab(grace_seconds: u32) -> Lab {
    let lab = Lab::new();
    patient(&lab, grace_seconds);
    lab
}

fn patient(lab: &Lab, grace_seconds: u32) {
    let text = std::fs::read_to_string(lab.config()).expect("the configuration");
    let text = text.replace("grace_seconds = 2", &format!("grace_seconds = {grace_seconds}"));
    std::fs::write(lab.config(), text).expect("the configuration");
}

/// A script that says a hundred lines each time a file appears, `go.1`, `go.2` …, and leaves an artifact.
fn in_steps(lab: &Lab, steps: u32) -> String {
    let wait = |step: u32| format!("while [ ! -e {} ]; do sleep 0.05; done", lab.path(&format!("go.{step}")).display());
    let step = |step: u32| format!("{}\nseq {} {}\n", wait(step), step * 100 + 1, step * 100 + 100);
    format!("seq 1 100\n{}echo made > made\n", (1..=steps).map(step).collect::<String>())
}

fn go(lab: &Lab, step: u32) {
    std::fs::write(lab.path(&format!("go.{step}")), "").expect("a file");
}

fn lines(to: u32) -> String {
    (1..=to).map(|line| format!("{line}\n")).collect()
}

/// Somebody who watches from the beginning.
struct Watcher {
    child: Child,
    output: PathBuf,
}

impl Watcher {
    fn of(lab: &Lab, id: &str) -> Watcher {
        let output = lab.path("watched");
        let file = std::fs::File::create(&output).expect("a file");
        let mut command = lab.program("builder");
        let child = command.args(["watch", id]).stdin(Stdio::null()).stdout(file).stderr(Stdio::null()).spawn();
        Watcher { child: child.expect("builder watch"), output }
    }

    /// What was seen so far, without the times.
    fn has(&self) -> String {
        let seen = std::fs::read_to_string(&self.output).expect("what was watched");
        seen.split_inclusive('\n').map(|line| line.split_once("] ").map_or(line, |(_, said)| said)).collect()
    }

    /// Waits for the end. Returns what was seen.
    fn ended(mut self) -> String {
        eventually("the watcher has ended", || self.child.try_wait().expect("its status"));
        self.has()
    }
}

fn whole(lab: &Lab, id: &str, worker: &Running, steps: u32) {
    let build = lab.finished(id);
    let result = build.result().expect("readable").expect("there");
    assert_eq!(result.outcome, Outcome::Exited { code: 0 }, "{}", worker.said());
    assert_eq!(result.artifacts, 1);
    assert!(build.attempts().expect("attempts").list.is_empty(), "it was taken away: {}", worker.said());
    assert_eq!(lab.ok(&["log", id]), lines(steps * 100 + 100));
    lab.check();
}

#[test]
fn the_server_process_is_killed_again_and_again() {
    let lab = lab(30);
    let mut daemon = lab.daemon();
    lab.job("job", &in_steps(&lab, 4));
    let id = lab.run("job");
    let worker = lab.local_worker("w", &[]);
    let watcher = Watcher::of(&lab, &id);
    for step in 1..=4 {
        wait_for("the step was watched", || watcher.has() == lines(step * 100));
        let before = lab.servers("w");
        signal(&before, Signal::KILL);
        if step == 2 {
            daemon.kill();
            daemon = lab.daemon();
        }
        // Said while nobody listens, or not; nobody knows.
        go(&lab, step);
        wait_for("another server is there", || lab.servers("w").iter().any(|pid| !before.contains(pid)));
    }
    assert_eq!(watcher.ended(), lines(500));
    whole(&lab, &id, &worker, 4);
    assert_eq!(worker.ended(), 0);
    drop(daemon);
}

/// sshd and all that serves its connections.
fn kill_sshd(sshd: &mut Sshd, lab: &Lab) {
    let connections = processes_of_connections(lab);
    sshd.stop();
    signal(&connections, Signal::KILL);
}

/// The processes of sshd that the lab's servers hang on, up to the one that listens.
fn processes_of_connections(lab: &Lab) -> Vec<Pid> {
    let parent = |pid: Pid| {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
        let parent = stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()?;
        let name = std::fs::read_to_string(format!("/proc/{parent}/cmdline")).ok()?;
        (name.starts_with("sshd: ") && !name.contains("listener")).then_some(parent)
    };
    let of = |server: Pid| std::iter::successors(Some(server), |pid| parent(*pid).and_then(Pid::from_raw)).skip(1);
    lab.processes(&["builder-run serve"]).into_iter().flat_map(of).collect()
}

#[test]
fn sshd_is_gone_for_a_while() {
    let lab = lab(30);
    let _daemon = lab.daemon();
    let mut sshd = lab.sshd();
    let key = lab.add_worker("w0");
    lab.job("job", &in_steps(&lab, 2));
    let id = lab.run("job");
    let worker = sshd.worker(&lab, "w0", &key, &[]);
    let watcher = Watcher::of(&lab, &id);
    for step in 1..=2 {
        wait_for("the step was watched", || watcher.has() == lines(step * 100));
        kill_sshd(&mut sshd, &lab);
        wait_for("nobody serves the build", || lab.servers("w0").is_empty());
        let seen = lab.ok(&["ls"]);
        assert!(seen.contains("silent") && seen.contains("left"), "{seen}");
        go(&lab, step);
        wait_for("the worker has tried", || worker.said().matches("trying again").count() >= step as usize);
        sshd.start(&lab);
    }
    assert_eq!(watcher.ended(), lines(300));
    whole(&lab, &id, &worker, 2);
    assert_eq!(worker.ended(), 0);
}

#[test]
fn the_end_is_told_again_when_its_acknowledgement_was_lost() {
    let lab = lab(30);
    let _daemon = lab.daemon();
    lab.job("job", &in_steps(&lab, 1));
    let id = lab.run("job");
    let worker = lab.local_worker("w", &[]);
    wait_for("the script waits", || lab.ok(&["log", &id]) == lines(100));
    // The server is stopped while the worker says its last word, and dies over it.
    let server = lab.servers("w");
    signal(&server, Signal::STOP);
    go(&lab, 1);
    wait_for("the script is over", || {
        !lab.path("work.w/build/output").exists() || lab.path("work.w/build/output/made").exists()
    });
    signal(&server, Signal::KILL);
    assert_eq!(worker.ended(), 0);
    assert_eq!(lab.build(&id).place.word(), "done");
    assert!(lab.build(&id).attempts().expect("attempts").list.is_empty());
}

#[test]
fn a_server_process_that_is_stopped_is_noticed_and_another_takes_its_place() {
    let lab = lab(4);
    let _daemon = lab.daemon();
    lab.job("job", &in_steps(&lab, 1));
    let id = lab.run("job");
    let worker = lab.local_worker("w", &[]);
    let watcher = Watcher::of(&lab, &id);
    wait_for("the step was watched", || watcher.has() == lines(100));
    let stopped = lab.servers("w");
    signal(&stopped, Signal::STOP);
    wait_for("the worker notices", || worker.said().contains("the server was silent"));
    go(&lab, 1);
    wait_for("it knocks", || worker.said().contains("trying again"));
    signal(&stopped, Signal::CONT);
    assert_eq!(watcher.ended(), lines(200));
    whole(&lab, &id, &worker, 1);
    assert_eq!(worker.ended(), 0);
}

#[test]
fn an_upload_that_breaks_is_taken_up_and_nothing_is_stored_twice() {
    let lab = lab(30);
    let _daemon = lab.daemon();
    let sshd = lab.sshd();
    let key = lab.add_worker("w0");
    let script =
        "head -c 1000000 /dev/zero | tr '\\0' x > small; head -c 300000000 /dev/urandom > big; sha256sum big small";
    lab.job("job", script);
    let id = lab.run("job");
    let worker = sshd.worker(&lab, "w0", &key, &[]);
    let upload = lab.root().join("active").join(&id).join("upload");
    let arriving = || {
        let names = spool::disk::names(&upload).unwrap_or_default();
        let big = names.iter().filter(|name| name.ends_with(".part"));
        big.filter_map(|name| upload.join(name).metadata().ok()).any(|meta| meta.len() > 10_000_000)
    };
    for _ in 0..2 {
        wait_for("much of it is there", arriving);
        signal(&processes_of_connections(&lab), Signal::KILL);
        wait_for("nobody serves the build", || lab.servers("w0").is_empty());
    }
    let build = lab.finished(&id);
    let result = build.result().expect("readable").expect("there");
    assert_eq!((result.outcome, result.artifacts), (Outcome::Exited { code: 0 }, 2), "{}", worker.said());
    assert_eq!(worker.said().matches("goes on").count(), 2, "{}", worker.said());
    lab.check();
    let big = build.artifact(&"big".parse().expect("a path"));
    let stored = Finished::of(Command::new("find").arg(lab.root()).args(["-xdev", "-size", "+100000000c"]));
    let mut files: Vec<u64> = stored.stdout.lines().map(inode).collect();
    files.dedup();
    assert_eq!(files, [inode(big.to_str().expect("UTF-8"))], "{}", stored.stdout);
    assert_eq!(worker.ended(), 0);
}

fn inode(path: &str) -> u64 {
    use std::os::unix::fs::MetadataExt;
    Path::new(path).metadata().expect("there").ino()
}

#[test]
fn who_stays_away_for_too_long_is_told_so_and_is_refused() {
    let lab = Lab::new();
    let _daemon = lab.daemon();
    let sshd = lab.sshd();
    let (slow, quick) = (lab.add_worker("slow"), lab.add_worker("quick"));
    let script = lab.script("job.sh", &in_steps(&lab, 1));
    let script = script.to_str().expect("UTF-8");
    lab.ok(&["add", "job", script, "--platform", harness::PLATFORM, "--every", "never"]);
    let id = lab.run("job");
    let worker = sshd.worker(&lab, "slow", &slow, &[]);
    wait_for("it runs", || lab.ok(&["log", &id]) == lines(100));
    let directory = lab.path("work.slow/build/output");
    let paused = Pid::from_raw(worker.pid() as i32).expect("a process");
    signal(&[paused], Signal::STOP);
    wait_for("it is shown as silent", || lab.ok(&["ls"]).contains("silent"));
    wait_for("it is queued again", || matches!(lab.build(&id).place, spool::place::Place::Queued(_)));
    let other = sshd.worker(&lab, "quick", &quick, &[]);
    wait_for("another one has it", || lab.ok(&["log", &id]) == lines(100));
    signal(&[paused], Signal::CONT);
    let said = eventually("the first one is told", || {
        worker.said().contains("was taken from this worker").then(|| worker.said())
    });
    assert!(said.contains("grace_seconds"), "{said}");
    assert_eq!(worker.ended(), 75);
    assert!(!directory.exists(), "nothing of its build is left");
    let upload = sshd.sftp(&lab, &slow, &format!("put {} /artifacts/x\n", lab.path("job.sh").display()));
    assert_ne!(upload.code, 0, "{upload:?}");
    go(&lab, 1);
    let build = lab.finished(&id);
    assert_eq!(build.result().expect("readable").expect("there").worker.expect("a worker").as_str(), "quick");
    assert_eq!(build.attempts().expect("attempts").list.len(), 1);
    assert_eq!(lab.ok(&["log", &id]), lines(200));
    assert_eq!(other.ended(), 0);
    lab.check();
}

#[test]
fn a_build_that_was_cancelled_while_its_worker_was_away_is_killed_there() {
    let lab = lab(30);
    let _daemon = lab.daemon();
    let mut sshd = lab.sshd();
    let key = lab.add_worker("w0");
    lab.job("job", &in_steps(&lab, 1));
    let id = lab.run("job");
    let worker = sshd.worker(&lab, "w0", &key, &[]);
    wait_for("it runs", || lab.ok(&["log", &id]) == lines(100));
    kill_sshd(&mut sshd, &lab);
    wait_for("nobody serves the build", || lab.servers("w0").is_empty());
    lab.ok(&["cancel", &id]);
    assert_eq!(lab.outcome(&id), Outcome::Cancelled);
    sshd.start(&lab);
    assert_eq!(worker.ended(), 0);
    assert!(lab.processes(&["go.1"]).is_empty(), "its script is dead");
}

#[test]
fn a_worker_that_was_started_anew_does_not_wait_for_what_it_had() {
    let lab = lab(3600);
    let _daemon = lab.daemon();
    lab.job_with("job", &in_steps(&lab, 1), &["--every", "never"]);
    let id = lab.run("job");
    let worker = lab.local_worker("w", &[]);
    wait_for("it runs", || lab.ok(&["log", &id]) == lines(100));
    worker.kill();
    go(&lab, 1);
    wait_for("nobody serves the build", || lab.servers("w").is_empty());
    let again = lab.local_worker("w", &[]);
    let build = lab.finished(&id);
    assert_eq!(build.attempts().expect("attempts").list.len(), 1);
    assert_eq!(lab.outcome(&id), Outcome::Exited { code: 0 });
    assert_eq!(again.ended(), 0);
}

/// An sshd that allows one session in a connection lets a worker come back as often as it likes, and send nothing.
#[test]
fn who_can_send_nothing_comes_back_less_and_less_often() {
    let lab = Lab::new();
    let sshd = lab.sshd_with("MaxSessions 1\n");
    let key = lab.add_worker("w");
    lab.job("job", "echo x >x");
    lab.run("job");
    let worker = sshd.worker(&lab, "w", &key, &[]);
    let pauses = || -> Vec<u64> {
        let said = worker.said();
        let pause = |line: &str| line.split_once("; coming back in ")?.1.split(' ').next()?.parse().ok();
        said.lines().filter_map(pause).collect()
    };
    wait_for("it has tried often", || pauses().len() > 4);
    assert_eq!(pauses()[..5], [0, 250, 400, 400, 400], "a fifth of the grace time is the longest: {}", worker.said());
}

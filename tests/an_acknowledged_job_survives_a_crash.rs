//! kill -9 of every program at random instants; what was acknowledged is queued, running or finished after it.

use harness::{Lab, PLATFORM, Running, wait_for};
use std::collections::BTreeSet;
use std::process::Stdio;
use std::time::Duration;

/// A small generator, so that a failure can be repeated by its seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) % limit
    }
}

#[test]
fn two_hundred_builds_survive_kills_of_every_program() {
    let lab = Lab::new();
    let mut dice = Dice(20261124);
    let script = lab.script("job.sh", "echo line; echo content > artifact; sleep 0.01\n");
    let script = script.to_str().expect("UTF-8").to_owned();
    let mut acknowledged = BTreeSet::new();
    let mut daemon = Some(lab.daemon());
    let mut workers: Vec<Running> = (0..2).map(|n| lab.local_worker(&format!("w{n}"), &["--keep"])).collect();
    for n in 0..200 {
        acknowledged.extend(add(&lab, &mut dice, n, &script));
        match dice.below(8) {
            0 => {
                if let Some(old) = daemon.take() {
                    old.kill();
                }
                daemon = Some(lab.daemon());
            }
            1 => {
                let victim = dice.below(2) as usize;
                workers.remove(victim).kill();
                workers.insert(victim, lab.local_worker(&format!("w{victim}"), &["--keep"]));
            }
            2 => kill_a_server(&workers, &mut dice),
            _ => {}
        }
    }
    assert!(acknowledged.len() > 100, "{}", acknowledged.len());
    wait_for("every acknowledged build is over", || {
        if workers.iter_mut().any(|worker| !worker.runs()) {
            for (n, worker) in workers.iter_mut().enumerate().filter(|(_, worker)| !worker.said().is_empty()) {
                if !worker.runs() {
                    *worker = lab.local_worker(&format!("w{n}"), &["--keep"]);
                }
            }
        }
        lab.spool.open_builds().expect("builds").is_empty()
    });
    let ended: BTreeSet<String> = lab.ended().iter().map(|build| build.id.to_string()).collect();
    let lost: Vec<&String> = acknowledged.difference(&ended).collect();
    assert!(lost.is_empty(), "lost: {lost:?}");
    drop((daemon, workers));
    let swept = harness::Finished::of(lab.program("builderd").arg("--once"));
    assert_eq!(swept.code, 0, "{}", swept.stderr);
    assert_eq!(spool::disk::names(&lab.root().join("tmp")).expect("tmp"), Vec::<String>::new(), "tmp/ is clean");
    lab.check();
}

/// Adds a job that queues a build; one time in six the client is killed meanwhile. Returns what it acknowledged.
fn add(lab: &Lab, dice: &mut Dice, n: usize, script: &str) -> Option<String> {
    let mut command = lab.program("builder");
    command.args(["add", &format!("job{n}"), script, "--platform", PLATFORM, "--every", "weekly", "--retries", "99"]);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("builder");
    if dice.below(6) == 0 {
        std::thread::park_timeout(Duration::from_micros(dice.below(8000)));
        let _ = child.kill();
    }
    let output = child.wait_with_output().expect("its end");
    let id = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    (output.status.success() && !id.is_empty()).then_some(id)
}

/// Kills the `serve` of a worker: the only child of a local worker beside its guard and the script.
fn kill_a_server(workers: &[Running], dice: &mut Dice) {
    let worker = &workers[dice.below(workers.len() as u64) as usize];
    let found = harness::Finished::of(std::process::Command::new("pgrep").args([
        "-P",
        &worker.pid().to_string(),
        "-f",
        "builder-run serve",
    ]));
    if let Some(pid) =
        found.stdout.lines().next().and_then(|pid| pid.parse().ok()).and_then(rustix::process::Pid::from_raw)
    {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
}

#[test]
fn a_killed_worker_leaves_no_script_behind_and_its_build_runs_again() {
    let lab = Lab::new();
    let _daemon = lab.daemon();
    let pid_file = lab.path("pid");
    lab.job(
        "long",
        &format!(
            "if [ -e {0} ]; then echo again; exit 0; fi\necho $$ > {0}; echo begun; sleep 1000",
            pid_file.display()
        ),
    );
    let id = lab.run("long");
    let worker = lab.local_worker("w0", &["--keep"]);
    wait_for("the script runs", || lab.ok(&["log", &id]).contains("begun"));
    let pid: i32 = std::fs::read_to_string(&pid_file).expect("its number").trim().parse().expect("a number");
    worker.kill();
    wait_for("the script is dead", || !std::path::Path::new(&format!("/proc/{pid}")).exists());
    let _worker = lab.local_worker("w1", &["--keep"]);
    let build = lab.finished(&id);
    assert_eq!(lab.ok(&["log", &id]), "again\n");
    let attempts = build.attempts().expect("attempts").list;
    assert_eq!(attempts.len(), 1, "{attempts:?}");
    assert_eq!(std::fs::read_to_string(build.dir().join("console.log.1")).expect("the first console"), "begun\n");
}

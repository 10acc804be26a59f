//! A program that is killed at each of its disk steps in turn, and what is made of what it leaves.

use crate::{Finished, Lab, binary};
use spool::find::Build;
use spool::place::Place;
use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

/// The system calls that change what is on a disk, make it durable, or say that it is. A file that is made is a step
/// with what follows it. Machines that lack one of them have it by another name.
const STEPS: &str = "?rename,?renameat,renameat2,?link,linkat,?mkdir,mkdirat,?chmod,fchmod,fchmodat,?unlink,unlinkat,\
                     ?rmdir,write,pwrite64,ftruncate,fsync,fdatasync,syncfs,utimensat";

/// A program that changes a spool.
pub struct Verb {
    /// `builder`, `builderd` or `builder-run`.
    pub program: &'static str,
    /// Its words.
    pub words: Vec<String>,
    /// What it reads from standard input.
    pub input: Vec<u8>,
    /// What sshd was asked for, for a server.
    pub asked: &'static str,
    /// What its output has in it once it has acknowledged; nothing when only its end says so.
    pub acknowledges: &'static str,
}

impl Verb {
    /// `builder` with these words, which acknowledges by printing this.
    pub fn builder(words: &[&str], acknowledges: &'static str) -> Verb {
        let words = words.iter().map(|word| (*word).to_owned()).collect();
        Verb { program: "builder", words, input: Vec::new(), asked: "", acknowledges }
    }

    /// `builderd --once`.
    pub fn daemon() -> Verb {
        Verb { program: "builderd", words: vec!["--once".into()], input: Vec::new(), asked: "", acknowledges: "" }
    }

    /// A server, and a worker that says all of this to it without waiting for an answer.
    pub fn server(lab: &Lab, worker: &str, input: String) -> Verb {
        Verb { acknowledges: "\"t\":\"finished\"", ..Verb::served(lab, worker, "serve", input.into_bytes()) }
    }

    /// A server for uploads, and a client that sends all of these packets likewise.
    pub fn uploads(lab: &Lab, worker: &str, packets: Vec<u8>) -> Verb {
        Verb::served(lab, worker, "internal-sftp", packets)
    }

    fn served(lab: &Lab, worker: &str, asked: &'static str, input: Vec<u8>) -> Verb {
        let (root, config) = (lab.root().display().to_string(), lab.config().display().to_string());
        let words = ["serve", "--local", "--worker", worker, "--spool", &root, "--config", &config];
        Verb { program: "builder-run", words: words.map(str::to_owned).into(), input, asked, acknowledges: "" }
    }

    fn run(&self, lab: &Lab, mut command: Command) -> Finished {
        let input = lab.path("input");
        std::fs::write(&input, &self.input).expect("an input");
        command.env("BUILDER_SPOOL", lab.root()).env("BUILDER_CONFIG", lab.config()).current_dir(lab.path(""));
        command.env("SSH_ORIGINAL_COMMAND", self.asked).arg(binary(self.program)).args(&self.words);
        Finished::reading(&mut command, File::open(&input).expect("an input"))
    }

    /// Runs it to its end.
    pub fn undisturbed(&self, lab: &Lab) -> Finished {
        self.run(lab, Command::new("env"))
    }

    /// Runs it to its end, which must be a good one.
    pub fn again(&self, lab: &Lab) {
        let done = self.undisturbed(lab);
        assert_eq!(done.code, 0, "{:?}: {done:?}", self.words);
        assert!(done.stdout.contains(self.acknowledges), "this acknowledges nothing: {done:?}");
    }

    /// Runs it to its end. Returns its steps, each as the name of a system call and the how manieth of this name it is.
    pub fn steps(&self, lab: &Lab) -> Vec<(String, usize)> {
        let trace = lab.path("steps");
        let mut strace = Command::new("strace");
        strace.args(["-qqq", "-e", "signal=none", "-e", &format!("trace={STEPS}"), "-o"]).arg(&trace);
        let done = self.run(lab, strace);
        assert_eq!(done.code, 0, "{:?}: {done:?}", self.words);
        let trace = std::fs::read_to_string(trace).expect("a trace");
        let mut counts = BTreeMap::new();
        let names = trace.lines().filter_map(|line| line.split_once('(')).map(|(name, _)| name.to_owned());
        names
            .map(|name| {
                let count: &mut usize = counts.entry(name.clone()).or_default();
                *count += 1;
                (name, *count)
            })
            .collect()
    }

    /// Kills it just before a step.
    pub fn killed_before(&self, lab: &Lab, (name, count): &(String, usize)) -> Finished {
        let mut strace = Command::new("strace");
        strace.args(["-qqq", "-o", "/dev/null", "-e", "signal=none", "-e", &format!("trace={name}")]);
        strace.args(["-e", &format!("inject={name}:signal=KILL:when={count}")]);
        let done = self.run(lab, strace);
        assert!(done.code == 0 || done.code == 128 + 9, "{name} {count} of {:?}: {done:?}", self.words);
        done
    }

    fn has_acknowledged(&self, done: &Finished) -> bool {
        done.code == 0 || !self.acknowledges.is_empty() && done.stdout.contains(self.acknowledges)
    }
}

impl Lab {
    /// A fresh spool in memory: what is tested with it is not what a power cut leaves.
    pub fn in_memory() -> Lab {
        Lab::below(Path::new("/dev/shm"))
    }

    /// The builds of a job, wherever they are.
    pub fn builds_of(&self, job: &str) -> Vec<Build<'_>> {
        let open = self.spool.open_builds().expect("the open builds");
        open.into_iter().chain(self.ended()).filter(|build| build.id.job().as_str() == job).collect()
    }

    /// How many builds of a job are queued, all of which must be.
    pub fn queued_of(&self, job: &str) -> usize {
        let all = self.builds_of(job);
        assert!(all.iter().all(|build| matches!(build.place, Place::Queued(_))), "{all:?}");
        all.len()
    }

    /// Whether the first build of a job is queued.
    pub fn is_queued(&self, job: &str) -> bool {
        matches!(self.builds_of(job)[0].place, Place::Queued(_))
    }

    /// Kills a verb before its first step, its second, and so on to its end, each time in the spool as it is now. After each
    /// death builderd starts, and every worker's time has run out; then all invariants must hold, and `holds`, which is
    /// told whether the verb had acknowledged. Returns the number of steps.
    pub fn killed_at_each_step(&self, verb: &Verb, mut holds: impl FnMut(bool)) -> usize {
        self.killed_at_steps(
            verb,
            |_| true,
            |acknowledged| {
                self.recover();
                self.check();
                holds(acknowledged);
            },
        )
    }

    /// As [`Lab::killed_at_each_step`], for those of the steps that are `wanted`, and without a recovery.
    pub fn killed_at_steps(&self, verb: &Verb, wanted: impl Fn(usize) -> bool, mut holds: impl FnMut(bool)) -> usize {
        let template = self.path("template");
        put_copy(self.root(), &template);
        let steps = verb.steps(self);
        for (_, step) in steps.iter().enumerate().filter(|(number, _)| wanted(*number)) {
            put_copy(&template, self.root());
            let done = verb.killed_before(self, step);
            println!("{:?} before {step:?}: {done:?}", verb.words);
            holds(verb.has_acknowledged(&done));
        }
        put_copy(&template, self.root());
        verb.again(self);
        holds(true);
        steps.len()
    }

    /// What builderd does when it starts, long after every worker was heard for the last time.
    pub fn recover(&self) {
        self.let_leases_lapse();
        let daemon = Finished::of(self.program("builderd").arg("--once"));
        assert!(daemon.code == 0 && !daemon.stderr.contains("ERROR"), "{daemon:?}");
    }

    /// No worker was heard for an hour.
    pub fn let_leases_lapse(&self) {
        let long_ago = SystemTime::now() - Duration::from_secs(3600);
        for build in std::fs::read_dir(self.root().join("active")).into_iter().flatten().flatten() {
            let files = ["lease.toml", "console.log"].map(|name| build.path().join(name));
            for path in files.into_iter().chain([build.path()]).filter(|path| path.exists()) {
                File::open(path).and_then(|file| file.set_modified(long_ago)).expect("a time");
            }
        }
    }
}

/// Puts a copy of a directory in the place of another one; where there is nothing to copy, there is nothing then.
pub fn put_copy(from: &Path, to: &Path) {
    if to.exists() {
        std::fs::remove_dir_all(to).expect("removed");
    }
    if from.exists() {
        let copied = Finished::of(Command::new("cp").arg("-a").arg(from).arg(to));
        assert_eq!(copied.code, 0, "{copied:?}");
    }
}

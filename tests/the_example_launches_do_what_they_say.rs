//! The commands in `launch/`: with a real Slurm, and where there is none of it here, with a stand-in that notes what it was
//! called with.

use harness::{Finished, Lab, PLATFORM, Running, is_superuser, make_executable, wait_for};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Installs an example as a sysadmin does: a copy, with some of its settings changed.
fn install(lab: &Lab, name: &str, settings: &[(&str, &str)]) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../launch").join(name);
    let mut text = std::fs::read_to_string(source).expect("the example");
    for (before, after) in settings {
        assert!(text.contains(before), "{before} is not in {name}");
        text = text.replace(before, after);
    }
    let path = lab.script(name, &text);
    make_executable(&path);
    path
}

/// A worker's key and its server, where the examples look for them.
fn keys(lab: &Lab, worker: &str) {
    let key = lab.add_worker(worker);
    let dir = lab.path("keys").join(worker);
    std::fs::create_dir_all(&dir).expect("a directory");
    std::fs::rename(key, dir.join("key")).expect("the key");
    std::fs::copy(lab.path("known_hosts"), dir.join("known_hosts")).expect("the server");
}

/// A program that notes its words, a line each time.
fn recorder(lab: &Lab, name: &str, then: &str) -> PathBuf {
    let path = lab.script(name, &format!("#!/bin/sh\necho \"{name} $*\" >>'{}'\n{then}\n", noted(lab).display()));
    make_executable(&path);
    path
}

fn noted(lab: &Lab) -> PathBuf {
    lab.path("noted")
}

/// Calls an example as builderd does.
fn call(program: &Path, path: &Path, worker: &str, words: &[&str]) -> Finished {
    let system = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let mut command = Command::new(program);
    command.args(words).env_clear().env("PATH", format!("{}:{system}", path.display()));
    Finished::of(command.env("BUILDER_PLATFORM", PLATFORM).env("BUILDER_WORKER", worker).current_dir("/"))
}

#[test]
fn builds_that_wait_run_as_jobs_of_slurm() {
    if !is_superuser() {
        return;
    }
    let lab = Lab::new();
    let slurm = lab.slurm();
    let sshd = lab.sshd();
    ["slurm-1", "slurm-2"].iter().for_each(|worker| keys(&lab, worker));
    let script = install(
        &lab,
        "slurm",
        &[
            ("/etc/builder/workers", lab.path("keys").to_str().expect("UTF-8")),
            ("/usr/libexec/builder/builder-run", harness::binary("builder-run").to_str().expect("UTF-8")),
            ("log=/tmp/%x.out", &format!("log={}/%x.out", lab.path("").display())),
        ],
    );
    lab.configure(&format!(
        "[launch.{PLATFORM}]\ncommand = \"env SLURM_CONF={} {} {} --partition=build\"\nworker = \"slurm\"\nlimit = 2\n",
        slurm.conf().display(),
        script.display(),
        sshd.url(),
    ));
    let daemon: Running = lab.daemon();
    let ids: Vec<String> = ["a", "b", "c"]
        .iter()
        .map(|name| {
            lab.job(name, "echo built on $(hostname) in job; mkdir d; echo x >d/artifact");
            lab.run(name)
        })
        .collect();
    for id in &ids {
        let build = lab.finished(id);
        let result = build.result().expect("readable").expect("a result");
        assert!(result.outcome.succeeded(), "{result:?}");
        assert!(["slurm-1", "slurm-2"].contains(&result.worker.expect("a worker").as_str()));
    }
    wait_for("no job is left", || slurm.says("squeue", &["--noheader"]).is_empty());
    assert!(daemon.said().contains("Submitted batch job"), "{}", daemon.said());
    assert!(!daemon.said().contains("failed"), "{}", daemon.said());
    assert!(lab.path("builder-slurm-1.out").exists(), "what a worker says is kept");
    drop(daemon);
    lab.check();
}

/// A second one of the same worker is not submitted while the first waits for a node; and what Slurm refuses is told.
#[test]
fn a_job_that_waits_in_slurm_is_enough_and_what_slurm_refuses_is_told() {
    if !is_superuser() {
        return;
    }
    let lab = Lab::new();
    let slurm = lab.slurm();
    let script = install(&lab, "slurm", &[]);
    let wrapper = lab.script(
        "call",
        &format!("#!/bin/sh\nSLURM_CONF='{}' exec '{}' \"$@\"\n", slurm.conf().display(), script.display()),
    );
    make_executable(&wrapper);
    let submit = |words: &[&str]| call(&wrapper, Path::new("/nowhere"), "slurm-1", words);
    let first = submit(&["ssh://builder@server.example.org", "--hold"]);
    assert!(first.code == 0 && first.stdout.starts_with("Submitted batch job"), "{first:?}");
    let second = submit(&["ssh://builder@server.example.org"]);
    assert!(second.code == 0 && second.stdout.ends_with("is there already\n"), "{second:?}");
    assert_eq!(slurm.says("squeue", &["--noheader", "--format=%j"]), "builder-slurm-1\n");
    let other = call(&wrapper, Path::new("/nowhere"), "slurm-2", &["ssh://x@y", "--partition=nowhere"]);
    assert!(other.code != 0 && other.stderr.contains("invalid partition"), "{other:?}");
    let nothing = submit(&[]);
    assert_eq!((nothing.code, nothing.stderr.lines().count()), (64, 1), "{nothing:?}");
}

/// There is no container engine where this runs: a stand-in notes what docker would have been told.
#[test]
fn a_container_sees_its_key_and_is_told_what_to_build() {
    let lab = Lab::new();
    let known = lab.path("known");
    let then =
        format!("case \"$1 $2\" in 'container inspect') cat '{0}' 2>&1 ;; 'rm '*) rm '{0}' ;; esac", known.display());
    let script = install(&lab, "docker", &[]);
    // A stand-in for docker only, beside which the example itself must not be found.
    let bin = lab.path("bin");
    std::fs::create_dir(&bin).expect("a directory");
    recorder(&lab, "bin/docker", &then);
    recorder(&lab, "bin/sleep", "");
    let run = |words: &[&str]| call(&script, &bin, "docker-1", words);
    let words = ["ssh://builder@server.example.org", "builder-worker:debian-12", "--memory=4g"];
    assert_eq!(run(&words).code, 0);
    let told = std::fs::read_to_string(noted(&lab)).expect("what it was told");
    let told: Vec<&str> = told.lines().collect();
    let inspects = "bin/docker container inspect --format {{.State.Running}} builder-docker-1";
    assert_eq!(told[0], inspects);
    assert_eq!(
        told[1],
        "bin/docker run --detach --rm --init --pull=never --name=builder-docker-1 \
         --mount=type=bind,source=/etc/builder/workers/docker-1,target=/run/builder,readonly --memory=4g \
         builder-worker:debian-12 \
         /usr/libexec/builder/builder-run worker ssh://builder@server.example.org --platform debian-12 --idle 300 \
         --identity /run/builder/key --known-hosts /run/builder/known_hosts"
    );
    assert_eq!(told.len(), 2);
    let starts = told[1].to_owned();
    assert_eq!(run(&words[..1]).code, 64, "an image must be named");
    // One that has ended, or never was started, is in nobody's way.
    let told_of = |running: &str| {
        std::fs::write(noted(&lab), "").expect("nothing noted");
        std::fs::write(&known, running).expect("a container");
        let done = run(&words);
        assert_eq!(done.code, 0, "{done:?}");
        (done.stdout, std::fs::read_to_string(noted(&lab)).expect("what it was told"))
    };
    let expected = format!("{inspects}\nbin/docker rm builder-docker-1\n{starts}\n");
    assert_eq!(told_of("false\n"), (String::new(), expected));
    let (said, told) = told_of("true\n");
    assert_eq!(said, "container builder-docker-1 is there already\n");
    assert!(!told.contains("docker rm") && !told.contains("docker run"), "{told}");
}

/// Neither sudo nor FreeBSD: stand-ins note what they would have been told.
#[test]
fn a_jail_is_named_after_its_worker() {
    let lab = Lab::new();
    let bin = lab.path("bin");
    std::fs::create_dir(&bin).expect("a directory");
    recorder(&lab, "bin/sudo", "shift; exec \"$@\"");
    let stays = lab.path("stays");
    recorder(&lab, "bin/jls", &format!("[ -e '{}' ] || [ \"$(grep -c jls \"$NOTED\")\" = 1 ]", stays.display()));
    recorder(&lab, "bin/daemon", "");
    recorder(&lab, "bin/sleep", "");
    let script =
        install(&lab, "freebsd-jail", &[("set -eu", &format!("set -eu; export NOTED='{}'", noted(&lab).display()))]);
    let done = call(&script, &bin, "jail.x-3", &[]);
    assert_eq!(done.code, 0, "{done:?}");
    let told = std::fs::read_to_string(noted(&lab)).expect("what they were told");
    let expected = format!(
        "bin/sudo -n {} as-root {PLATFORM} jail.x-3\nbin/jls -j builder_jail_x_3 jid\nbin/sleep 1\nbin/jls -j builder_jail_x_3 jid\n\
         bin/daemon -f -T builder-jail.x-3 /usr/local/libexec/builder/builder-jail -n jail_x_3 -s zroot/poudriere/jails/14amd64@builder \
         -k /usr/local/etc/builder/workers/jail.x-3 -a 10.77.0.4 -q 20g -l memoryuse:deny=4g -l maxproc:deny=1000 -- \
         ssh://builder@192.0.2.10 --platform {PLATFORM} --idle 300\n",
        script.display()
    );
    assert_eq!(told, expected);
    for (worker, code) in [("../x", 64), ("jail-254", 78), ("jail", 78)] {
        let refused = call(&script, &bin, "jail-1", &["as-root", PLATFORM, worker]);
        assert_eq!((refused.code, refused.stderr.lines().count()), (code, 1), "{refused:?}");
    }
    std::fs::write(stays, "").expect("a jail");
    let second = call(&script, &bin, "jail-1", &["as-root", PLATFORM, "jail-1"]);
    assert_eq!((second.code, second.stdout.as_str()), (0, "jail builder_jail_1 is there already\n"), "{second:?}");
    assert_eq!(std::fs::read_to_string(noted(&lab)).expect("what they were told").matches("bin/daemon").count(), 1);
}

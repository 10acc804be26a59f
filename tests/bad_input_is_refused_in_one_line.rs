//! One clear line, a code of sysexits(3), and nothing half done.

use harness::{Finished, Lab, PLATFORM};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;

fn contents(lab: &Lab) -> Vec<String> {
    let all = walkdir::WalkDir::new(lab.root()).sort_by_file_name().into_iter().flatten();
    all.map(|entry| entry.path().display().to_string()).filter(|path| !path.ends_with("/.lock")).collect()
}

#[test]
fn job_names_that_could_escape_or_confuse() {
    let lab = Lab::new();
    let script = lab.script("s", "true");
    let before = contents(&lab);
    let long = "n".repeat(300);
    for name in ["a/b", "..", "../../x", "line\nbreak", "", ".hidden", long.as_str()] {
        lab.builder(&["add", "--platform", PLATFORM, "--", name, script.to_str().expect("UTF-8")])
            .refused(65, "is not a job name");
    }
    assert_eq!(contents(&lab), before);
}

#[test]
fn scripts_that_are_none() {
    let lab = Lab::new();
    lab.script("empty", "");
    std::fs::write(lab.path("binary"), b"\x7fELF\0\0").expect("a file");
    let before = contents(&lab);
    let add = |script: &str| lab.builder(&["add", "job", script, "--platform", PLATFORM]);
    add("missing").refused(66, "missing");
    add("spool").refused(66, "spool");
    add("empty").refused(65, "empty");
    add("binary").refused(65, "binary");
    assert_eq!(contents(&lab), before);
}

#[test]
fn spools_that_are_missing_newer_or_somebody_elses() {
    let lab = Lab::new();
    let script = lab.script("s", "true");
    let script = script.to_str().expect("UTF-8");
    let missing = lab.path("nowhere");
    lab.builder(&["--spool", missing.to_str().expect("UTF-8"), "ls"]).refused(66, "builder init");
    let daemon = Finished::of(lab.program("builderd").arg("--once").env("BUILDER_SPOOL", &missing));
    daemon.refused(66, "there is no spool");
    std::fs::write(lab.root().join("format"), "2\n").expect("the format");
    lab.builder(&["add", "job", script, "--platform", PLATFORM]).refused(78, "format 2");
    std::fs::write(lab.root().join("format"), "1\n").expect("the format");
    let daemon = lab.daemon();
    harness::wait_for("it serves", || daemon.said().contains("serves"));
    let second = Finished::of(lab.program("builderd").arg("--once"));
    second.refused(75, "another builderd serves");
}

#[test]
fn a_job_whose_builds_can_not_be_queued_is_not_added() {
    let lab = Lab::new();
    let script = lab.script("s", "true");
    std::fs::write(lab.root().join("new/freebsd-14"), "in the way").expect("a file where a queue would be");
    let words = ["add", "job", script.to_str().expect("UTF-8"), "--platform", PLATFORM, "--platform", "freebsd-14"];
    lab.builder(&words).refused(74, "freebsd-14");
    assert_eq!(spool::disk::names(&lab.root().join("jobs")).expect("the jobs"), [".lock"]);
    assert_eq!(spool::disk::names(&lab.root().join("timers")).expect("the timers"), Vec::<String>::new());
    assert_eq!(spool::disk::names(&lab.root().join("new").join(PLATFORM)).expect("the queue"), Vec::<String>::new());
    std::fs::remove_file(lab.root().join("new/freebsd-14")).expect("out of the way");
    assert_eq!(lab.ok(&words).lines().count(), 2);
}

#[test]
fn somebody_else_can_read_and_not_write() {
    if !harness::is_superuser() {
        return;
    }
    let lab = Lab::new();
    lab.job("job", "true");
    std::fs::set_permissions(lab.path(""), std::fs::Permissions::from_mode(0o755)).expect("its mode");
    std::fs::set_permissions(lab.root(), std::fs::Permissions::from_mode(0o755)).expect("its mode");
    let programs = lab.path("bin");
    std::fs::create_dir(&programs).expect("a directory");
    harness::copy_of("builder", &programs);
    let nobody = |words: &[&str]| {
        let mut command = std::process::Command::new(programs.join("builder"));
        Finished::of(command.arg("--spool").arg(lab.root()).args(words).uid(65534).gid(65534).current_dir("/"))
    };
    assert_eq!(nobody(&["ls"]).code, 0);
    let before = contents(&lab);
    nobody(&["run", "job"]).refused(77, "belongs to user 0");
    nobody(&["rm", "job"]).refused(77, "belongs to user 0");
    assert_eq!(contents(&lab), before);
}

#[test]
fn anybody_can_have_a_spool_and_a_worker_of_their_own() {
    if !harness::is_superuser() {
        return;
    }
    let lab = Lab::new();
    let home = lab.path("home");
    std::fs::create_dir(&home).expect("a directory");
    std::os::unix::fs::chown(&home, Some(65534), Some(65534)).expect("its owner");
    std::fs::set_permissions(lab.path(""), std::fs::Permissions::from_mode(0o755)).expect("its mode");
    for name in ["builder", "builderd", "builder-run"] {
        harness::copy_of(name, &lab.path(""));
    }
    let secret = lab.script("secret", "true");
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).expect("its mode");
    lab.script("script", "id -u > uid");
    let nobody = |program: &str, words: &[&str]| {
        let mut command = std::process::Command::new(lab.path(program));
        command.env_clear().env("BUILDER_SPOOL", home.join("spool")).env("PATH", "/usr/bin:/bin");
        Finished::of(command.args(words).uid(65534).gid(65534).current_dir(&home))
    };
    assert_eq!(nobody("builder", &["init"]).code, 0);
    nobody("builder", &["add", "job", "../secret", "--platform", PLATFORM]).refused(77, "../secret");
    assert_eq!(nobody("builder", &["add", "job", "../script", "--platform", PLATFORM]).code, 0);
    let worker = nobody("builder-run", &["worker", "--local", "spool", "--platform", PLATFORM, "--work", "work"]);
    assert_eq!(worker.code, 0, "{worker:?}");
    assert_eq!(nobody("builderd", &["--once"]).code, 0);
    assert_eq!(nobody("builder", &["get", "job", "uid", "-o", "out"]).stdout, "out/uid\n");
    assert_eq!(std::fs::read_to_string(home.join("out/uid")).expect("the artifact"), "65534\n");
}

#[test]
fn the_superuser_leaves_nothing_behind_that_the_owner_can_not_touch() {
    if !harness::is_superuser() {
        return;
    }
    let lab = Lab::new();
    let chown = Finished::of(std::process::Command::new("chown").arg("-R").arg("65534:65534").arg(lab.root()));
    assert_eq!(chown.code, 0, "{chown:?}");
    std::fs::set_permissions(lab.path(""), std::fs::Permissions::from_mode(0o755)).expect("its mode");
    lab.job("job", "true");
    lab.run("job");
    use std::os::unix::fs::MetadataExt;
    for entry in walkdir::WalkDir::new(lab.root()).into_iter().flatten() {
        assert_eq!(entry.metadata().expect("its owner").uid(), 65534, "{}", entry.path().display());
    }
}

#[test]
fn templates_name_what_is_wrong_with_their_values() {
    let lab = Lab::new();
    let template = lab.script("t", "#!/bin/sh\n#% template: test\n#% var NAME: a name\necho '%%NAME%%'\n");
    let template = template.to_str().expect("UTF-8");
    let add = |more: &[&str]| {
        lab.builder(&[&["add", "job", "--template", template, "--platform", PLATFORM][..], more].concat())
    };
    add(&[]).refused(64, "NAME");
    add(&["--set", "NAM=x", "--set", "NAME=y"]).refused(64, "NAM");
    add(&["--set", "NAME=it's"]).refused(65, "NAME");
    assert_eq!(add(&["--set", "NAME=fine"]).code, 0);
}

#[test]
fn what_is_not_there_is_named() {
    let lab = Lab::new();
    lab.job("hello", "true");
    for words in [
        &["run", "hallo"][..],
        &["rm", "hallo"],
        &["show", "hallo"],
        &["watch", "hallo"],
        &["log", "hallo"],
        &["cancel", "hallo"],
        &["get", "hallo"],
    ] {
        lab.builder(words).refused(66, "hallo");
    }
    lab.builder(&["worker", "rm", "nobody"]).refused(66, "nobody");
    lab.builder(&["add", "hello", "s", "--platform", PLATFORM]).refused(66, "s");
    let script = lab.script("s", "true");
    lab.builder(&["add", "hello", script.to_str().expect("UTF-8"), "--platform", PLATFORM])
        .refused(73, "there is a job hello already");
    lab.builder(&["run", "hello", "--platform", "freebsd-14"]).refused(65, "freebsd-14");
}

#[test]
fn a_worker_says_what_keeps_it_from_its_server() {
    let lab = Lab::new();
    let run = |words: &[&str]| Finished::of(lab.program("builder-run").arg("worker").args(words));
    run(&["ssh://127.0.0.1:1", "--identity", "/nowhere/key"]).refused(66, "/nowhere/key");
    run(&["ssh://127.0.0.1:1", "--env", "BUILDER_JOB=x"]).refused(64, "BUILDER_JOB");
    assert_eq!(run(&["ssh://127.0.0.1:1"]).code, 75);
}

//! `spool-layout.md` lists what lies in a spool: nothing more and nothing less.

use harness::{Lab, PLATFORM, wait_for};
use std::collections::BTreeSet;

const DOCUMENT: &str = include_str!("../spool-layout.md");

/// The first column of the tables, as patterns; those of a build's directory stand behind each place of a build.
fn documented() -> BTreeSet<String> {
    let (mut spool, mut build) = (Vec::new(), Vec::new());
    let mut section = "";
    for line in DOCUMENT.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            section = title;
        }
        let Some(path) = line.strip_prefix("| `").and_then(|rest| rest.split('`').next()) else { continue };
        match section {
            "The spool itself" => spool.push(path.to_owned()),
            "A build's directory" => build.push(path.to_owned()),
            _ => {}
        }
    }
    assert!(spool.len() > 30 && build.len() > 10, "the tables were not found");
    let places = ["new/PLATFORM/TICKET/", "active/BUILD/", "done/MONTH/BUILD/", "failed/MONTH/BUILD/"];
    spool.extend(places.iter().flat_map(|place| build.iter().map(move |file| format!("{place}{file}"))));
    spool.into_iter().collect()
}

fn digits(text: &str, count: usize) -> bool {
    text.len() == count && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// What a path is called in the document.
fn pattern(path: &str) -> String {
    let parts: Vec<&str> = path.trim_end_matches('/').split('/').collect();
    let mut named: Vec<String> = Vec::new();
    for (depth, part) in parts.iter().enumerate() {
        let above = named.last().map(String::as_str).unwrap_or_default();
        let name = match (parts[0], depth) {
            (_, 0) => (*part).to_owned(),
            ("tmp", 1) => "DRAFT".to_owned(),
            ("lost+found", 1) if part.ends_with(".txt") => "STAMP.txt".to_owned(),
            ("lost+found", 1) => "STAMP".to_owned(),
            ("lost+found", 2) => return [&named.join("/"), "PATH"].join("/"),
            ("jobs", 1) if part.ends_with(".toml") => "JOB.toml".to_owned(),
            ("jobs", 1) if *part != ".lock" => "JOB".to_owned(),
            ("good", 1) => "JOB.toml".to_owned(),
            ("timers", 1) => "JOB".to_owned(),
            ("workers", 1) if part.ends_with(".toml") => "WORKER.toml".to_owned(),
            ("workers", 1) if part.ends_with(".seen") => "WORKER.seen".to_owned(),
            ("workers", 1) if part.ends_with(".health") => "WORKER.health".to_owned(),
            ("platforms" | "launches", 1) => "PLATFORM.toml".to_owned(),
            ("store", 2) if digits(part, 2) => "SHARD".to_owned(),
            ("store", 3) if digits(part, 62) => "REST".to_owned(),
            ("wake", 2) if parts[1] == "daemon" => "SOCKET".to_owned(),
            ("wake", 3) => "SOCKET".to_owned(),
            ("wake", 2) if parts[1] == "worker" => "WORKER".to_owned(),
            _ if part.parse::<spool::build_id::BuildId>().is_ok() => "BUILD".to_owned(),
            _ if part.parse::<spool::place::Ticket>().is_ok() => "TICKET".to_owned(),
            ("done" | "failed", 1) => "MONTH".to_owned(),
            _ if *part == PLATFORM => "PLATFORM".to_owned(),
            _ if above == "artifacts" => return [&named.join("/"), "PATH"].join("/"),
            _ if above == "upload" && digits(part, 64) => "SHA".to_owned(),
            _ if above == "upload" => "DRAFT.part".to_owned(),
            _ => match part.rsplit_once('.') {
                Some((stem @ ("console.log" | "console.times"), number)) if number.parse::<u32>().is_ok() => {
                    format!("{stem}.N")
                }
                _ => (*part).to_owned(),
            },
        };
        named.push(name);
    }
    let slash = if path.ends_with('/') { "/" } else { "" };
    named.join("/") + slash
}

/// Adds what lies in the spool now.
fn look(lab: &Lab, seen: &mut BTreeSet<String>) {
    for entry in walkdir::WalkDir::new(lab.root()).min_depth(1).into_iter().flatten() {
        let path = entry.path().strip_prefix(lab.root()).expect("below").to_str().expect("UTF-8");
        let slash = if entry.file_type().is_dir() { "/" } else { "" };
        let named = pattern(&format!("{path}{slash}"));
        if !(named.starts_with("tmp/DRAFT/") || named.ends_with("artifacts/PATH")) || named.ends_with("PATH") {
            seen.insert(named);
        }
    }
}

#[test]
fn what_every_kind_of_build_leaves_is_what_the_document_lists() {
    let lab = Lab::new();
    // Retries are owed for as long as this looks.
    let metrics = lab.path("builder.prom");
    let launch = format!("metrics = {metrics:?}\n[launch.{PLATFORM}]\ncommand = \"false\"\n");
    std::fs::write(lab.config(), format!("grace_seconds = 2\nretry_seconds = 3000\n{launch}"))
        .expect("a configuration");
    let mut seen = BTreeSet::new();
    let sshd = lab.sshd();
    let key = lab.add_worker("w0");
    let _daemon = lab.daemon();
    let script = lab.script("timed.sh", "echo timed; mkdir d; echo x > d/artifact");
    lab.ok(&["add", "timed", script.to_str().expect("UTF-8"), "--platform", PLATFORM, "--every", "weekly"]);
    lab.job_with("fails", "echo fails; echo x > artifact; exit 1", &["--every", "never", "--retry-failures"]);
    under_an_operators_hand(&lab, &mut seen);
    lab.run("fails");
    look(&lab, &mut seen);
    lost_attempts(&lab, &sshd, &key, &mut seen);
    let mut worker = Some(sshd.worker(&lab, "w0", &key, &["--keep"]));
    wait_for("all are over", || {
        look(&lab, &mut seen);
        lab.spool.open_builds().expect("builds").is_empty()
    });
    held_open(&lab, &sshd, &key, &mut seen);
    lab.finished(&lab.run("fails"));
    wait_for("its failure is noted", || {
        look(&lab, &mut seen);
        seen.contains("workers/WORKER.health")
    });
    worker.take();
    wait_for("the index is there", || {
        look(&lab, &mut seen);
        seen.contains("index/builds.sqlite") && seen.contains("index/builds.sqlite-journal")
    });
    lab.ended().iter().for_each(|build| drop(lab.ok(&["pin", build.id.as_str()])));
    look(&lab, &mut seen);
    damage_and_repair(&lab, &mut seen);
    seen.insert("tmp/DRAFT".to_owned());
    let documented = documented();
    let unlisted: Vec<_> = seen.difference(&documented).collect();
    assert!(unlisted.is_empty(), "not in spool-layout.md: {unlisted:#?}");
    let missing: Vec<_> = documented.difference(&seen).filter(|path| !impossible(path)).collect();
    assert!(missing.is_empty(), "in spool-layout.md and never seen: {missing:#?}");
}

/// A build of each end that has lost something.
fn damage_and_repair(lab: &Lab, seen: &mut BTreeSet<String>) {
    for build in lab.ended() {
        std::fs::remove_file(build.dir().join("build.toml")).expect("removed");
    }
    std::fs::write(lab.root().join("stranger"), "").expect("written");
    lab.ok(&["check", "--repair"]);
    look(lab, seen);
}

#[test]
fn the_invariants_are_the_ones_that_are_checked() {
    let section =
        DOCUMENT.split("## Invariants").nth(1).and_then(|rest| rest.split("\n## ").next()).expect("a section");
    let rows: Vec<&str> = section.lines().filter(|line| line.starts_with("| I")).collect();
    let checked = spool::check::Invariant::ALL;
    assert_eq!(rows.len(), checked.len());
    for (row, invariant) in rows.iter().zip(checked) {
        assert!(row.starts_with(&format!("| {invariant} | {} | ", invariant.sentence())), "{row}");
    }
}

/// A drain, and a platform that is paused.
fn under_an_operators_hand(lab: &Lab, seen: &mut BTreeSet<String>) {
    lab.ok(&["drain"]);
    lab.ok(&["platform", "pause", PLATFORM]);
    look(lab, seen);
    lab.ok(&["platform", "resume", PLATFORM]);
    lab.ok(&["drain", "--off"]);
}

/// Files of a build that this state can't have.
fn impossible(path: &str) -> bool {
    let queued = path.starts_with("new/PLATFORM/TICKET/");
    let active = path.starts_with("active/BUILD/");
    let over = path.starts_with("done/") || path.starts_with("failed/");
    let file = path.rsplit("/BUILD/").next().unwrap_or(path).rsplit("/TICKET/").next().unwrap_or(path);
    let once_begun = ["environment", "packages", "console.log", "console.times"];
    let ends = ["result.toml", "manifest", "artifacts/", "artifacts/PATH", "statement", "statement.sig"];
    let afterwards = ["lost", "pinned", "signers", "provenance.json", "seal", "seal.sig"];
    let only_active = file.starts_with("upload/") || file == "lease.toml";
    let open = queued || active;
    (open && afterwards.contains(&file))
        || (queued && (only_active || once_begun.contains(&file) || ends.contains(&file)))
        || (over && only_active)
        // Seen only for an instant, if at all.
        || (active && ends.contains(&file))
}

/// A build that lost a worker twice: once it is looked at while queued, and it goes on to its end.
fn lost_attempts(lab: &Lab, sshd: &harness::Sshd, key: &std::path::Path, seen: &mut BTreeSet<String>) {
    for (name, code) in [("lost", 0), ("lostfails", 1)] {
        let begun = lab.path(&format!("{name}.begun"));
        lab.job(
            name,
            &format!(
                "echo begun; if [ ! -e {0} ]; then : > {0}; sleep 1000; fi; echo x > artifact; sleep 0.5; exit {code}",
                begun.display()
            ),
        );
        let id = lab.run(name);
        loop {
            // One build each: there may be others before this one.
            let mut worker = sshd.worker(lab, "w0", key, &[]);
            wait_for("the script runs, or the worker has done another one", || {
                look(lab, seen);
                // Its console has come, too, so that there is one to be set aside.
                begun.exists() && lab.ok(&["log", &id]).contains("begun") || !worker.runs()
            });
            if begun.exists() {
                worker.kill();
                break;
            }
        }
        wait_for("it is queued again", || {
            look(lab, seen);
            lab.build(&id).place.word() == "queued"
        });
    }
}

/// A running build with an upload that is complete, one that is open, a watcher and a request to cancel it.
fn held_open(lab: &Lab, sshd: &harness::Sshd, key: &std::path::Path, seen: &mut BTreeSet<String>) {
    lab.job("held", "trap '' TERM; echo begun; while [ ! -e \"$HOME/../../go\" ]; do sleep 0.05; done");
    let id = lab.run("held");
    wait_for("the script prints", || lab.ok(&["log", &id]).contains("begun"));
    let mut watch = lab.program("builder");
    let _watcher = harness::Running::start("watch", watch.args(["watch", &id]), &lab.path("watch.log"));
    lab.script("file", "content");
    let put = sshd.sftp(lab, key, "put file\n");
    assert_eq!(put.code, 0, "{put:?}");
    let fifo = lab.path("fifo");
    let made = harness::Finished::of(std::process::Command::new("mkfifo").arg(&fifo));
    assert_eq!(made.code, 0, "{made:?}");
    // A local sftp client refuses a fifo; an open handle is made by talking to the server directly.
    let open = open_handle(lab, sshd, key);
    wait_for("an upload is open", || {
        look(lab, seen);
        seen.contains("active/BUILD/upload/DRAFT.part") && seen.contains("wake/build/BUILD/SOCKET")
    });
    drop(open);
    lab.ok(&["cancel", &id]);
    look(lab, seen);
    std::fs::write(lab.path("work.w0/go"), "").expect("the sign");
    lab.finished(&id);
}

/// Opens a file for writing over SFTP and leaves it open: INIT, then OPEN with WRITE|CREAT|TRUNC.
fn open_handle(lab: &Lab, sshd: &harness::Sshd, key: &std::path::Path) -> std::process::Child {
    use std::io::Write;
    let mut command = sshd.ssh(lab, key);
    command.args(["-s"]).arg(sshd.destination()).arg("sftp");
    let mut child =
        command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::null()).spawn().expect("ssh");
    let path = b"/artifacts/open";
    let mut bytes = vec![0, 0, 0, 5, 1, 0, 0, 0, 3];
    bytes.extend(((1 + 4 + 4 + path.len() + 4 + 4) as u32).to_be_bytes());
    bytes.extend([3, 0, 0, 0, 1]);
    bytes.extend((path.len() as u32).to_be_bytes());
    bytes.extend(path);
    bytes.extend(0x1au32.to_be_bytes());
    bytes.extend(0u32.to_be_bytes());
    child.stdin.as_mut().expect("a pipe").write_all(&bytes).expect("written");
    child
}

//! TAB in bash, zsh and fish as they are, in a terminal of their own: what is meant is typed, and nothing else happens.

use harness::{Finished, Lab, PLATFORM, Running, eventually};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// A shell, how it is started without anybody's settings, how it takes the script, and how TAB takes the first candidate.
struct Shell {
    name: &'static str,
    start: &'static str,
    source: &'static str,
    first: &'static str,
}

const SHELLS: [Shell; 3] = [
    Shell {
        name: "bash",
        start: "bash --norc --noprofile -i",
        source: "source script.bash",
        first: "bind 'TAB: menu-complete'",
    },
    Shell {
        name: "zsh",
        start: "zsh -f -i",
        source: "autoload -U compinit; compinit -u -D; source ./script.zsh",
        first: "setopt menu_complete",
    },
    Shell { name: "fish", start: "fish --no-config -i", source: "source script.fish", first: "" },
];

/// A spool with builds of two jobs, and the shells' scripts beside it. `builder` there answers the shells, and notes what
/// it is to do instead of doing it.
fn desk() -> Lab {
    let lab = Lab::new();
    lab.job("hello", "mkdir -p bin; echo a > bin/a; echo b > bin/b; echo c > 'top level'");
    lab.run("hello");
    assert_eq!(lab.local_worker("w", &[]).ended(), 0);
    lab.job("other", "true");
    let _key = lab.add_worker("jail1");
    for shell in &SHELLS {
        lab.script(&format!("script.{}", shell.name), &lab.ok(&["completion", shell.name]));
    }
    std::fs::create_dir(lab.path("bin")).expect("a directory");
    let real = harness::binary("builder");
    let stand_in = format!(
        "#!/bin/sh\n[ \"$1\" = complete ] && exec {} \"$@\"\nprintf '<%s>' \"$@\" >>typed\necho >>typed\n",
        real.display()
    );
    let path = lab.script("bin/builder", &stand_in);
    harness::make_executable(&path);
    lab
}

fn has(shell: &Shell) {
    let there = ["/bin", "/usr/bin"].iter().any(|dir| Path::new(dir).join(shell.name).exists());
    assert!(there, "{0} is missing: install the package {0}", shell.name);
}

/// Types lines into a shell, and returns the words of the commands that came of them.
fn typed(lab: &Lab, shell: &Shell, before: &str, lines: &[String]) -> Vec<String> {
    has(shell);
    let _ = std::fs::remove_file(lab.path("typed"));
    let mut terminal = Command::new("script");
    terminal.arg("-qefc").arg(shell.start).arg("/dev/null").stdin(Stdio::piped()).stdout(Stdio::null());
    let path = format!("{}:/usr/bin:/bin", lab.path("bin").display());
    terminal.env("PATH", path).env("TERM", "dumb").env("BUILDER_SPOOL", lab.root()).env("HOME", lab.path(""));
    terminal.env_remove("BUILDER_CONFIG").env_remove("BUILDER_HOST").current_dir(lab.path(""));
    let mut terminal = terminal.spawn().expect("script is missing: install the package bsdutils");
    let keys = format!("{}\n{before}\n{}\n", shell.source, lines.join("\n"));
    terminal.stdin.as_mut().expect("a pipe").write_all(keys.as_bytes()).expect("typed");
    let typed = eventually(&format!("{} has done {lines:?}", shell.name), || {
        let done = std::fs::read_to_string(lab.path("typed")).unwrap_or_default();
        let done: Vec<String> = done.lines().map(str::to_owned).collect();
        (done.len() >= lines.len()).then_some(done)
    });
    let _ = terminal.kill();
    let _ = terminal.wait();
    typed
}

#[test]
fn what_was_begun_is_completed_in_each_shell() {
    let lab = desk();
    let id = lab.ended()[0].id.to_string();
    let (job_part, tail) = (&id[..id.len() - 10], &id[id.len() - 6..]);
    let table = [
        (format!("builder show {job_part}\t"), format!("<show><{id}>")),
        (format!("builder sho\t{}\t", &tail[..4]), format!("<show><{tail}>")),
        ("builder rm --spool=spo\t hel\t".into(), "<rm><--spool=spool/><hello>".into()),
        ("builder get hello to\t".into(), "<get><hello><top level>".into()),
        ("builder get hello 'to\t".into(), "<get><hello><top level>".into()),
        ("builder get hello bin\ta\t".into(), "<get><hello><bin/a>".into()),
        (format!("builder run hello --platform={}\t", &PLATFORM[..3]), format!("<run><hello><--platform={PLATFORM}>")),
        (format!("builder platform pau\t{}\t", &PLATFORM[..3]), format!("<platform><pause><{PLATFORM}>")),
        ("builder worker rm ja\t".into(), "<worker><rm><jail1>".into()),
        ("builder show hello --js\t".into(), "<show><hello><--json>".into()),
        ("builder add x hello.s\t".into(), "<add><x><hello.sh>".into()),
    ];
    let lines: Vec<String> = table.iter().map(|(line, _)| line.clone()).collect();
    let expected: Vec<String> = table.iter().map(|(_, words)| words.clone()).collect();
    for shell in &SHELLS {
        let typed = typed(&lab, shell, "", &lines);
        // zsh takes a slash back that nothing follows.
        let typed: Vec<String> = typed.iter().map(|words| words.replace("=spool>", "=spool/>")).collect();
        assert_eq!(typed, expected, "{}", shell.name);
    }
}

#[test]
fn the_newest_build_comes_first() {
    let lab = desk();
    lab.run("other");
    lab.run("hello");
    let newest = lab.spool.open_builds().expect("builds").iter().map(|build| build.id.to_string()).max();
    let newest = newest.expect("a build");
    for shell in SHELLS.iter().filter(|shell| !shell.first.is_empty()) {
        let typed = typed(&lab, shell, shell.first, &["builder show 20\t".to_owned()]);
        assert_eq!(typed, [format!("<show><{newest}>")], "{}", shell.name);
    }
    let mut fish = Command::new("fish");
    fish.args(["--no-config", "-c", "source script.fish; complete -C 'builder show 20'"]);
    let path = format!("{}:/usr/bin:/bin", lab.path("bin").display());
    let said = Finished::of(fish.env("PATH", path).env("BUILDER_SPOOL", lab.root()).current_dir(lab.path("")));
    assert!(said.stdout.starts_with(&format!("{newest}\tqueued\n")), "{said:?}");
    assert_eq!(said.stdout.lines().count(), 3, "{said:?}");
}

/// What the shell is told, for a line whose words these are.
fn asked(lab: &Lab, words: &[&str]) -> Finished {
    Finished::of(lab.program("builder").args(["complete", "fish", "--", "builder"]).args(words))
}

fn values(lab: &Lab, words: &[&str]) -> Vec<String> {
    let said = asked(lab, words);
    assert_eq!((said.code, said.stderr.as_str()), (0, ""), "{words:?}");
    said.stdout.lines().map(|line| line.split('\t').next().unwrap_or_default().to_owned()).collect()
}

#[test]
fn a_verb_is_offered_what_it_can_be_done_to() {
    let lab = desk();
    let done = lab.ended()[0].id.to_string();
    let queued = lab.run("other");
    assert_eq!(values(&lab, &["show", ""]), ["hello", "other", &queued, &done]);
    assert_eq!(values(&lab, &["cancel", ""]), ["other", &queued]);
    assert_eq!(values(&lab, &["get", ""]), ["hello", "other", &done]);
    lab.ok(&["platform", "pause", PLATFORM]);
    assert_eq!(values(&lab, &["platform", "pause", ""]), Vec::<String>::new());
    assert_eq!(values(&lab, &["platform", "resume", ""]), [PLATFORM]);
    assert_eq!(values(&lab, &["set", "hello", "--after", "o"]), ["other"]);
    assert_eq!(values(&lab, &["worker", "release", ""]), Vec::<String>::new(), "nobody is in quarantine");
    lab.configure(concat!("templates = \"", env!("CARGO_MANIFEST_DIR"), "/../templates\""));
    let templates = values(&lab, &["add", "x", "--template", "orb"]);
    assert_eq!(templates, ["orb-build", "orb-build.debian", "orb-build.freebsd"]);
    assert_eq!(asked(&lab, &["add", "x", "--template", "./"]).code, 10, "a file, which the shell finds");
    assert_eq!(asked(&lab, &["get", "hello", "-o", ""]).code, 11, "a directory, which the shell finds");
    let verbs = values(&lab, &[""]);
    assert!(verbs.contains(&"show".into()) && !verbs.contains(&"complete".into()), "{verbs:?}");
}

/// A month that is a file would be an error, if somebody looked into it.
#[test]
fn only_the_newest_builds_are_looked_at() {
    let lab = Lab::new();
    let done = lab.root().join("done");
    std::fs::create_dir(done.join("2026-10")).expect("a month");
    std::fs::write(done.join("2026-09"), "").expect("a month that can't be read");
    for n in 0..300 {
        let name = format!("20261001T000000.{n:03}Z-hello@{PLATFORM}-000000");
        std::fs::create_dir(done.join("2026-10").join(name)).expect("a build");
    }
    let found = values(&lab, &["show", "2"]);
    assert_eq!(found.len(), 200);
    assert!(found[0].contains(".299Z") && found[199].contains(".100Z"), "{found:?}");
    std::fs::create_dir_all(lab.root().join("new").join(PLATFORM)).expect("a queue");
    for n in 0..300 {
        let ticket = format!("50-20261101T000000.{n:03}Z-hello@{PLATFORM}-00000z");
        std::fs::create_dir(lab.root().join("new").join(PLATFORM).join(ticket)).expect("a build");
    }
    assert_eq!(values(&lab, &["show", "2"]).len(), 400);
    assert_eq!(
        values(&lab, &["show", "20261101T000000.00"]).len(),
        10,
        "all that fit, wherever they stand in the queue"
    );
}

#[test]
fn what_can_not_be_read_completes_nothing_and_says_nothing() {
    let lab = desk();
    let nothing = Vec::<String>::new();
    assert_eq!(values(&lab, &["--spool", "/nowhere", "show", ""]), nothing);
    assert_eq!(values(&lab, &["--spool", "bin", "show", ""]), nothing);
    assert_eq!(values(&lab, &["--config", "/nowhere", "show", ""]), nothing);
    assert_eq!(values(&lab, &["--host", "nobody@nowhere", "rm", ""]), nothing, "nobody is asked over SSH");
    let host = Finished::of(
        lab.program("builder").args(["complete", "fish", "--", "builder", "rm", ""]).env("BUILDER_HOST", "nowhere"),
    );
    assert_eq!((host.code, host.stdout.as_str(), host.stderr.as_str()), (0, "", ""));
    assert_eq!(values(&lab, &["--spool", "/nowhere", "rm", "--spool=spool", "h"]), ["hello"], "the last one counts");
    std::fs::write(lab.root().join("format"), "9\n").expect("another format");
    assert_eq!(values(&lab, &["show", ""]), nothing);
    // Nobody ever writes into this, and whoever reads it waits.
    let fifo = lab.path("fifo");
    assert_eq!(Finished::of(Command::new("mkfifo").arg(&fifo)).code, 0);
    let mut stuck = lab.program("builder");
    stuck.args(["complete", "fish", "--", "builder", "--config"]).arg(&fifo).args(["show", ""]);
    let log = lab.path("stuck.log");
    assert_eq!(Running::start("complete", &mut stuck, &log).ended(), 0);
    assert_eq!(std::fs::read_to_string(&log).expect("a log"), "");
}

/// What asks is a verb of its own, which the gate refuses; there is no variable that makes another verb answer.
#[test]
fn the_gate_completes_nothing() {
    let lab = desk();
    let gate = |command: &str, variables: &[(&str, &str)]| {
        let mut gate = lab.program("builder");
        gate.args(["gate", "--role", "admin"]).env("SSH_ORIGINAL_COMMAND", command).envs(variables.iter().copied());
        Finished::of(&mut gate)
    };
    for command in ["builder complete fish -- builder show ''", "builder completion bash"] {
        gate(command, &[]).refused(77, "is for the server's own users");
    }
    let plain = gate("builder show hello", &[]);
    assert_eq!(plain.code, 0, "{plain:?}");
    for shell in &SHELLS {
        let variables = [("COMPLETE", shell.name), ("_CLAP_COMPLETE_INDEX", "1"), ("COMP_LINE", "builder show ")];
        assert_eq!(gate("builder show hello", &variables).stdout, plain.stdout);
    }
}

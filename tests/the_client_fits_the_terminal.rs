//! Listings and consoles look right on a terminal of any width, and in a pipe they are what a script needs.

use harness::{Lab, PLATFORM, Pty, eventually, wait_for};
use spool::place::Place;
use std::process::{Command, Stdio};

/// Names as long as they usually get.
const JOB: &str = "a-job-with-24-characters";
const OTHER: &str = "freebsd-14.1";

const CTRL_C: &[u8] = b"\x03";
const CTRL_Z: &[u8] = b"\x1a";

/// `builder` with these words, for a terminal.
fn command(lab: &Lab, words: &[&str]) -> Command {
    let mut command = lab.program("builder");
    command.args(words);
    command
}

/// A terminal in which `builder` does what these words say.
fn terminal(lab: &Lab, words: &[&str], columns: u16, rows: u16) -> Pty {
    Pty::start(&command(lab, words), columns, rows)
}

/// Lets a script that waits for it go on.
fn go(lab: &Lab, name: &str) {
    std::fs::write(lab.path(name), "").expect("a sign");
}

/// A line of a script that waits for [`go`].
fn until(lab: &Lab, name: &str) -> String {
    format!("while [ ! -e {} ]; do sleep 0.02; done", lab.path(name).display())
}

/// A spool in which there is something of everything.
fn full(lab: &Lab) -> harness::Running {
    let script = lab.script("s", &until(lab, "go"));
    let script = script.to_str().expect("UTF-8");
    let platforms = ["--platform", PLATFORM, "--platform", OTHER, "--platform", "ubuntu-24.04"];
    let schedule = ["--cron", "0,15,30,45 8-18 * jan-mar mon-fri", "--tz", "America/Sao_Paulo"];
    lab.ok(&[&["add", JOB, script][..], &platforms, &schedule].concat());
    lab.job("small", &until(lab, "go"));
    let running = lab.run("small");
    let worker = lab.local_worker("another-worker-of-24-cha", &["--keep"]);
    wait_for("something runs", || !matches!(lab.build(&running).place, Place::Queued(_)));
    lab.ok(&["run", JOB]);
    lab.ok(&["run", "small", "--priority", "0"]);
    lab.add_worker("a-worker-of-24-character");
    let health = lab.root().join("workers/a-worker-of-24-character.health");
    let failed = "until = \"2099-01-01T00:00:00Z\"\nfailed = [\"a\", \"b\", \"c\"]\naborted = 0\n";
    std::fs::write(health, failed).expect("a quarantine");
    lab.ok(&["platform", "pause", OTHER]);
    worker
}

/// The text without its colours.
fn plain(text: &str) -> String {
    let mut parts = text.split('\x1b');
    let first = parts.next().unwrap_or_default().to_owned();
    first + &parts.map(|part| part.split_once('m').expect("a colour and nothing else").1).collect::<String>()
}

#[test]
fn a_listing_has_no_line_that_is_wider_than_its_terminal() {
    let lab = Lab::new();
    let _worker = full(&lab);
    lab.job(&"n".repeat(100), "true");
    lab.ok(&["drain"]);
    for columns in [80, 40, 23, 9] {
        let mut pty = terminal(&lab, &["ls"], columns, 200);
        assert_eq!(pty.ended(), 0);
        let text = plain(&pty.printed());
        let widest = text.lines().map(|line| line.chars().count()).max();
        assert!(widest <= Some(columns.into()), "{columns}: {text}");
        assert_eq!(columns < 80, !text.contains(JOB), "{text}");
        assert!(text.contains("nn…nn") || columns < 40, "a long name loses its middle: {text}");
    }
}

#[test]
fn a_listing_in_a_pipe_has_80_columns_and_all_names() {
    let lab = Lab::new();
    let _worker = full(&lab);
    lab.ok(&["drain"]);
    let text = lab.ok(&["ls"]);
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    let queued = lab.spool.open_builds().expect("the builds");
    let tails = queued.iter().map(|build| build.id.tail());
    let said = ["The spool drains", "freebsd-14.1  paused", "in ", "1st", "2nd", "in quarantine"];
    let names = [JOB, OTHER, PLATFORM, "ubuntu-24.04", "small", "a-worker-of-24-character", "America/Sao_Paulo"];
    for word in said.into_iter().chain(names).chain(tails) {
        assert!(text.contains(word), "{word} is not in\n{text}");
    }
    assert!(text.contains("until 2099-01-01 00:00Z: 3 builds failed at once"), "{text}");
    let long = "n".repeat(100);
    lab.job(&long, "true");
    assert!(lab.ok(&["ls"]).contains(&long));
}

#[test]
fn an_id_in_a_listing_is_one_that_every_verb_takes() {
    let lab = Lab::new();
    lab.job("first", "true");
    let id = lab.run("first");
    let text = lab.ok(&["ls"]);
    let queued = text.split("Queued\n").nth(1).expect("a section");
    let short = queued.split_whitespace().next().expect("an id").to_owned();
    assert!(id.ends_with(&short) && short.len() == 6);
    // Now the end of the id is a job's name, too.
    lab.job(&short, "true");
    let text = lab.ok(&["ls"]);
    assert!(text.contains(&id), "{text}");
    let only = lab.ok(&["ls", "first"]);
    assert!(only.contains("first") && !only.contains("Workers"), "{only}");
    lab.builder(&["ls", "frist"]).refused(66, "did you mean first?");
}

#[test]
fn colour_is_for_terminals_whose_users_want_it() {
    let lab = Lab::new();
    lab.job("job", "true");
    let printed = |set: &[(&str, &str)]| {
        let mut command = command(&lab, &["ls"]);
        command.envs(set.iter().copied());
        let mut pty = Pty::start(&command, 80, 24);
        assert_eq!(pty.ended(), 0);
        pty.printed()
    };
    assert!(printed(&[]).contains("\x1b[1mJobs\x1b[0m"));
    assert!(printed(&[("NO_COLOR", "")]).contains('\x1b'));
    for set in [("NO_COLOR", "1"), ("TERM", "dumb"), ("TERM", "")] {
        assert!(!printed(&[set]).contains('\x1b'), "{set:?}");
    }
    assert!(!lab.ok(&["ls"]).contains('\x1b'));
}

#[test]
fn a_broken_job_is_told_of_in_a_line_and_counted() {
    let lab = Lab::new();
    lab.job("job", "true");
    std::fs::write(lab.root().join("jobs/broken.toml"), "nonsense").expect("a broken file");
    let listed = lab.builder(&["ls"]);
    assert_eq!((listed.code, listed.stderr.lines().count()), (0, 1), "{listed:?}");
    assert!(listed.stderr.contains("broken.toml") && listed.stdout.contains("job"), "{listed:?}");
    let json: serde_json::Value = serde_json::from_str(&lab.ok(&["ls", "--json"])).expect("JSON");
    assert_eq!(json["broken"].as_array().map(Vec::len), Some(1));
}

#[test]
fn a_listing_in_place_follows_what_changes_and_leaves_the_terminal_as_it_was() {
    let lab = Lab::new();
    lab.job("first", "true");
    let mut pty = terminal(&lab, &["ls", "--watch"], 80, 8);
    pty.shows("first");
    assert!(pty.screen().alternate_screen() && pty.screen().hide_cursor());
    for n in 0..20 {
        lab.job(&format!("job-{n:02}-of-some-length"), "true");
    }
    lab.run("first");
    pty.shows("… and 17 more");
    pty.shows("1st");
    assert_eq!(pty.lines().len(), 8, "{:?}", pty.lines());
    pty.resize(40, 30);
    pty.shows("job-19-of-some-length");
    assert!((0..30).all(|row| !pty.screen().row_wrapped(row)));
    lab.ok(&["cancel", "first"]);
    pty.until("the queue is gone", |pty| (!pty.lines().iter().any(|line| line == "Queued")).then_some(()));
    pty.types(CTRL_Z);
    pty.until("it has stopped", |pty| (state(pty.pid()) == 'T').then_some(()));
    pty.look();
    assert!(!pty.screen().alternate_screen() && !pty.screen().hide_cursor());
    pty.proceeds();
    pty.until("it goes on", |pty| pty.screen().alternate_screen().then_some(()));
    pty.types(CTRL_C);
    assert_eq!(pty.ended(), 0);
    assert!(!pty.screen().alternate_screen() && !pty.screen().hide_cursor());
}

#[test]
fn a_listing_in_a_pipe_comes_anew_when_something_has_changed() {
    let lab = Lab::new();
    lab.job("first", "true");
    lab.run("first");
    let log = lab.path("listing");
    let mut running = harness::Running::start("ls", &mut command(&lab, &["ls", "--watch"]), &log);
    let listings = || running_text(&log);
    wait_for("the first listing", || listings().contains("first"));
    let before = sleeps(running.pid());
    wait_for("it has looked again a few times", || sleeps(running.pid()) > before + 9);
    lab.job("second", "true");
    wait_for("the second listing", || listings().contains("second"));
    let said = listings();
    let parts: Vec<&str> = said.split("\n\n").collect();
    assert_eq!(parts.len(), 2, "that time passes is no news: {said}");
    assert!(!parts[0].contains("second") && parts[1].starts_with("Jobs\n"), "{said}");
    assert!(running.runs());
}

/// The state of a process (proc(5)): T is stopped.
fn state(pid: u32) -> char {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("its state");
    stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next()).expect("a letter")
}

/// How often a process has gone to sleep by itself (proc(5), voluntary_ctxt_switches); a look takes one or two.
fn sleeps(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("its status");
    let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    line.and_then(|number| number.trim().parse().ok()).expect("a number")
}

fn running_text(log: &std::path::Path) -> String {
    std::fs::read_to_string(log).unwrap_or_default()
}

/// The screen's lines with what is before the text of a console's line taken away.
fn console(lines: &[String]) -> Vec<&str> {
    lines
        .iter()
        .filter_map(|line| line.split_once("] ").filter(|(time, _)| time.starts_with('[')))
        .map(|(_, text)| text)
        .collect()
}

/// A script that leaves the cursor wherever a script may, and waits there.
fn restless(lab: &Lab) -> String {
    let wait = |name| until(lab, name);
    [
        "seq 30",
        "printf half",
        &wait("go1"),
        "printf ' a line\\n'",
        "printf '12 %%\\r'",
        &wait("go2"),
        "printf '99 %%\\n'",
        "printf '\\033[31mred\\n'",
        &wait("go3"),
        "printf 'still red\\033[0m\\n'",
        "printf 'no newline'",
    ]
    .join("\n")
}

#[test]
fn a_console_stays_whole_with_a_status_line_below_it() {
    for columns in [80, 40] {
        let lab = Lab::new();
        lab.job("talks", &restless(&lab));
        let id = lab.run("talks");
        let _worker = lab.local_worker("w", &["--keep"]);
        let mut pty = terminal(&lab, &["watch", &id], columns, 10);
        let above = |pty: &Pty| {
            let lines = pty.lines();
            let (last, rest) = lines.split_last()?;
            last.starts_with("talks: running 0:").then(|| console(rest).last().map(|line| (*line).to_owned()))?
        };
        let is_above = |text: &'static str| move |pty: &Pty| (above(pty)? == text).then_some(());
        pty.until("a status below half a line", is_above("half"));
        assert_eq!(usize::from(pty.screen().cursor_position().1), "[   0.000] half".len());
        go(&lab, "go1");
        pty.until("a status below a line that was gone back in", is_above("12 %"));
        go(&lab, "go2");
        pty.until("a status below a whole line", is_above("red"));
        // It went over the time at the line's start, as it does without us, and nothing else of the line is gone.
        let gone_back = |line: &String| line.starts_with("99 %") && line.ends_with("] 12 %");
        assert!(pty.lines().iter().any(gone_back), "{:?}", pty.lines());
        let (row, _) = pty.screen().cursor_position();
        let colour = |row: u16, column| pty.screen().cell(row, column).expect("a cell").fgcolor();
        assert_eq!(colour(row, 0), vt100::Color::Default, "the status has no colour of the console's");
        go(&lab, "go3");
        assert_eq!(pty.ended(), 0);
        let expected: Vec<String> = (1..=30).map(|n| n.to_string()).collect();
        let lines = pty.all_lines();
        let seen = console(&lines);
        assert_eq!(&seen[..30], &expected[..]);
        assert_eq!(&seen[30..], ["half a line", "red", "still red", "no newline"]);
        assert!(!lines.iter().any(|line| line.contains("running")), "{lines:?}");
        assert!(pty.printed().contains("exited 0"), "{lines:?}");
        let red = (0..10).find(|row| pty.screen().contents_between(*row, 0, *row, columns).contains("still red"));
        assert_eq!(pty.screen().cell(red.expect("the line"), 11).expect("a cell").fgcolor(), vt100::Color::Idx(1));
    }
}

#[test]
fn a_build_is_compared_with_the_last_that_succeeded() {
    let lab = Lab::new();
    lab.job("job", &until(&lab, "go"));
    go(&lab, "go");
    let _worker = lab.local_worker("w", &["--keep"]);
    let id = lab.run("job");
    lab.finished(&id);
    std::fs::remove_file(lab.path("go")).expect("the sign");
    let id = lab.run("job");
    let mut pty = terminal(&lab, &["watch", &id], 80, 10);
    pty.shows("of about 0:01 [##########");
    pty.resize(30, 10);
    pty.until("the status fits", |pty| {
        pty.lines().iter().any(|line| line.starts_with("running 0:") && line.len() < 30).then_some(())
    });
    go(&lab, "go");
    assert_eq!(pty.ended(), 0);
}

#[test]
fn ctrl_c_leaves_a_build_and_not_the_other_way_round() {
    let lab = Lab::new();
    lab.job("job", &format!("printf working\n{}", until(&lab, "go")));
    let id = lab.run("job");
    let _worker = lab.local_worker("w", &["--keep"]);
    let mut pty = terminal(&lab, &["watch", &id], 80, 10);
    pty.shows("working");
    pty.shows("job: running");
    pty.types(CTRL_C);
    assert_eq!(pty.ended(), 130);
    let said = pty.lines().join("");
    let tail = &id[id.len() - 6..];
    assert!(said.contains(&format!("{id} goes on; `builder watch {tail}` follows")), "{said}");
    assert!(!said.contains("running"), "{said}");
    assert_eq!(lab.build(&id).place, Place::Active);
    go(&lab, "go");
    let build = lab.finished(&id);
    assert!(build.result().expect("a result").expect("a result").outcome.succeeded());
}

#[test]
fn one_who_waits_is_told_where_and_why() {
    let lab = Lab::new();
    for name in ["first", "second", "third"] {
        lab.job(name, "true");
        lab.run(name);
    }
    let mut pty = terminal(&lab, &["watch", "third"], 80, 10);
    pty.shows("third: queued, 3rd of 3 on debian-12");
    lab.ok(&["cancel", "first"]);
    pty.shows("third: queued, 2nd of 2 on debian-12");
    lab.ok(&["platform", "pause", PLATFORM]);
    pty.shows("on debian-12, which is paused");
    assert!(pty.printed().contains("`builder platform resume debian-12`"));
    pty.resize(40, 10);
    // What the terminal cut off by itself does not count: the line is drawn anew, and the name has no room.
    let fits = "queued, 2nd of 2 on debian-12, which i…";
    pty.until("the status fits", |pty| (pty.lines().last()? == fits).then_some(()));
    let log = lab.path("watch");
    let running = harness::Running::start("watch", &mut command(&lab, &["watch", "third"]), &log);
    wait_for("the reason in a pipe", || running.said().contains("waits in its queue: platform debian-12 is paused"));
    lab.ok(&["platform", "resume", PLATFORM]);
    lab.ok(&["drain"]);
    wait_for("another reason", || running.said().contains("waits in its queue: the spool drains"));
    pty.types(CTRL_C);
    assert_eq!(pty.ended(), 130);
    running.terminate();
    wait_for("the word in a pipe", || running.said().contains("goes on; `builder watch"));
    assert_eq!(running.ended(), 128 + 15);
    assert!(matches!(lab.build("third").place, Place::Queued(_)));
}

#[test]
fn a_pipe_gets_the_log_with_its_times_and_nothing_else() {
    let lab = Lab::new();
    for name in ["go1", "go2", "go3"] {
        go(&lab, name);
    }
    lab.job("talks", &restless(&lab));
    let id = lab.run("talks");
    let mut watch = command(&lab, &["watch", &id]);
    let watch = watch.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("watch");
    let _worker = lab.local_worker("w", &["--keep"]);
    let seen = watch.wait_with_output().expect("its output").stdout;
    let log = eventually("the log", || Some(lab.ok(&["log", &id, "--times"])));
    assert_eq!(String::from_utf8_lossy(&seen), log);
    assert_eq!(seen.iter().filter(|byte| **byte == b'\n').count(), 34);
}

//! A job changes by `set`, in an editor, and by hand; what is queued stays as it was queued.

use harness::{Finished, Lab, PLATFORM, wait_for};
use spool::schedule::Every;

fn job(lab: &Lab, name: &str) -> spool::job::Job {
    lab.spool.job(&name.parse().expect("a name")).expect("the job")
}

fn edit(lab: &Lab, name: &str, editor: &str) -> Finished {
    Finished::of(lab.program("builder").args(["edit", name]).env("EDITOR", editor).env_remove("VISUAL"))
}

#[test]
fn each_option_of_set_changes_what_it_says() {
    let lab = Lab::new();
    lab.job("base", "true");
    lab.job("job", "true");
    let set = |words: &[&str]| {
        lab.ok(&[&["set", "job"][..], words].concat());
        job(&lab, "job")
    };
    let hourly = set(&["--every", "hourly"]);
    assert_eq!(hourly.every, Some(Every::Hourly));
    assert!(lab.spool.open_builds().expect("builds").is_empty(), "another schedule is no run");
    let cron = set(&["--cron", "17 3 * * mon-fri", "--tz", "Europe/Berlin", "--jitter", "10m"]);
    assert_eq!(
        (cron.every, cron.cron.as_deref(), cron.tz.as_deref()),
        (None, Some("17 3 * * mon-fri"), Some("Europe/Berlin"))
    );
    assert_eq!(cron.jitter_seconds, 600);
    let next = set(&["--next", "2099-01-01T00:00:00Z"]);
    assert_eq!(next.first, "2099-01-01T00:00:00Z".parse().ok());
    assert_eq!(lab.ok(&["next", "job", "-n", "1"]).lines().count(), 1);
    let how = set(&[
        "--timeout",
        "5m",
        "--silence",
        "1m",
        "--log-limit",
        "2MB",
        "--retries",
        "4",
        "--retry-failures",
        "--concurrency",
        "3",
        "--priority",
        "7",
        "--secret",
        "token",
        "--after",
        "base",
    ]);
    assert_eq!((how.timeout_seconds, how.silence_seconds, how.console_bytes), (300, Some(60), Some(2_000_000)));
    assert_eq!((how.attempts, how.retry_failures, how.concurrency, u8::from(how.priority)), (5, true, 3, 7));
    assert_eq!((how.secrets.len(), how.after.len()), (1, 1));
    let less = set(&[
        "--silence",
        "none",
        "--log-limit",
        "none",
        "--secret",
        "none",
        "--after",
        "none",
        "--retry-failures",
        "no",
    ]);
    assert_eq!((less.silence_seconds, less.console_bytes, less.secrets.len(), less.after.len()), (None, None, 0, 0));
    let elsewhere = set(&["--platform", "freebsd-14", "--platform", "debian-13"]);
    assert_eq!(elsewhere.platforms.to_string(), "freebsd-14,debian-13");
    let never = set(&["--every", "never"]);
    assert_eq!((never.cron, never.every), (None, Some(Every::Never)));
    lab.builder(&["set", "job"]).refused(64, "nothing is to be changed");
    lab.builder(&["set", "job", "--cron", "61 * * * *"]).refused(64, "minute");
    lab.builder(&["set", "job", "--next", "2020-01-01T00:00:00Z"]).refused(64, "has passed");
    lab.builder(&["set", "job", "--tz", "Europe/Berlin"]).refused(64, "--cron");
    lab.builder(&["set", "jbo", "--every", "daily"]).refused(66, "did you mean job?");
}

#[test]
fn a_changed_schedule_owes_nothing_for_the_past() {
    let lab = Lab::new();
    let script = lab.script("s", "true");
    lab.ok(&["add", "job", script.to_str().expect("UTF-8"), "--platform", PLATFORM, "--at", "2020-01-01T00:00:00Z"]);
    let first = lab.spool.open_builds().expect("builds").remove(0).id;
    lab.ok(&["cancel", first.as_str()]);
    for words in [["--every", "hourly"], ["--cron", "* * * * *"], ["--every", "weekly"]] {
        lab.ok(&[&["set", "job"][..], &words].concat());
        assert_eq!(Finished::of(lab.program("builderd").arg("--once")).code, 0);
        // A minute may end between the two.
        let open = lab.spool.open_builds().expect("builds");
        assert!(words[1] == "* * * * *" && open.len() <= 1 || open.is_empty(), "{words:?}");
        open.iter().for_each(|build| drop(lab.ok(&["cancel", build.id.as_str()])));
    }
}

#[test]
fn a_changed_script_is_for_builds_that_are_queued_later() {
    let lab = Lab::new();
    lab.job("job", "echo old");
    let old = lab.run("job");
    let new = lab.script("new", "echo new");
    lab.ok(&["set", "job", "--script", new.to_str().expect("UTF-8")]);
    let _worker = lab.local_worker("w", &["--keep"]);
    lab.finished(&old);
    assert_eq!(lab.ok(&["log", &old]), "old\n");
    let later = lab.run("job");
    lab.finished(&later);
    assert_eq!(lab.ok(&["log", &later]), "new\n");
}

#[test]
fn add_refuses_a_name_that_is_taken_and_replaces_when_asked() {
    let lab = Lab::new();
    lab.job("job", "echo old");
    let new = lab.script("new", "echo new");
    let add = ["add", "job", new.to_str().expect("UTF-8"), "--platform", PLATFORM, "--every", "never"];
    let refused = lab.builder(&add);
    refused.refused(73, "there is a job job already");
    assert!(refused.stderr.contains("`builder set job`") && refused.stderr.contains("--replace"), "{refused:?}");
    let created = job(&lab, "job").created;
    lab.ok(&[&add[..], &["--replace"]].concat());
    let now = job(&lab, "job");
    assert_eq!((now.script.as_str(), now.created), ("echo new", created));
    assert!(now.changed.is_some());
}

#[test]
fn an_editor_changes_a_job_and_what_is_wrong_does_not_take_effect() {
    let lab = Lab::new();
    lab.job("job", "true");
    let before = lab.ok(&["edit", "job", "--print"]);
    assert_eq!(edit(&lab, "job", "true").stdout, "nothing was changed\n");
    let edited = edit(&lab, "job", "sed -i 's/^timeout_seconds.*/timeout_seconds = 77/'");
    assert_eq!(edited.code, 0, "{edited:?}");
    assert_eq!(job(&lab, "job").timeout_seconds, 77);
    let wrong = edit(&lab, "job", "sed -i 's/^timeout_seconds.*/timeout_secnods = 78/'");
    wrong.refused(65, "timeout_secnods");
    assert!(wrong.stderr.contains("line ") && wrong.stderr.contains("your text is in "), "{wrong:?}");
    let kept = wrong.stderr.trim().rsplit(' ').next().expect("a path");
    assert!(std::fs::read_to_string(kept).expect("the text").contains("timeout_secnods = 78"));
    std::fs::remove_file(kept).expect("removed");
    edit(&lab, "job", "sed -i 's/^every.*/cron = \"99 * * * *\"/'").refused(65, "minute");
    edit(&lab, "job", "false").refused(65, "the editor `false` failed");
    assert_eq!(job(&lab, "job").timeout_seconds, 77, "nothing of that took effect");
    // Somebody else is faster.
    let builder = harness::binary("builder");
    let meanwhile = format!("sh -c '{} set job --timeout 5s >&2; echo >> $1' sh", builder.display());
    let late = edit(&lab, "job", &meanwhile);
    assert!(late.code == 75 && late.stderr.contains("somebody else has changed job"), "{late:?}");
    assert_eq!(job(&lab, "job").timeout_seconds, 5);
    let text = lab.script("text", &before);
    lab.ok(&["edit", "job", "--from", text.to_str().expect("UTF-8")]);
    assert_eq!(job(&lab, "job").timeout_seconds, 3600);
}

/// As a power cut leaves it, for whom nothing was synced.
#[test]
fn a_good_version_that_a_power_cut_has_emptied_is_noted_again_when_builderd_starts() {
    let lab = Lab::new();
    lab.job("job", "true");
    let (file, good) = (lab.root().join("jobs/job.toml"), lab.root().join("good/job.toml"));
    std::fs::write(&good, "").expect("emptied");
    lab.builder(&["check"]).refused(65, "1 fault found");
    let _daemon = lab.daemon();
    wait_for("it is noted", || std::fs::read(&good).expect("a note") == std::fs::read(&file).expect("the job"));
    lab.check();
}

#[test]
fn a_file_that_was_broken_by_hand_is_named_and_its_last_good_schedule_stays() {
    let lab = Lab::new();
    let at = (spool::clock::now() + std::time::Duration::from_secs(3)).to_string();
    let script = lab.script("s", "true");
    let words = ["--platform", PLATFORM, "--at", &at];
    lab.ok(&[&["add", "job", script.to_str().expect("UTF-8")][..], &words].concat());
    let daemon = lab.daemon();
    wait_for("it serves", || daemon.said().contains("serves"));
    let file = lab.root().join("jobs/job.toml");
    let good = std::fs::read_to_string(&file).expect("the job");
    // In place, as an editor without manners does it; the directory does not change by that.
    std::fs::write(&file, format!("{good}\ncron = \"61 * * * *\"\n")).expect("broken");
    wait_for("the log names it", || {
        daemon.said().contains("jobs/job.toml") && daemon.said().contains("its last good version stays")
    });
    let listed = lab.builder(&["ls"]);
    assert!(listed.code == 0 && listed.stderr.contains("jobs/job.toml: "), "{listed:?}");
    assert!(lab.ok(&["ls", "--json"]).contains("jobs/job.toml: "));
    let checked = lab.builder(&["check"]);
    checked.refused(65, "1 fault found");
    assert!(checked.stdout.contains("jobs/job.toml: "), "{checked:?}");
    std::fs::write(&file, good.replace("timeout_seconds", "timeout_secnods")).expect("broken");
    lab.builder(&["run", "job"]).refused(65, "line ");
    let note = lab.root().join("timers/job");
    wait_for("it is built as it was", || lab.spool.open_builds().expect("builds").len() == 1 && note.exists());
    drop(daemon);
    // A daemon that starts anew knows it, too; and a file that never was good stays out.
    lab.ok(&["cancel", lab.spool.open_builds().expect("builds")[0].id.as_str()]);
    std::fs::write(lab.root().join("jobs/never.toml"), "every = \"daily\"").expect("broken");
    std::fs::remove_file(note).expect("its note");
    let again = Finished::of(lab.program("builderd").arg("--once"));
    assert!(again.stderr.contains("its last good version stays"), "{again:?}");
    assert!(again.stderr.contains("jobs/never.toml: ") && again.stderr.contains("not built by itself"), "{again:?}");
    std::fs::write(&file, good).expect("mended");
    assert_eq!(lab.run("job").lines().count(), 1);
    lab.ok(&["rm", "never"]);
    assert!(lab.ok(&["check"]).starts_with("nothing is wrong with "));
}

#[test]
fn the_last_good_schedule_is_what_fires() {
    let lab = Lab::new();
    let script = lab.script("s", "true");
    lab.ok(&["add", "job", script.to_str().expect("UTF-8"), "--platform", PLATFORM, "--every", "never"]);
    let daemon = lab.daemon();
    wait_for("it serves", || daemon.said().contains("serves"));
    // A schedule by hand takes effect without a restart.
    let file = lab.root().join("jobs/job.toml");
    let at = (spool::clock::now() + std::time::Duration::from_secs(1)).to_string();
    let text = std::fs::read_to_string(&file).expect("the job");
    std::fs::write(&file, format!("first = \"{at}\"\n{text}")).expect("edited");
    wait_for("it is due", || lab.spool.open_builds().expect("builds").len() == 1);
}

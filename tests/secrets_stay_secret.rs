//! A secret goes from a private directory to the script that may read it, and nowhere else.

use harness::{Lab, PLATFORM, wait_for};
use spool::record::Outcome;
use std::os::unix::fs::PermissionsExt;

const SECRET: &str = "correct-horse-battery-staple";

fn put(lab: &Lab, job: &str, name: &str, mode: u32) {
    let dir = lab.path("secrets").join(job);
    std::fs::create_dir_all(&dir).expect("a directory");
    for private in [lab.path("secrets"), dir.clone()] {
        std::fs::set_permissions(private, std::fs::Permissions::from_mode(0o700)).expect("its mode");
    }
    std::fs::write(dir.join(name), format!("{SECRET}\n")).expect("a secret");
    std::fs::set_permissions(dir.join(name), std::fs::Permissions::from_mode(mode)).expect("its mode");
}

#[test]
fn a_script_reads_its_secret_and_the_spool_never_has_it() {
    let lab = Lab::new();
    put(&lab, "job", "token", 0o600);
    let script = "cat $BUILDER_SECRETS/token; printf 'a%s' \"$(cat $BUILDER_SECRETS/token)\"; echo b; env | grep -c SECRETS; sha256sum < $BUILDER_SECRETS/token > sum; ls -ld $BUILDER_SECRETS | cut -c1-10";
    lab.job_with("job", script, &["--every", "never", "--secret", "token"]);
    let id = lab.run("job");
    let sshd = lab.sshd();
    let key = lab.add_worker("jail1");
    let _worker = sshd.worker(&lab, "jail1", &key, &[]);
    lab.finished(&id);
    assert_eq!(lab.ok(&["log", &id]), "***\na***b\n1\ndrwx------\n");
    assert_eq!(lab.outcome(&id), Outcome::Exited { code: 0 });
    let sum = std::fs::read_to_string(lab.build(&id).dir().join("artifacts/sum")).expect("the artifact");
    assert!(
        sum.starts_with(&spool::digest::Sha256::of(format!("{SECRET}\n").as_bytes()).to_string()),
        "it read the very bytes"
    );
    for entry in walkdir::WalkDir::new(lab.root()).into_iter().flatten().filter(|entry| entry.file_type().is_file()) {
        let bytes = std::fs::read(entry.path()).expect("a file");
        assert!(!bytes.windows(SECRET.len()).any(|part| part == SECRET.as_bytes()), "{}", entry.path().display());
    }
    assert!(lab.path("work.jail1").is_dir());
    wait_for("the worker keeps nothing", || !lab.path("work.jail1").join("build").exists());
}

#[test]
fn a_secret_that_is_missing_or_open_to_others_stops_the_build_and_not_the_worker() {
    let lab = Lab::new();
    put(&lab, "open", "token", 0o644);
    lab.job_with("open", "cat $BUILDER_SECRETS/token", &["--every", "never", "--secret", "token"]);
    lab.job_with("missing", "true", &["--every", "never", "--secret", "token"]);
    lab.job("plain", "echo ${BUILDER_SECRETS-none}");
    let _worker = lab.local_worker("w", &["--keep"]);
    let open = lab.run("open");
    assert!(
        matches!(lab.outcome(&open), Outcome::Aborted { reason } if reason.contains("can be read or changed by others"))
    );
    let missing = lab.run("missing");
    assert!(
        matches!(lab.outcome(&missing), Outcome::Aborted { reason } if reason.contains("job missing has no secret token"))
    );
    let plain = lab.run("plain");
    lab.finished(&plain);
    assert_eq!(lab.ok(&["log", &plain]), "none\n", "the same worker goes on, without the secrets of others");
    lab.builder(&["add", "x", "s", "--platform", PLATFORM, "--secret", "../open/token"]).refused(65, "secret name");
}

/// Looking for many secrets takes longer than the script lives; what it printed counts all the same.
#[test]
fn a_console_that_lacks_something_is_no_success_however_late_that_is_seen() {
    let lab = Lab::new();
    let many: String = (0..500).map(|n| format!("secret number {n}\n")).collect();
    put(&lab, "late", "many", 0o600);
    std::fs::write(lab.path("secrets/late/many"), many).expect("many secrets");
    let words = ["--every", "never", "--secret", "many", "--log-limit", "1kB"];
    lab.job_with("late", "head -c 60000 /dev/zero", &words);
    let id = lab.run("late");
    assert_eq!(lab.local_worker("w", &[]).ended(), 0);
    let outcome = lab.outcome(&id);
    assert!(matches!(&outcome, Outcome::Aborted { reason } if reason.contains("more than 1000 bytes")), "{outcome:?}");
}

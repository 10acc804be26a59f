//! Who may read what of a spool, and write: as users of the machine find it.

use harness::{Finished, Lab, PLATFORM, wait_for};
use std::collections::BTreeSet;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

const OWNER: u32 = 4242;
const STRANGER: u32 = 65534;

/// What a user finds below a directory with this test of find(1), relative to it, and what find complains about.
fn found(root: &Path, (uid, gid): (u32, u32), test: &[&str]) -> (BTreeSet<String>, String) {
    let mut find = Command::new("find");
    find.arg(root).args(test).args(["-printf", "%P\n"]).uid(uid).gid(gid).current_dir("/");
    let done = Finished::of(&mut find);
    (done.stdout.lines().map(str::to_owned).collect(), done.stderr)
}

/// A spool that belongs to OWNER, made and used by programs under the narrowest umask, with a build that runs.
fn used() -> Lab {
    let lab = Lab::new();
    std::fs::set_permissions(lab.path(""), PermissionsExt::from_mode(0o755)).expect("a mode");
    std::fs::remove_dir_all(lab.root()).expect("removed");
    let narrow = |words: &[&str]| {
        let mut sh = Command::new("sh");
        sh.args(["-c", "umask 077; exec \"$@\"", "sh"]).arg(harness::binary("builder")).args(words);
        let done = Finished::of(sh.env("BUILDER_SPOOL", lab.root()).env("BUILDER_CONFIG", lab.config()));
        assert_eq!(done.code, 0, "{words:?}: {done:?}");
    };
    narrow(&["init"]);
    let owned = Finished::of(Command::new("chown").arg("-R").arg(format!("{OWNER}:{OWNER}")).arg(lab.root()));
    assert_eq!(owned.code, 0, "{owned:?}");
    let script = lab.script("s", "mkdir d; echo x >d/x; echo out");
    let key = lab.key("key").with_extension("pub");
    narrow(&["add", "job", script.to_str().expect("UTF-8"), "--platform", PLATFORM, "--every", "daily"]);
    narrow(&["worker", "add", "w0", key.to_str().expect("UTF-8"), "--platform", PLATFORM]);
    narrow(&["platform", "pause", "debian-12"]);
    narrow(&["platform", "resume", "debian-12"]);
    narrow(&["drain"]);
    narrow(&["drain", "--off"]);
    lab
}

#[test]
fn a_group_reads_everything_strangers_nothing_and_only_the_owner_writes() {
    if !harness::is_superuser() {
        return;
    }
    let lab = used();
    let _daemon = lab.daemon();
    let _worker = lab.local_worker("v", &["--keep"]);
    wait_for("a build is over", || lab.ended().len() == 1);
    lab.job("held", "echo out; while [ ! -e \"$HOME/../../go\" ]; do sleep 0.05; done");
    let held = lab.run("held");
    wait_for("another one runs", || lab.root().join("active").join(&held).join("console.log").is_file());
    let everything = found(lab.root(), (OWNER, OWNER), &[]).0;
    let (group, complaints) = found(lab.root(), (STRANGER, OWNER), &["-readable"]);
    let hidden: Vec<&str> = everything.difference(&group).map(String::as_str).collect();
    assert_eq!((hidden, complaints.as_str()), (vec!["active/.lock"], ""));
    // A socket is not written into as a file is: who asks there is told by the kernel, and has a role or none.
    let (written, _) = found(lab.root(), (STRANGER, OWNER), &["-writable"]);
    assert_eq!(written, BTreeSet::from(["socket".to_owned()]));
    let (entered, complaints) = found(lab.root(), (STRANGER, STRANGER), &["-mindepth", "1"]);
    assert!(entered.is_empty() && complaints.contains("Permission denied"), "{entered:?} {complaints}");
    for path in &everything {
        let owner = lab.root().join(path).symlink_metadata().map_or(OWNER, |meta| meta.uid());
        assert_eq!(owner, OWNER, "{path}");
    }
    assert_eq!(lab.root().metadata().expect("the root").mode() & 0o7777, 0o750);
    let checked = lab.spool.check(true).expect("a check").findings;
    assert!(checked.is_empty(), "{checked:#?}");
    std::fs::write(lab.path("work.v/go"), "").expect("the sign");
    lab.finished(&held);
    lab.check();
}

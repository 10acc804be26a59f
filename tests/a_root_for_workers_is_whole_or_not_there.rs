//! Promise 29: `debian/worker-root` makes a root that is whole or not there, and never one in the place of something else.
//!
//! mmdebstrap(1) itself takes minutes and a mirror; a stand-in gives the small root of these tests in its place, and says how it
//! was called.

use harness::cellar::Cellar;
use harness::{Finished, Lab, Running, make_executable, wait_for};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

struct Place {
    cellar: Cellar,
}

impl Place {
    fn new() -> Place {
        let place = Place { cellar: Cellar::ordinary() };
        std::fs::create_dir(place.lab().path("programs")).expect("a directory");
        place.mmdebstrap("");
        place.program("apt-get", "printf '%s\n' 'deb http://mirror/d/ bookworm main' 'deb http://mirror/d/ bookworm-updates main' \
            'deb http://mirror/e/ trixie main' 'deb http://mirror/s/ bookworm-security main' 'deb http://mirror/o/ bookworms main'\n");
        place
    }

    fn lab(&self) -> &Lab {
        &self.cellar.lab
    }

    fn program(&self, name: &str, text: &str) {
        let path = self.lab().path("programs").join(name);
        std::fs::write(&path, format!("#!/bin/sh\nset -e\n{text}")).expect("a program");
        make_executable(&path);
    }

    /// Gives the small root, after it has done something else.
    fn mmdebstrap(&self, before: &str) {
        let (root, calls) = (self.cellar.root(), self.lab().path("calls"));
        let text = format!(
            "printf '%s\\n' \"$*\" >>'{calls}'\nfor word; do tar=$last; last=$word; done\n\
             case $last in -) cat >>'{calls}' ;; *) tar=$last ;; esac\n{before}\ntar -cf \"$tar\" -C '{root}' .\n",
            calls = calls.display(),
            root = root.display(),
        );
        self.program("mmdebstrap", &text);
    }

    fn command(&self, words: &[&str]) -> Command {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../debian/worker-root");
        let mut command = Command::new("sh");
        command
            .args(["-c", "umask 077; exec sh \"$@\"", "sh"])
            .arg(script)
            .args(words)
            .current_dir(self.lab().path(""));
        command.env("PATH", format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", self.lab().path("programs").display()));
        command
    }

    fn run(&self, words: &[&str]) -> Finished {
        Finished::of(&mut self.command(words))
    }

    fn calls(&self) -> String {
        std::fs::read_to_string(self.lab().path("calls")).unwrap_or_default()
    }

    fn made(&self) -> PathBuf {
        self.lab().path("new-root")
    }

    /// What there is of it, and beside it.
    fn there(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.lab().path("")).expect("the lab").flatten();
        let names = entries.map(|entry| entry.file_name().into_string().expect("UTF-8"));
        let mut names: Vec<String> = names.filter(|name| name.starts_with("new-root")).collect();
        names.sort();
        names
    }
}

#[test]
fn a_root_is_made_of_the_systems_own_sources_and_builds_run_in_it() {
    let place = Place::new();
    let made = place.run(&["--packages", "cargo", "new-root", "bookworm"]);
    assert_eq!(made.code, 0, "{made:?}");
    assert_eq!(place.there(), ["new-root", "new-root.lock"]);
    let calls = place.calls();
    assert!(
        calls.contains("--include=build-essential,fakeroot,ca-certificates,libfaketime,cargo --format=tar bookworm")
    );
    let sources = "deb http://mirror/d/ bookworm main\ndeb http://mirror/d/ bookworm-updates main\ndeb http://mirror/s/ bookworm-security main\n";
    assert!(calls.ends_with(sources), "{calls}");
    let hosts = place.made().join("etc/hosts").metadata().expect("it");
    assert_eq!(hosts.permissions().mode() & 0o777, 0o644, "whatever the umask");
    let passwd = std::fs::read_to_string(place.made().join("etc/passwd")).expect("users");
    assert!(passwd.ends_with("\nbuilder:x:1000:1000:builds:/nonexistent:/bin/sh\n"), "{passwd}");
    std::fs::remove_dir_all(place.cellar.root()).expect("the first root");
    std::fs::rename(place.made(), place.cellar.root()).expect("in its place");
    let id = place.cellar.built("bwrap", "job", "#!/bin/sh\nwhoami\n", &[]);
    assert_eq!(place.cellar.log(&id), "builder\n");
}

#[test]
fn a_mirror_that_is_named_is_the_only_one_and_unknown_suites_are_mmdebstraps() {
    let place = Place::new();
    assert_eq!(place.run(&["--mirror", "http://mine/d", "new-root", "noble"]).code, 0);
    assert!(place.calls().ends_with("deb http://mine/d noble main universe\n"), "{}", place.calls());
    for (suite, components) in [("noble", "main,universe"), ("forky", "main")] {
        assert_eq!(place.run(&["new-root", suite]).code, 0);
        let call = format!("--components={components} --format=tar {suite} ");
        assert!(place.calls().contains(&call) && place.calls().ends_with(".tar\n"), "{}", place.calls());
    }
}

#[test]
fn one_that_fails_or_is_killed_leaves_the_one_before() {
    let place = Place::new();
    assert_eq!(place.run(&["new-root", "bookworm"]).code, 0);
    std::fs::write(place.made().join("etc/first"), "").expect("a file");
    place.mmdebstrap("echo no mirror >&2; exit 25");
    let failed = place.run(&["new-root", "bookworm"]);
    assert_eq!((failed.code, place.made().join("etc/first").exists()), (25, true), "{failed:?}");
    assert_eq!(place.there(), ["new-root", "new-root.lock"]);
    place.mmdebstrap("mkdir \"${tar%/*}/half\"; chmod 0 \"${tar%/*}/half\"; : >begun; exec sleep 1000");
    let running =
        Running::start("worker-root", &mut place.command(&["new-root", "bookworm"]), &place.lab().path("log"));
    wait_for("it has begun", || place.lab().path("begun").exists());
    place.run(&["new-root", "bookworm"]).refused(75, "somebody else is making");
    let mut pkill = Command::new("pkill");
    let _ = Finished::of(pkill.args(["-KILL", "-P", &running.pid().to_string()]));
    running.kill();
    assert!(place.made().join("etc/first").exists());
    place.mmdebstrap("");
    let made = place.run(&["new-root", "bookworm"]);
    assert_eq!(made.code, 0, "{made:?}");
    assert_eq!(place.there(), ["new-root", "new-root.lock", "new-root.old"]);
    assert!(!place.made().join("etc/first").exists() && place.lab().path("new-root.old/etc/first").exists());
    assert_eq!(place.run(&["new-root", "bookworm"]).code, 0);
    assert!(!place.lab().path("new-root.old/etc/first").exists());
}

#[test]
fn what_is_somebody_elses_stays() {
    let place = Place::new();
    std::fs::create_dir(place.made()).expect("a directory");
    std::fs::write(place.made().join("precious"), "").expect("a file");
    place.run(&["new-root", "bookworm"]).refused(73, "is there, and not from here");
    assert!(place.made().join("precious").exists());
    for (words, code, says) in [
        (&["new-root", "Bad Suite"][..], 64, "is no name of a release"),
        (&["nowhere/new-root", "bookworm"], 66, "there is no directory for nowhere/new-root"),
        (&["/", "bookworm"], 64, "can't be a new directory"),
        (&["--what", "new-root"], 64, "there is no option --what"),
        (&[], 64, "usage: worker-root"),
    ] {
        place.run(words).refused(code, says);
    }
    assert_eq!(place.calls(), "");
}

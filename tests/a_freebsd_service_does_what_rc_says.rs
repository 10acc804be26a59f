//! The rc.d scripts, under stand-ins for rc.subr(8) and daemon(8), with the real programs. `freebsd/README.md` says what
//! only a FreeBSD can show.

use harness::machine::{BUILDERD, Machine, lives};
use harness::{Finished, copy_of, is_superuser, make_executable, wait_for};
use rustix::process::Signal;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

#[test]
fn builderd_starts_is_seen_and_stops() {
    for waits in [false, true] {
        let machine = Machine::new();
        machine.configure(&format!("{BUILDERD}builderd_env=BUILDER_LOG=debug\n"));
        if waits {
            std::fs::write(machine.path("daemon-waits"), "").expect("a daemon(8) that waits for its child");
        }
        machine.says(&["builderd", "status"], 1, "builderd is not running.");
        machine.says(&["builderd", "stop"], 1, "not running?");
        machine.start_builderd();
        machine.says(&["builderd", "status"], 0, "builderd is running as pid");
        assert_eq!(machine.service(&["builderd", "start"]).code, 1, "one is enough");
        assert_eq!(machine.starts("builderd: as builder: "), 1, "{}", machine.log());
        let child = machine.pid("builderd.child.pid").expect("builderd");
        let environment = std::fs::read(format!("/proc/{}/environ", child.as_raw_nonzero())).expect("its environment");
        assert!(String::from_utf8_lossy(&environment).contains("BUILDER_LOG=debug"));
        machine.says(&["builderd", "stop"], 0, "Stopping builderd.");
        assert!(!machine.lab.root().join("socket").exists(), "it has ended before stop has");
        machine.says(&["builderd", "status"], 1, "builderd is not running.");
        machine.is_empty();
    }
}

#[test]
fn a_stop_is_over_when_builderd_is() {
    let machine = Machine::new();
    machine.configure(BUILDERD);
    machine.start_builderd();
    let child = machine.pid("builderd.child.pid").expect("builderd");
    rustix::process::kill_process(child, Signal::STOP).expect("one that takes its time to end");
    std::thread::scope(|scope| {
        let stop = scope.spawn(|| machine.service(&["builderd", "stop"]));
        let waits = || {
            let waits = std::fs::read_to_string(machine.path("waits")).unwrap_or_default();
            waits.lines().any(|pid| pid == child.as_raw_nonzero().to_string())
        };
        wait_for("the stop waits", || waits() || stop.is_finished());
        let early = stop.is_finished();
        rustix::process::kill_process(child, Signal::CONT).expect("it goes on");
        assert!(!early, "the stop did not wait for builderd");
        assert_eq!(stop.join().expect("the stop").code, 0);
    });
    assert!(!lives(child));
    machine.is_empty();
}

#[test]
fn builderd_is_started_again_by_hand_and_after_a_crash() {
    let machine = Machine::new();
    machine.configure(BUILDERD);
    machine.start_builderd();
    let first = machine.pid("builderd.child.pid").expect("builderd");
    machine.says(&["builderd", "restart"], 0, "Stopping builderd.\nStarting builderd.");
    wait_for("the second serves", || machine.serves());
    let second = machine.pid("builderd.child.pid").expect("builderd");
    assert_ne!(first, second);
    rustix::process::kill_process(second, Signal::KILL).expect("a crash");
    wait_for("the third serves", || machine.pid("builderd.child.pid").is_some_and(|pid| pid != second));
    machine.says(&["builderd", "stop"], 0, "Stopping");
    machine.is_empty();
}

#[test]
fn what_a_killed_supervisor_left_is_seen_stopped_and_replaced() {
    let machine = Machine::new();
    machine.configure(&format!("{BUILDERD}builderd_env=BUILDER_LOG=trace\n"));
    machine.lab.job("job", "exit 0");
    let orphan = || {
        machine.start_builderd();
        let child = machine.pid("builderd.child.pid").expect("builderd");
        let supervisor = machine.pid("builderd.pid").expect("its supervisor");
        rustix::process::kill_process(supervisor, Signal::KILL).expect("killed");
        wait_for("the supervisor is gone", || machine.pid("builderd.pid").is_none());
        // It has nobody any more who reads its log, and does its work.
        let id = machine.lab.run("job");
        let _worker = machine.lab.local_worker("w", &["--once"]);
        machine.lab.finished(&id);
        wait_for("nothing is owed", || !lives(child) || machine.lab.spool.owing().expect("what is owed").is_empty());
        assert!(lives(child), "it lives on");
        child
    };
    let child = orphan();
    machine.says(&["builderd", "status"], 0, &format!("running as pid {}", child.as_raw_nonzero()));
    machine.says(&["builderd", "stop"], 0, "Stopping");
    assert!(!lives(child));
    for verb in ["start", "restart"] {
        let child = orphan();
        machine.says(&["builderd", verb], 0, "Starting");
        assert!(!lives(child), "{verb}: the orphan has ended");
        wait_for("another serves", || machine.serves());
        machine.says(&["builderd", "stop"], 0, "Stopping");
        machine.is_empty();
    }
}

#[test]
fn a_reload_reaches_builderd_itself() {
    let machine = Machine::new();
    machine.configure(&format!("{BUILDERD}builderd_env=BUILDER_LOG=debug\n"));
    machine.says(&["builderd", "reload"], 1, "builderd not running?");
    machine.start_builderd();
    let (supervisor, child) = (machine.pid("builderd.pid"), machine.pid("builderd.child.pid"));
    machine.says(&["builderd", "reload"], 0, "");
    assert_eq!((machine.pid("builderd.pid"), machine.pid("builderd.child.pid")), (supervisor, child));
    // What it looks at again is what nobody told it of.
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.expect("it").as_raw_nonzero())).expect("it");
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:\t")).expect("what it catches");
    assert_eq!(u64::from_str_radix(caught, 16).expect("bits") & 1, 1, "HUP is caught, or it had ended");
    machine.says(&["builderd", "stop"], 0, "Stopping");
}

#[test]
fn a_broken_configuration_starts_stops_and_reloads_nothing() {
    let machine = Machine::new();
    machine.configure(BUILDERD);
    machine.start_builderd();
    let child = machine.pid("builderd.child.pid");
    let whole = std::fs::read_to_string(machine.lab.config()).expect("builder.toml");
    std::fs::write(machine.lab.config(), "grace = 3\n").expect("a mistake");
    for verb in ["configtest", "reload", "restart"] {
        let finished = machine.service(&["builderd", verb]);
        assert!(finished.code != 0 && finished.stderr.contains("builder.toml"), "{verb}: {finished:?}");
        assert_eq!(machine.pid("builderd.child.pid"), child, "{verb}");
    }
    machine.says(&["builderd", "stop"], 0, "Stopping");
    assert_ne!(machine.service(&["builderd", "start"]).code, 0);
    std::fs::write(machine.lab.config(), whole).expect("as it was");
    machine.says(&["builderd", "configtest"], 0, "");
    machine.is_empty();
}

/// What is tested is what is going to run: builderd, with its flags, as the spool's owner.
#[test]
fn what_builderd_would_not_take_starts_nothing() {
    let machine = Machine::new();
    machine.configure(&format!("{BUILDERD}builderd_flags=--nonsense\n"));
    for verb in ["configtest", "start"] {
        let finished = machine.service(&["builderd", verb]);
        assert!(finished.code != 0 && finished.stderr.contains("--nonsense"), "{verb}: {finished:?}");
    }
    machine.is_empty();
    let asked = std::fs::read_to_string(machine.path("su")).expect("what su did");
    assert!(asked.lines().all(|line| line.starts_with("builder: ") && line.ends_with("--check")), "{asked}");
    if !is_superuser() {
        return;
    }
    machine.configure(BUILDERD);
    machine.says(&["builderd", "configtest"], 0, "");
    std::fs::remove_file(machine.path("local/sbin/builderd")).expect("the link");
    copy_of("builderd", &machine.path("local/sbin"));
    std::fs::set_permissions(machine.lab.config(), PermissionsExt::from_mode(0o600)).expect("a mode");
    machine.becomes_others();
    for verb in ["configtest", "start"] {
        let finished = machine.service(&["builderd", verb]);
        assert!(finished.code != 0 && finished.stderr.contains("builder.toml"), "{verb}: {finished:?}");
    }
    machine.is_empty();
}

/// The settings that the package installs, after a boot that has emptied /var/run.
#[test]
fn local_users_find_the_socket_where_the_package_says() {
    let machine = Machine::new();
    let packaged = Path::new(env!("CARGO_MANIFEST_DIR")).join("../freebsd/builder.toml");
    let packaged = machine.here(&std::fs::read_to_string(packaged).expect("the package's settings"));
    machine.lab.configure(&format!("spool = {:?}\n{packaged}", machine.lab.root()));
    machine.configure(&format!("{BUILDERD}builderd_dir=\n"));
    for _ in 0..2 {
        machine.says(&["builderd", "start"], 0, "Starting builderd.");
        let socket = machine.path("run/builder/socket");
        wait_for("builderd listens there", || socket.exists() || machine.log().contains("can't ask"));
        assert!(socket.exists(), "{}", machine.log());
        machine.says(&["builderd", "stop"], 0, "Stopping builderd.");
        std::fs::remove_dir_all(machine.path("run/builder")).expect("a boot");
    }
    machine.is_empty();
}

#[test]
fn a_spool_is_made_when_it_is_asked_for_and_not_before() {
    let machine = Machine::new();
    let spool = machine.path("db/builder");
    machine.configure(&format!("{BUILDERD}builderd_dir={}\n", spool.display()));
    let finished = machine.service(&["builderd", "start"]);
    assert!(finished.code != 0 && finished.stderr.contains("builder init"), "{finished:?}");
    assert!(!spool.exists(), "what is not mounted yet is not made anew");
    machine.says(&["builderd", "init"], 0, "made a spool at");
    machine.says(&["builderd", "start"], 0, "Starting");
    wait_for("builderd serves", || spool.join("socket").exists());
    machine.says(&["builderd", "stop"], 0, "Stopping");
    machine.is_empty();
}

#[test]
fn what_is_not_enabled_runs_only_when_it_is_told_to_once() {
    let machine = Machine::new();
    machine.configure("builder_worker_profiles='a b'\n");
    machine.says(&["builderd", "start"], 0, "Set builderd_enable to YES");
    machine.says(&["builder_worker", "start"], 0, "Set builder_worker_b_enable to YES");
    machine.says(&["builderd", "rcvar"], 0, "builderd_enable=\"NO\"");
    machine.is_empty();
    machine.says(&["builderd", "onestart"], 0, "Starting");
    wait_for("builderd serves", || machine.serves());
    machine.says(&["builderd", "onestop"], 0, "Stopping");
    machine.configure(BUILDERD);
    machine.says(&["builderd", "rcvar"], 0, "builderd_enable=\"YES\"");
    machine.is_empty();
}

/// Both scripts say where rcorder(8) puts them, and no more than a POSIX shell takes.
#[test]
fn the_scripts_are_in_order() {
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../rc.d");
    for (name, requires) in [("builderd", "LOGIN"), ("builder_worker", "LOGIN jail")] {
        let text = std::fs::read_to_string(scripts.join(name)).expect("the script");
        for line in [format!("# PROVIDE: {name}"), format!("# REQUIRE: {requires}"), "# KEYWORD: shutdown".to_owned()] {
            assert!(text.lines().any(|there| there == line), "{name}: {line}");
        }
        let parsed = Finished::of(Command::new("dash").arg("-n").arg(scripts.join(name)));
        assert_eq!(parsed.code, 0, "{parsed:?}");
    }
}

/// pkg(8) is asked for a package of files that are all there, and all files that are there are listed.
#[test]
fn a_package_lists_what_it_has() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = |name: &str| dir.path().join(name);
    for name in ["bin", "programs", "out"] {
        std::fs::create_dir(path(name)).expect("a directory");
    }
    for name in ["builder", "builderd", "builder-run"] {
        std::fs::write(path("programs").join(name), "a program").expect("a program");
    }
    // create -M MANIFEST -p PLIST -r ROOT -o OUTPUT
    let pkg = "#!/bin/sh\n[ \"$1 $2\" != 'config ABI' ] || exec echo FreeBSD:15:aarch64\n[ \"$1\" = create ] && cp \"$3\" \"$9/manifest\" && cp \"$5\" \"$9/plist\" && cp -Rp \"$7\" \"$9/root\"\n";
    std::fs::write(path("bin/pkg"), pkg).expect("a pkg");
    make_executable(&path("bin/pkg"));
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../freebsd/package");
    let packs = |words: &[&Path], abi: &str| {
        let search = format!("{}:{}", path("bin").display(), std::env::var("PATH").expect("a path"));
        Finished::of(
            Command::new(&script)
                .args(words)
                .env("PATH", search)
                .env("ABI", abi)
                .env("MAINTAINER", "ports@example.org"),
        )
    };
    packs(&[&path("programs")], "").refused(64, "usage");
    let done = packs(&[&path("programs"), &path("out")], "");
    assert_eq!(done.code, 0, "{done:?}");

    // For the FreeBSD that it is made on, for 14 on amd64 elsewhere, or for what was said.
    let manifest = || std::fs::read_to_string(path("out/manifest")).expect("a manifest");
    assert!(manifest().contains("abi = \"FreeBSD:14:amd64\"\n"), "{}", manifest());
    std::fs::write(path("bin/uname"), "#!/bin/sh\necho FreeBSD\n").expect("a uname");
    make_executable(&path("bin/uname"));
    for (said, abi) in [("", "FreeBSD:15:aarch64"), ("FreeBSD:13:i386", "FreeBSD:13:i386")] {
        std::fs::remove_dir_all(path("out/root")).expect("removed");
        assert_eq!(packs(&[&path("programs"), &path("out")], said).code, 0);
        assert!(manifest().contains(&format!("abi = \"{abi}\"\n")), "{}", manifest());
    }
    let manifest = manifest();
    assert!(!manifest.contains('%'), "{manifest}");
    for line in [concat!("version = \"", env!("CARGO_PKG_VERSION"), "\""), "maintainer = \"ports@example.org\""] {
        assert!(manifest.lines().any(|there| there == line), "{line}: {manifest}");
    }
    let (mut listed, mut there) = (Vec::new(), Vec::new());
    for line in std::fs::read_to_string(path("out/plist")).expect("a list").lines() {
        if !line.starts_with("@dir") {
            listed.push(line.trim_start_matches("@config ").to_owned());
        } else {
            let directory = line.split(' ').nth(1).expect("a directory");
            assert!(path("out/root").join(&directory[1..]).is_dir(), "{line}");
        }
    }
    for entry in walkdir::WalkDir::new(path("out/root")).into_iter().map(|entry| entry.expect("an entry")) {
        if entry.file_type().is_file() {
            there.push(format!("/{}", entry.path().strip_prefix(path("out/root")).expect("below").display()));
        }
    }
    listed.sort();
    there.sort();
    assert_eq!(listed, there);
    for program in ["/usr/local/bin/builder", "/usr/local/sbin/builderd", "/usr/local/libexec/builder/builder-run"] {
        assert!(there.iter().any(|file| file == program), "{program}");
    }
    // Its script is one that a shell takes.
    let text = manifest.split("pre-install = <<EOD\n").nth(1).and_then(|rest| rest.split("\nEOD\n").next());
    std::fs::write(path("script"), text.expect("a script")).expect("the script");
    assert_eq!(Finished::of(Command::new("dash").arg("-n").arg(path("script"))).code, 0);
}

/// Debian's names for the compiler's libraries have versions, which are another one's next year.
#[test]
fn the_toolchain_asks_apt_what_the_compiler_needs() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = |name: &str| dir.path().join(name);
    for name in ["bin", "freebsd"] {
        std::fs::create_dir(path(name)).expect("a directory");
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../freebsd/toolchain");
    std::fs::copy(script, path("freebsd/toolchain")).expect("a copy");
    let depends = "rustc-web\n  Depends: libc6\n  Depends: libstd-rust-web-dev\nlibstd-rust-web-dev\n\
                   \x20 Depends: libstd-rust-web-2.1\nlibstd-rust-web-2.1\n  Depends: libllvm31\nlibllvm31\nlibc6\n";
    for (name, text) in [
        ("apt-cache", format!("cat <<'EOF'\n{depends}EOF\n")),
        ("apt-get", format!("echo \"$*\" > {}\n: > rustc.deb\n", path("asked").display())),
        ("dpkg", "mkdir -p \"$3/usr/src/rustc-2.1/library\"\n".to_owned()),
    ] {
        std::fs::write(path("bin").join(name), format!("#!/bin/sh\n{text}")).expect("a program");
        make_executable(&path("bin").join(name));
    }
    let search = format!("{}:{}", path("bin").display(), std::env::var("PATH").expect("a path"));
    let done = Finished::of(Command::new(path("freebsd/toolchain")).env("PATH", search));
    assert!(done.code == 0 && done.stdout.contains("export RUSTC="), "{done:?}");
    let asked = std::fs::read_to_string(path("asked")).expect("what apt-get was asked");
    let packages = asked.split(" download ").nth(1).expect("packages").trim();
    assert_eq!(packages, "rustc-web rust-web-src libllvm31 libstd-rust-web-2.1 libstd-rust-web-dev");
}

//! Promise 30: `debian/static` makes a builder-run that works in any root, with nothing there but an ssh client.

use harness::{Finished, Lab, PLATFORM, Running};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Builds it, as people do, where Rust has the library for it.
fn static_worker(lab: &Lab) -> Option<PathBuf> {
    let target = format!("{}-unknown-linux-musl", std::env::consts::ARCH);
    let library = Finished::of(Command::new("rustc").args(["--print", "target-libdir", "--target", &target]));
    if library.code != 0 || !Path::new(library.stdout.trim()).is_dir() {
        eprintln!("NOT TESTED: Rust has no library for {target}; `rustup target add {target}` gets it");
        return None;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../debian/static");
    let file = lab.path("builder-run.static");
    let built = Finished::of(Command::new("sh").arg(script).arg("--dev").arg(&file));
    assert_eq!((built.code, built.stdout.trim()), (0, file.to_str().expect("UTF-8")), "{built:?}");
    Some(file)
}

/// A root with busybox for scripts, and OpenSSH's client with the libraries that it is linked with.
fn jail(lab: &Lab, worker: &Path, key: &Path) -> PathBuf {
    let jail = lab.path("jail");
    for directory in ["bin", "usr/bin", "etc", "root", "tmp", "dev", "proc"] {
        std::fs::create_dir_all(jail.join(directory)).expect("a directory");
    }
    let put = |from: &Path, to: &str| {
        let to = jail.join(to);
        std::fs::create_dir_all(to.parent().expect("a directory")).expect("a directory");
        std::fs::copy(from, to).unwrap_or_else(|e| panic!("{}: {e}", from.display()));
    };
    put(Path::new("/bin/busybox"), "bin/busybox");
    for program in ["sh", "echo", "cat", "ls"] {
        symlink("busybox", jail.join("bin").join(program)).expect("a program");
    }
    let linked = Finished::of(Command::new("ldd").arg("/usr/bin/ssh")).stdout;
    for file in linked.split_ascii_whitespace().filter(|word| word.starts_with('/')).chain(["/usr/bin/ssh"]) {
        put(Path::new(file), file.trim_start_matches('/'));
    }
    put(worker, "builder-run");
    put(key, "key");
    put(&lab.path("known_hosts"), "known_hosts");
    std::fs::write(jail.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n").expect("its users");
    jail
}

#[test]
fn it_builds_in_a_root_with_nothing_else() {
    if !harness::is_superuser() {
        return;
    }
    let lab = Lab::new();
    let sshd = lab.sshd();
    let key = lab.add_worker("jailed");
    let Some(worker) = static_worker(&lab) else { return };
    // Where there is a program that a program needs, ldd(1) names it.
    let linked = Finished::of(Command::new("ldd").arg(&worker));
    assert!(!linked.stdout.contains("=>"), "{linked:?}");
    let jail = jail(&lab, &worker, &key);
    lab.job("job", "#!/bin/sh\nls /\necho made >made\n");
    let id = lab.run("job");
    let mut command = Command::new("unshare");
    let enter = "mount --bind /dev/null \"$1/dev/null\" && mount -t proc proc \"$1/proc\" && \
        exec chroot \"$1\" /builder-run worker \"$2\" --identity /key --known-hosts /known_hosts --platform \"$3\"";
    let null = std::fs::File::create(jail.join("dev/null"));
    assert!(null.is_ok());
    command.args(["--mount", "sh", "-ec", enter, "sh"]).arg(&jail).arg(sshd.url()).arg(PLATFORM);
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    let worker = Running::start("jailed", &mut command, &lab.path("jailed.log"));
    let build = lab.finished(&id);
    assert_eq!(worker.ended(), 0);
    let log = std::fs::read_to_string(build.dir().join("console.log")).expect("a console");
    assert!(log.contains("known_hosts\n") && !log.contains("var\n"), "{log}");
    assert_eq!(build.manifest().expect("readable").len(), 1);
    let result = build.result().expect("readable").expect("a result");
    assert_eq!(result.worker.map(|worker| worker.to_string()).as_deref(), Some("jailed"));
}

//! FreeBSD's workers, under the stand-ins of `a_freebsd_service_does_what_rc_says.rs`: one for each profile of rc.conf(5), as
//! `builder setup` has it.

use builder::rc;
use harness::machine::Machine;
use harness::{PLATFORM, Sshd, is_superuser, wait_for};
use spool::name::WorkerName;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Two workers with keys of their own, in profiles `a` and `b`.
fn two_workers(machine: &Machine, sshd: &Sshd, more: &str) {
    for name in ["a", "b"] {
        let key = machine.lab.add_worker(name);
        let keys = machine.path("local/etc/builder/workers").join(name);
        std::fs::create_dir_all(&keys).expect("a directory");
        std::fs::rename(key, keys.join("key")).expect("the key");
        std::fs::copy(machine.lab.path("known_hosts"), keys.join("known_hosts")).expect("the host's key");
    }
    let (url, config) = (sshd.url(), machine.lab.config());
    machine.configure(&format!(
        "builder_worker_enable=YES\nbuilder_worker_profiles='a b'\nbuilder_worker_server={url}\n\
         builder_worker_platform={PLATFORM}\nbuilder_worker_flags='--kill-after 1'\nbuilder_worker_b_flags=--keep\n\
         builder_worker_b_user=other\nbuilder_worker_env=BUILDER_CONFIG={}\n{more}",
        config.display()
    ));
}

#[test]
fn two_profiles_are_two_workers() {
    let machine = Machine::new();
    let sshd = machine.lab.sshd();
    two_workers(&machine, &sshd, "");
    machine.says(&["builder_worker", "start"], 0, "Starting builder_worker_a.\nStarting builder_worker_b.");
    machine.says(&["builder_worker", "status"], 0, "builder_worker_b is running");
    assert!(machine.log().contains("builder_worker_a: as builder_worker: "), "{}", machine.log());
    assert!(machine.log().contains("builder_worker_b: as other: "), "{}", machine.log());
    let b = machine.pid("builder_worker_b.pid");
    machine.says(&["builder_worker", "stop", "a"], 0, "Stopping builder_worker_a.");
    machine.says(&["builder_worker", "status"], 1, "builder_worker_a is not running.");
    assert_eq!(machine.pid("builder_worker_b.pid"), b, "the other goes on");
    // Both build: one exits after each and is started again, the other stays.
    machine.says(&["builder_worker", "start", "a"], 0, "Starting builder_worker_a.");
    machine.lab.job("job", "exit 0");
    let mut workers = std::collections::BTreeSet::new();
    wait_for("both have built", || {
        let id = machine.lab.run("job");
        let result = machine.lab.finished(&id).result().expect("readable").expect("a result");
        workers.insert(result.worker.expect("a worker").to_string());
        workers.len() == 2
    });
    wait_for("a is started again", || machine.starts("builder_worker_a: as") >= 3);
    assert_eq!(machine.starts("builder_worker_b: as"), 1, "{}", machine.log());
    machine.says(&["builder_worker", "stop"], 0, "Stopping builder_worker_b.");
    machine.is_empty();
}

#[test]
fn a_worker_without_its_key_or_server_is_not_started() {
    let machine = Machine::new();
    let sshd = machine.lab.sshd();
    two_workers(&machine, &sshd, "builder_worker_b_server=\n");
    std::fs::remove_file(machine.path("local/etc/builder/workers/a/known_hosts")).expect("removed");
    let finished = machine.service(&["builder_worker", "start"]);
    assert!(finished.code == 1 && finished.stderr.contains("a/known_hosts is not readable"), "{finished:?}");
    assert!(finished.stderr.contains("set builder_worker_b_server in rc.conf"), "{finished:?}");
    for (words, text) in [(["start", "c"], "there is no profile c"), (["start", "a;b"], "there is no profile")] {
        let finished = machine.service(&["builder_worker", words[0], words[1]]);
        assert!(finished.code == 64 && finished.stderr.contains(text), "{finished:?}");
    }
    machine.configure("builder_worker_enable=YES\nbuilder_worker_profiles='a b-c'\n");
    let finished = machine.service(&["builder_worker", "start"]);
    assert!(finished.code == 1 && finished.stderr.contains("letters, digits and '_'"), "{finished:?}");
    machine.is_empty();
}

/// The lines that `builder setup worker` prints, typed: the worker builds what it was set up for, and the doctor knows it.
#[test]
fn what_setup_prints_starts_a_worker() {
    let machine = Machine::new();
    let sshd = machine.lab.sshd();
    two_workers(&machine, &sshd, "");
    let (name, config) = ("a".parse::<WorkerName>().expect("a name"), machine.lab.config());
    machine.configure(&format!("builder_worker_env=BUILDER_CONFIG={}\n", config.display()));
    let sysrc = rc::Sysrc::at(machine.path("bin/sysrc"));
    let unknown = sysrc.worker(&name).expect_err("rc.conf has nothing of it");
    assert!(unknown.to_string().contains("no server for the worker a"), "{unknown}");

    let set = machine.types(&rc::settings(&name, &sshd.url(), &[PLATFORM.parse().expect("a name")]));
    assert_eq!(set.code, 0, "{set:?}");
    let worker = sysrc.worker(&name).expect("a worker");
    assert_eq!((worker.server, worker.options.join(" ")), (sshd.url(), format!("--platform {PLATFORM}")));
    let (user, _) = worker.on_system.expect("it has no jail");
    assert!(user == rc::USER && worker.is_started && worker.keys.is_none());
    let keys = machine.path("local/etc/builder/workers");
    assert_eq!(rc::profiles(&keys), ["a", "b"].map(|name| name.parse::<WorkerName>().expect("a name")));

    let started = machine.types(&rc::start(&name));
    assert!(started.code == 0 && started.stdout.contains("Starting builder_worker_a."), "{started:?}");
    machine.lab.job("job", "exit 0");
    let id = machine.lab.run("job");
    let result = machine.lab.finished(&id).result().expect("readable").expect("a result");
    assert_eq!(result.worker.expect("a worker"), name);
    assert!(machine.log().contains(&format!("--platform {PLATFORM}")), "{}", machine.log());
    assert!(!machine.log().contains("no key"), "{}", machine.log());
    machine.says(&["builder_worker", "stop"], 0, "Stopping builder_worker_a.");
    machine.is_empty();
    // What all workers have holds for one that has nothing of its own, and a snapshot means jails.
    machine.configure(
        "builder_worker_enable=NO\nbuilder_worker_profiles='a b'\nbuilder_worker_server=ssh://b@farm\n\
         builder_worker_platform='p q'\nbuilder_worker_b_platform=\nbuilder_worker_snapshot=p/q@r\nbuilder_worker_b_keys=/k\n",
    );
    let b = sysrc.worker(&"b".parse().expect("a name")).expect("a worker");
    assert_eq!((b.server.as_str(), b.options, b.on_system), ("ssh://b@farm", vec![], None));
    assert!(!b.is_started && b.keys.is_some_and(|keys| keys == Path::new("/k")));
    assert_eq!(sysrc.worker(&name).expect("a worker").options.join(" "), "--platform p --platform q");
}

/// Without a jail, the user who runs the builds has to read the key, whatever the superuser can.
#[test]
fn a_worker_whose_user_can_not_read_its_key_is_not_started() {
    let machine = Machine::new();
    if !is_superuser() {
        return;
    }
    let sshd = machine.lab.sshd();
    two_workers(&machine, &sshd, "builder_worker_a_snapshot=pool/jail@builder\n");
    machine.becomes_others();
    machine.program("local/libexec/builder/builder-jail", "#!/bin/sh\nexec sleep 1000\n");
    let keys = machine.path("local/etc/builder/workers");
    std::fs::set_permissions(&keys, PermissionsExt::from_mode(0o700)).expect("a mode");
    let finished = machine.service(&["builder_worker", "start", "b"]);
    assert!(finished.code == 77 && finished.stderr.contains("other can't read"), "{finished:?}");
    assert_eq!(rc::barrier(&keys.join("b/key"), 65534), Some(keys.clone()));
    // Its keys are given to it, as `builder setup worker` does.
    rc::give(&keys.join("b"), 65534, 65534).expect("given");
    assert_eq!(rc::barrier(&keys.join("b/key"), 65534), None);
    assert_eq!(keys.metadata().expect("the keys").permissions().mode() & 0o777, 0o711, "nobody can list them");
    machine.says(&["builder_worker", "start", "b"], 0, "Starting builder_worker_b.");
    machine.says(&["builder_worker", "start", "a"], 0, "Starting builder_worker_a.");
    machine.says(&["builder_worker", "stop"], 0, "Stopping");
    machine.is_empty();
}

/// What setup refuses as a name, the service does, too.
#[test]
fn a_name_is_a_profile_for_both_or_for_neither() {
    let machine = Machine::new();
    for name in ["a", "A_1", "jailer", "default", "a-b", "a.b", "a+b", "jail", "a_jail"] {
        machine.configure(&format!("builder_worker_profiles='x {name}'\n"));
        let code = machine.service(&["builder_worker", "rcvar", name]).code;
        assert_eq!(code, if rc::is_profile(name) { 0 } else { 64 }, "{name}");
    }
}

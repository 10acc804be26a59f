//! `builder doctor` names what keeps builds from coming and going, and what mends it.

use harness::site::{Site, known_weakness};
use harness::{PLATFORM, is_superuser, make_executable};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

#[test]
fn the_doctor_names_what_keeps_a_worker_out() {
    let site = Site::with_worker();
    let worker = &["jail1"];
    let key = site.directory().join("jail1.key");
    let mode = |mode: u32| std::fs::set_permissions(&key, PermissionsExt::from_mode(mode)).expect("a mode");
    site.is_well(worker);
    mode(0o644);
    site.is_to_mend(worker, "chmod 600");
    mode(0o600);
    let settings = site.directory().join("jail1.env");
    let text = std::fs::read_to_string(&settings).expect("settings");
    std::fs::write(&settings, text.replace(PLATFORM, "freebsd-14")).expect("settings");
    site.is_to_mend(worker, "worker jail1 may not build freebsd-14");
    std::fs::write(&settings, text.replace("OPTIONS=", "OPTIONS='")).expect("settings");
    site.is_to_mend(worker, "OPTIONS");
    // What a worker sets up for builds is not set up to look at it.
    let work = site.lab.path("no.work");
    let options = format!("OPTIONS=--work {} --sandbox bwrap --root /nowhere ", work.display());
    std::fs::write(&settings, text.replace("OPTIONS=", &options)).expect("settings");
    let (findings, _) = site.doctor(worker);
    assert!(findings.iter().any(|(state, said)| state == "ok" && said.contains("lets it in")), "{findings:#?}");
    assert!(!work.exists(), "nothing is changed");
    std::fs::write(&settings, &text).expect("settings");
    // Whatever it does after a build, and however its lines are broken.
    let lines = |how: &str| text.replace("OPTIONS=", &format!("OPTIONS={how} \\\n  "));
    for how in ["--keep", "--once", "--keep \\\n --idle 9"] {
        std::fs::write(&settings, lines(how)).expect("settings");
        site.is_well(worker);
    }
    std::fs::write(&settings, &text).expect("settings");
    // By the program that builder.toml names.
    let other = site.lab.script("other", "#!/bin/sh\necho builder-run: no such server >&2; exit 1\n");
    make_executable(&other);
    site.lab.configure(&format!("builder_run = \"{}\"\n", other.display()));
    site.is_to_mend(worker, "no such server");
    site.lab.configure("");
    // It works: nothing is wrong.
    let running = site.sshd.worker(&site.lab, "jail1", &key, &[]);
    harness::wait_for("it is connected", || site.lab.ok(&["worker", "ls"]).contains("jail1  debian-12  connected"));
    let (findings, code) = site.doctor(worker);
    assert!(code == 0 && findings.iter().any(|(_, said)| said.contains("connected to")), "{findings:#?}");
    running.terminate();
    harness::wait_for("it is gone", || !site.lab.ok(&["worker", "ls"]).contains("  connected"));
    site.lab.ok(&["worker", "rm", "jail1"]);
    site.is_to_mend(worker, "can't connect");
    std::fs::remove_file(site.directory().join("known_hosts")).expect("removed");
    site.is_to_mend(worker, "host key of 127.0.0.1 is not known");
    std::fs::remove_file(&key).expect("removed");
    let (findings, _) = site.doctor(worker);
    assert!(findings.iter().any(|(state, said)| state == "mend" && said.contains("there is no key")), "{findings:#?}");
    let none = site.lab.builder(&["doctor", "nobody", "--directory", &site.directory().display().to_string()]);
    assert!(none.code == 1 && none.stdout.contains("there is no worker nobody"), "{none:?}");
}

#[test]
fn a_spool_that_is_there_by_the_way_is_not_looked_at_on_a_workers_machine() {
    let site = Site::with_worker();
    let spool = site.lab.path("idle").display().to_string();
    site.lab.ok(&["--spool", &spool, "init"]);
    let words = ["doctor", "--directory", &site.directory().display().to_string()];
    let there = |spool: &str| site.lab.builder(&[&["--spool", spool], &words[..]].concat()).stdout;
    assert_eq!(there(&spool).lines().next(), Some("worker jail1"));
    assert!(there(site.lab.root().to_str().expect("UTF-8")).starts_with("spool "), "this one has a worker");
}

#[test]
fn clocks_that_are_apart_are_named() {
    let site = Site::with_worker();
    let real = harness::binary("builder-run");
    let late = site.lab.script(
        "late",
        &format!("LD_PRELOAD=$(echo /usr/lib/*/faketime/libfaketime.so.1) FAKETIME=+1h exec {} \"$@\"", real.display()),
    );
    make_executable(&late);
    site.lab.configure(&format!("builder_run = \"{}\"\n", late.display()));
    // Written anew, with the program that tells another time.
    let key = std::fs::read_to_string(site.directory().join("jail1.key.pub")).expect("a key");
    site.lab.ok(&["worker", "rm", "jail1"]);
    let file = site.lab.script("jail1.pub", &key);
    site.lab.ok(&["worker", "add", "jail1", "--platform", PLATFORM, file.to_str().expect("UTF-8")]);
    // On the worker's machine it is the right one.
    site.lab.configure("");
    // The word has been on its way for some of it.
    let (findings, code) = site.doctor(&["jail1"]);
    let said = &findings.iter().find(|(state, _)| state == "mend").expect("a finding").1;
    let seconds =
        said.split_once("the server's clock is ").and_then(|(_, rest)| rest.split_once(" s ahead of this one"));
    let seconds: u32 = seconds.and_then(|(seconds, _)| seconds.parse().ok()).unwrap_or_else(|| panic!("{said}"));
    assert!(code == 1 && (3500..=3601).contains(&seconds), "{said}");
}

#[test]
fn the_doctor_names_what_is_wrong_with_a_server() {
    let site = Site::new();
    let findings_of = |site: &Site| site.doctor(&[]).0;
    let bad = |site: &Site| -> Vec<String> {
        let findings = findings_of(site).into_iter().filter(|(state, _)| state == "mend").map(|(_, said)| said);
        findings.filter(|said| !known_weakness(said)).collect()
    };
    let names = |site: &Site, what: &str| {
        let bad = bad(site);
        assert!(bad.len() == 1 && bad[0].contains(what), "{what}: {bad:#?}");
    };
    names(&site, "builderd does not run");
    let daemon = site.lab.daemon();
    harness::wait_for("builderd listens", || bad(&site).is_empty());
    site.lab.ok(&["worker", "ls"]);
    let ssh = site.lab.root().join(".ssh");
    std::fs::create_dir_all(&ssh).expect("a directory");
    let mode = |mode: u32| std::fs::set_permissions(&ssh, PermissionsExt::from_mode(mode)).expect("a mode");
    mode(0o770);
    names(&site, "others than its owner can write");
    mode(0o700);
    let other = site.lab.script("other", "#!/bin/sh\necho builder-run 0.0.1");
    make_executable(&other);
    let config = std::fs::read_to_string(site.lab.config()).unwrap_or_default();
    site.lab.configure(&format!("builder_run = \"{}\"\n", other.display()));
    names(&site, "release 0.0.1");
    std::fs::write(site.lab.config(), &config).expect("as before");
    let lock = site.lab.spool.layout().daemon_lock();
    let release = std::fs::read_to_string(&lock).expect("the release");
    std::fs::write(&lock, "0.0.1\n").expect("another release");
    names(&site, "the builderd that runs is of release 0.0.1");
    std::fs::write(&lock, release).expect("the release");
    let (secrets, hooks) = (site.lab.path("secrets"), site.lab.path("hooks.d"));
    std::fs::create_dir_all(secrets.join("job")).expect("a directory");
    std::fs::write(secrets.join("job/token"), "s3cret").expect("a secret");
    std::fs::create_dir_all(&hooks).expect("a directory");
    std::fs::write(hooks.join("notes.txt"), "").expect("no hook");
    std::fs::write(hooks.join("mail"), "#!/bin/sh\n").expect("a hook");
    let set =
        |path: PathBuf, mode: u32| std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("a mode");
    let well = |site: &Site| {
        set(secrets.clone(), 0o700);
        set(secrets.join("job"), 0o700);
        set(secrets.join("job/token"), 0o600);
        set(hooks.join("mail"), 0o755);
        assert_eq!(bad(site), [""; 0]);
    };
    well(&site);
    for (path, mode, what) in [
        (secrets.clone(), 0o755, "secrets can be read or changed by others"),
        (secrets.join("job"), 0o710, "secrets/job can be read"),
        (secrets.join("job/token"), 0o640, "secrets/job/token can be read"),
        (hooks.join("mail"), 0o775, "leaves out the hook"),
    ] {
        set(path, mode);
        names(&site, what);
        well(&site);
    }
    site.lab.configure("spoool = 1\n");
    assert!(bad(&site)[0].contains("spoool"), "{:?}", bad(&site));
    std::fs::write(site.lab.config(), config).expect("as before");
    if is_superuser() {
        sshd_is_asked(&site, &names);
    }
    drop(daemon);
}

/// Each line that keeps workers out.
fn sshd_is_asked(site: &Site, names: &dyn Fn(&Site, &str)) {
    site.lab.add_worker("jail1");
    let keys = site.lab.spool.layout().authorized_keys();
    let let_in = std::fs::read_to_string(&keys).expect("the keys");
    std::fs::write(&keys, let_in.replace("restrict,", "")).expect("the keys");
    names(site, "lacks the keys of jail1");
    std::fs::write(&keys, let_in).expect("the keys");
    let file = site.sshd.config().to_owned();
    let before = std::fs::read_to_string(&file).expect("a configuration");
    let with = |text: String| std::fs::write(&file, text).expect("a configuration");
    let without = |word: &str| {
        with(before.lines().filter(|line| !line.starts_with(word)).map(|line| format!("{line}\n")).collect())
    };
    without("AuthorizedKeysFile");
    names(site, "sshd does not know the workers' keys");
    without("Subsystem");
    names(site, "sshd takes no artifacts");
    with(format!("{before}PubkeyAuthentication no\n"));
    names(site, "sshd takes no keys");
    // sshd knows their keys, and lets them in no more.
    for (line, what) in [
        ("AllowUsers nobody backup@10.*", "its settings need `AllowUsers root`"),
        ("DenyUsers nobody *", "take `DenyUsers *` out"),
        ("AllowGroups nogroup", "its settings need `AllowGroups root`"),
        ("AllowUsers nobody r?ot@10.*\nDenyUsers root?\nDenyGroups nogroup roo*", "take `DenyGroups roo*` out"),
        ("ForceCommand /bin/false", "sshd runs `/bin/false`"),
        ("MaxSessions 1", "allows 1 session"),
        ("PubkeyAcceptedAlgorithms rsa-sha2-512", "of the type ssh-ed25519"),
        ("Match User root\nAuthenticationMethods publickey,password", "more than a key"),
    ] {
        with(format!("{before}{line}\n"));
        names(site, what);
    }
    with(before.replace("PermitRootLogin forced-commands-only", "PermitRootLogin no"));
    names(site, "lets root log in never");
    with(format!("{before}PasswordAuthentification no\n"));
    names(site, "sshd does not say its settings");
    with(format!(
        "{before}AuthorizedKeysCommand /usr/bin/false authorized-keys %t %k\nAuthorizedKeysCommandUser nobody\n"
    ));
    names(site, "sshd asks for keys as nobody");
    let moved = format!(
        "{before}AuthorizedKeysCommand {}/run authorized-keys %t %k\nAuthorizedKeysCommandUser root\n",
        site.lab.path("").display()
    );
    with(moved);
    names(site, "is not there");
    with(before);
}

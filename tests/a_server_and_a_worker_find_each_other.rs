//! What `builder setup` prints on each side is all that the other side needs; no host key is taken on trust; and `builder
//! doctor` names what keeps builds from coming and going, and what mends it.

use harness::{Finished, Lab, PLATFORM, Sshd, is_superuser, make_executable};
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

/// A worker's machine beside a server: a directory for what is set up there.
struct Site {
    lab: Lab,
    sshd: Sshd,
}

impl Site {
    fn new() -> Site {
        let lab = Lab::new();
        let sshd = lab.sshd();
        Site { lab, sshd }
    }

    fn directory(&self) -> PathBuf {
        self.lab.path("workers")
    }

    /// Types a line into sh, with the programs at hand; on the server or on the worker's machine, which differ by the spool.
    fn types(&self, line: &str) -> Finished {
        let programs = harness::binary("builder").parent().expect("a directory").to_owned();
        let path = format!("{}:{}", programs.display(), std::env::var("PATH").expect("PATH"));
        let mut sh = self.lab.program("builder");
        let set: Vec<_> = sh.get_envs().map(|(name, value)| (name.to_owned(), value.map(ToOwned::to_owned))).collect();
        sh = Command::new("sh");
        for (name, value) in set {
            value.map(|value| sh.env(name, value));
        }
        Finished::of(sh.arg("-c").arg(line).env("PATH", path))
    }

    fn set_up_server(&self) -> Finished {
        let config = self.sshd.config().display().to_string();
        self.lab.builder(&["setup", "server", "--name", "127.0.0.1", "--sshd-config", &config])
    }

    fn set_up_worker(&self, name: &str, host_key: &[&str]) -> Finished {
        let (url, directory) = (self.sshd.url(), self.directory().display().to_string());
        let words = ["setup", "worker", &url, "--platform", PLATFORM, "--name", name, "--directory", &directory];
        self.lab.builder(&[&words, host_key].concat())
    }

    /// The server's host key, and its fingerprint.
    fn host_key(&self) -> (String, String) {
        let file = self.lab.path("sshd.host.pub");
        let key = std::fs::read_to_string(&file).expect("the host key");
        let said = Finished::of(Command::new("ssh-keygen").arg("-lf").arg(&file)).stdout;
        let key: Vec<&str> = key.split_whitespace().take(2).collect();
        (key.join(" "), said.split_whitespace().nth(1).expect("a fingerprint").to_owned())
    }

    /// A worker that was set up and let in.
    fn with_worker() -> Site {
        let site = Site::new();
        let (key, _) = site.host_key();
        let said = site.set_up_worker("jail1", &["--host-key", &key]);
        assert_eq!(said.code, 0, "{said:?}");
        assert_eq!(site.types(line(&said, 1)).code, 0);
        site
    }

    /// What the doctor finds, as state and words, and its exit code.
    fn doctor(&self, words: &[&str]) -> (Vec<(String, String)>, u8) {
        let (directory, config) = (self.directory().display().to_string(), self.sshd.config().display().to_string());
        let all = [&["doctor", "--json", "--directory", &directory, "--sshd-config", &config], words].concat();
        let done = self.lab.builder(&all);
        let parts: Value = serde_json::from_str(&done.stdout).unwrap_or_else(|e| panic!("{e}: {done:?}"));
        let findings =
            parts.as_array().expect("parts").iter().flat_map(|part| part["findings"].as_array().expect("findings"));
        let word = |one: &Value| one.as_str().unwrap_or_default().to_owned();
        let said = |one: &Value| (word(&one["state"]), format!("{}; {}", word(&one["what"]), word(&one["mend"])));
        (findings.map(said).collect(), done.code as u8)
    }

    /// The one thing that is to be mended.
    fn is_to_mend(&self, words: &[&str], what: &str) {
        let (findings, code) = self.doctor(words);
        let bad: Vec<_> = findings.iter().filter(|(state, _)| state == "mend").collect();
        assert!(bad.iter().any(|(_, said)| said.contains(what)), "{what}: {findings:#?}");
        assert_eq!((bad.len(), code), (1, 1), "{what}: {findings:#?}");
    }

    fn is_well(&self, words: &[&str]) {
        let (findings, code) = self.doctor(words);
        assert!(code == 0 && findings.iter().all(|(state, _)| state != "mend"), "{findings:#?}");
    }
}

/// A line of what was printed, without its indent.
fn line(done: &Finished, number: usize) -> &str {
    done.stdout.lines().nth(number).unwrap_or_else(|| panic!("{done:?}")).trim()
}

/// What in the lab is not as on a server: its file system has no journal, perhaps, and builderd is started by hand.
fn known_weakness(said: &str) -> bool {
    said.contains("journal") || said.contains("tmpfs")
}

#[test]
fn what_each_side_prints_is_all_that_the_other_one_needs() {
    let site = Site::new();
    let server = site.set_up_server();
    assert_eq!(server.code, 0, "{server:?}");
    // On the worker's machine.
    let directory = site.directory().display().to_string();
    let typed = line(&server, 1)
        .replace("--platform PLATFORM", &format!("--platform {PLATFORM} --name jail1 --directory {directory}"));
    let worker = site.types(&typed);
    assert_eq!(worker.code, 0, "{typed}: {worker:?}");
    let (let_in, look, work) = (line(&worker, 1), line(&worker, 3), line(&worker, 4));
    let early = site.types(look);
    assert_eq!(early.code, 1, "nobody has let it in: {early:?}");
    // On the server.
    let added = site.types(let_in);
    assert_eq!(added.stdout, "added worker jail1\n", "{let_in}: {added:?}");
    // Back there.
    let well = site.types(look);
    assert_eq!(well.code, 0, "{well:?}");
    site.lab.job("hello", "echo hello");
    let id = site.lab.run("hello");
    assert_eq!(site.types(&work.replace("--keep", "--once")).code, 0);
    assert_eq!(
        site.lab.finished(&id).result().expect("a record").expect("a result").worker.expect("its name").as_str(),
        "jail1"
    );
    // Said again it says the same, and the key is the same.
    assert_eq!(site.types(&typed).stdout, worker.stdout);
}

#[test]
fn no_host_key_is_taken_on_trust() {
    let site = Site::new();
    let (key, print) = site.host_key();
    let unsaid = site.set_up_worker("a", &[]);
    assert_eq!(unsaid.code, 77, "{unsaid:?}");
    assert!(unsaid.stderr.contains(&print), "what it shows can be compared: {unsaid:?}");
    let other = format!("SHA256:{}", "x".repeat(43));
    let wrong = site.set_up_worker("a", &["--host-key", &other]);
    assert_eq!(wrong.code, 77, "{wrong:?}");
    assert!(wrong.stderr.contains(&print), "{wrong:?}");
    assert!(!site.directory().join("a.key").exists() && !site.directory().join("known_hosts").exists());
    for said in [&key, &print] {
        assert_eq!(site.set_up_worker("a", &["--host-key", said]).code, 0);
        let known = std::fs::read_to_string(site.directory().join("known_hosts")).expect("known hosts");
        assert!(known.lines().count() == 1 && known.contains(&key), "{known}");
    }
    assert_eq!(site.set_up_worker("b", &[]).code, 0, "it is known by now");
    // Of a file without an end to its last line nothing is lost, and a key that was pinned before is trusted no more.
    let known = site.directory().join("known_hosts");
    std::fs::write(&known, "elsewhere ssh-ed25519 AAAA").expect("known hosts");
    assert_eq!(site.set_up_worker("a", &["--host-key", &key]).code, 0);
    let another = std::fs::read_to_string(site.lab.key("another").with_extension("pub")).expect("a key");
    assert_eq!(site.set_up_worker("a", &["--host-key", another.trim()]).code, 0);
    let text = std::fs::read_to_string(&known).expect("known hosts");
    assert!(
        text.starts_with("elsewhere ssh-ed25519 AAAA\n") && !text.contains(&key) && text.lines().count() == 2,
        "{text}"
    );
    assert!(!known.with_extension("old").exists());
    // A key that is not the server's is pinned as it was said, and opens nothing.
    std::fs::remove_file(site.directory().join("known_hosts")).expect("removed");
    let other = std::fs::read_to_string(site.lab.key("other").with_extension("pub")).expect("a key");
    assert_eq!(site.set_up_worker("a", &["--host-key", other.trim()]).code, 0);
    site.is_to_mend(&["a"], "can't connect");
}

#[test]
fn what_is_there_is_not_changed() {
    let site = Site::with_worker();
    let (settings, key) = (site.directory().join("jail1.env"), site.directory().join("jail1.key"));
    let before = std::fs::read(&key).expect("the key");
    std::fs::write(&settings, "SERVER=ssh://elsewhere\nOPTIONS=--platform p\n").expect("settings");
    let again = site.set_up_worker("jail1", &[]);
    assert_eq!(again.code, 73, "{again:?}");
    assert!(again.stderr.contains("jail1.env has other settings"), "{again:?}");
    assert_eq!(std::fs::read(&key).expect("the key"), before);
    let mode = key.metadata().expect("the key").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    for (name, code) in [("-x", 64), ("a/b", 65), ("", 65)] {
        assert_eq!(site.set_up_worker(name, &[]).code, code, "{name}");
    }
}

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
    with(format!("{before}AllowUsers nobody backup@10.*\n"));
    names(site, "its settings need `AllowUsers root`");
    with(format!("{before}AllowUsers nobody r?ot@10.*\nDenyUsers root?\nDenyGroups nogroup roo*\n"));
    names(site, "take `DenyGroups roo*` out of its settings");
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

#[test]
fn a_spool_is_made_by_the_way_and_nothing_else() {
    let site = Site::new();
    let config = site.sshd.config().display().to_string();
    let path = site.lab.path("new");
    let done =
        site.lab.builder(&["--spool", path.to_str().expect("UTF-8"), "setup", "server", "--sshd-config", &config]);
    // The superuser gives it to the user `builder`, who is not there on a machine without the package.
    let has_user = Finished::of(Command::new("id").args(["-u", "builder"])).code == 0;
    match is_superuser() && !has_user {
        true => assert!(done.code == 78 && done.stderr.contains("there is no user builder"), "{done:?}"),
        false => assert!(done.stdout.contains("builder setup worker ssh://"), "{done:?}"),
    }
    let far = site.lab.builder(&["--host", "x@y", "doctor"]);
    assert_eq!(far.code, 64, "{far:?}");
}

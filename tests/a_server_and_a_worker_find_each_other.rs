//! What `builder setup` prints on each side is all that the other side needs, and no host key is taken on trust.

use harness::site::{Site, line};
use harness::{Finished, PLATFORM, is_superuser, make_executable};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

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
    if is_superuser() {
        let url = site.sshd.url();
        site.lab
            .builder(&["setup", "worker", &url, "--platform", "p", "--name", "gtk+3"])
            .refused(64, "no instance `gtk+3`");
    }
}

#[test]
fn a_setup_that_was_interrupted_is_mended_by_the_next_one() {
    let site = Site::with_worker();
    let (private, public) = (site.directory().join("jail1.key"), site.directory().join("jail1.key.pub"));
    let (key, line) = (std::fs::read(&private).expect("a key"), std::fs::read_to_string(&public).expect("a key"));
    let other = std::fs::read_to_string(site.lab.key("other").with_extension("pub")).expect("a key");
    let first = site.set_up_worker("jail1", &[]);
    // Its public half was not written, or only in part; or it is that of another key.
    let parts = [None, Some(""), Some(&line[..20]), Some(other.as_str())];
    for part in parts {
        match part {
            Some(part) => std::fs::write(&public, part).expect("a part"),
            None => std::fs::remove_file(&public).expect("removed"),
        }
        let again = site.set_up_worker("jail1", &[]);
        assert_eq!((again.code, &again.stdout), (0, &first.stdout), "{part:?}: {again:?}");
        assert_eq!(std::fs::read_to_string(&public).expect("a key"), line);
    }
    // A full disk has left nothing in either, or half a key.
    for (half, part) in [("", ""), ("", line.as_str()), (&String::from_utf8_lossy(&key)[..99], "")] {
        std::fs::write(&private, half).expect("a part");
        std::fs::write(&public, part).expect("a part");
        let broken = site.set_up_worker("jail1", &[]);
        assert!(broken.stdout.is_empty(), "{broken:?}");
        broken.refused(65, "jail1.key is no key that can be used");
    }
    std::fs::write(&private, &key).expect("the key");
    assert_eq!(site.set_up_worker("jail1", &[]).stdout, first.stdout);
    // One that a person has made with a passphrase is theirs to use.
    let lock = ["-q", "-p", "-P", "", "-N", "secret", "-f"];
    let locked = Finished::of(Command::new("ssh-keygen").args(lock).arg(&private));
    assert_eq!(locked.code, 0, "{locked:?}");
    assert_eq!(site.set_up_worker("jail1", &[]).stdout, first.stdout);
    std::fs::remove_file(&public).expect("removed");
    site.set_up_worker("jail1", &[]).refused(65, "it has a passphrase");
    // An ssh-keygen that is killed, or finds no room, leaves nothing behind.
    let stub = site.lab.script("ssh-keygen", "#!/bin/sh\ncase \"$*\" in *-t*) for f; do :; done; : >\"$f\"; kill -9 $$ ;; esac\nexec /usr/bin/ssh-keygen \"$@\"\n");
    make_executable(&stub);
    let directory = site.directory().display().to_string();
    let path = stub.parent().expect("a directory").display().to_string();
    let url = site.sshd.url();
    let killed = site.types(&format!(
        "PATH={path}:$PATH builder setup worker {url} --platform {PLATFORM} --name jail2 --directory {directory}"
    ));
    assert_ne!(killed.code, 0, "{killed:?}");
    let names: Vec<_> =
        std::fs::read_dir(&directory).expect("the files").flatten().map(|one| one.file_name()).collect();
    assert!(!names.iter().any(|name| name.to_string_lossy().contains("jail2")) && names.len() <= 4, "{names:?}");
    assert_eq!(site.set_up_worker("jail2", &[]).code, 0);
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

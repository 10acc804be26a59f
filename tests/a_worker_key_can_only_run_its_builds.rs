//! What a worker's key can't do, tried with OpenSSH's own `ssh` and `sftp`.

use harness::{Finished, Lab, PLATFORM, Running, Sshd, wait_for};
use std::path::{Path, PathBuf};

/// A lab in which worker `w0` holds a build that waits for a sign; `w1` has a key and no build.
struct Siege {
    lab: Lab,
    sshd: Sshd,
    key: PathBuf,
    other_key: PathBuf,
    _worker: Running,
    id: String,
}

fn siege() -> Siege {
    let lab = Lab::new();
    let sshd = lab.sshd();
    let (key, other_key) = (lab.add_worker("w0"), lab.add_worker("w1"));
    lab.job("waits", "echo begun; while [ ! -e \"$HOME/../../go\" ]; do sleep 0.05; done; echo mine > mine");
    let id = lab.run("waits");
    let worker = sshd.worker(&lab, "w0", &key, &["--keep"]);
    wait_for("the script prints", || lab.ok(&["log", &id]).contains("begun"));
    Siege { lab, sshd, key, other_key, _worker: worker, id }
}

impl Siege {
    /// The contents in the upload area: names that are no digest are uploads that were not closed.
    fn uploaded(&self) -> Vec<String> {
        spool::disk::names(&self.lab.root().join("active").join(&self.id).join("upload")).expect("the upload area")
    }

    fn sftp(&self, key: &Path, batch: &str) -> Finished {
        self.sshd.sftp(&self.lab, key, batch)
    }
}

#[test]
fn no_other_command_no_forwarding_no_terminal() {
    let siege = siege();
    let ssh = |words: &[&str], before: &[&str]| {
        let mut command = siege.sshd.ssh(&siege.lab, &siege.key);
        Finished::of(command.args(before).arg(siege.sshd.destination()).args(words))
    };
    for words in [
        &["id"][..],
        &["sh", "-c", "id"],
        &["builder-run", "serve", "--worker", "w1"],
        &["scp", "-t", "/tmp"],
        &["serve;id"],
    ] {
        let refused = ssh(words, &[]);
        assert_eq!(refused.code, 77, "{words:?} {refused:?}");
        assert!(refused.stderr.contains("this key can't run"), "{refused:?}");
        assert!(!refused.stdout.contains("uid="), "{refused:?}");
    }
    let terminal = ssh(&["serve"], &["-tt"]);
    assert!(terminal.stderr.contains("PTY allocation request failed"), "{terminal:?}");
    let remote = ssh(&["serve"], &["-o", "ExitOnForwardFailure=yes", "-R", "0:127.0.0.1:1"]);
    assert!(remote.stderr.contains("forwarding failed"), "{remote:?}");
    let direct = ssh(&[], &["-W", "127.0.0.1:22"]);
    assert!(direct.stderr.contains("administratively prohibited"), "{direct:?}");
}

#[test]
fn no_second_session_and_no_second_build() {
    let siege = siege();
    let mut second = siege.sshd.worker(&siege.lab, "w0b", &siege.key, &[]);
    wait_for("the second session is refused", || !second.runs());
    assert!(second.said().contains("worker w0 is connected already"), "{}", second.said());
    assert_eq!(second.ended(), 75);
}

#[test]
fn no_build_of_a_platform_that_the_worker_may_not_build() {
    let siege = siege();
    let mut worker = siege.sshd.worker(&siege.lab, "w1", &siege.other_key, &["--platform", "freebsd-14"]);
    wait_for("it is refused", || !worker.runs());
    assert!(worker.said().contains("worker w1 may not build freebsd-14; it may build debian-12"), "{}", worker.said());
}

#[test]
fn no_upload_without_a_build() {
    let siege = siege();
    siege.lab.script("file", "content");
    let refused = siege.sftp(&siege.other_key, "put file\n");
    assert_ne!(refused.code, 0);
    assert!(refused.stderr.contains("worker w1 has no build"), "{refused:?}");
    assert!(siege.uploaded().is_empty());
}

#[test]
fn an_upload_stays_in_its_build_and_nothing_is_read_back() {
    let siege = siege();
    siege.lab.script("file", "content");
    std::os::unix::fs::symlink("/etc/passwd", siege.lab.path("link")).expect("a link");
    let put = siege.sftp(&siege.key, "put file\nput file /artifacts/sub/file\n");
    assert_eq!(put.code, 0, "{put:?}");
    let digest = spool::digest::Sha256::of(b"content").to_string();
    assert_eq!(siege.uploaded(), std::slice::from_ref(&digest));
    for (batch, says) in [
        ("put file /etc/passwd2\n", "Permission denied"),
        ("put file ../../x\n", ".."),
        ("put file /../x\n", ".."),
        ("get file back\n", "not found"),
        ("put file\nget file back\n", "Permission denied"),
        ("symlink /etc/passwd y\n", "link"),
        ("ln /artifacts/file y\n", "link"),
        ("ls /artifacts\n", "Permission denied"),
        ("put file\nreput file file\n", ""),
    ] {
        let refused = siege.sftp(&siege.key, batch);
        assert_ne!(refused.code, 0, "{batch:?} {refused:?}");
        assert!(refused.stderr.contains(says), "{batch:?} {refused:?}");
        assert_eq!(siege.uploaded(), std::slice::from_ref(&digest), "{batch:?}");
    }
    assert!(!siege.lab.path("back").exists() || std::fs::read(siege.lab.path("back")).expect("a file").is_empty());
    assert!(!Path::new("/etc/passwd2").exists());
    std::fs::write(siege.lab.path("work.w0/go"), "").expect("the sign");
    let build = siege.lab.finished(&siege.id);
    let names: Vec<String> = build.manifest().expect("readable").iter().map(|(path, _)| path.to_string()).collect();
    assert_eq!(names, ["mine"], "what was uploaded and not offered is no artifact");
    assert!(!build.dir().join("upload").exists());
    siege.lab.check();
}

#[test]
fn a_removed_worker_is_not_let_in() {
    let siege = siege();
    siege.lab.ok(&["worker", "rm", "w1"]);
    let refused = Finished::of(siege.sshd.ssh(&siege.lab, &siege.other_key).arg(siege.sshd.destination()).arg("serve"));
    assert_eq!(refused.code, 255, "{refused:?}");
    assert!(refused.stderr.contains("Permission denied"), "{refused:?}");
}

/// sshd runs such a command only from a place where nobody but root can write.
#[test]
fn a_worker_whose_key_sshd_has_asked_for_builds() {
    if !harness::is_superuser() {
        return;
    }
    let safe = tempfile::Builder::new().prefix("builder").tempdir_in("/var/lib").expect("a directory of root's");
    let program = harness::copy_of("builder-run", safe.path());
    std::os::unix::fs::chown(&program, Some(0), Some(0)).expect("its owner");
    let lab = Lab::new();
    lab.script("builder.toml", &format!("grace_seconds = 2\nbuilder_run = \"{}\"\n", program.display()));
    let key = lab.add_worker("w0");
    std::fs::remove_file(lab.spool.layout().authorized_keys()).expect("the file that is not needed");
    let command = format!(
        "AuthorizedKeysCommand {} --config {} authorized-keys --spool {} %t %k\nAuthorizedKeysCommandUser root\n",
        program.display(),
        lab.config().display(),
        lab.root().display()
    );
    let sshd = lab.sshd_with(&command);
    lab.job("hello", "echo hello");
    let id = lab.run("hello");
    let worker = sshd.worker(&lab, "w0", &key, &[]);
    assert_eq!(lab.finished(&id).place.word(), "done", "{}", worker.said());
    let stranger = lab.key("stranger");
    let refused = Finished::of(sshd.ssh(&lab, &stranger).arg(sshd.destination()).arg("serve"));
    assert!(refused.stderr.contains("Permission denied"), "{refused:?}");
}

#[test]
fn sshd_can_ask_for_the_keys_instead() {
    let lab = Lab::new();
    let key = lab.add_worker("w0");
    let public = std::fs::read_to_string(key.with_extension("pub")).expect("a key");
    let words: Vec<&str> = public.split_whitespace().take(2).collect();
    let line = Finished::of(lab.program("builder-run").arg("authorized-keys").args(&words));
    assert_eq!(line.stdout.lines().count(), 1, "{line:?}");
    let generated = std::fs::read_to_string(lab.spool.layout().authorized_keys()).expect("the file");
    assert!(generated.contains(line.stdout.trim()), "{generated}");
    let unknown = Finished::of(lab.program("builder-run").args(["authorized-keys", "ssh-ed25519", &"A".repeat(68)]));
    assert_eq!((unknown.code, unknown.stdout.as_str()), (0, ""));
}

/// The options, the key type, the base64 and the comment of a line, as sshd(8) reads it: options end at the first blank
/// that is not within double quotes, where a backslash hides a quote.
fn parts(line: &str) -> (String, Vec<String>) {
    let (mut quoted, mut hidden) = (false, false);
    let end = line.find(|c: char| {
        match c {
            '"' if !hidden => quoted = !quoted,
            ' ' | '\t' if !quoted => return true,
            _ => {}
        }
        hidden = c == '\\' && !hidden;
        false
    });
    let (options, rest) = line.split_at(end.expect("a blank"));
    (options.to_owned(), rest.split_whitespace().map(str::to_owned).collect())
}

#[test]
fn whatever_a_hand_writes_of_a_worker_its_line_is_one_line_with_one_command() {
    const PIECES: &[&str] = &[
        "ssh-ed25519",
        "ssh-rsa",
        "sk-ssh-ed25519@openssh.com",
        "AAAAC3NzaC1lZDI1NTE5AAAAIG0Cq3n5Qe7n1t8C1mT0xZq3yBv0Z4y1q8ZbWm2v1x7k",
        " ",
        "\t",
        "\n",
        "\r",
        "\r\n",
        "\u{b}",
        "\u{c}",
        "\0",
        "\u{85}",
        "\u{2028}",
        "\"",
        "'",
        "\\",
        ",",
        "#",
        "=",
        "$(id)",
        "`id`",
        ";",
        "command=\"sh\"",
        "restrict",
        "pty",
        "no-pty",
        "environment=\"A=b\"",
        "@cert-authority",
        "comment",
        "ü",
        "w\nssh-rsa ",
    ];
    let lab = Lab::below(std::path::Path::new("/dev/shm"));
    let mut random = harness::expressions::Random::of(7);
    let root = lab.root().display().to_string();
    let run =
        spool::worker::ForcedCommand { program: "/usr/bin/builder-run".into(), config: Some("/etc/a b.toml".into()) };
    let expected = format!(
        "restrict,command=\"exec /usr/bin/builder-run serve --spool {root} --worker w --config '/etc/a b.toml'\""
    );
    let (mut lines, mut refused) = (0, 0);
    for _ in 0..2000 {
        let start =
            random.one(&["", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIG0Cq3n5Qe7n1t8C1mT0xZq3yBv0Z4y1q8ZbWm2v1x7k"]);
        let text = (0..random.between(0, 5)).fold(start.to_owned(), |text, _| text + random.one(PIECES));
        let written = serde_json::to_string(&text).expect("a string").replace("\\u007f", "");
        let file = format!("added = \"2026-01-01T00:00:00Z\"\nplatforms = [\"p\"]\nkey = {written}\n");
        std::fs::write(lab.spool.layout().worker(&"w".parse().expect("a name")), file).expect("written");
        lab.spool.write_authorized_keys(&run, None).expect("the keys");
        let generated = std::fs::read_to_string(lab.spool.layout().authorized_keys()).expect("text");
        let ours: Vec<&str> =
            generated.split(['\n', '\r']).filter(|line| !line.starts_with('#') && !line.is_empty()).collect();
        match ours.as_slice() {
            [] => refused += 1,
            [line] => {
                lines += 1;
                let (options, words) = parts(line);
                assert!(!line.chars().any(char::is_control) && options == expected, "{text:?}: {line}");
                assert!(words.len() == 3 && words[2] == "w", "{text:?}: {line}");
            }
            more => panic!("{text:?}: {more:?}"),
        }
    }
    assert!(lines > 200 && refused > 200, "{lines} lines, {refused} refused");
}

#[test]
fn a_name_or_a_place_that_would_need_a_second_line_is_refused() {
    for name in ["a\nb", "a b", "a\"", "a,command=\"x\"", "-a", "a'", "a\\", "a\r", "", "a/../b", "ü", "a\u{2028}"] {
        assert!(name.parse::<spool::name::WorkerName>().is_err(), "{name:?}");
    }
    let key =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIG0Cq3n5Qe7n1t8C1mT0xZq3yBv0Z4y1q8ZbWm2v1x7k".parse().expect("a key");
    let name = "w".parse().expect("a name");
    for place in ["/a\nb", "/a\"b", "/a'b", "/a\\b", "/a\tb", "/a\rb"] {
        let run = |program: &str, config: Option<&str>| spool::worker::ForcedCommand {
            program: program.into(),
            config: config.map(Into::into),
        };
        for (run, root) in [(run(place, None), "/s"), (run("/p", Some(place)), "/s"), (run("/p", None), place)] {
            let refused = spool::worker::authorized_key(&name, &key, &run, root).expect_err(place);
            assert_eq!(refused.kind(), spool::error::Kind::Config, "{place:?}");
        }
    }
}

/// As the units start it: sshd turns away whoever is refused again and again.
#[test]
fn a_worker_that_persists_waits_until_it_is_let_in_and_builds_once() {
    let lab = Lab::new();
    let sshd = lab.sshd();
    let key = lab.key("later");
    lab.job("job", "echo built");
    let id = lab.run("job");
    let worker = sshd.worker(&lab, "later", &key, &["--persist"]);
    let refusals = || worker.said().matches("trying again in ").count();
    wait_for("it is refused more than once", || refusals() > 1);
    assert!(worker.said().contains("trying again in 1 s") && worker.said().contains("trying again in 2 s"));
    lab.ok(&["worker", "add", "later", "--platform", PLATFORM, &format!("{}.pub", key.display())]);
    lab.finished(&id);
    assert_eq!(worker.ended(), 0);
}

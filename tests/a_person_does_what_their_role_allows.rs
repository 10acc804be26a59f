//! `builder --host`, and what a person's key can't do behind the gate, tried with OpenSSH's own programs.

use harness::office::office;
use harness::{Finished, PLATFORM, Pty, Running, wait_for};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

const SCRIPT: &str = "#!/bin/sh\necho built; mkdir bin; echo x > bin/x; chmod +x bin/x; echo y > y; exit $(cat code)";

#[test]
fn verbs_work_on_another_machine_as_they_do_here() {
    let office = office();
    let code = office.lab.script("code", "0");
    office.file("boss", "hello.sh", &SCRIPT.replace("code", code.to_str().expect("UTF-8")));
    let added = office.says("boss", &["add", "hello", "hello.sh", "--platform", PLATFORM, "--every=never"]);
    assert_eq!((added.code, added.stdout.as_str()), (0, ""), "{added:?}");
    assert!(added.stderr.contains("`builder run hello`"), "{added:?}");
    let listed: serde_json::Value = serde_json::from_str(&office.ok("boss", &["ls", "--json"])).expect("JSON");
    assert_eq!(listed["jobs"][0]["name"], "hello");
    let id = office.ok("boss", &["run", "hello"]).trim().to_owned();
    let mut worker = office.lab.local_worker("w0", &["--keep"]);
    office.lab.finished(&id);
    assert_eq!(office.ok("boss", &["log", "hello"]), "built\n");
    assert!(office.ok("boss", &["show", &id]).contains("exited 0"));
    std::fs::write(&code, "3").expect("the code");
    let id = office.ok("boss", &["run", "hello"]).trim().to_owned();
    let watched = office.says("boss", &["watch", &id]);
    assert_eq!(watched.code, 3, "{watched:?}");
    assert!(watched.stdout.ends_with("] built\n"), "{watched:?}");
    assert!(worker.runs());
    let key = office.lab.key("w1");
    std::fs::copy(key.with_extension("pub"), office.file("boss", "w1.pub", "")).expect("a copy");
    assert_eq!(office.ok("boss", &["worker", "add", "w1", "w1.pub", "--platform", PLATFORM]), "added worker w1\n");
    assert!(office.ok("boss", &["worker", "ls"]).contains("w1"));
    let template = ["add", "deb", "--template", "debian-source", "--set", "PACKAGE=hello", "--every", "never"];
    office.ok("boss", &[&template[..], &["--platform", PLATFORM]].concat());
    assert_eq!(office.ok("boss", &["rm", "deb"]), "removed job deb\n");
    let other = office.lab.path("other");
    let other = other.to_str().expect("UTF-8");
    assert_eq!(office.ok("boss", &["--spool", other, "init"]).trim(), format!("made a spool at {other}"));
}

#[test]
fn artifacts_come_to_the_callers_machine() {
    let office = office();
    office.lab.job("hello", &SCRIPT.replace("$(cat code)", "0"));
    office.lab.run("hello");
    assert_eq!(office.lab.local_worker("w0", &[]).ended(), 0);
    for who in ["boss", "read"] {
        assert_eq!(office.ok(who, &["get", "hello"]), "./bin/x\n./y\n");
        let desk = office.lab.desk(&office.lab.path(who));
        let mode = |name: &str| desk.join(name).metadata().expect("a file").permissions().mode() & 0o100;
        assert_eq!((mode("bin/x"), mode("y")), (0o100, 0));
        office.says(who, &["get", "hello", "y"]).refused(73, "./y is there already; nothing was copied");
        std::fs::write(desk.join("y"), "changed").expect("a change");
        assert_eq!(office.ok(who, &["get", "hello", "y", "--force"]), "./y\n");
        assert_eq!(std::fs::read_to_string(desk.join("y")).expect("it"), "y\n");
        assert_eq!(office.ok(who, &["get", "hello", "bin", "-o", "new/dir"]), "new/dir/bin/x\n");
        office.says(who, &["get", "hello", "nothing", "-o", "none"]).refused(66, "no artifact `nothing`");
        assert!(!desk.join("none").exists());
        let names: Vec<_> = std::fs::read_dir(&desk).expect("the desk").flatten().map(|one| one.file_name()).collect();
        assert_eq!(names.len(), 3, "nothing else is left: {names:?}");
        assert_eq!(office.ok(who, &["get", "hello", "--tar"]), office.ok(who, &["get", "hello", "--tar"]));
    }
    std::fs::remove_file(office.lab.ended()[0].dir().join("artifacts/y")).expect("an accident");
    std::fs::write(office.lab.ended()[0].dir().join("artifacts/y"), "damaged").expect("an accident");
    office.says("read", &["get", "hello", "-o", "damaged"]).refused(65, "is damaged");
    assert!(!office.lab.desk(&office.lab.path("read")).join("damaged/bin").exists(), "all or nothing");
}

#[test]
fn what_goes_wrong_before_the_server_is_said_here() {
    let office = office();
    let add = |more: &[&str]| office.says("boss", &[&["add", "x", "--platform", PLATFORM][..], more].concat());
    add(&["missing"]).refused(66, "can't read missing");
    add(&["."]).refused(66, ". is a directory");
    add(&["--template", "./debian-source"]).refused(64, "only installed templates");
    let here = |words: &[&str]| Finished::of(Command::new(harness::binary("builder")).args(words));
    here(&["--host=-oProxyCommand=id", "ls"]).refused(64, "is no host");
    here(&["--host", "ssh://x@-v", "ls"]).refused(64, "is no host");
    let nobody = here(&["--host", "ssh://127.0.0.1:1", "ls"]);
    assert_eq!(nobody.code, 75, "{nobody:?}");
    assert!(nobody.stderr.contains("ssh to ssh://127.0.0.1:1 has failed"), "{nobody:?}");
    let none = Finished::of(office.command("boss").arg("ls").env("PATH", "/nowhere"));
    none.refused(75, "ssh can't be started");
    assert_eq!(office.jobs(), Vec::<String>::new());
}

/// The caller's standard input is the verb's when it reads one, and stays untouched when it does not.
#[test]
fn standard_input_goes_where_it_is_read() {
    let office = office();
    let mut script = office.command("submit");
    script.args(["add", "one", "-", "--platform", PLATFORM]).stdin(Stdio::piped()).stdout(Stdio::null());
    let mut child = script.spawn().expect("builder");
    child.stdin.take().expect("a pipe").write_all(b"echo from afar").expect("written");
    assert!(child.wait().expect("its end").success());
    assert_eq!(office.lab.spool.job(&"one".parse().expect("a name")).expect("the job").script, "echo from afar");
    let command = office.command("submit");
    let mut shell = Command::new("sh");
    shell.arg("-c").arg("\"$0\" \"$@\" >/dev/null; cat").arg(command.get_program()).args(command.get_args()).arg("ls");
    shell.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?)))).stdin(Stdio::piped());
    let mut child = shell.stdout(Stdio::piped()).spawn().expect("a shell");
    child.stdin.take().expect("a pipe").write_all(b"the next line\n").expect("written");
    assert_eq!(child.wait_with_output().expect("its end").stdout, b"the next line\n");
}

#[test]
fn ctrl_c_ends_the_watch_and_not_the_build() {
    let office = office();
    let go = office.lab.path("go");
    office.lab.job("waits", &format!("while [ ! -e {} ]; do sleep 0.05; done", go.display()));
    let id = office.lab.run("waits");
    let _worker = office.lab.local_worker("w0", &[]);
    wait_for("it runs", || office.lab.build(&id).place.word() == "active");
    let watchers = || office.lab.watchers(&id);
    // A terminal of its own; what is typed there comes from a pipe.
    let mut command = office.command("read");
    command.args(["watch", &id]);
    let words: Vec<_> = std::iter::once(command.get_program()).chain(command.get_args()).collect();
    let line = words.iter().map(|word| format!("'{}'", word.to_string_lossy())).collect::<Vec<_>>().join(" ");
    let mut terminal = Command::new("script");
    terminal.arg("-qefc").arg(line).arg("/dev/null").stdin(Stdio::piped()).stdout(Stdio::null());
    terminal.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let mut terminal = terminal.spawn().expect("script is missing: install the package bsdutils");
    wait_for("it watches", || watchers() == 1);
    terminal.stdin.as_mut().expect("a pipe").write_all(b"\x03").expect("Ctrl-C");
    assert_eq!(terminal.wait().expect("its end").code(), Some(130));
    wait_for("nobody watches", || watchers() == 0);
    // Who is told to end ends ssh, too.
    let log = office.lab.path("watch.log");
    let watch = Running::start("watch", office.command("boss").args(["watch", &id]), &log);
    wait_for("it watches", || watchers() == 1);
    watch.terminate();
    assert_eq!(watch.ended(), -1, "it died by the signal");
    wait_for("nobody watches", || watchers() == 0);
    assert_eq!(office.lab.build(&id).place.word(), "active");
    std::fs::write(go, "").expect("the sign");
    assert_eq!(office.lab.finished(&id).place.word(), "done");
}

#[test]
fn a_key_that_allows_a_terminal_gets_one_there() {
    let office = office();
    let go = office.lab.path("go");
    office.lab.job("waits", &format!("echo begun; while [ ! -e {} ]; do sleep 0.05; done", go.display()));
    let id = office.lab.run("waits");
    let _worker = office.lab.local_worker("w0", &[]);
    let watch = |who: &str| {
        let mut command = office.command(who);
        command.args(["watch", &id]);
        let mut terminal = Pty::start(&command, 60, 10);
        terminal.shows("] begun");
        terminal
    };
    let mut drawn = watch("screen");
    drawn.until("there is a status line below the console", |pty| {
        let lines = pty.lines();
        (lines.len() == 2 && lines[1].contains("waits: running")).then_some(())
    });
    assert!(drawn.lines().iter().all(|line| line.chars().count() <= 60), "{:?}", drawn.lines());
    drawn.types(b"\x03");
    assert_eq!(drawn.ended(), 130, "{}", drawn.printed());
    assert!(drawn.printed().contains("goes on; "), "{}", drawn.printed());
    // One that allows none has plain lines, and no complaint.
    let mut plain = watch("read");
    plain.types(b"\x03");
    assert_eq!(plain.ended(), -1, "it died by the signal: {}", plain.printed());
    assert!(!plain.printed().contains("PTY") && !plain.printed().contains("waits: running"), "{}", plain.printed());
    std::fs::write(go, "").expect("the sign");
    assert_eq!(office.lab.finished(&id).place.word(), "done");
}

#[test]
fn a_role_is_the_end_of_what_a_key_can_do() {
    let office = office();
    office.lab.job("hello", "true");
    let script = office.file("read", "s", "true");
    std::fs::copy(&script, office.file("submit", "s", "")).expect("a copy");
    let add = ["add", "new", "s", "--platform", PLATFORM, "--every", "never"];
    assert!(office.ok("read", &["ls"]).contains("hello"));
    office.says("read", &add).refused(77, "a-read has the role read: `add` takes the role submit");
    office.says("read", &["run", "hello"]).refused(77, "takes the role submit");
    assert_eq!(office.ok("submit", &add), "");
    let id = office.ok("submit", &["run", "hello"]).trim().to_owned();
    office.says("submit", &["rm", "hello"]).refused(77, "a-submit has the role submit: `rm` takes the role admin");
    office.says("submit", &["worker", "rm", "w"]).refused(77, "`worker rm` takes the role admin");
    office.says("read", &["cancel", &id]).refused(77, "takes the role submit");
    assert_eq!(office.ok("submit", &["cancel", &id]), format!("cancelled {id}\n"));
    for verb in [&["init"][..], &["gate", "--role", "admin"]] {
        office.ssh("admin", &[], &[&["builder"][..], verb].concat()).refused(77, "for the server's own users");
    }
    assert_eq!(office.ok("admin", &["rm", "hello"]), "removed job hello\n");
    assert_eq!(office.jobs(), ["new.toml"]);
}

#[test]
fn who_submits_gets_at_no_secret() {
    let office = office();
    let dir = office.lab.path("secrets").join("hello");
    std::fs::create_dir_all(&dir).expect("a directory");
    std::fs::write(dir.join("token"), "s3cret-token\n").expect("a secret");
    for (path, mode) in [(office.lab.path("secrets"), 0o700), (dir.clone(), 0o700), (dir.join("token"), 0o600)] {
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).expect("its mode");
    }
    office.lab.job_with("hello", "cat $BUILDER_SECRETS/token", &["--every", "never", "--secret", "token"]);
    office.file("submit", "s", "cat $BUILDER_SECRETS/token || echo none; ls $HOME/../secrets || echo nothing");
    let add = |name: &str, more: &[&str]| {
        office.says("submit", &[&["add", name, "s", "--platform", PLATFORM, "--every", "never"][..], more].concat())
    };
    add("mine", &["--secret", "token"]).refused(77, "`add` takes the role admin");
    add("hello", &["--replace"]).refused(77, "`add` takes the role admin");
    office.says("submit", &["set", "hello", "--script", "s"]).refused(77, "`set` takes the role admin");
    office.says("submit", &["edit", "hello", "--from", "s"]).refused(77, "`edit` takes the role admin");
    office.says("submit", &["run", "hello", "--set", "A=b"]).refused(77, "`run` takes the role admin");
    // The name of a job that had a secret, and is gone, is a name like any other.
    office.ok("admin", &["rm", "hello"]);
    assert_eq!(add("hello", &[]).code, 0);
    let _worker = office.lab.local_worker("w0", &[]);
    let id = office.ok("submit", &["run", "hello"]).trim().to_owned();
    office.lab.finished(&id);
    let log = office.ok("submit", &["log", &id]);
    assert!(log.contains("none\n") && log.contains("nothing\n") && !log.contains("s3cret"), "{log}");
}

#[test]
fn a_job_is_changed_and_edited_from_another_machine() {
    let office = office();
    office.lab.job("hello", "true");
    office.file("admin", "s", "echo another");
    assert!(office.ok("admin", &["set", "hello", "--script", "s", "--timeout", "5m"]).contains("hello is built"));
    let job = || office.lab.spool.job(&"hello".parse().expect("a name")).expect("the job");
    assert_eq!((job().script.as_str(), job().timeout_seconds), ("echo another", 300));
    let edit = |editor: &str| {
        let mut command = office.command("admin");
        command.args(["edit", "hello"]).env("EDITOR", editor).env_remove("VISUAL");
        Finished::of(&mut command)
    };
    assert_eq!(edit("true").stdout, "nothing was changed\n");
    let edited = edit("sed -i 's/^timeout_seconds.*/timeout_seconds = 77/'");
    assert_eq!((edited.code, job().timeout_seconds), (0, 77), "{edited:?}");
    let wrong = edit("sed -i 's/^timeout_seconds.*/timeout_secnods = 78/'");
    wrong.refused(65, "timeout_secnods");
    let kept = wrong.stderr.trim().rsplit(' ').next().expect("a path");
    std::fs::remove_file(kept).expect("the text is kept where it was edited");
    let ours = office.lab.program("builder").get_program().to_string_lossy().into_owned();
    let root = office.lab.root().display().to_string();
    let meanwhile = format!("sh -c '{ours} --spool {root} set hello --timeout 5s >&2; echo >> $1' sh");
    let late = edit(&meanwhile);
    assert!(late.code == 75 && late.stderr.contains("somebody else has changed hello"), "{late:?}");
    assert_eq!(job().timeout_seconds, 5);
    // An editor at the other end would be a shell there.
    office.ssh("admin", &[], &["builder", "edit", "hello"]).refused(77, "starts no editor here");
}

#[test]
fn there_is_no_shell_no_forwarding_and_no_file_transfer() {
    let office = office();
    let told = office.ssh("submit", &[], &[]);
    assert_eq!(told.code, 64, "{told:?}");
    assert!(told.stderr.contains("there is no shell here; a-submit may look, and submit"), "{told:?}");
    for words in [&["id"][..], &["sh", "-c", "id"], &["/bin/sh"], &["builder-run", "serve"], &["sudo", "builder", "ls"]]
    {
        office.ssh("admin", &[], words).refused(77, "can't be run here");
    }
    let terminal = office.ssh("admin", &["-tt"], &["builder", "ls"]);
    assert!(terminal.stderr.contains("PTY allocation request failed"), "{terminal:?}");
    let remote = office.ssh("admin", &["-o", "ExitOnForwardFailure=yes", "-R", "0:127.0.0.1:1"], &["builder", "ls"]);
    assert!(remote.stderr.contains("forwarding failed"), "{remote:?}");
    // What -L and -D ask for when somebody connects to their ends.
    let direct = office.ssh("admin", &["-W", "127.0.0.1:22"], &[]);
    assert!(direct.stderr.contains("administratively prohibited"), "{direct:?}");
    let options = office.ssh("admin", &["-v"], &["builder", "ls"]);
    let granted: Vec<&str> = options.stderr.lines().filter(|line| line.contains("key options:")).collect();
    assert!(!granted.is_empty(), "{options:?}");
    for line in granted {
        assert!(line.trim_end().ends_with("key options: command"), "nor an agent, X11 or ~/.ssh/rc: {line}");
    }
    let sftp = |who: &str| office.sshd.sftp(&office.lab, &office.lab.path(who), "pwd\n");
    assert_eq!(sftp("boss").code, 0, "without a gate there is one");
    assert_eq!((sftp("admin").code, sftp("admin").stdout.contains('/')), (255, false));
    office.ssh("admin", &[], &["scp", "-t", "."]).refused(77, "`scp` can't be run here");
    assert_eq!(office.ssh("admin", &["-s"], &["sftp"]).code, 77);
}

#[test]
fn no_file_of_the_server_and_no_other_spool() {
    let office = office();
    let secret = office.lab.script("secret", "echo secret");
    let secret = secret.to_str().expect("UTF-8");
    let platform = format!("--platform={PLATFORM}");
    for (words, says) in [
        (&["add", "x", secret, &platform][..], "reads no files of the server"),
        (&["add", "x", "./secret", &platform], "reads no files of the server"),
        (&["add", "x", "--template", secret, &platform], "a template is named here"),
        (&["add", "x", "--template=../people", &platform], "a template is named here"),
        (&["worker", "add", "w", secret, &platform], "reads no files of the server"),
        (&["get", "x"], "writes no files of the server"),
        (&["get", "x", "-o", "/tmp"], "writes no files of the server"),
        (&["--spool", "/tmp", "ls"], "--spool is not allowed here"),
        (&["ls", "--config=/dev/null"], "--config is not allowed here"),
        (&["--host", "elsewhere", "ls"], "--host is not allowed here"),
    ] {
        office.ssh("admin", &[], &[&["builder"][..], words].concat()).refused(77, says);
    }
    // A name is looked up among the templates only, wherever the gate runs.
    for name in ["secret", "..", "."] {
        let mut gate = office.lab.program("builder");
        gate.args(["gate", "--role", "submit"]).env("BUILDER_HOST", "elsewhere");
        gate.env("SSH_ORIGINAL_COMMAND", format!("builder add x --template {name} {platform}"));
        Finished::of(&mut gate).refused(66, "there is no template");
    }
    let added = office.sends("submit", &["builder", "add", "x", "-", &platform, "--every", "never"], "true");
    assert_eq!(added.code, 0, "{added:?}");
    assert_eq!(office.jobs(), ["x.toml"]);
}

#[test]
fn a_shells_characters_do_nothing() {
    let office = office();
    office.lab.job("hello", "true");
    let mark = office.lab.path("mark");
    let touch = format!("touch {}", mark.display());
    for (command, code) in [
        (format!("builder check; {touch}"), 64),
        (format!("builder check\n{touch}"), 64),
        (format!("builder check && {touch}"), 64),
        (format!("builder check | {touch}"), 64),
        (format!("builder check > {}", mark.display()), 64),
        (format!("builder show $({touch})"), 64),
        (format!("builder show \"$({touch})\""), 66),
        (format!("builder show '`{touch}`'"), 66),
        (format!("builder show \"x\n{touch}\""), 66),
        (format!("$({touch}) builder ls"), 77),
        (touch.clone(), 77),
        ("builder show 'hello".to_owned(), 64),
    ] {
        let refused = office.ssh("admin", &[], &[&command]);
        assert_eq!(refused.code, code, "{command:?} {refused:?}");
        assert_eq!(refused.stderr.trim_end().lines().count(), 1, "{command:?} {refused:?}");
        assert!(!mark.exists(), "{command:?}");
    }
    // And what is quoted here arrives as it is.
    let odd = format!("it's; {touch} $({touch}) `{touch}`\n\"*\" \\");
    for who in ["boss", "read"] {
        office.says(who, &["show", &odd]).refused(66, "there is no build or job `it\\'s; touch");
    }
    assert!(!mark.exists());
}

//! Users of the server's machine who don't own the spool: builderd has their verbs done, as far as builder.toml allows.

use harness::{Finished, Lab, PLATFORM, Running, eventually, wait_for};
use spool::door;
use std::fs::{File, Permissions};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Users that every Debian has, with their numbers (base-passwd(8)), as (user, group).
const OWNER: (u32, u32) = (34, 34);
const GAMES: (u32, u32) = (5, 60);
const NEWS: (u32, u32) = (9, 9);
const MAIL: (u32, u32) = (8, 8);
const NOBODY: (u32, u32) = (65534, 65534);
const UNKNOWN: (u32, u32) = (54321, 54321);

/// `games` may read by name, `news` submit by a supplementary group, and `mail` do everything by its first group.
const ROLES: &str = "[roles]\nread = [\"games\", \"news\"]\nsubmit = [\"@builders\"]\nadmin = [\"@mail\"]\n";

/// A lab whose spool belongs to OWNER and may not be entered by others, with copies of the programs for everybody.
struct Town {
    lab: Lab,
}

fn town() -> Option<Town> {
    if !harness::is_superuser() {
        return None;
    }
    let lab = Lab::new();
    std::fs::set_permissions(lab.path(""), Permissions::from_mode(0o755)).expect("its mode");
    let chown_all = Finished::of(Command::new("chown").arg("-R").arg("34:34").arg(lab.root()));
    assert_eq!(chown_all.code, 0, "{chown_all:?}");
    for dir in ["bin", "run", "games", "news", "mail", "nobody"] {
        std::fs::create_dir(lab.path(dir)).expect("a directory");
    }
    std::fs::set_permissions(lab.path("run"), Permissions::from_mode(0o1777)).expect("its mode");
    for (dir, (uid, gid)) in [("games", GAMES), ("news", NEWS), ("mail", MAIL), ("nobody", NOBODY)] {
        chown(lab.path(dir), Some(uid), Some(gid)).expect("its owner");
        std::fs::set_permissions(lab.path(dir), Permissions::from_mode(0o700)).expect("its mode");
    }
    for name in ["builder", "builderd", "builder-run"] {
        harness::copy_of(name, &lab.path("bin"));
    }
    let settings = format!(
        "spool = \"{}\"\nsocket = \"{}\"\ngrace_seconds = 2\n{ROLES}",
        lab.root().display(),
        lab.path("run/socket").display()
    );
    lab.script("builder.toml", &settings);
    Some(Town { lab })
}

impl Town {
    fn command(&self, program: &str, (uid, gid): (u32, u32), words: &[&str]) -> Command {
        let mut command = Command::new(self.lab.path("bin").join(program));
        command.env_clear().env("PATH", "/usr/bin:/bin").env("BUILDER_CONFIG", self.lab.config());
        command.args(words).uid(uid).gid(gid).current_dir("/");
        command
    }

    fn says(&self, who: (u32, u32), words: &[&str]) -> Finished {
        Finished::of(&mut self.command("builder", who, words))
    }

    fn ok(&self, who: (u32, u32), words: &[&str]) -> String {
        let said = self.says(who, words);
        assert_eq!(said.code, 0, "{words:?} {said:?}");
        said.stdout
    }

    /// builderd, for which `news` is in the group `builders`: in its own view of /etc/group.
    fn daemon(&self) -> Running {
        let mut groups = std::fs::read_to_string("/etc/group").expect("the groups");
        groups += "builders:x:4711:games-of-old,news\n";
        let file = self.lab.script("group", &groups);
        let mut command = Command::new("unshare");
        let enter = format!("mount --bind '{}' /etc/group && exec \"$0\"", file.display());
        command.args(["--mount", "sh", "-ec", &enter]).arg(self.lab.path("bin/builderd"));
        command.env("BUILDER_CONFIG", self.lab.config());
        let daemon = Running::start("builderd", &mut command, &self.lab.path("builderd.log"));
        wait_for("it serves", || UnixStream::connect(self.socket()).is_ok());
        daemon
    }

    fn socket(&self) -> PathBuf {
        self.lab.path("run/socket")
    }

    fn file(&self, name: &str, (uid, gid): (u32, u32), text: &str) -> String {
        let path = self.lab.script(name, text);
        chown(&path, Some(uid), Some(gid)).expect("its owner");
        std::fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("its mode");
        path.to_str().expect("UTF-8").to_owned()
    }

    fn jobs(&self) -> Vec<String> {
        let mut names = spool::disk::names(&self.lab.spool.layout().jobs()).expect("the jobs");
        names.retain(|name| name != ".lock");
        names
    }

    /// A build that runs until the file `go` is there. Returns its id.
    fn waiting_build(&self) -> (String, Running) {
        let go = self.lab.path("go");
        let script = self.file("waits", OWNER, &format!("while [ ! -e {} ]; do sleep 0.05; done", go.display()));
        self.ok(OWNER, &["add", "waits", &script, "--platform", PLATFORM, "--every", "never"]);
        let id = self.ok(OWNER, &["run", "waits"]).trim().to_owned();
        let worker = self.worker();
        wait_for("it runs", || self.lab.build(&id).place.word() == "active");
        (id, worker)
    }

    fn worker(&self) -> Running {
        let root = self.lab.root().to_str().expect("UTF-8");
        let work = self.lab.path("work");
        std::fs::create_dir_all(&work).expect("a directory");
        chown(&work, Some(OWNER.0), Some(OWNER.1)).expect("its owner");
        let words = ["worker", "--local", root, "--platform", PLATFORM, "--work", work.to_str().expect("UTF-8")];
        Running::start("worker", &mut self.command("builder-run", OWNER, &words), &self.lab.path("worker.log"))
    }
}

#[test]
fn a_user_does_what_the_role_allows() {
    let Some(town) = town() else { return };
    let _daemon = town.daemon();
    let script = town.file("news/script", NEWS, "echo of news; echo x > x; exit 3");
    let add = ["add", "job", &script, "--platform", PLATFORM, "--every", "never"];
    town.says(GAMES, &["add", "job", "-", "--platform", PLATFORM]).refused(77, "games has the role read");
    town.says(NEWS, &["rm", "job"]).refused(77, "news has the role submit: `rm` takes the role admin");
    assert_eq!(town.ok(NEWS, &add), "");
    let id = town.ok(NEWS, &["run", "job"]).trim().to_owned();
    assert_eq!(town.worker().ended(), 0);
    assert_eq!(town.says(GAMES, &["watch", &id]).code, 3, "the build's exit code");
    assert_eq!(town.ok(GAMES, &["log", "job"]), "of news\n");
    assert_eq!(town.ok(MAIL, &["rm", "job"]), "removed job job\n");
    for (who, name) in [(NOBODY, "nobody"), (UNKNOWN, "54321")] {
        town.says(who, &["ls"]).refused(77, &format!("user {name} has no role"));
    }
    assert_eq!(town.jobs(), Vec::<String>::new());
    // The record is the owner's, the copy of an artifact the user's.
    let output = town.lab.path("games/out");
    let output = output.to_str().expect("UTF-8");
    assert_eq!(town.ok(GAMES, &["get", &id, "-o", output]), format!("{output}/x\n"));
    assert_eq!(std::fs::metadata(format!("{output}/x")).expect("a file").uid(), GAMES.0);
    town.says(GAMES, &["get", &id, "-o", "/etc"]).refused(77, "can't create /etc/");
    for entry in walkdir::WalkDir::new(town.lab.root()).into_iter().flatten() {
        assert_eq!(entry.metadata().expect("its owner").uid(), OWNER.0, "{}", entry.path().display());
    }
}

#[test]
fn files_are_opened_by_whoever_names_them() {
    let Some(town) = town() else { return };
    let _daemon = town.daemon();
    let add =
        |name: &str, script: &str| town.says(NEWS, &["add", name, script, "--platform", PLATFORM, "--every=never"]);
    let own = town.file("news/script", NEWS, "echo of news");
    assert_eq!(add("own", &own).code, 0, "which the spool's owner can't read");
    let roots = town.file("run/roots", (0, 0), "echo of root");
    add("roots", &roots).refused(77, "can't read");
    let owners = town.file("run/owners", OWNER, "echo of the owner");
    add("owners", &owners).refused(77, "can't read");
    add("missing", "/nowhere/script").refused(66, "/nowhere/script");
    let mut child = town.command("builder", NEWS, &["add", "typed", "-", "--platform", PLATFORM, "--every=never"]);
    let mut child = child.stdin(Stdio::piped()).spawn().expect("builder");
    child.stdin.take().expect("a pipe").write_all(b"echo typed").expect("written");
    assert!(child.wait().expect("its end").success());
    assert_eq!(town.jobs(), ["own.toml", "typed.toml"]);
    assert_eq!(town.lab.spool.job(&"typed".parse().expect("a name")).expect("the job").script, "echo typed");
    // Who talks to the door without the client gets no further: here the superuser, whose role is admin.
    let null = File::options().read(true).write(true).open("/dev/null").expect("/dev/null");
    for (command, code) in [
        (format!("builder add x {owners} --platform {PLATFORM}"), 77),
        ("builder --spool /tmp ls".to_owned(), 77),
        ("builder get own -o /tmp".to_owned(), 77),
        ("builder gate --role admin".to_owned(), 77),
        ("sh -c id".to_owned(), 77),
        ("builder ls; id".to_owned(), 64),
        ("builder ls".to_owned(), 0),
    ] {
        let stream = UnixStream::connect(town.socket()).expect("the door");
        door::ask(&stream, &command, [null.as_fd(); 3]).expect("asked");
        assert_eq!(door::answered(&stream).expect("an answer").status, code, "{command}");
    }
}

#[test]
fn a_client_that_goes_away_takes_its_verb_with_it() {
    let Some(town) = town() else { return };
    let daemon = town.daemon();
    let (id, _worker) = town.waiting_build();
    let watch = |name: &str| {
        let log = town.lab.path(name);
        let watch = Running::start(name, &mut town.command("builder", GAMES, &["watch", &id]), &log);
        wait_for("it watches", || town.lab.watchers(&id) == 1);
        watch
    };
    watch("killed").kill();
    wait_for("nobody watches", || town.lab.watchers(&id) == 0);
    let interrupted = watch("interrupted");
    interrupted.terminate();
    interrupted.ended();
    wait_for("nobody watches", || town.lab.watchers(&id) == 0);
    // And when builderd goes, neither stays; the build does.
    let left = watch("left");
    daemon.terminate();
    assert_eq!(daemon.ended(), 0);
    assert_eq!(left.ended(), 75);
    wait_for("nobody watches", || town.lab.watchers(&id) == 0);
    assert!(!town.socket().exists(), "a clean end");
    assert_eq!(town.lab.build(&id).place.word(), "active");
    std::fs::write(town.lab.path("go"), "").expect("the sign");
    assert_eq!(town.lab.finished(&id).place.word(), "done");
}

#[test]
fn idlers_and_garbage_keep_nobody_from_anything() {
    let Some(town) = town() else { return };
    let daemon = town.daemon();
    let mut idlers: Vec<UnixStream> =
        (0..100).map(|_| UnixStream::connect(town.socket()).expect("a connection")).collect();
    assert_eq!(town.ok(GAMES, &["ls"]), "", "whoever else fills the room");
    let due = spool::clock::now() + std::time::Duration::from_millis(500);
    let script = town.file("due", OWNER, "true");
    town.ok(OWNER, &["add", "due", &script, "--platform", PLATFORM, "--at", &due.to_string()]);
    wait_for("the timer fires", || !town.lab.spool.open_builds().expect("readable").is_empty());
    for (n, idler) in idlers.iter_mut().enumerate() {
        let garbage: &[u8] = match n % 5 {
            0 => b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
            1 => &[0xff; 4096],
            2 => b"\0\0\0\x0abuilder ls",
            3 => b"\0\0",
            _ => b"",
        };
        // It may have been turned away already.
        let _ = idler.write_all(garbage);
    }
    // Too many descriptors, and none of them kept. As long as there are too many others, this one is turned away.
    let null = File::open("/dev/null").expect("/dev/null");
    let stream = eventually("it is let in with them", || {
        let stream = UnixStream::connect(town.socket()).expect("the door");
        send_with_descriptors(&stream, b"\0\0\0\x0abuilder ls", &[null.as_fd(); 60]).then_some(stream)
    });
    for mut one in idlers.into_iter().chain([stream]) {
        // All are dropped in the end, and hear at the most that there are too many of them.
        let mut said = Vec::new();
        one.set_read_timeout(Some(harness::DEADLINE)).expect("a deadline");
        let ended = one.read_to_end(&mut said);
        assert!(!ended.is_err_and(|e| e.kind() == ErrorKind::WouldBlock), "it is kept");
        assert!(said.is_empty() || said[0] == 75, "{said:?}");
    }
    let open = || std::fs::read_dir(format!("/proc/{}/fd", daemon.pid())).expect("its files").count();
    wait_for("nothing of them is left", || open() < 30);
    assert_eq!(town.ok(GAMES, &["ls", "--json"]).lines().next(), Some("{"));
    let _idler = UnixStream::connect(town.socket()).expect("a connection");
    daemon.terminate();
    assert_eq!(daemon.ended(), 0, "nobody keeps it from stopping");
}

fn send_with_descriptors(stream: &UnixStream, bytes: &[u8], descriptors: &[std::os::fd::BorrowedFd<'_>]) -> bool {
    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(60))];
    let mut rights = SendAncillaryBuffer::new(&mut space);
    assert!(rights.push(SendAncillaryMessage::ScmRights(descriptors)));
    sendmsg(stream, &[std::io::IoSlice::new(bytes)], &mut rights, SendFlags::NOSIGNAL).is_ok()
}

#[test]
fn without_builderd_the_owner_works_and_others_are_told_how() {
    let Some(town) = town() else { return };
    let script = town.file("script", OWNER, "true");
    let add = ["add", "job", &script, "--platform", PLATFORM, "--every", "never"];
    assert_eq!(town.ok(OWNER, &add), "", "the owner needs nobody");
    let other_ways = "belongs to user 34, and no builderd answers you";
    for words in [&["run", "job"][..], &["ls"], &["get", "job"]] {
        let refused = town.says(NEWS, words);
        refused.refused(77, other_ways);
        assert!(refused.stderr.contains("sudo -u '#34' builder …"), "{refused:?}");
    }
    // A socket that a crash left is nobody's, and makes room.
    town.daemon().kill();
    assert!(town.socket().exists());
    town.says(NEWS, &["run", "job"]).refused(77, other_ways);
    let _daemon = town.daemon();
    let second = town.command("builderd", OWNER, &["--once"]);
    Finished::of(&mut { second }).refused(75, "another builderd serves");
    assert_eq!(town.ok(NEWS, &["run", "job"]).lines().count(), 1);
    // Who may enter the spool reads it without builderd's help, role or not.
    std::fs::set_permissions(town.lab.root(), Permissions::from_mode(0o755)).expect("its mode");
    assert!(town.ok(NOBODY, &["ls"]).contains("job"));
    town.says(NOBODY, &["run", "job"]).refused(77, "has no role");
}

/// Who is being served is served to the end, as the one who came in.
#[test]
fn new_roles_take_effect_at_a_hangup_and_hang_up_on_nobody() {
    let Some(town) = town() else { return };
    let daemon = town.daemon();
    let (id, worker) = town.waiting_build();
    let mut watch = town.command("builder", GAMES, &["watch", &id]);
    let watch = Running::start("watch", &mut watch, &town.lab.path("watch.log"));
    wait_for("it watches", || town.lab.watchers(&id) == 1);
    town.says(NOBODY, &["ls"]).refused(77, "user nobody has no role");
    let settings = std::fs::read_to_string(town.lab.config()).expect("settings");
    let changed = settings.replace("[\"games\", \"news\"]", "[\"nobody\"]");
    assert_ne!(changed, settings);
    std::fs::write(town.lab.config(), changed).expect("settings");
    let pid = rustix::process::Pid::from_raw(daemon.pid().cast_signed()).expect("a process");
    harness::signal(&[pid], rustix::process::Signal::HUP);
    wait_for("it has read them", || daemon.said().contains("has read the configuration again"));
    assert!(town.ok(NOBODY, &["ls"]).contains("waits"));
    town.says(GAMES, &["ls"]).refused(77, "user games has no role");
    std::fs::write(town.lab.path("go"), "").expect("a file");
    assert_eq!(watch.ended(), 0);
    assert_eq!(worker.ended(), 0);
}

#[test]
fn nobody_can_stand_in_for_builderd() {
    let Some(town) = town() else { return };
    std::fs::set_permissions(town.lab.root(), Permissions::from_mode(0o755)).expect("its mode");
    let own = town.lab.path("nobody/spool");
    let settings = format!("spool = \"{}\"\nsocket = \"{}\"\n", own.display(), town.socket().display());
    let settings = town.file("nobody/builder.toml", NOBODY, &settings);
    let nobody = |program: &str, words: &[&str]| {
        let mut command = town.command(program, NOBODY, words);
        command.env("BUILDER_CONFIG", &settings);
        command
    };
    assert_eq!(Finished::of(&mut nobody("builder", &["init"])).code, 0);
    let _false = Running::start("false", &mut nobody("builderd", &[]), &town.lab.path("false.log"));
    eventually("it listens", || UnixStream::connect(town.socket()).ok());
    town.says(NEWS, &["cancel", "x"]).refused(77, "is user 65534's");
    // The true one does not take its place while it is served, and works without a door.
    let log = town.lab.path("true.log");
    let daemon = Running::start("true", &mut town.command("builderd", OWNER, &[]), &log);
    wait_for("it serves", || daemon.said().contains("serves"));
    assert!(daemon.said().contains("somebody listens at"), "{}", daemon.said());
}

/// Monitoring runs as nobody who owns anything.
#[test]
fn who_watches_hears_that_builderd_is_dead_whoever_they_are() {
    let Some(town) = town() else { return };
    let watch = |more: &[&str]| town.says(GAMES, &[&["status", "--nagios", "--free", "0,0"], more].concat());
    let dead = || {
        let said = watch(&[]);
        assert_eq!((said.code, said.stdout.as_str()), (2, "BUILDER CRITICAL - builderd does not run\n"), "{said:?}");
    };
    dead();
    let daemon = town.daemon();
    let well = watch(&[]);
    assert!(well.code == 0 && well.stdout.starts_with("BUILDER OK"), "{well:?}");
    // It leaves a socket at which nobody listens.
    daemon.kill();
    wait_for("it is gone", || UnixStream::connect(town.socket()).is_err());
    assert!(town.socket().exists());
    dead();
    let wrong = watch(&["--queue", "1"]);
    assert!(wrong.code == 3 && wrong.stdout.contains("are not two bounds"), "{wrong:?}");
    // A socket that this user can't reach says nothing of builderd.
    std::fs::set_permissions(town.lab.path("run"), Permissions::from_mode(0o700)).expect("its mode");
    let unknown = watch(&[]);
    assert!(unknown.code == 3 && unknown.stdout.starts_with("BUILDER UNKNOWN - "), "{unknown:?}");
}

//! A worker that lies: in its messages, in their order, in how many they are, and by saying nothing. Whatever it does, its
//! own build ends or goes back into its queue, the spool is whole, and the next worker is served.
//!
//! The liar talks to the real server process, as one that holds a stolen key could.

use harness::{Lab, Liar, wait_for};
use serde_json::{Value, json};
use spool::digest::Sha256;
use spool::record::Outcome;

/// A lab with a build that the liar holds, and a daemon.
struct Court {
    lab: Lab,
    _daemon: harness::Running,
}

impl Court {
    fn new(limits: &str) -> Court {
        let lab = Lab::new();
        lab.configure(limits);
        let daemon = lab.daemon();
        lab.job("job", "echo honest; echo honest > honest");
        Court { _daemon: daemon, lab }
    }

    /// The liar and a build that it was given.
    fn begin(&self) -> (Liar, String) {
        self.begin_as("liar")
    }

    fn begin_as(&self, name: &str) -> (Liar, String) {
        self.lab.run("job");
        let mut liar = Liar::connect_as(&self.lab, name);
        liar.hello();
        liar.say(&json!({"t": "ready"}), b"");
        let given = liar.hear_until("build");
        (liar, given["id"].as_str().expect("an id").to_owned())
    }

    /// As [`Court::begin`], with the build accepted.
    fn accepted(&self) -> (Liar, String) {
        let (mut liar, id) = self.begin();
        liar.say(&json!({"t": "accept", "id": id, "inputs": {}}), b"");
        wait_for("it may upload", || self.lab.root().join("active").join(&id).join("upload").is_dir());
        (liar, id)
    }

    /// Nobody else has lost anything: the spool is whole, and an honest worker builds what is queued, the liar's build
    /// among it if that went back.
    fn is_unharmed(&self) {
        let id = self.lab.run("job");
        let honest = self.lab.local_worker("honest", &["--keep"]);
        assert_eq!(self.lab.outcome(&id), Outcome::Exited { code: 0 }, "{}", honest.said());
        assert_eq!(self.lab.ok(&["log", &id]), "honest\n");
        wait_for("nothing is left open", || self.lab.spool.open_builds().expect("builds").is_empty());
        self.lab.check();
        self.lab.ok(&["check"]);
        honest.terminate();
        assert_eq!(honest.ended(), 0);
    }
}

fn offer(path: &str, content: &[u8], size: u64) -> Value {
    json!({"t": "offer", "files": [{"path": path, "size": size, "sha256": Sha256::of(content).to_string()}]})
}

fn finish() -> Value {
    json!({"t": "finish", "outcome": {"kind": "exited", "code": 0}, "duration_ms": 1})
}

#[test]
fn about_hashes_and_what_was_sent() {
    let court = Court::new("");
    let (mut liar, id) = court.accepted();
    liar.say(&offer("a", b"promised", 8), b"");
    liar.say(&finish(), b"");
    let wanted = liar.hear_until("want");
    assert_eq!(wanted["sha256"], json!([Sha256::of(b"promised").to_string()]));
    liar.upload(&court.lab, &[("a", b"something else".as_slice())]);
    for _ in 0..3 {
        // It says that it has sent it, again and again.
        liar.say(&finish(), b"");
        assert_eq!(liar.hear_until("want")["sha256"], wanted["sha256"]);
    }
    drop(liar);
    wait_for("the build is queued again", || court.lab.build(&id).place.word() == "queued");
    court.is_unharmed();
    assert!(!court.lab.spool.layout().object(&Sha256::of(b"something else")).exists(), "what nobody offered is gone");
}

#[test]
fn about_sizes() {
    let court = Court::new("");
    for announced in [0, 3, 9, u64::MAX / 2] {
        let (mut liar, id) = court.accepted();
        liar.upload(&court.lab, &[("a", b"eight by".as_slice())]);
        liar.say(&offer("a", b"eight by", announced), b"");
        liar.say(&finish(), b"");
        liar.hear_until("finished");
        let Outcome::Aborted { reason } = court.lab.outcome(&id) else { panic!("{:?}", court.lab.outcome(&id)) };
        assert!(reason.contains("was announced with") || reason.contains("it left more than"), "{reason}");
        assert!(court.lab.build(&id).manifest().expect("readable").is_empty());
    }
    court.is_unharmed();
}

#[test]
fn about_paths() {
    let court = Court::new("[limits]\npath_bytes = 20\n");
    for path in ["../../jobs/job.toml", "/etc/passwd", "a/../../b", "", ".", "a\nb", "a\0b", "honest/../x"] {
        let (mut liar, id) = court.accepted();
        liar.say(&offer(path, b"x", 1), b"");
        liar.is_hung_up_on();
        wait_for("the build is queued again", || court.lab.build(&id).place.word() != "active");
        court.lab.ok(&["cancel", &id]);
    }
    let (mut liar, id) = court.accepted();
    liar.say(&offer("a/path/of/more/than/twenty/bytes", b"x", 1), b"");
    liar.say(&finish(), b"");
    liar.hear_until("finished");
    let Outcome::Aborted { reason } = court.lab.outcome(&id) else { panic!("{:?}", court.lab.outcome(&id)) };
    assert!(reason.contains("more than 20 bytes"), "{reason}");
    drop(liar);
    // A file where another one needs a directory.
    let (mut liar, id) = court.accepted();
    liar.upload(&court.lab, &[("a", b"x".as_slice())]);
    liar.say(&offer("a", b"x", 1), b"");
    liar.say(&offer("a/b", b"x", 1), b"");
    liar.say(&finish(), b"");
    liar.hear_until("finished");
    assert!(matches!(court.lab.outcome(&id), Outcome::Aborted { .. }));
    court.is_unharmed();
}

#[test]
fn about_how_many_they_are() {
    let court = Court::new("");
    let (mut liar, id) = court.accepted();
    let sha256 = Sha256::of(b"").to_string();
    let tiny: Vec<Value> = (0..2000).map(|n| json!({"path": format!("{n}"), "size": 0, "sha256": sha256})).collect();
    let offer = json!({"t": "offer", "files": tiny});
    // After the first hundred thousand they are not looked at, whether ten million come or these.
    for _ in 0..60 {
        liar.say(&offer, b"");
    }
    liar.say(&finish(), b"");
    liar.hear_until("finished");
    let Outcome::Aborted { reason } = court.lab.outcome(&id) else { panic!("{:?}", court.lab.outcome(&id)) };
    assert!(reason.contains("it left more than 100000 artifacts"), "{reason}");
    court.is_unharmed();
}

#[test]
fn by_uploading_without_end() {
    let court = Court::new("[limits]\nartifacts = 100\nartifact_bytes = 100000\n");
    let (liar, _) = court.accepted();
    let names: Vec<String> = (0..300).map(|n| n.to_string()).collect();
    let contents: Vec<String> = names.iter().map(|name| format!("content {name}")).collect();
    let files: Vec<(&str, &[u8])> = names.iter().zip(&contents).map(|(n, c)| (n.as_str(), c.as_bytes())).collect();
    let refused = liar.try_upload(&court.lab, &files).expect_err("there are too many");
    assert!(refused.contains("100"), "{refused}");
    let area = || spool::disk::names(&liar.upload_area(&court.lab)).expect("the upload area");
    wait_for("they are counted", || area().len() <= 100);
    let huge = vec![b'x'; 200_000];
    liar.try_upload(&court.lab, &[("huge", &huge)]).expect_err("it is too much");
    drop(liar);
    court.is_unharmed();
}

#[test]
fn by_saying_things_out_of_turn() {
    let court = Court::new("");
    let before: [(&str, Vec<Value>); 6] = [
        ("ready", vec![json!({"t": "ready"})]),
        ("finish", vec![finish()]),
        ("resume", vec![json!({"t": "resume", "id": "20261124T094701.123Z-a@p-k3f9x2", "lease": ""})]),
        ("two hellos", vec![Liar::greeting(), Liar::greeting()]),
        ("a build of its own", vec![json!({"t": "build", "id": "x"})]),
        ("another protocol", vec![json!({"t": "hello", "protocol": 4_000_000_000_u32})]),
    ];
    for (what, messages) in before {
        let mut liar = Liar::connect(&court.lab);
        messages.iter().for_each(|message| liar.say(message, b""));
        let last = liar.last_words();
        assert!(last.is_some(), "{what}: it is told why");
    }
    let other = court.lab.run("job");
    for (what, message, raw) in [
        ("hello", Liar::greeting(), b"".as_slice()),
        ("ready", json!({"t": "ready"}), b""),
        ("resume", json!({"t": "resume", "id": other, "lease": ""}), b""),
        ("somebody else's build", json!({"t": "accept", "id": other, "inputs": {}}), b""),
        ("an input that is none", json!({"t": "input", "name": "../../format", "n": 1}), b"9"),
        ("too much console", json!({"t": "con", "ms": 0, "n": 70_000}), &[b'x'; 70_000]),
    ] {
        let (mut liar, id) = court.begin();
        liar.say(&message, raw);
        assert!(liar.last_words().is_some(), "{what}");
        wait_for("the build is queued again", || court.lab.build(&id).place.word() != "active");
    }
    court.is_unharmed();
}

#[test]
fn by_finishing_before_it_begins_and_twice() {
    let court = Court::new("");
    let (mut liar, id) = court.begin();
    liar.say(&finish(), b"");
    liar.hear_until("finished");
    assert_eq!(court.lab.build(&id).place.word(), "done");
    liar.say(&finish(), b"");
    assert!(liar.last_words().is_some());
    assert_eq!(court.lab.build(&id).place.word(), "done");
    court.is_unharmed();
}

#[test]
fn with_numbers_that_are_none() {
    let court = Court::new("");
    for outcome in [json!({"kind": "signalled", "signal": i32::MAX}), json!({"kind": "signalled", "signal": -1})] {
        let (mut liar, id) = court.accepted();
        liar.say(&json!({"t": "con", "ms": u64::MAX, "n": 1}), b"x");
        liar.say(&json!({"t": "finish", "outcome": outcome, "duration_ms": u64::MAX}), b"");
        liar.hear_until("finished");
        let result = court.lab.build(&id).result().expect("readable").expect("there");
        assert!(result.duration_ms < 3_600_000, "{result:?}");
        assert!(matches!(result.outcome, Outcome::Aborted { .. }), "{result:?}");
        court.lab.ok(&["show", &id]);
    }
    let (mut liar, _) = court.accepted();
    liar.say(&json!({"t": "con", "ms": 0, "n": u64::MAX}), b"");
    liar.is_hung_up_on();
    court.is_unharmed();
}

#[test]
fn by_floods() {
    let court = Court::new("[limits]\nconsole_bytes = 100000\n");
    // A line without an end, and one that is nested without an end.
    for flood in [
        vec![b'x'; 3 << 20],
        vec![b'['; 1 << 20],
        [b"{\"t\":\"hello\",\"system\":".as_slice(), &[b'{'; 300_000]].concat(),
    ] {
        let mut liar = Liar::connect(&court.lab);
        liar.say_raw(&flood);
        liar.say_raw(b"\n");
        liar.is_hung_up_on();
    }
    let (mut liar, id) = court.accepted();
    for _ in 0..20_000 {
        liar.say(&json!({"t": "ping"}), b"");
    }
    for n in 0..50 {
        liar.say(&json!({"t": "con", "ms": n, "n": 60_000}), &vec![b'x'; 60_000]);
    }
    assert_eq!(liar.hear_until("cancel")["outcome"]["kind"], "aborted");
    liar.say(&finish(), b"");
    liar.hear_until("finished");
    let Outcome::Aborted { reason } = court.lab.outcome(&id) else { panic!("{:?}", court.lab.outcome(&id)) };
    assert!(reason.contains("it printed more than 100000 bytes"), "{reason}");
    assert!(court.lab.ok(&["log", &id]).len() <= 100_000);
    court.is_unharmed();
}

#[test]
fn by_silence() {
    let court = Court::new("");
    let mut idle = Liar::connect(&court.lab);
    idle.hello();
    let (mut liar, id) = court.begin_as("liar2");
    // Neither of them answers a ping.
    wait_for("the build is queued again", || court.lab.build(&id).place.word() == "queued");
    liar.is_hung_up_on();
    idle.is_hung_up_on();
    court.is_unharmed();
}

#[test]
fn by_never_finishing() {
    let court = Court::new("[limits]\nbuild_seconds = 1\nhandover_seconds = 1\n");
    let (mut liar, id) = court.accepted();
    let said = liar.hear_until("error");
    assert!(said["text"].as_str().expect("a text").contains("did not hand it over"), "{said}");
    let Outcome::Aborted { reason } = court.lab.outcome(&id) else { panic!("{:?}", court.lab.outcome(&id)) };
    assert!(reason.contains("within 1 s after its time"), "{reason}");
    court.is_unharmed();
}

#[test]
fn about_who_it_is() {
    let court = Court::new("");
    let patient = std::fs::read_to_string(court.lab.config()).expect("the configuration");
    let patient = patient.replace("grace_seconds = 2", "grace_seconds = 60");
    std::fs::write(court.lab.config(), patient).expect("the configuration");
    let (mut liar, id) = court.accepted();
    let mut second = Liar::connect(&court.lab);
    second.hello();
    let refused = second.last_words().expect("it is told why");
    assert!(refused["text"].as_str().expect("a text").contains("is connected already"), "{refused}");
    // Another worker that has heard of the build, and not of its lease.
    let mut thief = Liar::connect_as(&court.lab, "thief");
    thief.hello();
    thief.say(&json!({"t": "resume", "id": id, "lease": "0".repeat(32)}), b"");
    assert_eq!(thief.hear_until("lapsed")["id"], id.as_str());
    assert!(thief.try_upload(&court.lab, &[("x", b"x".as_slice())]).is_err());
    liar.say(&finish(), b"");
    liar.hear_until("finished");
    court.is_unharmed();
}

#[test]
fn whoever_gets_hold_of_the_server_process_gets_nothing_else() {
    let court = Court::new("[limits]\nartifact_bytes = 10\nconsole_bytes = 10\n");
    let (mut liar, id) = court.accepted();
    let about = |file: &str| std::fs::read_to_string(format!("/proc/{}/{file}", liar.pid())).expect("a process");
    let (status, limits) = (about("status"), about("limits"));
    let says = |text: &str, word: &str, value: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(word)).expect("the word");
        assert_eq!(line.split_ascii_whitespace().next(), Some(value), "{word}{line}");
    };
    says(&status, "NoNewPrivs:", "1");
    says(&status, "Seccomp:", "2");
    says(&limits, "Max core file size", "0");
    says(&limits, "Max data size", "1073741824");
    says(&limits, "Max open files", "1024");
    // The list of a system's packages has more bytes than an artifact may have here.
    let packages = vec![b'x'; 1 << 20];
    liar.say(&json!({"t": "input", "name": "packages", "n": packages.len()}), &packages);
    liar.say(&finish(), b"");
    liar.hear_until("finished");
    assert_eq!(court.lab.outcome(&id), Outcome::Exited { code: 0 });
}

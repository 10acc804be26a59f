//! Workers sign what they say, the server seals what it has recorded, and anybody can check it: with ssh-keygen(1) and
//! sha256sum(1), as SIGNATURES.md says, and nothing of builder.

use harness::sealed::{Change, SCRIPT, changed, sealed, signed};
use harness::{Finished, Lab, Liar, Running, wait_for};
use serde_json::{Value, json};
use spool::digest::Sha256;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const DOCUMENT: &str = include_str!("../SIGNATURES.md");

/// What SIGNATURES.md has anybody type.
fn documented() -> String {
    let blocks = DOCUMENT.split("```sh\n").skip(1);
    let blocks: Vec<&str> = blocks.map(|rest| rest.split("```").next().expect("an end")).collect();
    assert_eq!(blocks.len(), 2);
    blocks.concat()
}

/// Does it in a copy of a build's directory, with the server's key from elsewhere. Fails at the first thing that is wrong.
fn by_hand(lab: &Lab, dir: &Path, keys: &Path, id: &str) -> Finished {
    let copy = lab.path("copy");
    harness::put_copy(dir, &copy);
    let mut sh = Command::new("sh");
    sh.args(["-euc", &documented()]).env("keys", keys).env("build", id).current_dir(&copy).stdin(Stdio::null());
    Finished::of(&mut sh)
}

/// The server's key, as somebody has fetched it.
fn keys(lab: &Lab) -> PathBuf {
    let keys = lab.path("keys");
    std::fs::copy(lab.root().join("signers"), &keys).expect("the server's keys");
    keys
}

#[test]
fn with_ssh_keygen_and_sha256sum_and_nothing_else() {
    let lab = Lab::new();
    let (dir, id) = signed(&lab, &[]);
    let keys = keys(&lab);
    let done = by_hand(&lab, &dir, &keys, &id);
    assert_eq!(done.code, 0, "{done:?}");
    for what in ["statement@builder", "seal@builder", "provenance@builder"] {
        assert!(done.stdout.contains(&format!("Good \"{what}\" signature")), "{done:?}");
    }
    let said = lab.ok(&["verify-signature", &id, "--signers", keys.to_str().expect("UTF-8")]);
    let lines: Vec<&str> = said.lines().map(str::trim).collect();
    assert!(lines[0].contains("signed by worker jail1 with SHA256:"), "{said}");
    assert!(lines[1].contains("signed by the server with SHA256:"), "{said}");
    let files = std::fs::read_to_string(dir.join("seal")).expect("a seal").lines().count();
    assert!(
        files >= 11 && lines[2].ends_with(&format!("{files} files and 3 artifacts are as the seal says")),
        "{said}"
    );
    assert_eq!(lab.builder(&["verify-signature", &id]).stdout, said);
    // Whoever only looks at it is told whose keys they are, and has nothing checked.
    let keys_of: Vec<&str> = said.lines().take(2).filter_map(|line| line.rsplit(' ').next()).collect();
    let shown = lab.ok(&["show", &id]);
    let rows: Vec<&str> = shown.lines().map(str::trim).collect();
    assert!(rows.contains(&format!("signed       {} (the worker)", keys_of[0]).as_str()), "{shown}");
    assert!(rows.contains(&format!("sealed       {} (the server)", keys_of[1]).as_str()), "{shown}");
    let shown: Value = serde_json::from_str(&lab.ok(&["show", "--json", &id])).expect("JSON");
    assert_eq!(shown["signed_with"], json!({"worker": keys_of[0], "server": keys_of[1]}));
    lab.check();
    assert_eq!(
        std::fs::metadata(lab.root().join(".ssh/builder-server")).expect("a key").permissions().mode() & 0o777,
        0o600
    );
    // Another key is not trusted, whatever lies in the spool, and another build is not this one.
    let other = lab.key("other");
    let public = std::fs::read_to_string(other.with_extension("pub")).expect("a key");
    let strangers = lab.script("strangers", &format!("server@builder {public}"));
    assert_ne!(by_hand(&lab, &dir, &strangers, &id).code, 0);
    let refused = lab.builder(&["verify-signature", &id, "--signers", strangers.to_str().expect("UTF-8")]);
    assert!(refused.code == 1 && refused.stdout.contains("NOT GOOD"), "{refused:?}");
    assert_ne!(by_hand(&lab, &dir, &keys, &id.replace("job", "jab")).code, 0);
    // The worker's key from elsewhere counts where it is brought along.
    let mut both = std::fs::read_to_string(&keys).expect("keys");
    both += &format!("jail1 {public}");
    let both = lab.script("both", &both);
    let refused = lab.builder(&["verify-signature", &id, "--signers", both.to_str().expect("UTF-8")]);
    assert!(refused.code == 1 && refused.stdout.contains("by another key than the worker's"), "{refused:?}");
}

#[test]
fn the_statement_says_what_went_in_and_what_came_out() {
    let lab = Lab::new();
    let (dir, id) = signed(&lab, &[]);
    let digest = |name: &str| Sha256::of(&std::fs::read(dir.join(name)).expect("a file"));
    let public = std::fs::read_to_string(lab.path("jail1.pub")).expect("a key");
    let key: Vec<&str> = public.split(' ').take(2).collect();
    let mut text = format!("builder statement 1\nbuild {id}\nworker jail1\nkey {}\n", key.join(" "));
    for name in ["script", "environment", "packages", "manifest"] {
        if dir.join(name).exists() {
            text += &format!("{name} {}\n", digest(name));
        }
    }
    text += "outcome exited 0\n";
    assert_eq!(std::fs::read_to_string(dir.join("statement")).expect("a statement"), text);
    assert!(text.contains("\nenvironment ") && text.contains("\nmanifest "));
}

#[test]
fn a_provenance_says_what_was_made_of_what() {
    let lab = Lab::new();
    let (dir, id) = signed(&lab, &[]);
    let printed = lab.ok(&["export", "--provenance", &id]);
    assert_eq!(printed, std::fs::read_to_string(dir.join("provenance.json")).expect("an envelope"));
    let refused =
        changed(&dir.join("provenance.json"), Change::Flipped(100), || lab.builder(&["export", "--provenance", &id]));
    assert!(refused.code == 65 && refused.stdout.is_empty(), "{refused:?}");
    let refused = changed(&dir.join("seal.sig"), Change::Gone, || lab.builder(&["export", "--provenance", &id]));
    assert!(refused.code == 65 && refused.stdout.is_empty(), "{refused:?}");
    let done = by_hand(&lab, &dir, &keys(&lab), &id);
    assert_eq!(done.code, 0, "{done:?}");
    let payload = std::fs::read(lab.path("copy/payload")).expect("a payload");
    let said: Value = serde_json::from_slice(&payload).expect("JSON");
    assert_eq!(said["_type"], "https://in-toto.io/Statement/v1");
    assert_eq!(said["predicateType"], "https://slsa.dev/provenance/v1");
    let named = |list: &Value| -> Vec<(String, String)> {
        let one = |one: &Value| {
            (one["name"].as_str().expect("a name").into(), one["digest"]["sha256"].as_str().expect("a digest").into())
        };
        list.as_array().expect("a list").iter().map(one).collect()
    };
    let of = |text: &str| Sha256::of(text.as_bytes()).to_string();
    assert_eq!(named(&said["subject"]), [("bin/tool".to_owned(), of("tool\n")), ("text".to_owned(), of("text\n"))]);
    let predicate = &said["predicate"];
    assert_eq!(predicate["buildDefinition"]["externalParameters"]["job"], "job");
    assert_eq!(predicate["runDetails"]["metadata"]["invocationId"], id.as_str());
    let dependencies = named(&predicate["buildDefinition"]["resolvedDependencies"]);
    assert!(dependencies.contains(&("artifacts/system-packages".to_owned(), of("dep\n"))), "{dependencies:?}");
    let script = Sha256::of(&std::fs::read(dir.join("script")).expect("a script")).to_string();
    assert!(dependencies.contains(&("script".to_owned(), script)), "{dependencies:?}");
}

/// A build that nobody can sign.
fn unsigned(lab: &Lab, worker: Running, id: &str) -> PathBuf {
    let dir = sealed(lab, id);
    assert_eq!(worker.ended(), 0);
    assert!(!dir.join("statement.sig").exists() && !dir.join("signers").exists() && dir.join("statement").is_file());
    let refused = lab.builder(&["verify-signature", id]);
    assert!(refused.code == 1 && refused.stdout.contains("not signed by worker"), "{refused:?}");
    assert_eq!(lab.builder(&["verify-signature", id, "--unsigned"]).code, 0);
    lab.check();
    dir
}

#[test]
fn a_worker_without_a_usable_key_builds_all_the_same_and_says_so_once() {
    let lab = Lab::new();
    let _daemon = lab.daemon();
    lab.job("job", SCRIPT);
    // The server knows no key of this one.
    let id = lab.run("job");
    unsigned(&lab, lab.local_worker("plain", &[]), &id);
    assert!(!std::fs::read_to_string(lab.path("plain.log")).expect("a log").contains("signature"));
    // This one's has a passphrase.
    let key = lab.add_worker("locked");
    let locks = ["-q", "-p", "-P", "", "-N", "secret", "-f"];
    assert_eq!(Finished::of(Command::new("ssh-keygen").args(locks).arg(&key)).code, 0);
    let ids = [lab.run("job")];
    let worker = lab.local_worker("locked", &["--identity", key.to_str().expect("UTF-8")]);
    unsigned(&lab, worker, &ids[0]);
    let said = std::fs::read_to_string(lab.path("locked.log")).expect("a log");
    assert_eq!(said.matches("without this worker's signature").count(), 1, "{said}");
    // This one has another one than the server knows.
    lab.add_worker("stranger");
    let other = lab.key("other");
    let id = lab.run("job");
    unsigned(&lab, lab.local_worker("stranger", &["--identity", other.to_str().expect("UTF-8")]), &id);
}

#[test]
fn a_key_in_an_agent_signs() {
    let lab = Lab::new();
    let sshd = lab.sshd();
    let key = lab.add_worker("jail1");
    let socket = lab.path("agent");
    let mut agent = Command::new("ssh-agent");
    let _agent = Running::start("ssh-agent", agent.arg("-D").arg("-a").arg(&socket), &lab.path("agent.log"));
    // ssh-add(1) exits with 2 while nobody answers at the socket, which is there earlier.
    let asks = || Finished::of(Command::new("ssh-add").arg("-l").env("SSH_AUTH_SOCK", &socket)).code;
    wait_for("the agent listens", || asks() != 2);
    let added = Finished::of(Command::new("ssh-add").arg("-q").arg(&key).env("SSH_AUTH_SOCK", &socket));
    assert_eq!(added.code, 0, "{added:?}");
    std::fs::remove_file(&key).expect("removed");
    lab.job("job", SCRIPT);
    let id = lab.run("job");
    let _daemon = lab.daemon();
    let mut worker = sshd.worker_program(&lab, "jail1", &key.with_extension("pub"), &[]);
    let worker = Running::start("jail1", worker.env("SSH_AUTH_SOCK", &socket), &lab.path("jail1.log"));
    sealed(&lab, &id);
    assert_eq!(worker.ended(), 0);
    assert_eq!(lab.builder(&["verify-signature", &id]).code, 0);
}

#[test]
fn without_ssh_keygen_builds_are_not_sealed_and_nothing_piles_up() {
    let lab = Lab::new();
    lab.job("job", SCRIPT);
    let empty = lab.path("empty");
    std::fs::create_dir(&empty).expect("a directory");
    let mut daemon = lab.program("builderd");
    let daemon = Running::start("builderd", daemon.env("PATH", &empty), &lab.path("builderd.log"));
    let ids = [lab.run("job"), lab.run("job")];
    let _worker = lab.local_worker("w", &["--keep"]);
    let ids = if ids[0] == ids[1] { vec![ids[0].clone()] } else { ids.to_vec() };
    for id in &ids {
        let dir = sealed(&lab, id);
        assert!(!dir.join("seal").exists() && !dir.join("statement").exists());
        let refused = lab.builder(&["verify-signature", id]);
        assert!(refused.code == 1 && refused.stdout.contains("not signed by the server"), "{refused:?}");
    }
    let said = daemon.said();
    assert_eq!(said.matches("builds are not sealed: ssh-keygen is not installed").count(), 1, "{said}");
    lab.check();
    drop(daemon);
    // What was not sealed then is not sealed later, and what comes later is.
    let _daemon = lab.daemon();
    let id = lab.run("job");
    assert!(sealed(&lab, &id).join("seal").exists());
    assert!(!lab.build(&ids[0]).dir().join("seal").exists());
}

#[test]
fn a_server_with_another_key_goes_on_and_its_earlier_seals_stay_good() {
    let lab = Lab::new();
    let (_, first) = signed(&lab, &[]);
    let key = lab.key("own");
    lab.configure(&format!("signing_key = {key:?}"));
    let _daemon = lab.daemon();
    let id = lab.run("job");
    let _worker = lab.local_worker("w", &[]);
    sealed(&lab, &id);
    for id in [&first, &id] {
        assert_eq!(lab.builder(&["verify-signature", id, "--unsigned"]).code, 0);
    }
    assert_eq!(std::fs::read_to_string(lab.root().join("signers")).expect("keys").lines().count(), 2);
    lab.check();
    std::fs::write(lab.root().join("signers"), "").expect("written");
    let findings = lab.spool.check(true).expect("readable").findings;
    assert!(
        findings.len() == 2 && findings.iter().all(|one| one.wrong.contains("is no key of the server")),
        "{findings:#?}"
    );
}

/// Signs something as ssh-keygen(1) does.
fn sign(key: &Path, namespace: &str, text: &str) -> String {
    let file = key.with_extension("text");
    std::fs::write(&file, text).expect("a text");
    let input = std::fs::File::open(&file).expect("a text");
    let signed =
        Finished::reading(Command::new("ssh-keygen").args(["-q", "-Y", "sign", "-n", namespace, "-f"]).arg(key), input);
    assert_eq!(signed.code, 0, "{signed:?}");
    signed.stdout
}

#[test]
fn what_a_lying_worker_signs_vouches_for_nothing_else() {
    let lab = Lab::new();
    let key = lab.add_worker("liar");
    let other = lab.key("other");
    lab.job("job", "true");
    let daemon = lab.daemon();
    // What is signed, by whom, for what; and what becomes of it.
    type Lie<'a> = (&'a dyn Fn(&str) -> (String, String), &'a str);
    let honest = |text: &str| (text.to_owned(), sign(&key, "statement@builder", text));
    let outcome = |text: &str| honest(&text.replace("exited 1", "exited 0"));
    let build = |text: &str| honest(&text.replace("-job@", "-jab@"));
    let manifest = |text: &str| honest(&text.replace("outcome", &format!("manifest {}\noutcome", Sha256::of(b"x"))));
    let more = |text: &str| honest(&format!("{text}and more\n"));
    let stolen = |text: &str| (text.to_owned(), sign(&other, "statement@builder", text));
    let elsewhere = |text: &str| (text.to_owned(), sign(&key, "file", text));
    let seals = |text: &str| (text.to_owned(), sign(&key, "seal@builder", text));
    let garbage = |text: &str| (text.to_owned(), "-----BEGIN SSH SIGNATURE-----\n\x1b[2J".to_owned());
    let long = |text: &str| (text.to_owned(), "x".repeat(100_000));
    let longer = |_: &str| ("x".repeat(500_000), "x".repeat(500_000));
    let lies: [Lie<'_>; 11] = [
        (&honest, "good"),
        (&outcome, "dropped"),
        (&build, "dropped"),
        (&manifest, "dropped"),
        (&more, "dropped"),
        (&garbage, "dropped"),
        (&long, "dropped"),
        (&longer, "dropped"),
        (&stolen, "bad"),
        (&elsewhere, "bad"),
        (&seals, "bad"),
    ];
    let mut liar = Liar::connect(&lab);
    liar.hello();
    for (number, (lie, becomes)) in lies.iter().enumerate() {
        let id = lab.run("job");
        liar.say(&json!({"t": "ready"}), b"");
        let given = liar.hear_until("build");
        let (id_given, key) = (given["id"].as_str().expect("an id"), given["signer"]["key"].as_str().expect("a key"));
        assert_eq!((id_given, given["signer"]["worker"].as_str()), (id.as_str(), Some("liar")));
        let environment = Sha256::of(b"A=b\n");
        liar.say(&json!({"t": "accept", "id": id, "inputs": {"environment": environment.to_string()}}), b"");
        if number == 0 {
            liar.hear_until("need");
            liar.say(&json!({"t": "input", "name": "environment", "n": 4}), b"A=b\n");
        }
        let script = std::fs::read(lab.build(&id).dir().join("script")).expect("a script");
        let text = format!(
            "builder statement 1\nbuild {id}\nworker liar\nkey {key}\nscript {}\nenvironment {environment}\noutcome exited 1\n",
            Sha256::of(&script)
        );
        let (statement, signature) = lie(&text);
        let signed = json!({"statement": statement, "signature": signature});
        let outcome = json!({"kind": "exited", "code": 1});
        liar.say(&json!({"t": "finish", "outcome": outcome, "duration_ms": 1, "signed": signed}), b"");
        liar.hear_until("finished");
        let dir = sealed(&lab, &id);
        let result = lab.build(&id).result().expect("readable").expect("a result");
        let noted = result.skipped.iter().any(|line| line.starts_with("statement.sig: "));
        let kept = dir.join("statement.sig").exists();
        assert_eq!((kept, noted), (*becomes != "dropped", *becomes == "dropped"), "{number}: {:?}", result.skipped);
        let said = lab.builder(&["verify-signature", &id]);
        assert_eq!(said.code == 0, *becomes == "good", "{number}: {said:?}");
        assert_eq!(said.stdout.contains("NOT GOOD"), *becomes == "bad", "{number}: {said:?}");
        assert!(said.stdout.contains("signed by the server with"), "{number}: {said:?}");
        assert_eq!(daemon.said().contains(&format!("its worker's signature is not good: it does not fit the statement, or is by another key than the worker's build={id}")), *becomes == "bad", "{}", daemon.said());
    }
    lab.check();
    // Ten megabytes are no message.
    let id = lab.run("job");
    liar.say(&json!({"t": "ready"}), b"");
    liar.hear_until("build");
    liar.say(&json!({"t": "accept", "id": id}), b"");
    let signed = json!({"statement": "x".repeat(10 << 20), "signature": ""});
    liar.say(
        &json!({"t": "finish", "outcome": {"kind": "exited", "code": 0}, "duration_ms": 1, "signed": signed}),
        b"",
    );
    let last = liar.last_words().expect("an error");
    assert!(last["text"].as_str().is_some_and(|text| text.contains("longer than")), "{last}");
}

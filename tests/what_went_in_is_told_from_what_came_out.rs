//! What went into a build is told from what came out of it, also among the files that its script left, and both have a
//! digest that anybody can compute again.

use harness::{Lab, PLATFORM};

/// Leaves what a template leaves: inputs, and two things that were built.
const SCRIPT: &str = r#"
echo "installed: [\"dune.3.$N\"]" > opam-switch
mkdir -p deps/a bin
echo "$N" > deps/a/lock
echo other > deps/b
echo hello > bin/hello
echo doc > doc
"#;

fn built(lab: &Lab, job: &str, variables: &[&str]) -> String {
    let id = lab.run(job);
    let words: Vec<&str> = variables.iter().flat_map(|pair| ["--env", pair]).collect();
    assert_eq!(lab.local_worker("w", &words).ended(), 0);
    lab.finished(&id);
    id
}

fn record(lab: &Lab, id: &str) -> serde_json::Value {
    serde_json::from_str(&lab.ok(&["show", id, "--json"])).expect("JSON")
}

fn shell(lab: &Lab, id: &str, script: &str) -> String {
    let mut sh = std::process::Command::new("sh");
    sh.args(["-euc", script]).current_dir(lab.build(id).dir());
    harness::Finished::of(&mut sh).stdout.trim().to_owned()
}

#[test]
fn anybody_can_compute_both_digests_again() {
    let lab = Lab::new();
    lab.job_with("job", SCRIPT, &["--input", "deps", "--every", "never"]);
    let id = built(&lab, "job", &["N=1"]);
    let result = record(&lab, &id)["result"].clone();
    assert_eq!(result["inputs"], serde_json::json!(["deps/a/lock", "deps/b", "opam-switch"]), "{result}");
    let output = "grep -v -e artifacts/deps/ -e artifacts/opam-switch manifest | sha256sum | cut -d ' ' -f 1";
    assert_eq!(result["output"], shell(&lab, &id, output));
    assert_eq!(result["manifest"], shell(&lab, &id, "sha256sum < manifest | cut -d ' ' -f 1"));
    let input = format!(
        "(echo platform {PLATFORM}
        for f in script environment packages artifacts/deps/a/lock artifacts/deps/b artifacts/opam-switch; do
            echo $f $(sha256sum < $f | cut -d ' ' -f 1)
        done) | sha256sum | cut -d ' ' -f 1"
    );
    assert_eq!(result["input"], shell(&lab, &id, &input));
    lab.check();
}

#[test]
fn an_input_that_differs_makes_another_input_and_the_same_output() {
    let lab = Lab::new();
    let number = lab.path("n");
    lab.job_with("same", &format!("N=$(cat {}){SCRIPT}", number.display()), &["--input", "deps", "--every", "never"]);
    std::fs::write(&number, "1").expect("written");
    let one = built(&lab, "same", &[]);
    std::fs::write(&number, "2").expect("written");
    let two = built(&lab, "same", &[]);
    let page = lab.ok(&["show", &one]);
    assert!(
        page.contains("Reproduced by 1 build\n") && page.contains(&format!("{two}  {PLATFORM}  different input")),
        "{page}"
    );
    let said = lab.builder(&["diff", &one, &two, "--plain"]);
    assert_eq!(said.code, 1, "{said:?}");
    for line in [
        "Opam packages",
        "  ~ dune  3.1 -> 3.2",
        "Other inputs",
        "  ~ deps/a/lock",
        "Content of deps/a/lock",
        "Same output, 2 artifacts",
    ] {
        assert!(said.stdout.lines().any(|one| one.starts_with(line)), "{line}\n{}", said.stdout);
    }
    assert!(!said.stdout.contains("deps/b"), "it is the same");
    assert_eq!(lab.builder(&["diff", &one, &one]).code, 0);
}

/// A list may say the same in other bytes: then its bytes are compared.
#[test]
fn no_byte_of_an_input_differs_unseen() {
    let lab = Lab::new();
    let comment = lab.path("comment");
    lab.job("job", &format!("(echo 'installed: []'; cat {}) > opam-switch; echo x > x", comment.display()));
    std::fs::write(&comment, "# one\n").expect("written");
    let one = built(&lab, "job", &[]);
    std::fs::write(&comment, "# two\n").expect("written");
    let two = built(&lab, "job", &[]);
    let said = lab.builder(&["diff", &one, &two, "--plain"]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.stdout.contains("Other inputs\n  ~ opam-switch") && said.stdout.contains("-# one"), "{}", said.stdout);
    assert!(!said.stdout.contains("Same input"), "{}", said.stdout);
}

#[test]
fn the_main_artifact_is_what_people_get() {
    let lab = Lab::new();
    lab.job_with("job", SCRIPT, &["--input", "deps/", "--every", "never"]);
    let id = built(&lab, "job", &["N=1"]);
    let page = lab.ok(&["show", &id]);
    let ends = |path: &str, end: &str| page.lines().any(|line| line.trim().starts_with(path) && line.ends_with(end));
    assert!(ends("bin/hello ", "  main artifact") && ends("deps/b ", "  input") && ends("doc ", ")"), "{page}");
    let out = lab.path("out");
    lab.ok(&["get", "job", "--main", "-o", out.to_str().expect("UTF-8")]);
    assert_eq!(std::fs::read_to_string(out.join("bin/hello")).expect("it"), "hello\n");
    assert!(!out.join("doc").exists());
    assert!(lab.ok(&["latest", "job"]).contains("bin/hello SHA256:"), "{}", lab.ok(&["latest", "job"]));
    // Another one may be named, and one that is not there is said to be missing.
    lab.ok(&["set", "job", "--main", "doc"]);
    let id = built(&lab, "job", &["N=1"]);
    assert_eq!(record(&lab, &id)["result"]["main"]["path"], "doc");
    lab.ok(&["set", "job", "--main", "bin/helo", "--input", "lock"]);
    let id = built(&lab, "job", &["N=1"]);
    let page = lab.ok(&["show", &id]);
    for line in ["lock: the job's input was not left", "bin/helo: the job's main artifact was not left"] {
        assert!(page.contains(line), "{page}");
    }
    lab.builder(&["get", "job", "--main"]).refused(66, "has no main artifact");
    lab.ok(&["set", "job", "--main", "none", "--input", "none"]);
    let id = built(&lab, "job", &["N=1"]);
    assert_eq!(record(&lab, &id)["result"]["main"]["path"], "bin/hello");
    assert_eq!(record(&lab, &id)["result"]["inputs"], serde_json::json!(["opam-switch"]));
    lab.builder(&["set", "job", "--input", "/etc/passwd"]).refused(64, "--input: `/etc/passwd` can't be");
    lab.builder(&["set", "job", "--main", "../x"]).refused(64, "--main: ");
}

/// A byte of an input that is changed, and a word of the record, are found; nothing else is.
#[test]
fn damage_on_either_side_is_found() {
    let lab = Lab::new();
    lab.job_with("job", SCRIPT, &["--input", "deps", "--every", "never"]);
    let id = built(&lab, "job", &["N=1"]);
    lab.ok(&["check", "--deep"]);
    let dir = lab.build(&id).dir();
    let result = std::fs::read_to_string(dir.join("result.toml")).expect("it");
    let damaged = |text: String, says: &str| {
        std::fs::write(dir.join("result.toml"), text).expect("written");
        let said = lab.builder(&["check", "--deep"]);
        assert!(said.code != 0 && said.stdout.contains(says), "{says}: {said:?}");
        std::fs::write(dir.join("result.toml"), &result).expect("written");
    };
    let line =
        |key: &str| result.lines().find(|line| line.starts_with(&format!("{key} = "))).expect("a line").to_owned();
    let other = format!("\"{}\"", "0".repeat(64));
    damaged(result.replace(&line("output"), &format!("output = {other}")), "I10");
    damaged(result.replace(&line("manifest"), &format!("manifest = {other}")), "I10");
    damaged(result.replace(&line("inputs"), "inputs = [\"opam-switch\"]"), "I10");
    damaged(result.replace(&line("input"), &format!("input = {other}")), "I12");
    lab.ok(&["check", "--deep"]);
    let lock = dir.join("artifacts/deps/a/lock");
    std::fs::remove_file(&lock).expect("removed");
    assert!(lab.builder(&["check"]).stdout.contains("deps/a/lock"));
    lab.ok(&["check", "--repair"]);
    assert_eq!(std::fs::read_to_string(&lock).expect("mended"), "1\n");
    lab.ok(&["check", "--deep"]);
}

//! What differs between two builds is named: in what went in, in what came out, and within it.

use harness::{Finished, Lab, wait_for};
use std::path::Path;

/// Runs a job once with a worker of some more variables. Returns the build's id.
fn built(lab: &Lab, job: &str, variables: &[&str]) -> String {
    let id = lab.run(job);
    let words: Vec<&str> = variables.iter().flat_map(|pair| ["--env", pair]).collect();
    let worker = lab.local_worker("w", &words);
    assert_eq!(worker.ended(), 0);
    lab.finished(&id);
    id
}

/// What `builder diff` prints of builds that differ.
fn diff(lab: &Lab, words: &[&str]) -> String {
    let said = lab.builder(&[&["diff"][..], words].concat());
    assert_eq!(said.code, 1, "{said:?}");
    said.stdout
}

fn has(page: &str, lines: &[&str]) {
    for line in lines {
        assert!(page.lines().any(|there| there == *line), "no line `{line}` in\n{page}");
    }
}

/// What orb leaves, and robur's builder compares: variables, packages, an opam switch.
const ORB: &str = r#"
printf 'OPAMROOT=/o\nN=%s\n' "$N" > build-environment
printf 'gcc 12 amd64\nm4 %s amd64\n' "$N" > system-packages
printf 'opam-version: "2.0"\ninstalled: ["dune.3.%s" "fmt.0.9.0"]\n' "$N" > opam-switch
mkdir bin; echo the same > bin/tool; echo "$TOOL" > bin/other
"#;

#[test]
fn what_the_script_left_of_its_inputs_is_compared_name_by_name() {
    let lab = Lab::new();
    lab.job("orb", ORB);
    let (one, two) = (built(&lab, "orb", &["N=6", "GONE=x"]), built(&lab, "orb", &["N=7", "NEW=y"]));
    let page = diff(&lab, &[&one, &two, "--brief"]);
    has(&page, &["Environment", "  - GONE  x", "  ~ N  6 -> 7", "  + NEW  y"]);
    has(&page, &["Build environment, as the script left it", "  ~ N  6 -> 7"]);
    has(&page, &["System packages, as the script left them", "  ~ m4  6 amd64 -> 7 amd64"]);
    has(&page, &["Opam packages", "  ~ dune  3.6 -> 3.7", "Same output, 2 artifacts"]);
    assert!(!page.contains("fmt") && !page.contains("gcc") && !page.contains("OPAMROOT"), "{page}");
    assert!(page.starts_with(&format!("--- {one}  exited 0, worker w\n+++ {two}")), "{page}");
    // A job alone stands for its last two that differ in what came out, the older one first.
    lab.builder(&["diff", "orb"]).refused(66, "no two builds on debian-12 that differ");
    let three = built(&lab, "orb", &["N=7", "TOOL=x"]);
    let page = diff(&lab, &["orb", "--brief"]);
    assert!(page.starts_with(&format!("--- {two}  exited 0, worker w\n+++ {three}")), "{page}");
    has(&page, &["Artifacts", "  1 the same"]);
    assert_eq!(page, diff(&lab, &[&two, &three, "--brief"]));
    let json: serde_json::Value = serde_json::from_str(&diff(&lab, &[&one, &two, "--json"])).expect("JSON");
    assert_eq!(json["inputs"][3]["list"], "opam-switch", "{json}");
    assert_eq!(json["inputs"][3]["changes"][0]["right"], "3.7", "{json}");
}

#[test]
fn builds_with_the_same_bytes_are_the_same_whoever_made_them() {
    let lab = Lab::new();
    lab.job("one", "echo x > x");
    let (first, second) = (built(&lab, "one", &[]), built(&lab, "one", &[]));
    let said = lab.builder(&["diff", &first, &second]);
    assert_eq!(said.code, 0, "{said:?}");
    has(&said.stdout, &["Same input", "Same output, 1 artifact"]);
}

/// tar(1) writes when each file was changed: diffoscope says so, and without it the byte where they part is named.
#[test]
fn a_date_in_an_archive_is_found_by_diffoscope_and_without_it() {
    let lab = Lab::new();
    lab.job("tar", "echo x > f; tar -cf all.tar --mtime=\"@$WHEN\" f");
    for when in ["WHEN=1000000000", "WHEN=1111111111"] {
        built(&lab, "tar", &[when]);
    }
    assert!(diff(&lab, &["tar"]).contains("2001-09-09"), "{}", diff(&lab, &["tar"]));
    let page = diff(&lab, &["tar", "--plain"]);
    assert!(page.contains("of 10240 bytes differ, the first at 13"), "{page}");
    // Where there is none in PATH, it is not missed.
    let mut without = lab.program("builder");
    let said = Finished::of(without.args(["diff", "tar"]).env("PATH", lab.path("nothing")));
    assert_eq!((said.code, said.stdout), (1, page));
}

/// A worker's bytes reach no program, and no terminal, by way of somebody else's verb.
#[test]
fn what_a_worker_has_sent_moves_no_cursor_and_is_not_given_to_programs_for_others() {
    let lab = Lab::new();
    lab.job("hostile", "printf 'a\\033[2Jb%s\\n' \"$N\" > text; printf 'N\\033[2J=%s\\n' \"$N\" > build-environment");
    for n in ["N=1", "N=2"] {
        built(&lab, "hostile", &[n]);
    }
    // A stand-in, since what is shown here is that it is not started.
    let (bin, mark) = (lab.path("bin"), lab.path("started"));
    std::fs::create_dir(&bin).expect("a directory");
    let fake = lab.script("bin/diffoscope", &format!("#!/bin/sh\ntouch {}\nexit 1\n", mark.display()));
    harness::make_executable(&fake);
    let path = format!("{}:/usr/bin:/bin", bin.display());
    let gate = |words: &str| {
        let mut gate = lab.program("builder");
        gate.args(["gate", "--role", "read"]).env("SSH_ORIGINAL_COMMAND", format!("builder diff hostile {words}"));
        Finished::of(gate.env("PATH", &path))
    };
    gate("").refused(77, "say --plain");
    let said = gate("--plain");
    assert_eq!((said.code, mark.exists()), (1, false), "{said:?}");
    assert!(!said.stdout.contains('\u{1b}') && said.stdout.contains("  -a?[2Jb1"), "{}", said.stdout);
    // Whoever types it for themselves gets it.
    let mine = Finished::of(lab.program("builder").args(["diff", "hostile"]).env("PATH", &path));
    assert_eq!((mine.code, mark.exists()), (1, true), "{mine:?}");
}

#[test]
fn a_diffoscope_that_fails_is_named_and_can_be_done_without() {
    let lab = Lab::new();
    lab.job("noise", "date +%N > n");
    (0..2).for_each(|_| drop(built(&lab, "noise", &[])));
    let bin = lab.path("bin");
    std::fs::create_dir(&bin).expect("a directory");
    harness::make_executable(&lab.script("bin/diffoscope", "#!/bin/sh\necho one >&2; echo the end >&2; exit 2\n"));
    let path = format!("{}:/usr/bin:/bin", bin.display());
    let said = Finished::of(lab.program("builder").args(["diff", "noise"]).env("PATH", &path));
    said.refused(70, "diffoscope has failed: the end; --plain compares without it");
    assert_eq!(Finished::of(lab.program("builder").args(["diff", "noise", "--plain"]).env("PATH", &path)).code, 1);
}

/// A build that runs has nothing to compare; its job stands for the one before it.
#[test]
fn a_job_stands_for_its_newest_build_that_is_over() {
    let lab = Lab::new();
    let go = lab.path("go");
    lab.job("job", &format!("date +%N > n; [ -z \"$WAIT\" ] || while ! [ -e {} ]; do sleep 0.05; done", go.display()));
    let (one, two) = (built(&lab, "job", &[]), built(&lab, "job", &[]));
    let third = lab.run("job");
    let worker = lab.local_worker("w", &["--env", "WAIT=1"]);
    wait_for("it runs", || lab.build(&third).place.word() == "active");
    let page = diff(&lab, &["job", "--plain"]);
    assert!(page.starts_with(&format!("--- {one}")) && page.contains(&format!("+++ {two}")), "{page}");
    lab.builder(&["diff", &one, &third]).refused(75, "is not over");
    std::fs::write(Path::new(&go), "").expect("a file");
    assert_eq!(worker.ended(), 0);
}

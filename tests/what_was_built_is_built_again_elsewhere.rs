//! `builder repro` prints a script that needs nothing of builder: it builds again what was built, and says whether the same
//! comes out.

use harness::{Finished, Lab, make_executable};
use std::path::PathBuf;
use std::process::Command;

/// Two artifacts with odd names and an input, from what the script sees.
const SCRIPT: &str = r#"#!/bin/sh
mkdir bin
echo "$BUILDER_JOB $BUILDER_PLATFORM $SOURCE_DATE_EPOCH $COLOUR" > bin/hello
printf 'END\nno end' > 'back\slash and blank'
date +%N > opam-switch
[ ! -e /nonexistent ] && [ "$(umask)" = 0022 ] && [ "$PWD" != "$HOME" ]
"#;

/// A build, and the script that repeats it.
struct Repro {
    lab: Lab,
    id: String,
    script: PathBuf,
}

impl Repro {
    fn of(script: &str, words: &[&str]) -> Repro {
        let lab = Lab::new();
        lab.job_with("job", script, &[&["--every", "never"], words].concat());
        let id = lab.run("job");
        assert_eq!(lab.local_worker("w", &["--env", "COLOUR=it's blue"]).ended(), 0);
        lab.finished(&id);
        let printed = lab.ok(&["repro", "job"]);
        let script = lab.script("again.sh", &printed);
        Repro { lab, id, script }
    }

    fn run(&self, shell: &str, words: &[&str]) -> Finished {
        Finished::of(self.command(shell, words).env("TMPDIR", self.lab.path("")))
    }

    fn command(&self, shell: &str, words: &[&str]) -> Command {
        let mut command = Command::new(shell);
        command
            .arg(&self.script)
            .args(words)
            .env("COLOUR", "red")
            .env("SOURCE_DATE_EPOCH", "0")
            .env("TZ", "Asia/Tokyo");
        command
    }

    fn change(&self, from: &str, to: &str) {
        let text = std::fs::read_to_string(&self.script).expect("the script");
        assert!(text.contains(from), "{from}");
        std::fs::write(&self.script, text.replace(from, to)).expect("written");
    }
}

#[test]
fn the_same_comes_out_in_any_shell_whatever_the_environment() {
    let repro = Repro::of(SCRIPT, &[]);
    for shell in ["dash", "bash"] {
        let said = repro.run(shell, &[]);
        assert_eq!(said.code, 0, "{said:?}");
        assert!(said.stderr.contains(&format!("the same came out as in {}", repro.id)), "{said:?}");
    }
    let checked = Command::new("shellcheck").args(["-s", "sh"]).arg(&repro.script).output().expect("shellcheck");
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
    let listed = repro.run("sh", &["--list"]);
    assert_eq!(listed.code, 0, "{listed:?}");
    for line in [&format!("build {}", repro.id), "COLOUR=it's blue", "BUILDER_JOB=job"] {
        assert!(listed.stdout.lines().any(|one| one == line), "{line}: {}", listed.stdout);
    }
}

#[test]
fn what_differs_is_missing_or_is_too_much_is_named() {
    let text = Lab::new();
    let file = text.path("text");
    std::fs::write(&file, "one").expect("written");
    let script = format!(
        "cp {} f; grep -q one f && echo x > only; grep -q two f && mkdir d && echo x > d/more; ! grep -q fail f",
        file.display()
    );
    let repro = Repro::of(&script, &[]);
    assert_eq!(repro.run("sh", &[]).code, 0);
    std::fs::write(&file, "fail").expect("written");
    // A script that fails says nothing of what would have come out.
    let said = repro.run("sh", &[]);
    assert_eq!((said.code, said.stderr.contains("rebuild: the script exited 1")), (2, true), "{said:?}");
    std::fs::write(&file, "two").expect("written");
    let said = repro.run("sh", &["--dir", repro.lab.path("there").to_str().expect("UTF-8")]);
    assert_eq!(said.code, 1, "{said:?}");
    for line in ["different: f", "missing: only", "not there before: d/more"] {
        assert!(said.stderr.lines().any(|one| one == line), "{line}: {said:?}");
    }
    assert_eq!(std::fs::read_to_string(repro.lab.path("there/output/f")).expect("it"), "two");
    let said = repro.run("sh", &["--dir", repro.lab.path("there").to_str().expect("UTF-8")]);
    assert_eq!((said.code, said.stderr.contains("can't be made")), (2, true), "{said:?}");
}

#[test]
fn a_file_that_was_damaged_a_secret_that_is_missing_and_a_typo_are_said() {
    let repro = Repro::of("echo x > f", &[]);
    let said = repro.run("sh", &["--drr"]);
    assert_eq!((said.code, said.stderr.contains("what is --drr?")), (2, true), "{said:?}");
    repro.change("echo x > f", "echo y > f");
    let said = repro.run("sh", &[]);
    assert_eq!((said.code, said.stderr.contains("this file was damaged")), (2, true), "{said:?}");
    repro.change("needs_secrets=''", "needs_secrets='token'");
    let said = repro.run("sh", &[]);
    assert_eq!((said.code, said.stderr.contains("reads the secrets token: give --secrets DIR")), (2, true), "{said:?}");
}

/// Nothing is installed on the machine of who runs the tests: a recorder stands in for apt-get(8).
#[test]
fn packages_are_compared_and_installed_as_they_were_recorded() {
    let repro = Repro::of("echo x > f", &[]);
    let bin = repro.lab.path("bin");
    std::fs::create_dir(&bin).expect("a directory");
    let installed = repro.lab.path("installed");
    make_executable(
        &repro.lab.script("bin/apt-get", &format!("#!/bin/sh\nprintf '%s\\n' \"$@\" >> {}\n", installed.display())),
    );
    let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", bin.display());
    let said = Finished::of(
        repro.command("sh", &["--install", "--strict"]).env("PATH", &path).env("TMPDIR", repro.lab.path("")),
    );
    assert_eq!(said.code, 0, "{said:?}");
    let asked = std::fs::read_to_string(&installed).expect("what was asked for");
    let recorded = std::fs::read_to_string(repro.lab.build(&repro.id).dir().join("packages")).expect("packages");
    for line in recorded.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let [name, version, architecture] = words[..] else { panic!("{line}") };
        let name = if architecture == "all" { name.to_owned() } else { format!("{name}:{architecture}") };
        assert!(asked.lines().any(|one| one == format!("{name}={version}")), "{line}");
    }
    // Another version is said; who wants none says so.
    let first = recorded.lines().next().expect("a package").to_owned();
    repro.change(&format!("{first}\n"), &format!("{}\n", first.replace(' ', "  ")[..first.len()].to_owned()));
    let said = repro.run("sh", &[]);
    assert_eq!((said.code, said.stderr.contains("its packages differ in ")), (0, true), "{said:?}");
    assert_eq!(repro.run("sh", &["--strict"]).code, 2);
}

//! Golden files: what was typed, and all that it said.
//!
//! A file `tests/golden/NAME.console` begins in an empty directory and with a fresh spool. Its lines are
//!
//! - `# text`: for the reader;
//! - `> command`: a step on the way, for sh(1), which must succeed and whose output does not matter; the command `worker`
//!   carries out a build of debian-12;
//! - `$ command`: what is looked at; below it stand its standard output, `! ` and its standard error line by line, and
//!   `? CODE` when that is not 0. In these, `[..]` stands for anything within a line, a line `...` for any lines;
//! - `# here: reason` or `# afar: reason`: the next command is for one of the two [`Place`]s only.
//!
//! Times, ends of ids and paths of the lab are replaced by words in brackets, see `redactions` below.

use crate::{Lab, Sshd, binary};
use snapbox::{Assert, Data, Redactions};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where verbs are typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// On the spool itself, as its owner.
    Here,
    /// On another machine, with a key of the role admin: `builder` is `builder --host` there.
    Afar,
}

const TEMPLATES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../templates");

/// `worker` does one build; one that waits for it in vain ends some time after the test.
const WORKER: &str = "exec timeout 120 builder-run worker --local \"$BUILDER_SPOOL\" --platform debian-12 \
                      --work \"$LAB/work\" \"$@\" >>\"$LAB/worker.log\" 2>&1";

/// A piece of a golden file.
#[derive(Debug, PartialEq)]
enum Piece {
    /// A comment, an empty line or a step, as it stands there.
    Line(String),
    /// A command, and what it is said to say.
    Shown { command: String, said: String, only: Option<Place> },
}

/// Runs a golden file, and fails the test with a diff where something else is said.
/// With `GOLDEN=overwrite` the file is changed instead.
pub fn holds(file: &Path, place: Place) {
    let text = std::fs::read_to_string(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let overwrites = std::env::var("GOLDEN").is_ok_and(|word| word == "overwrite");
    assert!(!(overwrites && std::env::var_os("CI").is_some()), "golden files are not changed by CI");
    let lab = Lab::new();
    let desk = Desk::new(&lab, place);
    let said: String = pieces(&text).into_iter().map(|piece| desk.carry_out(piece)).collect();
    // What sshd has logged would only hide the difference.
    drop(desk);
    let assert = Assert::new().action_env("GOLDEN").redact_with(redactions(&lab)).normalize_paths(false);
    let assert = assert.palette(snapbox::report::Palette::plain());
    assert.eq(said, Data::read_from(file, Some(snapbox::data::DataFormat::Text)));
}

fn pieces(text: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut only = None;
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let Some(command) = line.strip_prefix("$ ") else {
            only = match line.get(..8) {
                Some("# here: ") => Some(Place::Here),
                Some("# afar: ") => Some(Place::Afar),
                _ => only,
            };
            pieces.push(Piece::Line(line.to_owned()));
            continue;
        };
        let mut said: Vec<&str> = Vec::new();
        while let Some(line) = lines.next_if(|line| !["$ ", "> ", "# "].iter().any(|start| line.starts_with(start))) {
            said.push(line);
        }
        // An empty line before what comes next is the file's.
        let apart = said.pop_if(|line| line.is_empty());
        let said = said.iter().map(|line| format!("{line}\n")).collect();
        pieces.push(Piece::Shown { command: command.to_owned(), said, only: only.take() });
        pieces.extend(apart.map(|line| Piece::Line(line.to_owned())));
    }
    pieces
}

/// Where somebody sits: a directory of their own, and the `builder` that they have.
struct Desk {
    place: Place,
    directory: PathBuf,
    environment: Vec<(&'static str, OsString)>,
    _sshd: Option<Sshd>,
}

impl Desk {
    fn new(lab: &Lab, place: Place) -> Desk {
        lab.configure(&format!("templates = {TEMPLATES:?}"));
        let programs = binary("builder").parent().expect("a directory").to_owned();
        let bin = lab.path("desk.bin");
        std::fs::create_dir(&bin).expect("a directory");
        let mut desk = Desk { place, directory: lab.path("desk"), environment: Vec::new(), _sshd: None };
        if place == Place::Afar {
            let key = lab.key("key");
            let sshd = lab.people_sshd(&[(&key, lab.gate("admin", "alice"))]);
            let there = lab.elsewhere(&sshd, &key);
            let path = there.get_envs().find(|(name, _)| *name == "PATH").and_then(|(_, path)| path).expect("a path");
            let words = format!("{} --host {}", binary("builder").display(), sshd.url());
            let text = format!("exec env -u BUILDER_SPOOL -u BUILDER_CONFIG PATH={} {words} \"$@\"", path.display());
            program(&bin.join("builder"), &text);
            desk._sshd = Some(sshd);
        }
        std::fs::create_dir(&desk.directory).expect("a directory");
        program(&bin.join("worker"), WORKER);
        let system = std::env::var("PATH").expect("a path");
        let path = format!("{}:{}:{system}", bin.display(), programs.display());
        desk.environment = vec![
            ("PATH", path.into()),
            ("BUILDER_SPOOL", lab.root().into()),
            ("BUILDER_CONFIG", lab.config().into()),
            ("LAB", lab.path("").into()),
            ("TMPDIR", desk.directory.clone().into()),
        ];
        desk
    }

    /// Does what a piece says. Returns it as it is now.
    fn carry_out(&self, piece: Piece) -> String {
        match piece {
            Piece::Line(line) => {
                if let Some(step) = line.strip_prefix("> ") {
                    let done = self.sh(step);
                    assert!(done.status.success(), "> {step}\n{}", String::from_utf8_lossy(&done.stderr));
                }
                format!("{line}\n")
            }
            Piece::Shown { command, said, only } => match only {
                Some(only) if only != self.place => format!("$ {command}\n{said}"),
                _ => format!("$ {command}\n{}", self.says(&command)),
            },
        }
    }

    fn says(&self, command: &str) -> String {
        let done = self.sh(command);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let mut said = text(&done.stdout);
        if !said.is_empty() && !said.ends_with('\n') {
            said += "[NO NEWLINE]\n";
        }
        // Whether there is one depends on the file system.
        let stderr = text(&done.stderr);
        let errors = stderr.lines().filter(|line| !line.starts_with("builder: warning: "));
        said += &errors.map(|line| format!("! {line}\n")).collect::<String>();
        let odd = said.lines().find(|line| ["$ ", "> ", "# "].iter().any(|start| line.starts_with(start)));
        assert_eq!(odd, None, "$ {command}\nsays what means something in a golden file");
        match done.status.code() {
            Some(0) => said,
            Some(code) => format!("{said}? {code}\n"),
            None => format!("{said}? {}\n", done.status),
        }
    }

    fn sh(&self, command: &str) -> std::process::Output {
        // What waits for something that never comes exits 124.
        let mut sh = Command::new("timeout");
        sh.args(["120", "sh", "-c"]).arg(command).current_dir(&self.directory).stdin(Stdio::null());
        sh.env_remove("BUILDER_HOST").env_remove("EDITOR").env_remove("VISUAL");
        sh.envs(self.environment.iter().map(|(name, value)| (name, value))).output().expect("sh")
    }
}

fn program(path: &Path, text: &str) {
    std::fs::write(path, format!("#!/bin/sh\n{text}\n")).expect("a program");
    crate::make_executable(path);
}

/// What differs from run to run, and the words that stand for it.
fn redactions(lab: &Lab) -> Redactions {
    let mut redactions = Redactions::new();
    let lab = regex::escape(lab.path("").to_str().expect("UTF-8").trim_end_matches('/'));
    for (word, pattern) in [
        ("[LAB]", lab.as_str()),
        ("[TEMPLATES]", &regex::escape(TEMPLATES)),
        ("[AT]", r"(?<redacted>\d{8}T\d{6}\.\d{3}Z)-"),
        ("[END]", r"@[A-Za-z0-9.+_-]+-(?<redacted>[0-9a-hjkmnp-z][0-9a-hjkmnp-tv-z]{5})\b"),
        ("[TIME]", r"\d{4}-\d{2}-\d{2} \d{2}:\d{2}(:\d{2})?Z"),
        ("[INSTANT]", r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d+Z"),
        ("[MONTH]", r"/(?<redacted>\d{4}-\d{2})/"),
        ("[SECONDS]", r"\[ *\d+\.\d{3}\]"),
        ("[KEY]", r"(?m)(?<redacted>SHA256:[A-Za-z0-9+/]{43})(?:[^A-Za-z0-9+/]|$)"),
        ("[TOOK]", r"\b\d+\.\ds\b"),
    ] {
        let pattern = regex::Regex::new(pattern).expect("a pattern");
        redactions.insert(word, pattern).expect("a word in brackets");
    }
    redactions
}

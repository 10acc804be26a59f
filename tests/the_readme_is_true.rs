//! What the README shows is what happens; its two commands are what CI runs.

use harness::Lab;
use std::process::Command;

const README: &str = include_str!("../README.md");

/// A command of a console block, and the lines that it is said to print.
struct Shown {
    command: String,
    output: String,
}

fn console_blocks() -> Vec<Shown> {
    let mut shown: Vec<Shown> = Vec::new();
    let mut inside = false;
    for line in README.lines() {
        match (line, line.strip_prefix("$ ")) {
            ("```console", _) => inside = true,
            ("```", _) => inside = false,
            (_, Some(command)) if inside => {
                shown.push(Shown { command: command.to_owned(), output: String::new() });
            }
            _ if inside => shown.last_mut().expect("a command first").output += &format!("{line}\n"),
            _ => {}
        }
    }
    shown
}

/// Whether a text is what was shown, where `…` stands for anything.
fn fits(text: &str, shown: &str) -> bool {
    let mut parts = shown.trim_end().split('…');
    let Some(mut rest) = parts.next().and_then(|first| text.trim_end().strip_prefix(first)) else { return false };
    let parts: Vec<&str> = parts.collect();
    for (n, part) in parts.iter().enumerate() {
        let found = if n + 1 == parts.len() && part.is_empty() { Some(rest.len()) } else { rest.find(part) };
        let Some(at) = found else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.is_empty() || shown.trim_end().ends_with('…')
}

const WORKERS_HAVE_LEFT: &str =
    "for n in $(seq 1200); do builder worker ls | grep -q '  connected' || break; sleep 0.05; done\n";

#[test]
fn the_console_blocks_print_what_they_show() {
    let lab = Lab::new();
    let sshd = lab.sshd();
    std::fs::remove_dir_all(lab.root()).expect("the README makes its own spool");
    let shown = console_blocks();
    assert!(shown.len() > 10, "only {} commands", shown.len());
    // A line between the outputs that no command prints; and a worker has left when its server has noticed it, too.
    let left = |one: &Shown| if one.command.starts_with("builder-run worker") { WORKERS_HAVE_LEFT } else { "" };
    let script: String = shown.iter().map(|one| format!("echo '@@@'\n{}\n{}", one.command, left(one))).collect();
    let mut shell = lab.program("builder");
    let programs = std::path::Path::new(shell.get_program()).parent().expect("a directory").to_owned();
    shell = Command::new("sh");
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").expect("a path"));
    shell.arg("-ec").arg(format!("exec 2>&1\n{script}")).env("PATH", path).env("BUILDER_CONFIG", lab.config());
    let server = sshd.url().replace("ssh://", "");
    let ran = harness::Finished::of(shell.env("SERVER", server).current_dir(lab.path("")));
    assert_eq!(ran.code, 0, "{}", ran.stdout);
    let outputs: Vec<&str> = ran.stdout.split("@@@\n").skip(1).collect();
    assert_eq!(outputs.len(), shown.len());
    for (one, output) in shown.iter().zip(outputs) {
        // Whether there is one depends on the file system.
        let told = output.lines().filter(|line| !line.starts_with("builder: warning: "));
        let output: String = told.map(|line| format!("{line}\n")).collect();
        assert!(fits(&output, &one.output), "$ {}\n{output}\n--- is shown as\n{}", one.command, one.output);
    }
}

#[test]
fn ci_runs_the_two_commands() {
    let (_, rest) = README.split_once("```sh\n").expect("the two commands");
    let (commands, _) = rest.split_once("```").expect("an end");
    let ci = include_str!("../.ci/run");
    for command in commands.lines() {
        assert!(ci.lines().any(|line| line == command), "{command} is not in .ci/run");
    }
    assert_eq!(commands.lines().count(), 2);
}

#[test]
fn the_settings_have_the_defaults_that_are_shown() {
    let (_, rest) = README.split_once("```toml\n").expect("the settings");
    let (text, _) = rest.split_once("```").expect("an end");
    let lab = Lab::new();
    let file = lab.script("shown.toml", text);
    let mut read = spool::config::Config::read(Some(&file)).expect("a configuration that is accepted");
    read.file = None;
    if cfg!(target_os = "linux") {
        assert_eq!(format!("{read:?}"), format!("{:?}", spool::config::Config::default()));
    }
}

//! What turns failures into successes, and output into nothing: habits of those who write shell.

use super::faults::{Fault, shell_of};

/// What is wrong so with a script, by line. Nothing where no shell reads it.
pub fn habits(text: &str) -> Vec<Fault> {
    if shell_of(text).is_none() {
        return Vec::new();
    }
    let mut all = Vec::new();
    let mut add = |line: usize, wrong: &str| all.push(Fault { line, wrong: wrong.to_owned() });
    let code: Vec<(usize, &str)> =
        (1..).zip(text.lines().map(str::trim)).filter(|(_, line)| !line.starts_with('#')).collect();
    let first = text.lines().next().filter(|first| first.starts_with("#!")).unwrap_or_default();
    let stops = first.contains(" -e")
        || code.iter().any(|(_, line)| {
            line.starts_with("set -") && line.split(' ').nth(1).is_some_and(|flags| flags.contains('e'))
        });
    if !stops {
        add(1, "a command that fails would not end it; say `set -eu` first");
    }
    let pipes_fail = first.contains("pipefail")
        || code.iter().any(|(_, line)| line.starts_with("set ") && line.contains("pipefail"));
    for (number, line) in &code {
        if !pipes_fail && pipes_into_tee(line) {
            add(
                *number,
                "what fails before `| tee` goes unnoticed; write to a file and show that, or say `set -o pipefail` to bash",
            );
        }
        if hides_a_command(line) {
            add(
                *number,
                "what fails within `$(…)` goes unnoticed there; give the variable its value in a line of its own",
            );
        }
    }
    let leaves = code.iter().find(|(_, line)| line.starts_with("cd ") || line.starts_with("pushd "));
    let knows = |line: &str| ["$PWD", "${PWD", "$(pwd", "`pwd"].iter().any(|word| line.contains(word));
    if let Some((number, _)) = leaves
        && !code.iter().take_while(|(at, _)| at < number).any(|(_, line)| knows(line))
    {
        add(
            *number,
            "it leaves the directory in which output goes, and does not know it any more; say `output=$PWD` before",
        );
    }
    all
}

/// tee(1) always succeeds, and with it the pipeline. What a filter makes of half its input often shows; this never does.
fn pipes_into_tee(line: &str) -> bool {
    let is_tee = |behind: &str| behind.trim_start_matches('&').split_whitespace().next() == Some("tee");
    unquoted(line).any(|(at, c)| c == '|' && !line[..at].ends_with('|') && is_tee(&line[at + 1..]))
}

/// A command whose own exit status, of `export`, takes the place of the one in the value.
fn hides_a_command(line: &str) -> bool {
    let mut words = line.split_whitespace();
    let declares = ["export", "readonly", "local", "declare", "typeset"].contains(&words.next().unwrap_or_default());
    let Some((_, value)) = line.split_once('=').filter(|_| declares) else { return false };
    // Arithmetic fails at once, and what has an alternative is not to end anything.
    let runs = value.replace("$((", "").contains("$(") || value.contains('`');
    runs && !value.contains("||") && !value.trim_start().starts_with('\'')
}

/// The characters of a line that stand neither in quotes nor behind a backslash, with their places.
fn unquoted(line: &str) -> impl Iterator<Item = (usize, char)> {
    let (mut single, mut double, mut escaped) = (false, false, false);
    line.char_indices().filter(move |(_, c)| {
        let was_escaped = std::mem::take(&mut escaped);
        match c {
            _ if was_escaped => return false,
            '\\' if !single => escaped = true,
            '\'' if !double => single = !single,
            '"' if !single => double = !double,
            _ => return !single && !double,
        }
        false
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(script: &str) -> Vec<String> {
        habits(script).into_iter().map(|fault| format!("{}: {}", fault.line, fault.wrong)).collect()
    }

    #[test]
    fn a_failure_that_goes_unnoticed_is_named() {
        for (line, says) in [
            ("make | tee log", "2: what fails before `| tee`"),
            ("make 2>&1 |tee -a \"$output/log\"", "2: what fails before `| tee`"),
            ("make |& tee log", "2: what fails before `| tee`"),
            ("export A=$(false)", "2: what fails within `$(…)`"),
            ("export A=\"$(false)\" B", "2: what fails within `$(…)`"),
            ("  local a=`false`", "2: what fails within `$(…)`"),
        ] {
            let said = said(&format!("set -e\n{line}\n"));
            assert!(said.len() == 1 && said[0].starts_with(says), "{line}: {said:?}");
        }
    }

    #[test]
    fn what_is_meant_is_no_fault() {
        for line in [
            "make || tee log",
            "make | teeth",
            "echo 'make | tee log'",
            "echo \"make | tee log\" \\| tee",
            "# make | tee log",
            "dpkg-query -W | sort",
            "a=$(false); export a",
            "export A=1 PATH=/opt/bin:$PATH",
            "export A=$((1 + 1))",
            "export A=$(nproc || echo 1)",
            "export A='$(false)'",
            "exporter A=$(false)",
        ] {
            assert_eq!(said(&format!("set -e\n{line}\n")), [""; 0], "{line}");
        }
        for first in ["#!/bin/bash -eo pipefail\n", "set -e\nset -o pipefail\n", "set -euo pipefail\n"] {
            assert_eq!(said(&format!("{first}make | tee log\n")), [""; 0], "{first}");
        }
    }
}

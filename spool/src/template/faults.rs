//! All that is wrong with a template, for whoever writes one.
//!
//! [`Template::parse`](super::Template::parse) refuses the first thing with which no job could be made; this finds that and what
//! would make a poor job, each with its line.

use super::habits::habits;
use super::{PLATFORM, check_declared, declaration, is_name, next_variable};
use crate::name::Platform;
use std::collections::{BTreeMap, BTreeSet};

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// The number of its line, from 1; of what is missing, the first.
    pub line: usize,
    /// What it is, and what to do.
    pub wrong: String,
}

/// What is wrong with a template's text, by line.
pub fn faults(text: &str) -> Vec<Fault> {
    let mut found = Faults::default();
    found.header(text);
    found.uses(text);
    found.all.extend(habits(text));
    found.all.sort();
    found.all
}

/// The shell that can say whether it understands a script: the interpreter of its first line, when that is one. Behind env(1)
/// it is a name, to be looked up in PATH.
pub fn shell_of(text: &str) -> Option<&str> {
    let first = text.lines().next().unwrap_or_default();
    let Some(interpreter) = first.strip_prefix("#!") else { return Some("/bin/sh") };
    let mut words = interpreter.split_ascii_whitespace();
    let mut path = words.next()?;
    if path.ends_with("/env") {
        path = words.find(|word| !word.starts_with('-') && !word.contains('='))?;
    }
    ["sh", "dash", "bash", "ksh", "zsh"].contains(&path.rsplit('/').next()?).then_some(path)
}

#[derive(Default)]
struct Faults {
    all: Vec<Fault>,
    /// Declared variables, with their lines.
    declared: BTreeMap<String, usize>,
}

impl Faults {
    fn add(&mut self, line: usize, wrong: impl Into<String>) {
        self.all.push(Fault { line, wrong: wrong.into() });
    }

    fn header(&mut self, text: &str) {
        let mut named = false;
        // Not lines(), which takes the carriage returns away.
        for (number, line) in (1..).zip(text.split('\n')) {
            if line.ends_with('\r') {
                self.add(number, "the line ends with a carriage return; remove it");
            }
            let Some(header) = line.trim_end_matches('\r').strip_prefix("#%") else { continue };
            if let Some(what) = header.strip_prefix(" template:") {
                named = true;
                if what.trim().is_empty() {
                    self.add(number, "it does not say what it builds; add that behind `#% template:`");
                }
            } else if let Some(platforms) = header.strip_prefix(" platforms:") {
                self.platforms(number, platforms);
            } else if let Some(variable) = header.strip_prefix(" var ") {
                self.variable(number, variable);
            } else {
                let shown: String = line.chars().take(60).flat_map(char::escape_default).collect();
                self.add(
                    number,
                    format!("`{shown}` is no line of a header; it has `template:`, `platforms:` and `var NAME:`"),
                );
            }
        }
        if !named {
            self.add(1, "it does not say what it builds; add a line `#% template: WHAT`");
        }
    }

    fn platforms(&mut self, number: usize, platforms: &str) {
        for pattern in platforms.split_ascii_whitespace() {
            let start = pattern.strip_suffix('*').unwrap_or(pattern);
            // The beginning of a name may be shorter than a name, and end as none does.
            if start.trim_end_matches(['-', '.', '+', '_']).parse::<Platform>().is_err() && pattern != "*" {
                self.add(
                    number,
                    format!("`{pattern}` is no platform; give names, or beginnings with a `*` behind them"),
                );
            }
        }
        if platforms.trim().is_empty() {
            self.add(number, "no platform is named; remove the line if it is for all");
        }
    }

    fn variable(&mut self, number: usize, text: &str) {
        let (name, default, meaning) = declaration(text);
        if let Err(e) = check_declared("", name, default) {
            let said = e.to_string();
            let said = said.strip_prefix("template  ").or(said.strip_prefix("template : ")).unwrap_or(&said);
            self.add(number, said);
        } else if meaning.is_empty() {
            self.add(number, format!("{name} has no meaning; add it: `#% var {name}: what it is`"));
        }
        if is_name(name)
            && let Some(before) = self.declared.insert(name.to_owned(), number)
        {
            self.add(number, format!("{name} was declared in line {before}; remove one of the two"));
        }
    }

    fn uses(&mut self, text: &str) {
        let mut used = BTreeSet::new();
        for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.starts_with('#')) {
            let mut rest = line;
            while let Some((before, name, after)) = next_variable(rest) {
                let before = &line[..line.len() - rest.len() + before.len()];
                if name != PLATFORM && !ends_quoted(before) {
                    self.add(
                        number,
                        format!("%%{name}%% must stand between single quotes; else its value is read as shell"),
                    );
                }
                if !self.declared.contains_key(name) && used.insert(name.to_owned()) {
                    self.add(
                        number,
                        format!("%%{name}%% is not declared; add `#% var {name}: what it means` to the header"),
                    );
                }
                used.insert(name.to_owned());
                rest = after;
            }
            self.nearly(number, line);
        }
        let declared: Vec<(String, usize)> = self.declared.clone().into_iter().collect();
        for (name, number) in declared.into_iter().filter(|(name, _)| !used.contains(name)) {
            self.add(number, format!("{name} is not used; remove it, or use %%{name}%%"));
        }
    }

    /// What was perhaps meant to be a variable.
    fn nearly(&mut self, number: usize, line: &str) {
        for word in line.split("%%").skip(1).step_by(2) {
            let like = !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
            if like && !is_name(word) && line.contains(&format!("%%{word}%%")) {
                self.add(number, format!("%%{word}%% is no variable; those have capital letters, digits and '_'"));
            }
        }
    }
}

/// Whether what follows in a line of shell stands between single quotes: those between double ones are none.
fn ends_quoted(before: &str) -> bool {
    let (mut single, mut double) = (false, false);
    let mut characters = before.chars();
    while let Some(c) = characters.next() {
        match c {
            '\\' if !single => drop(characters.next()),
            '\'' if !double => single = !single,
            '"' if !single => double = !double,
            _ => {}
        }
    }
    single
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        faults(text).into_iter().map(|fault| format!("{}: {}", fault.line, fault.wrong)).collect()
    }

    #[test]
    fn nothing_is_wrong_with_a_good_one() {
        let text = "#!/bin/sh\n#% template: a thing\n#% platforms: debian-* freebsd-14\n#% var NAME: whose\n\
            #% var PLATFORM: where\n# %%NAME%% is used below\nset -eu\noutput=$PWD\nname='%%NAME%%'\ncd \"$TMPDIR\"\n\
            echo \"$name\" '%%NAME%% and %%NAME%%' %%PLATFORM%% >\"$output/x\"\n";
        assert_eq!(lines(text), Vec::<String>::new());
    }

    #[test]
    fn each_fault_is_named_with_its_line() {
        for (text, says) in [
            ("#!/bin/sh\nset -e\n", "1: it does not say what it builds"),
            ("#% template:\nset -e\n", "1: it does not say what it builds"),
            ("#% template: x\n#% vars A: b\nset -e\n", "2: `#% vars A: b` is no line of a header"),
            ("#% template: x\n#% platforms: a/b\nset -e\n", "2: `a/b` is no platform"),
            ("#% template: x\n#% platforms:\nset -e\n", "2: no platform is named"),
            ("#% template: x\n#% var a: b\nset -e\n", "2: declares `a`, which is no variable"),
            ("#% template: x\n#% var A=it's: b\nset -e\necho '%%A%%'\n", "2: in its default, the value of A contains"),
            ("#% template: x\n#% var A\nset -e\necho '%%A%%'\n", "2: A has no meaning"),
            ("#% template: x\n#% var A: b\n#% var A: b\nset -e\necho '%%A%%'\n", "3: A was declared in line 2"),
            ("#% template: x\n#% var A: b\nset -e\n", "2: A is not used"),
            ("#% template: x\nset -e\necho '%%A%%'\n", "3: %%A%% is not declared"),
            ("#% template: x\n#% var A: b\nset -e\necho %%A%%\n", "4: %%A%% must stand between single quotes"),
            ("#% template: x\n#% var A: b\nset -e\necho '%%A%%' %%A%%\n", "4: %%A%% must stand between single quotes"),
            ("#% template: x\n#% var A: b\nset -e\necho \"'%%A%%'\"\n", "4: %%A%% must stand between single quotes"),
            ("#% template: x\n#% var A: b\nset -e\necho \\'%%A%%\n", "4: %%A%% must stand between single quotes"),
            ("#% template: x\nset -e\necho '%%name%%'\n", "3: %%name%% is no variable"),
            ("#% template: x\nmake\n", "1: a command that fails would not end it"),
            ("#% template: x\nset -e\ncd /tmp\nmake\n", "3: it leaves the directory"),
            ("#% template: x\nset -e\r\n", "2: the line ends with a carriage return"),
        ] {
            let said = lines(text);
            assert!(said.len() == 1 && said[0].starts_with(says), "{text}: {said:?}");
        }
    }

    #[test]
    fn only_a_shell_is_asked() {
        assert_eq!(shell_of("#!/usr/local/bin/bash -e\n"), Some("/usr/local/bin/bash"));
        assert_eq!(shell_of("#!/usr/bin/env python3\n"), None);
        assert_eq!(shell_of("#!/usr/bin/env bash\n"), Some("bash"));
        assert_eq!(shell_of("#! /usr/bin/env -S A=1 bash -eu\n"), Some("bash"));
        assert_eq!(shell_of("#!/usr/bin/env\n"), None);
        assert_eq!(shell_of("echo\n"), Some("/bin/sh"));
    }
}

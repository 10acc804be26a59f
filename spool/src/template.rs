//! Templates: a script whose header names the variables that stand in it as `%%NAME%%`.
//!
//! Header lines start with `#%`: `#% template: what it is`, `#% platforms: debian-* ubuntu-24.04` for those that
//! it can be built on, `#% var NAME: meaning` for a value that must be given, `#% var NAME=default: meaning` for
//! one that may; a default ends at the first colon with a blank behind it, so that it can be a URL.

mod faults;
mod habits;

pub use faults::{Fault, faults, shell_of};

use crate::error::{Error, Kind, Result};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// The variable that is filled in for each build, not for the job.
pub const PLATFORM: &str = "PLATFORM";

/// A template, checked: every variable in its text is declared.
#[derive(Clone, Debug)]
pub struct Template {
    name: String,
    what: String,
    platforms: Vec<String>,
    variables: BTreeMap<String, Variable>,
}

/// A variable of a template.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Variable {
    /// Its value when none is given; without one, a value must be given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
    /// What it means.
    pub meaning: String,
}

impl Template {
    /// Reads a template. `name` is for messages.
    pub fn parse(name: &str, text: &str) -> Result<Template> {
        let mut variables = BTreeMap::new();
        for line in text.lines().filter_map(|line| line.strip_prefix("#% var ")) {
            let (variable, default, meaning) = declaration(line);
            check_declared(name, variable, default)?;
            let known = Variable { default: default.map(str::to_owned), meaning: meaning.to_owned() };
            variables.insert(variable.to_owned(), known);
        }
        for used in variables_in(text) {
            if !variables.contains_key(&used) {
                return Err(Error::new(Kind::Data, format!("template {name} uses %%{used}%% and does not declare it"))
                    .hint(format!("add the line `#% var {used}: what it means` to its header")));
            }
        }
        let platforms = text.lines().filter_map(|line| line.strip_prefix("#% platforms:"));
        let platforms = platforms.flat_map(str::split_ascii_whitespace).map(str::to_owned).collect();
        let what = text.lines().find_map(|line| line.strip_prefix("#% template:")).unwrap_or_default();
        Ok(Template { name: name.to_owned(), what: what.trim().to_owned(), platforms, variables })
    }

    /// What it builds, in a line; empty when it does not say so.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// Its variables, but for the one that is filled in for each build.
    pub fn variables(&self) -> BTreeMap<&str, &Variable> {
        let all = self.variables.iter().map(|(name, variable)| (name.as_str(), variable));
        all.filter(|(name, _)| *name != PLATFORM).collect()
    }

    /// Makes sure that the template is for this platform. One that names none is for all.
    pub fn check_platform(&self, platform: &str) -> Result<()> {
        if self.is_for(platform) {
            return Ok(());
        }
        Err(Error::new(Kind::Data, format!("template {} is not for {platform}", self.name))
            .hint(format!("it is for {}", self.platforms.join(" "))))
    }

    /// Whether it is for this platform. One that names none is for all.
    pub fn is_for(&self, platform: &str) -> bool {
        self.platforms.is_empty() || fits(&self.platforms, platform)
    }

    /// The platforms that it names, as they are written.
    pub fn platforms(&self) -> &[String] {
        &self.platforms
    }

    /// Makes sure that there are such variables, and that the values can stand in a script.
    pub fn check(&self, given: &BTreeMap<String, String>) -> Result<()> {
        for (name, value) in given {
            if !self.variables.contains_key(name) || name == PLATFORM {
                return Err(self.unknown(name));
            }
            check_value(name, value)?;
        }
        Ok(())
    }

    /// The given values, and the defaults of the other variables.
    pub fn values(&self, given: &BTreeMap<String, String>) -> Result<BTreeMap<String, String>> {
        self.check(given)?;
        let mut values = given.clone();
        for (name, variable) in self.variables.iter().filter(|(name, _)| *name != PLATFORM) {
            if !values.contains_key(name) {
                let value = variable.default.clone().ok_or_else(|| {
                    Error::new(Kind::Usage, format!("the template needs a value for {name}"))
                        .hint(format!("give it with --set {name}=VALUE"))
                })?;
                values.insert(name.clone(), value);
            }
        }
        Ok(values)
    }

    fn unknown(&self, name: &str) -> Error {
        let known: Vec<&str> = self.variables.keys().map(String::as_str).filter(|name| *name != PLATFORM).collect();
        Error::new(Kind::Usage, format!("the template has no variable {name}"))
            .hint(format!("it has {}", known.join(", ")))
    }
}

/// A declaration without its `#% var `: name, default and meaning.
fn declaration(line: &str) -> (&str, Option<&str>, &str) {
    let (declared, meaning) = line.split_once(": ").unwrap_or((line.trim_end_matches(':'), ""));
    match declared.split_once('=') {
        Some((variable, default)) => (variable.trim(), Some(default.trim()), meaning.trim()),
        None => (declared.trim(), None, meaning.trim()),
    }
}

/// A variable can be filled in, and its default is as good as a value that is given.
fn check_declared(template: &str, name: &str, default: Option<&str>) -> Result<()> {
    if !is_name(name) {
        let shown: String = name.chars().take(60).flat_map(char::escape_default).collect();
        return Err(Error::new(Kind::Data, format!("template {template} declares `{shown}`, which is no variable"))
            .hint("a variable has capital letters, digits and '_', and starts with a letter"));
    }
    let wrong = |e: Error| Error::new(Kind::Data, format!("template {template}: in its default, {e}"));
    default.map_or(Ok(()), |default| check_value(name, default)).map_err(wrong)
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_uppercase()) && !text.contains(|c: char| !is_in_name(c))
}

fn is_in_name(c: char) -> bool {
    c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_'
}

/// Values stand between single quotes in a script; none may end them.
fn check_value(name: &str, value: &str) -> Result<()> {
    match value.chars().find(|c| *c == '\'' || c.is_control()) {
        Some(bad) => Err(Error::new(Kind::Data, format!("the value of {name} contains {bad:?}"))
            .hint("values can't have single quotes or control characters")),
        None => Ok(()),
    }
}

/// Whether a platform is one of these: names, or beginnings with a `*` behind them.
pub fn fits(patterns: &[String], platform: &str) -> bool {
    patterns.iter().any(|pattern| match pattern.strip_suffix('*') {
        Some(start) => platform.starts_with(start),
        None => platform == pattern,
    })
}

/// The script of one build: the text with the values and the platform.
pub fn fill(text: &str, values: &BTreeMap<String, String>, platform: &str) -> String {
    let mut values = values.clone();
    values.insert(PLATFORM.to_owned(), platform.to_owned());
    substitute(text, &values)
}

/// One pass from left to right: what was filled in is not looked at again.
fn substitute(text: &str, values: &BTreeMap<String, String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, name, after)) = next_variable(rest) {
        out += before;
        match values.get(name) {
            Some(value) => out += value,
            None => {
                out += "%%";
                out += name;
                out += "%%";
            }
        }
        rest = after;
    }
    out + rest
}

fn variables_in(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut rest = text;
    while let Some((_, name, after)) = next_variable(rest) {
        found.insert(name.to_owned());
        rest = after;
    }
    found
}

/// The text before the next `%%NAME%%`, its name, and the text behind it.
fn next_variable(text: &str) -> Option<(&str, &str, &str)> {
    let mut from = 0;
    while let Some(start) = text[from..].find("%%").map(|at| from + at) {
        let name_at = start + 2;
        let length = text[name_at..].find(|c: char| !is_in_name(c));
        let end = length.map_or(text.len(), |length| name_at + length);
        let name = &text[name_at..end];
        if is_name(name) && text[end..].starts_with("%%") {
            return Some((&text[..start], name, &text[end + 2..]));
        }
        // The next percent sign may be the first of two.
        from = start + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "#!/bin/sh\n#% template: test\n#% var NAME: a name\n#% var COUNT=3: how many\n#% var URL=ftp://h/: where\n#% var PLATFORM: where\necho '%%NAME%%' %%COUNT%% %%PLATFORM%% 100%% %%x%%\n";

    fn filled(pairs: &[(&str, &str)]) -> Result<(String, BTreeMap<String, String>)> {
        let given = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let values = Template::parse("test", TEXT).unwrap().values(&given)?;
        Ok((fill(TEXT, &values, "debian-12"), values))
    }

    #[test]
    fn values_and_defaults_are_filled_in_once() {
        let (script, values) = filled(&[("NAME", "%%COUNT%%")]).unwrap();
        assert!(script.ends_with("echo '%%COUNT%%' 3 debian-12 100%% %%x%%\n"), "{script}");
        assert_eq!((values["COUNT"].as_str(), values["URL"].as_str()), ("3", "ftp://h/"));
    }

    #[test]
    fn a_template_is_for_its_platforms() {
        let template = Template::parse("t", "#% platforms: debian-* ubuntu-24.04\ntrue\n").unwrap();
        assert!(template.check_platform("debian-12").is_ok() && template.check_platform("ubuntu-24.04").is_ok());
        let refused = template.check_platform("ubuntu-22.04").unwrap_err().to_string();
        assert_eq!(refused, "template t is not for ubuntu-22.04; it is for debian-* ubuntu-24.04");
        assert!(Template::parse("t", "true").unwrap().check_platform("freebsd-14").is_ok());
    }

    #[test]
    fn unknown_missing_and_dangerous_values_are_named() {
        let says = |pairs: &[(&str, &str)]| filled(pairs).unwrap_err().to_string();
        assert!(says(&[("NAM", "x"), ("NAME", "y")]).contains("NAM"));
        assert!(says(&[]).contains("NAME"));
        assert!(says(&[("NAME", "'; rm -rf /")]).contains("'\\''"));
        assert!(Template::parse("t", "echo %%OTHER%%").unwrap_err().to_string().contains("OTHER"));
    }

    #[test]
    fn a_variable_is_found_behind_any_number_of_percent_signs() {
        let values = BTreeMap::from([("A".to_owned(), "x".to_owned())]);
        for (text, filled) in [("%%%A%%", "%x"), ("100%%%A%%%", "100%x%"), ("%%%%A%%%%", "%%x%%"), ("%%A%%A%%", "xA%%")]
        {
            assert_eq!(fill(text, &values, "p"), filled, "{text}");
        }
    }

    #[test]
    fn what_can_t_be_filled_in_can_t_be_declared() {
        for (declared, says) in [
            ("name: lower", "template t declares `name`, which is no variable; a variable has capital letters"),
            (": nothing", "declares ``"),
            ("A B=1: two words", "declares `A B`"),
            ("A=it's: a quote", "template t: in its default, the value of A contains '\\''"),
            ("A=\x1b[2J: a control character", "in its default, the value of A contains"),
        ] {
            let error = Template::parse("t", &format!("#% var {declared}\n")).unwrap_err();
            assert!(error.to_string().contains(says), "{error}");
        }
    }
}

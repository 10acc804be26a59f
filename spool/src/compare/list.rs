//! Inputs that are lists: a name and a value on each line, or what opam(1) exports.

use crate::find::Build;
use crate::inputs::RECOGNISED;
use crate::layout::file;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// A list that went into a build, or that a script left to say what did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum List {
    /// The variables that the script saw.
    Environment,
    /// The packages of the worker's system.
    Packages,
    /// The artifact `build-environment`, as orb leaves it.
    BuildEnvironment,
    /// The artifact `system-packages`, likewise.
    SystemPackages,
    /// The artifact `opam-switch`, as `opam switch export` writes it.
    OpamSwitch,
}

/// A name whose value is not the same on both sides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The name: of a variable, or of a package.
    pub name: String,
    /// Its value on the left; missing when it is not there.
    pub left: Option<String>,
    /// Its value on the right; likewise.
    pub right: Option<String>,
}

/// How a list is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `NAME=VALUE` on each line, as env(1) prints it.
    Variables,
    /// A package on each line: name, version and perhaps architecture, or `NAME-VERSION-rN` as apk(8) has it.
    Packages,
    /// The strings `"NAME.VERSION"` of the field `installed` of an opam file.
    Opam,
}

impl List {
    /// All of them, in the order in which they are shown.
    pub const ALL: [List; 5] =
        [List::Environment, List::BuildEnvironment, List::Packages, List::SystemPackages, List::OpamSwitch];

    /// The name of its file.
    pub fn file(self) -> &'static str {
        match self {
            List::Environment => file::ENVIRONMENT,
            List::Packages => file::PACKAGES,
            List::BuildEnvironment => RECOGNISED[0],
            List::OpamSwitch => RECOGNISED[1],
            List::SystemPackages => RECOGNISED[2],
        }
    }

    /// How it is written.
    pub fn form(self) -> Form {
        match self {
            List::Environment | List::BuildEnvironment => Form::Variables,
            List::Packages | List::SystemPackages => Form::Packages,
            List::OpamSwitch => Form::Opam,
        }
    }

    pub(super) fn path(self, build: &Build<'_>) -> PathBuf {
        match self {
            List::Environment | List::Packages => build.dir().join(self.file()),
            _ => build.dir().join(file::ARTIFACTS).join(self.file()),
        }
    }
}

impl Form {
    /// What differs between two lists, sorted by name. Bytes that are no UTF-8 are replaced, and so may seem the same.
    pub fn changes(self, left: &[u8], right: &[u8]) -> Vec<Change> {
        if left == right {
            return Vec::new();
        }
        let (left, right) = (self.read(left), self.read(right));
        let names: BTreeSet<&String> = left.keys().chain(right.keys()).collect();
        let different = names.into_iter().filter(|name| left.get(*name) != right.get(*name));
        let value =
            |list: &BTreeMap<String, Vec<String>>, name: &String| list.get(name).map(|values| values.join(", "));
        different
            .map(|name| Change { name: name.clone(), left: value(&left, name), right: value(&right, name) })
            .collect()
    }

    /// Names with their values: a package may be there in several versions, or for several architectures.
    fn read(self, bytes: &[u8]) -> BTreeMap<String, Vec<String>> {
        let text = String::from_utf8_lossy(bytes);
        let mut list: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut add = |(name, value): (&str, &str)| list.entry(name.to_owned()).or_default().push(value.to_owned());
        match self {
            Form::Variables => text.lines().map(|line| line.split_once('=').unwrap_or((line, ""))).for_each(&mut add),
            Form::Packages => text.lines().filter(|line| !line.is_empty()).map(package).for_each(&mut add),
            Form::Opam => installed(&text).map(|one| one.split_once('.').unwrap_or((one, ""))).for_each(&mut add),
        }
        list.values_mut().for_each(|values| values.sort());
        list
    }
}

fn package(line: &str) -> (&str, &str) {
    if let Some((name, rest)) = line.split_once(char::is_whitespace) {
        return (name, rest);
    }
    // apk(8): neither a version nor a release has a '-'.
    let mut parts = line.rmatch_indices('-').map(|(at, _)| at);
    match (parts.next(), parts.next()) {
        (Some(release), Some(version)) if line[release..].starts_with("-r") => (&line[..version], &line[version + 1..]),
        _ => (line, ""),
    }
}

/// The strings of the field `installed`: `installed: ["a.1" "b.2"]`, or one string alone.
fn installed(text: &str) -> impl Iterator<Item = &str> {
    let field = text.split_once("installed:").filter(|(before, _)| before.is_empty() || before.ends_with('\n'));
    let list = field.map_or("", |(_, rest)| match rest.trim_start().strip_prefix('[') {
        Some(list) => list.split(']').next().unwrap_or_default(),
        None => rest.lines().next().unwrap_or_default(),
    });
    list.split('"').skip(1).step_by(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(form: Form, left: &str, right: &str) -> Vec<String> {
        let side = |value: Option<String>| value.unwrap_or("-".to_owned());
        let changes = form.changes(left.as_bytes(), right.as_bytes()).into_iter();
        changes.map(|one| format!("{}: {} {}", one.name, side(one.left), side(one.right))).collect()
    }

    #[test]
    fn variables_are_told_apart_by_name() {
        let (left, right) = ("A=1\nB=2\nC=x=y\n", "B=3\nA=1\nC=x=y\nD=\n");
        assert_eq!(changes(Form::Variables, left, right), ["B: 2 3", "D: - "]);
        assert!(changes(Form::Variables, left, left).is_empty());
    }

    #[test]
    fn packages_are_told_apart_by_name_whatever_system_has_listed_them() {
        let dpkg = ("gcc 4:12.2 amd64\nlibc6 2.36 amd64\nlibc6 2.36 i386\n", "gcc 4:13.1 amd64\nlibc6 2.36 amd64\n");
        let expected = ["gcc: 4:12.2 amd64 4:13.1 amd64", "libc6: 2.36 amd64, 2.36 i386 2.36 amd64"];
        assert_eq!(changes(Form::Packages, dpkg.0, dpkg.1), expected);
        let apk = ("musl-1.2.4-r2\nlib-ssl-3-3.1.0-r0\n", "musl-1.2.5-r0\nlib-ssl-3-3.1.0-r0\n");
        assert_eq!(changes(Form::Packages, apk.0, apk.1), ["musl: 1.2.4-r2 1.2.5-r0"]);
    }

    #[test]
    fn an_opam_switch_is_what_is_installed_in_it() {
        let left = "opam-version: \"2.0\"\ninstalled: [\n  \"dune.3.6.1\"\n  \"fmt.0.9.0\"\n]\nroots: [\"fmt.0.8\"]\n";
        let right = "opam-version: \"2.0\"\ninstalled: [\"dune.3.7.0\" \"lwt.5\"]\n";
        assert_eq!(changes(Form::Opam, left, right), ["dune: 3.6.1 3.7.0", "fmt: 0.9.0 -", "lwt: - 5"]);
        assert_eq!(changes(Form::Opam, "installed: \"a.1\"\n", ""), ["a: 1 -"]);
        assert_eq!(changes(Form::Opam, "installed: [", "x"), [""; 0]);
    }
}

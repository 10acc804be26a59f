//! Templates and their values.

use crate::is_a_line;
use spool::template::{self, PLATFORM, Template};
use std::collections::BTreeMap;

/// What stands between a template and its values.
const BETWEEN: &str = "\n--\n";

/// A template, and lines NAME=VALUE behind a line `--`.
///
/// A template is read, or refused in a line. The values that it gives are values that it takes; each of its variables is
/// filled in, once, and nothing else is.
pub fn template(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (text, values) = text.rsplit_once(BETWEEN).unwrap_or((text, ""));
    let template = match Template::parse("t", text) {
        Ok(template) => template,
        Err(e) => return is_a_line(&e),
    };
    let platform = "debian-12";
    assert_eq!(template.is_for(platform), template.check_platform(platform).inspect_err(is_a_line).is_ok());
    let given: BTreeMap<String, String> =
        values.lines().filter_map(|line| line.split_once('=')).map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
    let values = match template.values(&given) {
        Ok(values) => values,
        Err(e) => return is_a_line(&e),
    };
    for (name, value) in &values {
        assert!(!value.contains('\'') && !value.contains(char::is_control), "{name} is {value:?}");
    }
    template.check(&values).expect("its own values");
    assert_eq!(template.values(&values).expect("its own values"), values);
    let with_platform = values.iter().map(|(k, v)| (k.as_str(), v.as_str())).chain([(PLATFORM, platform)]).collect();
    assert_eq!(template::fill(text, &values, platform), filled(text, &with_platform));
}

/// The text with its variables filled in, as the documentation has it.
fn filled(text: &str, values: &BTreeMap<&str, &str>) -> String {
    let (mut out, mut rest) = (String::new(), text);
    while let Some(first) = rest.chars().next() {
        match variable(rest) {
            Some(name) => {
                out += values.get(name).expect("it is declared");
                rest = &rest[name.len() + 4..];
            }
            None => {
                out.push(first);
                rest = &rest[first.len_utf8()..];
            }
        }
    }
    out
}

/// The name of the variable with which a text begins.
fn variable(text: &str) -> Option<&str> {
    let rest = text.strip_prefix("%%")?;
    let (name, _) = rest.split_once("%%")?;
    let mut letters = name.bytes();
    let plain = letters.next()?.is_ascii_uppercase()
        && letters.all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
    plain.then_some(name)
}

//! A worker's own words. They end up in files, on terminals and in mails: few, short, printable.

use crate::protocol::LONGEST_INSTANCE;
use spool::error::{Error, Kind, Result};
use spool::name::Platform;
use spool::record::Outcome;
use std::collections::{BTreeMap, BTreeSet};

/// Characters of a sentence.
const SENTENCE: usize = 300;

/// Characters of a name or a value.
const VALUE: usize = 200;

/// What a worker can say of its system, in values.
const VALUES: usize = 32;

/// Lines of what was left out.
const LINES: usize = 100;

/// One line.
pub fn sentence(words: &str) -> String {
    printable(words, SENTENCE)
}

/// The first of some lines.
pub fn lines(lines: Vec<String>) -> Vec<String> {
    lines.into_iter().take(LINES).map(|line| sentence(&line)).collect()
}

/// What a worker says of its system.
pub fn system(system: BTreeMap<String, String>) -> BTreeMap<String, String> {
    let value = |text: String| printable(&text, VALUE);
    system.into_iter().take(VALUES).map(|(key, text)| (value(key), value(text))).collect()
}

/// What a worker wants to build, each once: it costs a socket.
pub fn platforms(wishes: Vec<Platform>) -> Vec<Platform> {
    let mut seen = BTreeSet::new();
    wishes.into_iter().filter(|platform| seen.insert(platform.clone())).collect()
}

/// How a worker says that its script ended.
pub fn outcome(outcome: Outcome) -> Outcome {
    match outcome {
        Outcome::Aborted { reason } => Outcome::Aborted { reason: sentence(&reason) },
        Outcome::Signalled { signal } if !(1..=127).contains(&signal) => {
            Outcome::Aborted { reason: format!("its worker says that signal {signal} ended it") }
        }
        other => other,
    }
}

/// What a worker calls its process.
///
/// # Errors
/// [`Kind::Data`] for anything but a few letters and digits.
pub fn instance(instance: String) -> Result<String> {
    if instance.len() > LONGEST_INSTANCE || !instance.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return Err(Error::new(Kind::Data, format!("an instance has at most {LONGEST_INSTANCE} letters and digits")));
    }
    Ok(instance)
}

fn printable(words: &str, most: usize) -> String {
    words.chars().filter(|c| !c.is_control()).take(most).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workers_reason_has_no_line_of_its_own() {
        let said = Outcome::Aborted { reason: format!("no\nBcc: x\x1b[2J{}", "y".repeat(1000)) };
        let Outcome::Aborted { reason } = outcome(said) else { panic!("another outcome") };
        assert!(reason.starts_with("noBcc: x[2Jyy") && reason.len() == 300, "{reason}");
        assert_eq!(outcome(Outcome::Lost), Outcome::Lost);
    }

    #[test]
    fn who_says_a_platform_a_thousand_times_has_said_it_once() {
        let [p, q]: [Platform; 2] = ["p", "q"].map(|name| name.parse().unwrap());
        let many = [vec![q.clone(); 1000], vec![p.clone(); 1000]].concat();
        assert_eq!(platforms(many), [q, p]);
    }
}

//! The line in which TAB was pressed.

use std::path::Path;

/// The words of a line: before the cursor, and the one that ends at it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Line {
    /// Whole words, `builder` first.
    pub words: Vec<String>,
    /// The word at the cursor, as far as it is there.
    pub word: String,
    /// How much of that word bash keeps as it is, because it takes the rest for a word of its own.
    kept: usize,
    /// Whether the word is within quotes.
    quoted: bool,
}

impl Line {
    /// As zsh and fish give it: words without their quotes, the one at the cursor last.
    pub fn of_words(words: &[String]) -> Line {
        let Some((word, words)) = words.split_last() else { return Line::default() };
        Line { words: from_builder(words.to_vec()), word: word.clone(), ..Line::default() }
    }

    /// As bash gives it: the text up to the cursor, and what bash takes for the word there. It splits at `@`, `=` and `:`,
    /// too, and replaces only what is behind them.
    pub fn of_bash(given: &[String]) -> Line {
        let text = |index: usize| given.get(index).map(String::as_str).unwrap_or_default();
        let (mut words, quoted) = split(text(0));
        let word = words.pop().unwrap_or_default();
        let (bashs, _) = split(text(1));
        let bashs = bashs.last().map(String::as_str).unwrap_or_default();
        let kept = word.strip_suffix(bashs).map_or(0, str::len);
        Line { words: from_builder(words), word, kept, quoted }
    }

    /// A whole word as bash puts it into the line.
    pub fn for_bash(&self, value: &str) -> String {
        let rest = value.get(self.kept..).filter(|_| value.starts_with(&self.word)).unwrap_or(value);
        let plain = |c: char| c.is_alphanumeric() || "._+-@%/:=,~".contains(c);
        let each = rest.chars().map(|c| if self.quoted || plain(c) { c.to_string() } else { format!("\\{c}") });
        each.collect()
    }
}

/// Without what stands before the command: assignments, and commands that execute others.
fn from_builder(mut words: Vec<String>) -> Vec<String> {
    let is_builder = |word: &String| Path::new(word).file_name().is_some_and(|name| name == "builder");
    words.drain(..words.iter().position(is_builder).unwrap_or(0));
    words
}

/// Splits a line that may end anywhere, as a shell does. The last word ends at the line's end, and may be empty; says
/// whether it is within quotes there.
fn split(line: &str) -> (Vec<String>, bool) {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None::<char>);
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(open), _) if c == open => quote = None,
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None | Some('"'), '\\') => word.get_or_insert_default().extend(chars.next()),
            (None, _) if c.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(c),
        }
    }
    words.push(word.unwrap_or_default());
    (words, quote.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bash(line: &str, word: &str) -> Line {
        Line::of_bash(&[line.to_owned(), word.to_owned()])
    }

    #[test]
    fn a_line_is_split_as_a_shell_splits_it() {
        let table: &[(&str, &[&str])] = &[
            ("builder show ", &["builder", "show", ""]),
            ("builder  sh", &["builder", "sh"]),
            ("builder get 'a b' \"c d\" e\\ f", &["builder", "get", "a b", "c d", "e f"]),
            ("builder get 'a b", &["builder", "get", "a b"]),
            ("builder get ''", &["builder", "get", ""]),
            ("builder \\", &["builder", ""]),
            ("", &[""]),
        ];
        for (line, words) in table {
            assert_eq!(split(line).0, *words, "{line}");
        }
    }

    #[test]
    fn bash_gets_what_it_replaces() {
        let id = "20261124T094701.123Z-hello@debian-12-k3f9x2";
        assert_eq!(bash("builder show 2026", "2026").for_bash(id), id);
        let line = bash("builder show 20261124T094701.123Z-hello@deb", "deb");
        assert_eq!(line.for_bash(id), "debian-12-k3f9x2");
        let line = bash("builder run x --platform=deb", "deb");
        assert_eq!(line.for_bash("--platform=debian-12"), "debian-12");
        assert_eq!(bash("builder get x ", "").for_bash("a b"), "a\\ b");
        assert_eq!(bash("builder get x 'a ", "'a ").for_bash("a b"), "a b");
    }

    #[test]
    fn what_stands_before_the_command_is_left_out() {
        let words = ["BUILDER_SPOOL=x", "sudo", "/usr/bin/builder", "ls"].map(str::to_owned);
        assert_eq!(Line::of_words(&words).words, ["/usr/bin/builder"]);
    }
}

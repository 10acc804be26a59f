//! Text that must not be longer than so many columns. A character is a column: names are ASCII.

/// Leaves out the middle: the start of a name says what it is, its end which one.
pub fn middle(text: &str, width: usize) -> String {
    let length = text.chars().count();
    if length <= width {
        return text.to_owned();
    }
    let Some(kept) = width.checked_sub(1) else { return String::new() };
    let tail = kept / 2;
    let start = text.chars().take(kept - tail);
    start.chain(std::iter::once('…')).chain(text.chars().skip(length - tail)).collect()
}

/// Leaves out the end.
pub fn end(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let Some(kept) = width.checked_sub(1) else { return String::new() };
    text.chars().take(kept).chain(std::iter::once('…')).collect()
}

/// Breaks a text at its spaces and after its commas. A single word that is longer has a line of its own.
pub fn words(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_inclusive([' ', ',']) {
        match lines.last_mut() {
            Some(line) if line.chars().count() + word.trim_end().chars().count() <= width => *line += word,
            _ => lines.push(word.to_owned()),
        }
    }
    lines.iter_mut().for_each(|line| line.truncate(line.trim_end().len()));
    lines
}

/// The longest of the words at which [`words`] may break.
pub fn longest_word(text: &str) -> usize {
    text.split_inclusive([' ', ',']).map(|word| word.trim_end().chars().count()).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_its_start_and_its_end() {
        let table = [
            ("hello", 5, "hello"),
            ("hello", 4, "he…o"),
            ("a-long-name", 7, "a-l…ame"),
            ("hello", 2, "h…"),
            ("hello", 1, "…"),
            ("hello", 0, ""),
            ("", 0, ""),
        ];
        for (text, width, expected) in table {
            assert_eq!(middle(text, width), expected, "{text} {width}");
        }
    }

    #[test]
    fn a_sentence_keeps_its_start() {
        for (text, width, expected) in [("hello", 5, "hello"), ("hello", 4, "hel…"), ("hello", 1, "…"), ("x", 0, "")]
        {
            assert_eq!(end(text, width), expected, "{text} {width}");
        }
    }

    #[test]
    fn lines_break_between_words() {
        let table: [(&str, usize, &[&str]); 5] = [
            ("17 3 * * mon-fri", 20, &["17 3 * * mon-fri"]),
            ("17 3 * * mon-fri", 10, &["17 3 * *", "mon-fri"]),
            ("debian-12,freebsd-14", 12, &["debian-12,", "freebsd-14"]),
            ("unbreakable x", 4, &["unbreakable", "x"]),
            ("", 4, &[]),
        ];
        for (text, width, expected) in table {
            assert_eq!(words(text, width), expected, "{text} {width}");
        }
        assert_eq!((longest_word("debian-12,freebsd-14"), longest_word("a bc d"), longest_word("")), (10, 2, 0));
    }
}

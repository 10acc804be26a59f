//! Colours: few, and only where somebody can see them and wants to.

use std::ffi::OsString;

/// What a text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// The title of a section.
    Title,
    /// All is well.
    Good,
    /// Somebody may want to look.
    Odd,
    /// Something went wrong.
    Bad,
    /// Of less interest.
    Faint,
}

impl Style {
    /// The parameter of SGR, ECMA-48.
    pub(super) fn code(self) -> &'static str {
        match self {
            Style::Title => "1",
            Style::Good => "32",
            Style::Odd => "33",
            Style::Bad => "31",
            Style::Faint => "2",
        }
    }
}

/// Whether there is colour: on a terminal that has it, unless NO_COLOR is set and not empty (no-color.org).
pub(super) fn is_wanted(terminal: bool, variable: impl Fn(&str) -> Option<OsString>) -> bool {
    let refused = variable("NO_COLOR").is_some_and(|value| !value.is_empty());
    terminal && !refused && variable("TERM").is_some_and(|term| !term.is_empty() && term != "dumb")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_needs_a_terminal_that_has_it_and_nobody_who_refuses() {
        let table = [
            (true, None, Some("xterm"), true),
            (true, Some(""), Some("xterm"), true),
            (true, Some("1"), Some("xterm"), false),
            (true, Some("0"), Some("xterm"), false),
            (true, None, Some("dumb"), false),
            (true, None, None, false),
            (false, None, Some("xterm"), false),
        ];
        for (terminal, no_color, term, expected) in table {
            let variable = |name: &str| if name == "TERM" { term } else { no_color }.map(OsString::from);
            assert_eq!(is_wanted(terminal, variable), expected, "{terminal} {no_color:?} {term:?}");
        }
    }
}

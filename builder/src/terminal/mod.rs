//! What standard output is: a terminal of some size, with colour or without, or something that wants plain text.

pub mod shorten;
mod signals;
mod style;
mod table;

pub use signals::Signals;
pub use style::Style;
pub use table::{Cell, Fit, Row, Table, cell};

use std::io::{IsTerminal, stdout};

/// How wide a text may be where nobody says it.
const USUAL_WIDTH: usize = 80;

/// How many lines a terminal has that does not say it.
const USUAL_HEIGHT: usize = 24;

/// How a text is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// The columns of the terminal; nothing for a pipe, where nothing may be shortened.
    pub terminal: Option<usize>,
    /// Whether there is colour.
    pub colour: bool,
}

impl Look {
    /// As standard output has it now; a terminal may change its width at any time.
    pub fn of_stdout() -> Look {
        let terminal = size().map(|(columns, _)| columns);
        Look { terminal, colour: style::is_wanted(terminal.is_some(), |name| std::env::var_os(name)) }
    }

    /// As in a pipe, and without colour.
    pub fn plain() -> Look {
        Look { terminal: None, colour: false }
    }

    /// The width that lines should keep to.
    pub fn width(self) -> usize {
        self.terminal.unwrap_or(USUAL_WIDTH)
    }

    /// A text of so many columns at the most on a terminal; whole in a pipe.
    pub fn cut(self, text: String, width: usize) -> String {
        if self.terminal.is_some() { shorten::middle(&text, width) } else { text }
    }

    /// A text in a style, where there is colour.
    pub fn paint(self, style: Style, text: &str) -> String {
        match self.colour && !text.is_empty() {
            true => format!("\x1b[{}m{text}\x1b[0m", style.code()),
            false => text.to_owned(),
        }
    }
}

/// The columns and lines of the terminal; nothing when standard output is none.
pub fn size() -> Option<(usize, usize)> {
    if !stdout().is_terminal() {
        return None;
    }
    let size = rustix::termios::tcgetwinsize(stdout()).ok();
    let known = |number: u16, usual: usize| if number == 0 { usual } else { usize::from(number) };
    Some(size.map_or((USUAL_WIDTH, USUAL_HEIGHT), |size| {
        (known(size.ws_col, USUAL_WIDTH), known(size.ws_row, USUAL_HEIGHT))
    }))
}

/// Whether the terminal can do more than print, such as to move its cursor.
pub fn is_clever() -> bool {
    stdout().is_terminal() && std::env::var_os("TERM").is_some_and(|term| !term.is_empty() && term != "dumb")
}

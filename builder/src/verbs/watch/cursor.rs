//! Where a console's own text leaves the terminal's cursor, as far as that can be told without being a terminal.
//!
//! Nothing is said rather than something wrong: a text with tabs, other letters than ASCII or unknown sequences in
//! its unfinished line makes the column unknown until the line ends.

/// The cursor after the text so far.
#[derive(Debug, Default)]
pub struct Cursor {
    column: Column,
    sequence: Sequence,
    /// The script moves the cursor by itself: it has the screen to itself from then on.
    moves: bool,
    /// A colour may be on.
    pub styled: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Column {
    /// At the start of a line in which nothing stands.
    #[default]
    Fresh,
    /// So many columns have been printed since the start of the line.
    At(usize),
    Unknown,
}

/// Within an escape sequence of ECMA-48.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Sequence {
    #[default]
    None,
    Escape,
    Control,
    /// A string, such as a title, until BEL or ST.
    Text,
    TextEscape,
}

/// Where a status line can be drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spot {
    /// Here: the line is empty.
    Here,
    /// On the line below; the cursor comes back to this column, from 0 on.
    Below(usize),
    /// Nowhere.
    Nowhere,
}

impl Cursor {
    /// Notes what is printed.
    pub fn pass(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.step(*byte));
    }

    /// Where a status line can be drawn on a terminal of this width.
    pub fn spot(&self, width: usize) -> Spot {
        match self.column {
            _ if self.moves || self.sequence != Sequence::None || width == 0 => Spot::Nowhere,
            Column::Fresh => Spot::Here,
            // In the last column the cursor waits for one more character before it wraps.
            Column::At(column) if column == 0 || column % width != 0 => Spot::Below(column % width),
            _ => Spot::Nowhere,
        }
    }

    fn step(&mut self, byte: u8) {
        match self.sequence {
            Sequence::None => self.plain(byte),
            Sequence::Escape => self.escape(byte),
            Sequence::Control => self.control(byte),
            Sequence::Text if byte == 0x07 => self.sequence = Sequence::None,
            Sequence::Text if byte == 0x1b => self.sequence = Sequence::TextEscape,
            Sequence::Text => {}
            Sequence::TextEscape => self.sequence = if byte == b'\\' { Sequence::None } else { Sequence::Text },
        }
    }

    fn plain(&mut self, byte: u8) {
        self.column = match (byte, self.column) {
            (b'\n', _) => Column::Fresh,
            (b'\r', Column::Fresh) => Column::Fresh,
            (b'\r', _) => Column::At(0),
            (0x1b, column) => {
                self.sequence = Sequence::Escape;
                column
            }
            (0 | 0x07, column) => column,
            (0x20..0x7f, Column::Fresh) => Column::At(1),
            (0x20..0x7f, Column::At(column)) => Column::At(column + 1),
            (0x0b | 0x0c, column) => {
                self.moves = true;
                column
            }
            _ => Column::Unknown,
        };
    }

    fn escape(&mut self, byte: u8) {
        self.sequence = match byte {
            b'[' => Sequence::Control,
            b']' | b'P' | b'X' | b'^' | b'_' => Sequence::Text,
            // A character set, as `tput sgr0` says it: one more byte comes.
            0x20..0x30 => Sequence::Escape,
            b'0' | b'A' | b'B' => Sequence::None,
            _ => {
                self.moves = true;
                Sequence::None
            }
        };
    }

    fn control(&mut self, byte: u8) {
        if (0x40..0x7f).contains(&byte) {
            self.sequence = Sequence::None;
            self.styled |= byte == b'm';
            // Colours and erasing within the line leave the cursor where it is.
            self.moves |= byte != b'm' && byte != b'K';
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spot_is_known_or_there_is_none() {
        let table = [
            ("", Spot::Here),
            ("a line\n", Spot::Here),
            ("abc", Spot::Below(3)),
            ("0123456789", Spot::Nowhere),
            ("0123456789x", Spot::Below(1)),
            ("12 %\r", Spot::Below(0)),
            ("\r", Spot::Here),
            ("12 %\r13", Spot::Below(2)),
            ("a\tb", Spot::Nowhere),
            ("a\tb\n", Spot::Here),
            ("é", Spot::Nowhere),
            ("é\rab", Spot::Below(2)),
            ("\x1b[31mred", Spot::Below(3)),
            ("\x1b[31mred\x1b[0", Spot::Nowhere),
            ("\x1b(B\x1b[mabc", Spot::Below(3)),
            ("\x1b]0;title\x07abc", Spot::Below(3)),
            ("\x1b]8;;x\x1b\\abc", Spot::Below(3)),
            ("\x1b]0;title", Spot::Nowhere),
            ("ab\x1b[K", Spot::Below(2)),
            ("ab\x1b[2A\n", Spot::Nowhere),
            ("\x1b7\n", Spot::Nowhere),
            ("\x1bM\n", Spot::Nowhere),
        ];
        for (text, expected) in table {
            let (mut whole, mut pieces) = (Cursor::default(), Cursor::default());
            whole.pass(text.as_bytes());
            text.as_bytes().chunks(1).for_each(|piece| pieces.pass(piece));
            assert_eq!((whole.spot(10), pieces.spot(10)), (expected, expected), "{text:?}");
        }
    }
}

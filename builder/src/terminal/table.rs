//! Rows whose columns stand below each other, laid out for a width.
//!
//! In a pipe no name is ever shortened: what is too wide there is broken between words, and after that the line is
//! longer. On a terminal no line is longer than the terminal is wide, whatever has to go.

use super::shorten::{self, longest_word};
use super::{Look, Style};

/// The columns to the left of a row, and of a note below a row.
const INDENT: usize = 2;
const NOTE_INDENT: usize = 4;

/// On a terminal a column becomes no narrower than this, unless what is behind it is at the edge.
const NARROWEST: usize = 6;

/// What happens to a column for which there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// It stays as it is: it is short.
    Fixed,
    /// On a terminal its cells lose their middle.
    Name,
    /// As a name; in a pipe a cell that is too long goes below its row, whole.
    Below,
    /// Its cells continue in further lines.
    Words,
}

/// A text with a style.
#[derive(Clone, Debug, Default)]
pub struct Cell {
    text: String,
    style: Option<Style>,
}

/// A cell without a style.
pub fn cell(text: impl Into<String>) -> Cell {
    Cell { text: text.into(), style: None }
}

impl Cell {
    /// The same in a style.
    pub fn styled(self, style: Style) -> Cell {
        Cell { style: Some(style), ..self }
    }
}

/// A row, and perhaps a sentence below it.
#[derive(Clone, Debug)]
pub struct Row {
    /// As many as the table has columns, or fewer.
    pub cells: Vec<Cell>,
    /// What is to be said of it.
    pub note: Option<Cell>,
}

impl From<Vec<Cell>> for Row {
    fn from(cells: Vec<Cell>) -> Row {
        Row { cells, note: None }
    }
}

/// Rows with columns of these kinds.
#[derive(Debug)]
pub struct Table<'t> {
    /// What happens to each column for which there is no room.
    pub columns: &'t [Fit],
    /// From the first to the last.
    pub rows: Vec<Row>,
}

/// The widths of the columns and of what is between them.
struct Layout {
    widths: Vec<usize>,
    gap: usize,
}

impl Table<'_> {
    /// The lines, without newlines.
    pub fn lines(&self, look: Look) -> Vec<String> {
        let layout = self.layout(look);
        self.rows.iter().flat_map(|row| self.row(row, &layout, look)).collect()
    }

    fn layout(&self, look: Look) -> Layout {
        let (most, words) = (self.widest(|text| text.chars().count()), self.widest(longest_word));
        let mut layout = Layout { widths: most, gap: 2 };
        // Between words first: nothing is lost by that.
        self.narrow(&mut layout, look, |fit, column| match fit {
            Fit::Words => words[column],
            _ => usize::MAX,
        });
        if layout.total() > look.width() {
            layout.gap = 1;
        }
        self.narrow(&mut layout, look, |fit, column| match (fit, look.terminal) {
            (Fit::Fixed, _) | (Fit::Name, None) => usize::MAX,
            (Fit::Below, None) => 0,
            (Fit::Words, None) => words[column],
            (_, Some(_)) => NARROWEST,
        });
        layout
    }

    fn widest(&self, measure: impl Fn(&str) -> usize) -> Vec<usize> {
        let column =
            |n: usize| self.rows.iter().filter_map(|row| row.cells.get(n)).map(|cell| measure(&cell.text)).max();
        (0..self.columns.len()).map(|n| column(n).unwrap_or(0)).collect()
    }

    /// Takes from the widest column that has more than its least width, until all fits or nothing is left to take.
    fn narrow(&self, layout: &mut Layout, look: Look, least: impl Fn(Fit, usize) -> usize) {
        while layout.total() > look.width() {
            let wide = |n: &usize| layout.widths[*n] > least(self.columns[*n], *n);
            let Some(widest) = (0..self.columns.len()).filter(wide).max_by_key(|n| layout.widths[*n]) else { return };
            layout.widths[widest] -= 1;
        }
    }

    fn row(&self, row: &Row, layout: &Layout, look: Look) -> Vec<String> {
        let mut notes = Vec::new();
        let mut columns: Vec<Vec<String>> = Vec::new();
        for ((cell, fit), width) in row.cells.iter().zip(self.columns).zip(&layout.widths) {
            let fits = cell.text.chars().count() <= *width;
            columns.push(match fit {
                _ if fits => vec![cell.text.clone()],
                Fit::Below if look.terminal.is_none() => {
                    notes.push(cell);
                    Vec::new()
                }
                Fit::Words => {
                    shorten::words(&cell.text, *width).into_iter().map(|line| look.cut(line, *width)).collect()
                }
                _ => vec![shorten::middle(&cell.text, *width)],
            });
        }
        let height = columns.iter().map(Vec::len).max().unwrap_or(0);
        let mut lines: Vec<String> = (0..height).map(|n| line(&row.cells, &columns, n, layout, look)).collect();
        notes.extend(&row.note);
        lines.extend(notes.into_iter().flat_map(|cell| note(cell, look)));
        lines
    }
}

impl Layout {
    /// A column in which nothing stands takes no room at all.
    fn total(&self) -> usize {
        let filled = self.widths.iter().filter(|width| **width > 0);
        (INDENT + filled.map(|width| width + self.gap).sum::<usize>()).saturating_sub(self.gap)
    }
}

/// The nth line of a row. What is behind the edge of a terminal is left out.
fn line(cells: &[Cell], columns: &[Vec<String>], n: usize, layout: &Layout, look: Look) -> String {
    let (mut line, mut at, mut owed) = (String::new(), 0, INDENT);
    for ((cell, lines), width) in cells.iter().zip(columns).zip(&layout.widths).filter(|(_, width)| **width > 0) {
        let mut text = lines.get(n).map_or("", String::as_str).to_owned();
        if let Some(edge) = look.terminal {
            text = shorten::middle(&text, edge.saturating_sub(at + owed));
        }
        let length = text.chars().count();
        if length > 0 {
            line.extend(std::iter::repeat_n(' ', owed));
            line += &cell.style.map_or(text.clone(), |style| look.paint(style, &text));
            (at, owed) = (at + owed + length, 0);
        }
        owed += width.saturating_sub(length) + layout.gap;
    }
    line
}

fn note(cell: &Cell, look: Look) -> Vec<String> {
    let width = look.width().saturating_sub(NOTE_INDENT);
    let painted = |line: String| cell.style.map_or(line.clone(), |style| look.paint(style, &line));
    let lines = shorten::words(&cell.text, width).into_iter().map(|line| look.cut(line, width));
    lines.map(|line| format!("{:NOTE_INDENT$}{}", "", painted(line))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIPE: Look = Look { terminal: None, colour: false };

    fn wide(columns: usize) -> Look {
        Look { terminal: Some(columns), colour: false }
    }

    fn table<'t>(columns: &'t [Fit], rows: &[&[&str]]) -> Table<'t> {
        Table {
            columns,
            rows: rows.iter().map(|row| row.iter().map(|text| cell(*text)).collect::<Vec<_>>().into()).collect(),
        }
    }

    #[test]
    fn columns_stand_below_each_other_and_empty_ones_take_no_room() {
        let kinds = [Fit::Name, Fit::Fixed, Fit::Fixed];
        let lines = table(&kinds, &[&["a", "", "b"], &["long", "", "c"]]).lines(PIPE);
        assert_eq!(lines, ["  a     b", "  long  c"]);
    }

    #[test]
    fn what_is_too_wide_for_a_pipe_stays_whole() {
        let (name, list) = ("n".repeat(60), "debian-12,freebsd-14,openbsd-7");
        let lines = table(&[Fit::Name, Fit::Words], &[&[&name, list]]).lines(PIPE);
        assert_eq!(lines[0], format!("  {name}  debian-12,"));
        assert_eq!(lines[1].trim_start(), "freebsd-14,");
        let lines = table(&[Fit::Name, Fit::Name], &[&[&name, &name]]).lines(PIPE);
        assert_eq!(lines, [format!("  {name} {name}")]);
        let lines = table(&[Fit::Name, Fit::Below], &[&[&name, &name], &["x", "y"]]).lines(PIPE);
        assert_eq!(lines, [format!("  {name}"), format!("    {name}"), format!("  x{:60}y", "")]);
    }

    #[test]
    fn no_line_is_wider_than_its_terminal() {
        let (name, text) = ("n".repeat(60), "words that go on and on, and an-unbreakable-word-of-some-length");
        let mut table = table(&[Fit::Fixed, Fit::Name, Fit::Below, Fit::Words], &[&["k3f9x2", &name, &name, text]]);
        table.rows[0].note = Some(cell(text));
        for columns in 1..200 {
            for line in table.lines(wide(columns)) {
                assert!(line.chars().count() <= columns.max(NOTE_INDENT), "{columns}: {line}");
            }
        }
        assert!(table.lines(wide(40))[0].starts_with("  k3f9x2 nn"));
    }

    #[test]
    fn a_style_takes_no_room() {
        let look = Look { terminal: Some(80), colour: true };
        let rows = vec![vec![cell("a").styled(Style::Bad), cell("b")].into()];
        let lines = Table { columns: &[Fit::Fixed, Fit::Fixed], rows }.lines(look);
        assert_eq!(lines, ["  \x1b[31ma\x1b[0m  b"]);
    }
}

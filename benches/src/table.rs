//! Tables of markdown, aligned so that they read well as text, too.

use std::fmt;

/// A table with a title and remarks.
pub struct Table {
    title: String,
    rows: Vec<Vec<String>>,
    remarks: Vec<String>,
}

impl Table {
    /// A table without rows.
    pub fn new(title: &str, head: &[&str]) -> Table {
        let head = head.iter().map(|cell| cell.to_string()).collect();
        Table { title: title.to_owned(), rows: vec![head], remarks: Vec::new() }
    }

    /// One more row.
    pub fn row(&mut self, cells: &[String]) {
        self.rows.push(cells.to_vec());
    }

    /// A line below the table.
    pub fn remark(&mut self, text: &str) {
        self.remarks.push(text.to_owned());
    }

    fn width(&self, column: usize) -> usize {
        self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "### {}\n", self.title)?;
        let widths: Vec<usize> = (0..self.rows[0].len()).map(|column| self.width(column)).collect();
        for (n, row) in self.rows.iter().enumerate() {
            for (column, width) in widths.iter().enumerate() {
                let cell = row.get(column).map_or("", String::as_str);
                match column {
                    0 => write!(f, "| {cell:<width$} ")?,
                    _ => write!(f, "| {cell:>width$} ")?,
                }
            }
            writeln!(f, "|")?;
            if n == 0 {
                write!(f, "| {} ", "-".repeat(widths[0]))?;
                widths[1..].iter().try_for_each(|width| write!(f, "| {}: ", "-".repeat(width - 1)))?;
                writeln!(f, "|")?;
            }
        }
        self.remarks.iter().try_for_each(|remark| write!(f, "\n{remark}\n"))
    }
}

/// Milliseconds.
pub fn ms(value: f64) -> String {
    format!("{value:.2} ms")
}

/// Something a second.
pub fn rate(value: f64) -> String {
    if value < 10_000.0 { format!("{value:.0}") } else { format!("{:.0} k", value / 1e3) }
}

/// A ratio.
pub fn ratio(value: f64) -> String {
    format!("{value:.2}")
}

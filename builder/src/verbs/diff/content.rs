//! Contents without any other program: texts line by line, anything else byte by byte.

use crate::terminal::{Look, Style};
use crate::text;
use similar::udiff::UnifiedHunkHeader;
use similar::{ChangeTag, TextDiff};
use spool::error::{At, Result};
use std::fmt::Write;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;
use std::time::Duration;

/// Texts up to so many bytes are compared line by line.
const LONGEST_TEXT: u64 = 4 << 20;

/// So many lines of a difference are shown.
const LINES: usize = 200;

/// Lines around a change.
const CONTEXT: usize = 3;

/// Finding the smallest difference may take so long; after that a larger one will do.
const PATIENCE: Duration = Duration::from_secs(2);

/// So many bytes are shown from where two contents part.
const WINDOW: usize = 16;

/// What differs between two files.
pub fn compare(left: &Path, right: &Path, look: Look) -> Result<String> {
    match (text_of(left)?, text_of(right)?) {
        (Some(left), Some(right)) => Ok(lines(&left, &right, look)),
        _ => bytes(left, right),
    }
}

/// What differs between two texts, whatever bytes they have.
pub fn unified(left: &Path, right: &Path, look: Look) -> Result<String> {
    let read = |path: &Path| std::fs::read(path).at("read", path);
    let (left, right) = (read(left)?, read(right)?);
    Ok(lines(&String::from_utf8_lossy(&left), &String::from_utf8_lossy(&right), look))
}

/// The content, when people can read it.
fn text_of(path: &Path) -> Result<Option<String>> {
    let mut bytes = Vec::new();
    File::open(path).at("read", path)?.take(LONGEST_TEXT + 1).read_to_end(&mut bytes).at("read", path)?;
    if bytes.len() as u64 > LONGEST_TEXT || bytes.contains(&0) {
        return Ok(None);
    }
    Ok(String::from_utf8(bytes).ok())
}

fn lines(left: &str, right: &str, look: Look) -> String {
    let diff = TextDiff::configure().timeout(PATIENCE).diff_lines(left, right);
    let (mut shown, mut count) = (String::new(), 0);
    for group in diff.grouped_ops(CONTEXT) {
        for (n, change) in group.iter().flat_map(|op| diff.iter_changes(op)).enumerate() {
            count += 1;
            if count > LINES {
                continue;
            }
            if n == 0 {
                let _ = writeln!(shown, "  {}", UnifiedHunkHeader::new(&group));
            }
            let (mark, style) = match change.tag() {
                ChangeTag::Delete => ("-", Some(Style::Bad)),
                ChangeTag::Insert => ("+", Some(Style::Good)),
                ChangeTag::Equal => (" ", None),
            };
            let line = format!("  {mark}{}", tame(change.value().trim_end_matches('\n')));
            shown += &style.map_or(line.clone(), |style| look.paint(style, &line));
            shown += if change.missing_newline() { "  (no newline at the end)\n" } else { "\n" };
        }
    }
    if count > LINES {
        let _ = writeln!(shown, "  … and {} more lines", count - LINES);
    }
    shown
}

/// As [`text::tame`], but a tab is no surprise in a text.
fn tame(line: &str) -> String {
    line.split('\t').map(text::tame).collect::<Vec<_>>().join("\t")
}

/// Where two contents part for the first time, and how much of them is different.
fn bytes(left: &Path, right: &Path) -> Result<String> {
    let open = |path: &Path| File::open(path).map(BufReader::new).at("read", path);
    let (mut here, mut there) = (open(left)?, open(right)?);
    let (mut first, mut different, mut position) = (None, 0u64, 0u64);
    let (mut a, mut b) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        let (n, m) = (fill(&mut here, &mut a).at("read", left)?, fill(&mut there, &mut b).at("read", right)?);
        let unequal = |i: &usize| a[..n].get(*i) != b[..m].get(*i);
        let all: Vec<usize> = if a[..n] == b[..m] { Vec::new() } else { (0..n.max(m)).filter(unequal).collect() };
        if first.is_none()
            && let Some(&at) = all.first()
        {
            let window = |bytes: &[u8]| hex(bytes.get(at..).unwrap_or_default());
            first = Some((position + at as u64, window(&a[..n]), window(&b[..m])));
        }
        different += all.len() as u64;
        position += n.max(m) as u64;
        if n < a.len() && m < b.len() {
            break;
        }
    }
    let Some((at, here, there)) = first else { return Ok("  no byte differs: one of them is damaged\n".to_owned()) };
    Ok(format!("  {different} of {position} bytes differ, the first at {at} (0x{at:x})\n  - {here}\n  + {there}\n"))
}

fn fill(from: &mut impl Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match from.read(&mut buffer[filled..])? {
            0 => break,
            n => filled += n,
        }
    }
    Ok(filled)
}

/// Some bytes in hexadecimal, and as text where they are.
fn hex(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "(its end)".to_owned();
    }
    let bytes = &bytes[..bytes.len().min(WINDOW)];
    let digits: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let text: String = bytes
        .iter()
        .map(|byte| if byte.is_ascii_graphic() || *byte == b' ' { char::from(*byte) } else { '.' })
        .collect();
    format!("{:width$}  {text}", digits.join(" "), width = WINDOW * 3 - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Look = Look { terminal: None, colour: false };

    fn compared(left: &[u8], right: &[u8]) -> String {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, bytes: &[u8]| {
            let path = dir.path().join(name);
            spool::disk::write_new(&path, bytes, 0o644).unwrap();
            path
        };
        compare(&file("a", left), &file("b", right), PLAIN).unwrap()
    }

    #[test]
    fn texts_are_compared_line_by_line_and_bytes_where_they_part() {
        assert_eq!(
            compared(b"a\nb\nc\n", b"a\nx\x1b\nc"),
            "  @@ -1,3 +1,3 @@\n   a\n  -b\n  -c\n  +x?\n  +c  (no newline at the end)\n"
        );
        let said = compared(b"\0same\x01tail", b"\0same\x02");
        assert!(said.starts_with("  5 of 10 bytes differ, the first at 5 (0x5)\n  - 01 74 61 69 6c "), "{said}");
        assert!(compared(b"\0a", b"\0a\0").contains("  - (its end)\n  + 00 "));
    }

    #[test]
    fn a_difference_that_is_too_long_is_counted() {
        let many: String = (0..1000).map(|n| format!("{n}\n")).collect();
        assert!(compared(b"x\n", many.as_bytes()).ends_with("  … and 801 more lines\n"));
    }

    #[test]
    fn what_differs_beyond_the_first_buffer_is_found() {
        let mut left = vec![0; 200_000];
        let right = left.clone();
        left[150_000] = 7;
        assert!(compared(&left, &right).starts_with("  1 of 200000 bytes differ, the first at 150000 (0x249f0)\n"));
    }
}

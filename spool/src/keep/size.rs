//! Sizes as people write them.

use crate::error::{Error, Kind, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A number of bytes, 1 or more; in text with a unit of powers of 1000 (`500k`, `200MB`, `1T`) or of 1024 (`64MiB`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "String")]
pub struct Size(u64);

/// In a file: text, or bytes as a number.
#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Text(String),
    Bytes(u64),
}

const UNITS: [(&str, u64); 8] = [
    ("TiB", 1 << 40),
    ("TB", 1_000_000_000_000),
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("kB", 1_000),
];

impl Size {
    /// In bytes.
    pub fn bytes(self) -> u64 {
        self.0
    }
}

impl FromStr for Size {
    type Err = Error;
    fn from_str(text: &str) -> Result<Size> {
        let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
        let named = unit.trim_start().to_ascii_lowercase();
        let unit = match named.as_str() {
            "" | "b" => Some(1),
            short => UNITS
                .into_iter()
                .find(|(name, _)| {
                    let name = name.to_ascii_lowercase();
                    name == short || (!name.contains('i') && name.strip_suffix('b') == Some(short))
                })
                .map(|(_, unit)| unit),
        };
        let bytes = number.parse::<u64>().ok().zip(unit).and_then(|(number, unit)| number.checked_mul(unit));
        bytes.filter(|bytes| *bytes > 0).map(Size).ok_or_else(|| {
            let shown: String = text.chars().take(60).flat_map(char::escape_default).collect();
            Error::new(Kind::Usage, format!("`{shown}` is no size"))
                .hint("give a number with a unit, such as 500kB, 200MB or 1GiB")
        })
    }
}

impl TryFrom<Written> for Size {
    type Error = Error;
    fn try_from(written: Written) -> Result<Size> {
        match written {
            Written::Text(text) => text.parse(),
            Written::Bytes(bytes) => bytes.to_string().parse(),
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match UNITS.into_iter().find(|(_, unit)| self.0.is_multiple_of(*unit)) {
            Some((name, unit)) => write!(f, "{}{name}", self.0 / unit),
            None => write!(f, "{}", self.0),
        }
    }
}

impl From<Size> for String {
    fn from(size: Size) -> String {
        size.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_printed_and_refused() {
        let table = [
            ("1", 1, "1"),
            ("1500", 1500, "1500"),
            ("500kB", 500_000, "500kB"),
            ("200M", 200_000_000, "200MB"),
            ("2g", 2_000_000_000, "2GB"),
            ("1 GiB", 1 << 30, "1GiB"),
            ("3tib", 3 << 40, "3TiB"),
        ];
        for (text, bytes, printed) in table {
            let size: Size = text.parse().unwrap();
            assert_eq!((size.bytes(), size.to_string().as_str()), (bytes, printed), "{text}");
            assert_eq!(printed.parse::<Size>().unwrap(), size);
        }
        for text in ["", "0", "MB", "-1", "1.5MB", "1XB", "1Gi", "99999999999TB"] {
            assert_eq!(text.parse::<Size>().unwrap_err().kind(), Kind::Usage, "{text}");
        }
    }
}

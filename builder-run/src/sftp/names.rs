//! What a client calls files and directories. All of it exists in memory only.

use super::refusal::{Refusal, shown};
use std::collections::BTreeMap;

/// The directory below which everything lies, and where a session starts.
pub const ROOT: &[u8] = b"/artifacts";

/// How many bytes of names are remembered.
const MEMORY: usize = 1 << 20;
/// What a name costs besides its own bytes, about.
const OVERHEAD: usize = 96;

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    Directory,
    /// A file that was closed, with its size in bytes.
    File(u64),
}

/// The names of a session.
#[derive(Debug)]
pub struct Names {
    longest: usize,
    known: BTreeMap<Vec<u8>, Seen>,
    bytes: usize,
}

impl Names {
    /// No names yet; later ones have at most `longest` bytes as absolute paths.
    pub fn new(longest: usize) -> Names {
        Names { longest, known: BTreeMap::new(), bytes: 0 }
    }

    /// A path made absolute, and `.`, `..` and `//` taken out of it, by looking at nothing but the path.
    pub fn absolute(&self, path: &[u8]) -> Result<Vec<u8>, Refusal> {
        let start = if path.starts_with(b"/") { &b""[..] } else { ROOT };
        let mut parts = Vec::new();
        for part in start.split(slash).chain(path.split(slash)) {
            match part {
                b"" | b"." => {}
                b".." => drop(parts.pop()),
                _ => parts.push(part),
            }
        }
        let absolute = [b"/", parts.join(&b'/').as_slice()].concat();
        if absolute.len() > self.longest {
            return Err(Refusal::failed(format!("{}: a path has at most {} bytes", shown(&absolute), self.longest)));
        }
        Ok(absolute)
    }

    /// The absolute form of a path that may name something new.
    pub fn below_root(&self, path: &[u8]) -> Result<Vec<u8>, Refusal> {
        let absolute = self.absolute(path)?;
        if path.split(slash).any(|part| part == b"..") {
            return Err(Refusal::denied(format!("{}: a path with `..` is refused", shown(path))));
        }
        match absolute.strip_prefix(ROOT) {
            Some(b"" | [b'/', ..]) => Ok(absolute),
            _ => Err(Refusal::denied(format!("{}: it is outside /artifacts", shown(&absolute)))),
        }
    }

    /// What an absolute path stands for.
    pub fn get(&self, absolute: &[u8]) -> Option<Seen> {
        if absolute == ROOT { Some(Seen::Directory) } else { self.known.get(absolute).copied() }
    }

    /// Gives a name its meaning. So that memory is bounded, the names before it may be forgotten, which takes
    /// nothing away but answers about their sizes.
    pub fn put(&mut self, absolute: Vec<u8>, seen: Seen) {
        if self.bytes > MEMORY {
            self.known.clear();
            self.bytes = 0;
        }
        self.bytes += absolute.len() + OVERHEAD;
        self.known.insert(absolute, seen);
    }

    /// Takes a name away.
    pub fn remove(&mut self, absolute: &[u8]) {
        self.known.remove(absolute);
    }
}

fn slash(byte: &u8) -> bool {
    *byte == b'/'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        Names::new(64)
    }

    #[test]
    fn paths_become_absolute() {
        for (path, absolute) in [
            ("", "/artifacts"),
            (".", "/artifacts"),
            ("a/./b//c/", "/artifacts/a/b/c"),
            ("..", "/"),
            ("../../../x", "/x"),
            ("/", "/"),
            ("/etc/../artifacts/y", "/artifacts/y"),
        ] {
            assert_eq!(names().absolute(path.as_bytes()), Ok(absolute.as_bytes().to_vec()), "{path}");
        }
        assert!(names().absolute(&[b'a'; 65]).is_err());
    }

    #[test]
    fn nothing_new_lies_outside() {
        let refused = |path: &str| names().below_root(path.as_bytes()).unwrap_err().reason;
        for path in ["/", "/etc/passwd", "/artifactsx", "/artifact", "//etc"] {
            assert!(refused(path).contains("outside /artifacts"), "{path}");
        }
        for path in ["..", "../x", "/../x", "a/../b", "/artifacts/..", "/artifacts/../etc"] {
            assert!(refused(path).contains(".."), "{path}");
        }
        for path in ["", "a", "..a/b..", "/artifacts", "//artifacts/a/", "/./artifacts/\u{0}"] {
            assert!(names().below_root(path.as_bytes()).is_ok(), "{path}");
        }
        assert!(names().below_root(b"\xff\xfe").is_ok());
    }

    #[test]
    fn memory_is_bounded() {
        let mut names = Names::new(1024);
        for number in 0..100_000_u32 {
            names.put([vec![b'n'; 900], number.to_be_bytes().to_vec()].concat(), Seen::File(0));
            assert!(names.known.len() < 2 * MEMORY / 1000);
        }
        assert_eq!(names.get(ROOT), Some(Seen::Directory));
    }
}

//! One file that is being uploaded: hashed while it is written.

use spool::digest::{Hasher, Sha256};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Seek};
use std::os::unix::fs::FileExt;

/// How many separate pieces may lie ahead of the hash before the file is read again at its end instead.
const PIECES: usize = 64;
/// How much is read at a time where a gap has been filled, in bytes.
const READ_BACK: u64 = 64 << 10;

/// How much is written before the disk is set to work on it, in bytes.
const WRITE_BACK: u64 = 16 << 20;

/// A file and the digest of its beginning.
///
/// Clients write in order nearly always; what comes in order is hashed from memory. What comes ahead of a gap is
/// read back when the gap is filled. What changes bytes that were hashed already makes the digest stale, and the
/// whole file is read at its end.
#[derive(Debug)]
pub struct Ingest {
    file: File,
    hasher: Hasher,
    hashed_to: u64,
    /// The system was told to write what lies before this.
    written_back: u64,
    extent: u64,
    /// Written pieces behind `hashed_to`, by their start, each with its end; they do not touch.
    ahead: BTreeMap<u64, u64>,
    stale: bool,
}

impl Ingest {
    /// Takes an empty file that is open for reading and writing.
    pub fn new(file: File) -> Ingest {
        Ingest {
            file,
            hasher: Hasher::default(),
            hashed_to: 0,
            written_back: 0,
            extent: 0,
            ahead: BTreeMap::new(),
            stale: false,
        }
    }

    /// The size of the file in bytes, holes included.
    pub fn extent(&self) -> u64 {
        self.extent
    }

    /// Writes at `offset`; `offset` and the length together must not overflow. After an error nothing is known
    /// about what was written, and the file is of no use any more.
    pub fn write(&mut self, offset: u64, data: &[u8]) -> io::Result<()> {
        let end = offset + data.len() as u64;
        if data.is_empty() {
            return Ok(());
        }
        self.file.write_all_at(data, offset)?;
        self.extent = self.extent.max(end);
        if self.stale {
            return Ok(());
        }
        if offset == self.hashed_to {
            self.hasher.update(data);
            self.hashed_to = end;
            if end - self.written_back >= WRITE_BACK {
                spool::disk::start_writeback(&self.file, self.written_back, end - self.written_back);
                self.written_back = end;
            }
            self.catch_up()
        } else if offset < self.hashed_to {
            self.give_up();
            Ok(())
        } else {
            self.note(offset, end);
            Ok(())
        }
    }

    /// Makes the file longer, by a hole, or shorter.
    pub fn resize(&mut self, size: u64) -> io::Result<()> {
        self.file.set_len(size)?;
        if size < self.extent && (size < self.hashed_to || !self.ahead.is_empty()) {
            self.give_up();
        }
        self.extent = size;
        Ok(())
    }

    /// Makes the content durable.
    pub fn sync(&self) -> io::Result<()> {
        spool::disk::sync_content(&self.file)
    }

    /// Closes the file. Returns the digest of all of it, where a hole is zeros, and its size in bytes.
    pub fn finish(mut self) -> io::Result<(Sha256, u64)> {
        if self.stale || self.hashed_to != self.extent {
            self.file.rewind()?;
            return Sha256::of_reader(&self.file);
        }
        Ok((self.hasher.finish(), self.extent))
    }

    /// Remembers a piece ahead of the hash, as one with those that it touches.
    fn note(&mut self, mut start: u64, mut end: u64) {
        while let Some((&other_start, &other_end)) = self.ahead.range(..=end).next_back()
            && other_end >= start
        {
            self.ahead.remove(&other_start);
            (start, end) = (start.min(other_start), end.max(other_end));
        }
        self.ahead.insert(start, end);
        if self.ahead.len() > PIECES {
            self.give_up();
        }
    }

    /// Hashes what was written ahead and has no gap before it any more.
    fn catch_up(&mut self) -> io::Result<()> {
        while let Some(piece) = self.ahead.first_entry()
            && *piece.key() <= self.hashed_to
        {
            let end = piece.remove();
            self.read_back(end)?;
        }
        Ok(())
    }

    fn read_back(&mut self, end: u64) -> io::Result<()> {
        let mut buffer = vec![0; READ_BACK.min(end.saturating_sub(self.hashed_to)) as usize];
        while self.hashed_to < end {
            let length = READ_BACK.min(end - self.hashed_to) as usize;
            self.file.read_exact_at(&mut buffer[..length], self.hashed_to)?;
            self.hasher.update(&buffer[..length]);
            self.hashed_to += length as u64;
        }
        Ok(())
    }

    fn give_up(&mut self) {
        self.stale = true;
        self.ahead.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use spool::upload::Area;

    /// Numbers that only look random, the same in each run (Knuth's MMIX constants).
    struct Numbers(u64);

    impl Numbers {
        fn below(&mut self, bound: u64) -> u64 {
            self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (self.0 >> 33) % bound
        }
    }

    /// A file without a name.
    fn file() -> File {
        let area = Area::new(File::open(std::env::temp_dir()).unwrap().into());
        area.draft().unwrap().1
    }

    /// Writes to a file and to memory.
    struct Twin(Ingest, Vec<u8>);

    impl Twin {
        fn new() -> Twin {
            Twin(Ingest::new(file()), Vec::new())
        }

        fn write(&mut self, offset: u64, data: &[u8]) {
            self.0.write(offset, data).unwrap();
            let (start, end) = (offset as usize, offset as usize + data.len());
            if !data.is_empty() {
                self.1.resize(self.1.len().max(end), 0);
                self.1[start..end].copy_from_slice(data);
            }
        }

        fn resize(&mut self, size: u64) {
            self.0.resize(size).unwrap();
            self.1.resize(size as usize, 0);
        }

        fn agrees(self) {
            assert_eq!(self.0.extent(), self.1.len() as u64);
            assert_eq!(self.0.finish().unwrap(), (Sha256::of(&self.1), self.1.len() as u64));
        }
    }

    #[test]
    fn any_order_gives_the_digest_of_the_result() {
        for seed in 0..300 {
            let (mut numbers, mut twin) = (Numbers(seed), Twin::new());
            for _ in 0..numbers.below(40) {
                let data = vec![numbers.below(256) as u8; numbers.below(600) as usize];
                match numbers.below(12) {
                    0 => twin.resize(numbers.below(6000)),
                    1..6 => twin.write(numbers.below(6000), &data),
                    _ => twin.write(twin.1.len() as u64, &data),
                }
            }
            twin.agrees();
        }
    }

    #[test]
    fn pieces_in_any_order_are_hashed_without_a_second_look() {
        for seed in 0..50 {
            let (mut numbers, mut twin) = (Numbers(seed), Twin::new());
            let mut offsets: Vec<u64> = (0..60).map(|piece| piece * 3000).collect();
            while !offsets.is_empty() {
                let offset = offsets.remove(numbers.below(offsets.len() as u64) as usize);
                // Overlaps say the same twice.
                twin.write(offset, &[(offset / 3000) as u8; 3000]);
            }
            assert!(!twin.0.stale && twin.0.hashed_to == twin.0.extent && twin.0.ahead.is_empty());
            twin.agrees();
        }
    }

    #[test]
    fn many_pieces_and_holes_cost_no_memory() {
        let mut twin = Twin::new();
        for piece in (0..5000_u64).rev() {
            twin.write(piece * 3, b"x");
            assert!(twin.0.ahead.len() <= PIECES);
        }
        twin.agrees();
    }

    #[test]
    fn an_empty_file_and_a_hole_have_digests() {
        Twin::new().agrees();
        let mut twin = Twin::new();
        twin.write(1000, b"");
        twin.resize(1 << 20);
        twin.agrees();
    }
}

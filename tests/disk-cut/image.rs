//! What a disk holds, and what became of it: writes and flushes in their order.

use std::collections::HashMap;
use std::sync::Arc;

/// What a disk writes whole or not at all.
const PAGE: usize = 4096;

/// One of them.
pub type Page = Arc<[u8; PAGE]>;

/// The content of a disk; what was never written is zeros. A clone costs little.
#[derive(Clone, Default)]
pub struct Image {
    pages: HashMap<u64, Page>,
}

impl Image {
    /// Reads so many bytes.
    pub fn read(&self, offset: u64, length: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length);
        while bytes.len() < length {
            let at = offset + bytes.len() as u64;
            let within = (at % PAGE as u64) as usize;
            let piece = (PAGE - within).min(length - bytes.len());
            match self.pages.get(&(at / PAGE as u64)) {
                Some(page) => bytes.extend_from_slice(&page[within..within + piece]),
                None => bytes.resize(bytes.len() + piece, 0),
            }
        }
        bytes
    }

    /// Writes, and returns the pages that it has changed, as they are now.
    pub fn write(&mut self, offset: u64, bytes: &[u8]) -> Vec<(u64, Page)> {
        let mut changed = Vec::new();
        let mut done = 0;
        while done < bytes.len() {
            let at = offset + done as u64;
            let (number, within) = (at / PAGE as u64, (at % PAGE as u64) as usize);
            let piece = (PAGE - within).min(bytes.len() - done);
            let page = self.pages.entry(number).or_insert_with(|| Arc::new([0; PAGE]));
            Arc::make_mut(page)[within..within + piece].copy_from_slice(&bytes[done..done + piece]);
            changed.push((number, page.clone()));
            done += piece;
        }
        changed
    }

    /// Puts a page in its place.
    pub fn put(&mut self, (number, page): &(u64, Page)) {
        self.pages.insert(*number, page.clone());
    }
}

/// What was done to a disk, one step after the other.
#[derive(Clone)]
pub enum Step {
    /// A page was written. Until the next flush it may be on the disk or not.
    Wrote((u64, Page)),
    /// All that was written before is on the disk.
    Flushed,
}

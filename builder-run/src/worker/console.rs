//! What a script prints: kept here until the build is over, so that it can be sent again from anywhere, and passed on
//! to whatever connection there is.

use super::event::{Event, Post};
use super::outbox::Order;
use super::secrets::Mask;
use crate::protocol::LONGEST_CONSOLE;
use spool::console::{ConsoleReader, ConsoleWriter};
use spool::error::{Error, Kind, Result};
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// A console on the worker's disk, in the spool's own form.
pub struct Kept {
    directory: PathBuf,
    ended: AtomicBool,
    /// Whoever sends it was told that there is more, and has not looked since.
    told: AtomicBool,
    listener: Mutex<Option<Sender<Order>>>,
}

impl Kept {
    /// An empty one in a directory, and the one who may write to it.
    pub fn new(directory: &Path) -> Result<(Arc<Kept>, ConsoleWriter)> {
        let writer = ConsoleWriter::open(directory, None)?;
        let kept = Kept {
            directory: directory.to_owned(),
            ended: AtomicBool::new(false),
            told: AtomicBool::new(false),
            listener: Mutex::new(None),
        };
        Ok((Arc::new(kept), writer))
    }

    /// Reads it from its beginning.
    pub fn reader(&self) -> Result<ConsoleReader> {
        ConsoleReader::open(&self.directory, false)?.ok_or_else(|| Error::new(Kind::Io, "the worker's console is gone"))
    }

    /// From now on somebody else is told when it grows.
    pub fn tell(&self, listener: Sender<Order>) {
        *self.listener.lock().unwrap_or_else(PoisonError::into_inner) = Some(listener);
    }

    /// Nothing more is printed.
    pub fn end(&self) {
        self.ended.store(true, Ordering::SeqCst);
        self.grown();
    }

    /// Whether nothing more will come. What came before can be read once this is true.
    pub fn has_ended(&self) -> bool {
        self.ended.load(Ordering::SeqCst)
    }

    /// Whoever sends it looks now, and wants to be told of what comes later.
    pub fn is_looked_at(&self) {
        self.told.store(false, Ordering::SeqCst);
    }

    fn grown(&self) {
        if !self.told.swap(true, Ordering::SeqCst)
            && let Some(listener) = &*self.listener.lock().unwrap_or_else(PoisonError::into_inner)
        {
            // One whose connection is lost hears nothing; the next one begins by looking.
            let _ = listener.send(Order::Grown);
        }
    }
}

/// What is known of a console while it is printed.
#[derive(Clone, Default)]
pub struct Printing {
    hushed: Arc<AtomicBool>,
    /// Milliseconds after the start.
    printed: Arc<AtomicU64>,
}

impl Printing {
    /// When something was printed last, in milliseconds after the start.
    pub fn last_ms(&self) -> u64 {
        self.printed.load(Ordering::SeqCst)
    }

    /// Whatever is still printed is not kept any more.
    pub fn hush(&self) {
        self.hushed.store(true, Ordering::SeqCst);
    }
}

/// The way of what is printed to what is kept.
pub struct Recorder {
    pub started: Instant,
    pub mask: Mask,
    pub printing: Printing,
    pub kept: Arc<Kept>,
    pub writer: ConsoleWriter,
    /// Bytes that may be printed.
    pub most: u64,
    pub post: Post,
}

impl Recorder {
    /// Records the console to its end. It is read also when nothing more can be kept, so that the script never blocks.
    pub fn run(mut self, mut from: File) {
        let mut buffer = vec![0; LONGEST_CONSOLE];
        let mut failed = false;
        loop {
            let got = match from.read(&mut buffer) {
                Ok(got) => got,
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(_) => 0,
            };
            if self.printing.hushed.load(Ordering::SeqCst) {
                return;
            }
            let ms = self.started.elapsed().as_millis() as u64;
            let shown = match got {
                0 => self.mask.rest(),
                _ => {
                    self.printing.printed.store(ms, Ordering::SeqCst);
                    self.mask.pass(&buffer[..got])
                }
            };
            for piece in shown.chunks(LONGEST_CONSOLE) {
                if !failed && let Err(why) = self.keep(ms, piece) {
                    failed = true;
                    self.post.send(Event::ConsoleFailed(why));
                }
            }
            if got == 0 {
                self.kept.end();
                self.post.send(Event::ConsoleEnded);
                return;
            }
        }
    }

    fn keep(&mut self, ms: u64, piece: &[u8]) -> std::result::Result<(), String> {
        if self.writer.length.saturating_add(piece.len() as u64) > self.most {
            return Err(format!("it printed more than {} bytes", self.most));
        }
        self.writer.append(ms, piece).map_err(|e| format!("its worker can't keep what it prints: {e}"))?;
        self.kept.grown();
        Ok(())
    }
}

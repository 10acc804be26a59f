//! `builder log`: what a build has printed so far.

use crate::args::LogArgs;
use crate::out;
use crate::verbs::watch::TimedLines;
use spool::Spool;
use spool::error::Result;
use std::io::{self, BufWriter, Write};

/// Prints the console, byte by byte as it was, or with the seconds before each line.
pub fn run(spool: &Spool, args: &LogArgs) -> Result<()> {
    let build = spool.resolve(&args.build)?;
    let Some(mut console) = build.console()? else { return Ok(()) };
    let mut to = BufWriter::with_capacity(64 << 10, io::stdout().lock());
    let mut lines = TimedLines::default();
    let mut print = |ms: u64, bytes: &[u8]| match args.times {
        true => lines.print(&mut to, ms, bytes),
        false => to.write_all(bytes),
    };
    loop {
        let chunk = match console.next_chunk()? {
            Some(chunk) => Some(chunk),
            None => console.next_untimed()?,
        };
        let Some(chunk) = chunk else { break };
        if let Err(e) = print(chunk.ms, chunk.bytes) {
            return out::unless_closed(Err(e));
        }
    }
    out::unless_closed(to.flush())
}

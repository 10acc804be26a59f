//! `builder check`: whether what people wrote into the spool by hand can be read.

use crate::{out, text};
use spool::Spool;
use spool::error::{Error, Kind, Result};

/// Says what is wrong, a line each; nothing being wrong is worth a line, too.
pub fn run(spool: &Spool) -> Result<()> {
    let checked = spool.check()?;
    out::print(&checked.wrong.iter().map(|line| format!("{line}\n")).collect::<String>())?;
    match checked.wrong.len() {
        0 => out::print(&format!("{} can be read, and they fit together\n", text::count(checked.good, "file"))),
        wrong => Err(Error::new(Kind::Data, format!("{} found", text::count(wrong, "fault")))
            .hint("mend the files that are named; until then what they said before is what counts")),
    }
}

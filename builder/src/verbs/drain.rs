//! `builder drain`: nothing new is handed out, and what runs goes on to its end.

use crate::args::DrainArgs;
use crate::out;
use spool::error::{Error, Kind, Result};
use spool::{Spool, owner};
use std::thread;
use std::time::Duration;

/// How often a waiting drain looks.
const LOOK: Duration = Duration::from_millis(200);

/// Begins a drain and perhaps waits for its end, or takes it back.
pub fn run(spool: &Spool, args: &DrainArgs) -> Result<()> {
    let drains = spool.drains();
    if args.off && !drains {
        return Err(Error::new(Kind::Data, "the spool does not drain").hint("`builder drain` makes it"));
    }
    owner::become_owner(spool)?;
    spool.set_drain(!args.off)?;
    if args.off {
        return out::print("builds are handed out again\n");
    }
    let mut running = spool.active_builds()?.len();
    if args.wait {
        while running > 0 {
            thread::sleep(LOOK);
            if !spool.drains() {
                return Err(Error::new(Kind::TryAgain, "somebody has ended the drain"));
            }
            running = spool.active_builds()?.len();
        }
    }
    out::print(&match running {
        0 => "nothing runs and nothing is handed out\n".to_owned(),
        1 => "nothing is handed out; 1 build goes on to its end\n".to_owned(),
        some => format!("nothing is handed out; {some} builds go on to their ends\n"),
    })
}

//! Finished builds that are not to be kept any more, in a thread of its own: with a million of them, looking takes longer
//! than a timer may be late.

use spool::error::Result;
use spool::keep::Keep;
use spool::{Spool, clock};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;
use tracing::{error, info};

/// How often it is looked at.
const EVERY: Duration = Duration::from_secs(3600);

/// The thread that looks.
pub struct Retention(Sender<Keep>);

impl Retention {
    /// From now on other builds are kept, beginning with a look at all.
    pub fn change(&self, keep: &Keep) {
        let _ = self.0.send(keep.clone());
    }
}

/// Starts the thread; it ends with the process, between any two steps.
pub fn start(spool: &Spool, keep: &Keep) -> Retention {
    let (root, mut keep) = (spool.layout().root().to_owned(), keep.clone());
    let (change, changes) = channel();
    thread::spawn(move || {
        loop {
            match Spool::open(&root) {
                Ok(spool) => round(&spool, &keep),
                Err(e) => error!("old builds could not be looked at: {e}"),
            }
            match changes.recv_timeout(EVERY) {
                Ok(changed) => keep = changed,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    });
    Retention(change)
}

/// Lets go of all that is not to be kept now.
pub fn round(spool: &Spool, keep: &Keep) {
    if let Err(e) = let_go(spool, keep) {
        error!("old builds could not be removed: {e}");
    }
}

fn let_go(spool: &Spool, keep: &Keep) -> Result<()> {
    let going = spool.going(keep, clock::now())?;
    spool.let_go(&going, |one| {
        info!(build = %one.id, why = %one.reason, "removed");
        Ok(())
    })
}

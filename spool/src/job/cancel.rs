//! The end of a build before its own.

use crate::build_id::BuildId;
use crate::disk;
use crate::error::{Error, Kind, Result};
use crate::place::Place;
use crate::spool::Spool;
use crate::{clock, record, tmp, wake};
use std::time::{Duration, Instant};

/// A build is on its way from one place to another for less than this, unless a disk is slow.
const LONGEST_MOVE: Duration = Duration::from_secs(5);

impl Spool {
    /// Asks for an end of a build. A queued one, or one whose server is gone, is over on return; a running
    /// one is ended by its worker, and false is returned.
    pub fn cancel(&self, id: &BuildId) -> Result<bool> {
        let until = Instant::now() + LONGEST_MOVE;
        while Instant::now() < until {
            match self.place(id)? {
                Some(Place::Queued(ticket)) => {
                    if let Some(held) = self.take(&ticket)? {
                        held.end_unrun(record::Outcome::Cancelled, clock::now())?;
                        disk::sync_dir(&self.layout().queue(id.platform()))?;
                        return Ok(true);
                    }
                }
                Some(Place::Active) => {
                    if let Some(held) = self.hold(id)? {
                        held.end_unrun(record::Outcome::Cancelled, clock::now())?;
                        return Ok(true);
                    }
                    self.request_cancel(id)?;
                    return Ok(false);
                }
                Some(Place::Ended(end)) => {
                    return Err(Error::new(Kind::Data, format!("{id} is over already, in {}", end.directory()))
                        .hint(format!("`builder show {id}` has its record")));
                }
                None => return Err(Error::new(Kind::NoInput, format!("there is no build {id}"))),
            }
            // Somebody holds it at this moment: who has put it back into its queue, or is about to take it.
            std::thread::park_timeout(Duration::from_millis(5));
        }
        Err(Error::new(Kind::TryAgain, format!("{id} is held by somebody")).hint("try again a little later"))
    }

    fn request_cancel(&self, id: &BuildId) -> Result<()> {
        let path = self.layout().cancel(id);
        tmp::replace_file(self.layout(), &path, b"")?;
        // It may have ended in between, and then nobody would take the request away.
        if matches!(self.place(id)?, Some(Place::Ended(_))) {
            disk::remove_file(&path)?;
        }
        if let Some(build) = self.build(id)?
            && let Some(lease) = build.lease()?
        {
            wake::ring(&self.layout().wake_worker(&lease.worker));
        }
        Ok(())
    }

    /// Whether somebody asked for this build's end.
    pub fn cancel_requested(&self, id: &BuildId) -> bool {
        self.layout().cancel(id).exists()
    }
}

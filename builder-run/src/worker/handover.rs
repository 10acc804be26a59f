//! Handing over what a script left: offers, what of it is wanted, and the acknowledged end.

use super::collect::{Collected, collect};
use super::link::Event;
use super::place::Room;
use super::talk::Talk;
use super::transport::Transport;
use crate::protocol::{Offer, ToServer, ToWorker};
use crate::sftp;
use spool::digest::Sha256;
use spool::error::{At, Error, Kind, Result};
use spool::record::Outcome;
use std::collections::BTreeSet;
use std::fs::File;
use std::time::{Duration, Instant};

/// Offers go in messages of about this many bytes.
const OFFER_BYTES: usize = 256 << 10;

/// How the script ended, and after how long.
pub struct Ran {
    pub outcome: Outcome,
    pub duration: Duration,
}

impl Ran {
    /// It could not be started.
    pub fn aborted(why: &Error) -> Ran {
        Ran { outcome: Outcome::Aborted { reason: why.to_string() }, duration: Duration::ZERO }
    }
}

/// Offers what is there, sends what is wanted, and waits until the server says that the build is over for good.
pub fn hand_over(talk: &mut Talk<'_>, transport: &mut dyn Transport, room: Option<&Room>, ran: Ran) -> Result<()> {
    let collected = room.map(|room| collect(&room.output())).unwrap_or_default();
    let finish = ToServer::Finish {
        outcome: ran.outcome,
        duration_ms: ran.duration.as_millis() as u64,
        executable: collected.executable.clone(),
        skipped: collected.skipped.clone(),
    };
    for files in batches(&collected.offers) {
        talk.link.say(&ToServer::Offer { files }, b"")?;
    }
    talk.link.say(&finish, b"")?;
    let mut sent = BTreeSet::new();
    loop {
        match talk.next(Duration::from_secs(3600))? {
            Event::Message(ToWorker::Finished { .. }, _) => return Ok(()),
            Event::Message(ToWorker::Want { sha256 }, _) => {
                if let Some(again) = sha256.iter().find(|digest| !sent.insert(**digest)) {
                    return Err(Error::new(Kind::TryAgain, format!("the server lost {again} after it was uploaded")));
                }
                upload(transport, &collected, &sha256)?;
                talk.link.say(&finish, b"")?;
            }
            _ => {}
        }
    }
}

fn batches(offers: &[Offer]) -> Vec<Vec<Offer>> {
    let mut batches = vec![Vec::new()];
    let mut bytes = 0;
    for offer in offers {
        bytes += offer.path.as_str().len() * 2 + 128;
        if bytes > OFFER_BYTES {
            batches.push(Vec::new());
            bytes = 0;
        }
        if let Some(last) = batches.last_mut() {
            last.push(offer.clone());
        }
    }
    batches.retain(|batch| !batch.is_empty());
    batches
}

fn upload(transport: &mut dyn Transport, collected: &Collected, wanted: &[Sha256]) -> Result<()> {
    let mut files = Vec::new();
    for digest in wanted {
        let source = collected
            .source(digest)
            .ok_or_else(|| Error::new(Kind::Internal, format!("the server wants {digest}, which was not offered")))?;
        let size = source.metadata().at("look at", source)?.len();
        files.push(sftp::client::Upload { path: digest.to_string(), source: source.to_owned(), size });
    }
    let (count, bytes) = (files.len(), files.iter().map(|file| file.size).sum::<u64>());
    let start = Instant::now();
    let (streams, _channel) = transport.sftp()?;
    sftp::pipe::widen(&streams.to);
    let open = |file: &sftp::client::Upload| File::open(&file.source);
    sftp::client::upload(streams.from, streams.to, files.into_iter(), open)
        .map_err(|e| Error::new(Kind::TryAgain, format!("the upload failed: {e}")))?;
    tracing::info!(files = count, bytes, ms = start.elapsed().as_millis() as u64, "uploaded");
    Ok(())
}

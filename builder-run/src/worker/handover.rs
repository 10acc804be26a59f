//! Handing over what a script left: offers, what of it is wanted, and the acknowledged end.

use super::collect::{Collected, collect};
use super::place::Room;
use super::talk::{News, Talk};
use crate::protocol::{Offer, ToServer, ToWorker};
use crate::sftp::client::Upload;
use spool::digest::Sha256;
use spool::error::{At, Error, Kind, Result};
use spool::manifest::Manifest;
use spool::record::Outcome;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Nothing is looked at that is not told.
const LONG: Duration = Duration::from_secs(3600);

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

/// Offers what is there, sends what is wanted, and waits until the server says that the build is over for good. False
/// when the worker was told to stop and the server can't be reached.
pub fn hand_over(talk: &mut Talk<'_>, room: Option<&Room>, ran: Ran, varied: BTreeMap<String, String>) -> Result<bool> {
    let collected = room.map(|room| collect(&room.output())).unwrap_or_default();
    let offers = collected.offers.iter().map(|offer| (offer.path.clone(), offer.sha256));
    let signed = Manifest::new(offers).ok().and_then(|manifest| talk.sign(&manifest, &ran.outcome));
    let mut finish = ToServer::Finish {
        outcome: ran.outcome,
        duration_ms: ran.duration.as_millis() as u64,
        executable: collected.executable.clone(),
        skipped: collected.skipped.clone(),
        signed,
        varied,
    };
    let mut asked_to_stop = false;
    let mut offered = false;
    let mut sent = BTreeSet::new();
    while !talk.is_over() {
        if asked_to_stop && !talk.is_connected() {
            return Ok(false);
        }
        if !offered && talk.is_connected() && talk.is_console_sent() {
            batches(&collected.offers).into_iter().for_each(|files| talk.say(ToServer::Offer { files }));
            talk.say(finish.clone());
            offered = true;
        }
        match talk.next(LONG)? {
            News::Message(ToWorker::Finished { .. }) => return Ok(true),
            News::Message(ToWorker::Want { sha256 }) => {
                if let Some(again) = sha256.iter().find(|digest| !sent.insert(**digest)) {
                    return Err(Error::new(Kind::Io, format!("the server lost {again} after it was uploaded")));
                }
                talk.upload(uploads(&collected, &sha256)?);
            }
            News::Uploaded => talk.say(finish.clone()),
            News::Refused(reason) => {
                talk.say(ToServer::Withdraw { reason });
                // What was signed is not what the build ends with.
                if let ToServer::Finish { signed, .. } = &mut finish {
                    *signed = None;
                }
                talk.say(finish.clone());
            }
            News::Again => {
                offered = false;
                sent.clear();
            }
            News::Signal => asked_to_stop = true,
            _ => {}
        }
    }
    Ok(true)
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

fn uploads(collected: &Collected, wanted: &[Sha256]) -> Result<Vec<Upload>> {
    let upload = |digest: &Sha256| {
        let source = collected
            .source(digest)
            .ok_or_else(|| Error::new(Kind::Internal, format!("the server wants {digest}, which was not offered")))?;
        let size = source.metadata().at("look at", source)?.len();
        Ok(Upload { path: digest.to_string(), source: source.to_owned(), size })
    };
    wanted.iter().map(upload).collect()
}

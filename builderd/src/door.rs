//! The door for local users who don't own the spool: one connection, one verb, by way of `builder gate`.
//!
//! Each connection has a thread of its own that waits for its client and its verb; the daemon's rounds wait for none of
//! them, and when builderd ends they end with it.

use crate::errand;
use crate::house::House;
use spool::disk;
use spool::door::{self, Answer};
use spool::error::{At, Kind, Result};
use std::collections::BTreeMap;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tracing::{info, warn};

/// How many connections there may be at a time, and how many of them one user may have.
const CONNECTIONS: usize = 64;
const CONNECTIONS_OF_A_USER: usize = 16;

/// How long nothing is accepted when the system has no room for one more connection.
const RECOVER: Duration = Duration::from_millis(200);

/// An open door. It is closed, and its socket removed, when this is dropped.
pub struct Door {
    socket: PathBuf,
    house: Current,
}

/// The house as it is now; who is being served stays in the one that let them in.
type Current = Arc<Mutex<Arc<House>>>;

impl Door {
    /// Opens the door of this house. A thread that this process takes with it when it ends serves it from now on.
    pub fn open(house: House) -> Result<Door> {
        let socket = house.socket.clone();
        let listener = door::listen(&socket)?;
        let house = Arc::new(Mutex::new(Arc::new(house)));
        let current = house.clone();
        let serve = move || serve(&listener, &current);
        std::thread::Builder::new().name("door".into()).spawn(serve).at("serve", &socket)?;
        info!("local users may ask at {}", socket.display());
        Ok(Door { socket, house })
    }

    /// From now on the house is this one; its socket stays where it is.
    pub fn change(&self, house: House) {
        *self.house.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(house);
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        let _ = disk::remove_file(&self.socket);
    }
}

/// Who is being served, by user.
#[derive(Default)]
struct Guests(Mutex<BTreeMap<u32, usize>>);

/// A guest's place among those who are served; given back when this is dropped.
struct Place {
    guests: Arc<Guests>,
    uid: u32,
}

impl Guests {
    fn admit(self: &Arc<Guests>, uid: u32) -> Option<Place> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (total, own) = (all.values().sum::<usize>(), all.get(&uid).copied().unwrap_or_default());
        if total >= CONNECTIONS || own >= CONNECTIONS_OF_A_USER {
            return None;
        }
        all.insert(uid, own + 1);
        Some(Place { guests: self.clone(), uid })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut all = self.guests.0.lock().unwrap_or_else(PoisonError::into_inner);
        match all.remove(&self.uid) {
            Some(own) if own > 1 => all.insert(self.uid, own - 1),
            _ => None,
        };
    }
}

fn serve(listener: &UnixListener, current: &Current) {
    let guests = Arc::new(Guests::default());
    loop {
        let accepted = listener.accept();
        let house = current.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let admitted = match accepted {
            Ok((stream, _)) => admit(stream, &guests, &house),
            Err(e) => Err(e).at("accept at", &house.socket),
        };
        if let Err(e) = admitted {
            warn!("{e}");
            std::thread::sleep(RECOVER);
        }
    }
}

/// Gives a connection its thread, or says that there are too many.
fn admit(stream: UnixStream, guests: &Arc<Guests>, house: &Arc<House>) -> Result<()> {
    let (uid, _) = door::peer(&stream)?;
    let Some(place) = guests.admit(uid) else {
        let line = "builderd serves as many as it can; try again in a moment".to_owned();
        door::answer(&stream, &Answer { status: Kind::TryAgain as u8, line });
        return Ok(());
    };
    let house = house.clone();
    let serve = move || {
        errand::run(&stream, uid, &house);
        drop(place);
    };
    std::thread::Builder::new().name(format!("user {uid}")).spawn(serve).at("serve", "a local user").map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_user_leaves_room_for_others_and_gives_it_back() {
        let guests = Arc::new(Guests::default());
        let mut places: Vec<Place> = (0..CONNECTIONS_OF_A_USER).filter_map(|_| guests.admit(1)).collect();
        assert_eq!(places.len(), CONNECTIONS_OF_A_USER);
        assert!(guests.admit(1).is_none());
        places.extend((0..CONNECTIONS as u32).filter_map(|one| guests.admit(2 + one)));
        assert_eq!(places.len(), CONNECTIONS);
        assert!(guests.admit(1000).is_none());
        drop(places);
        assert!(guests.admit(1).is_some());
        assert!(guests.0.lock().unwrap().is_empty());
    }
}

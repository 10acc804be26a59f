//! Keeping the index: builderd's part. Nobody else writes it, and it can be killed at any instant: what a change had not
//! got to is found missing by the next look.

use super::asking::{failed, stamps, times};
use super::change::{Change, Key, known_line, line_name};
use super::schema;
use super::stamp::{SETTLED, Stamp};
use super::taking::{Manifests, Reading, Taken};
use crate::build_id::BuildId;
use crate::clock;
use crate::disk;
use crate::ended::{Month, Wanted};
use crate::error::{Error, Result};
use crate::spool::Spool;
use rusqlite::{Connection, params};
use std::collections::{HashMap, HashSet};
use std::os::unix::fs::MetadataExt;
use std::sync::RwLock;
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::{Duration, Instant};

/// So many builds go into one change: tails are all over their table, and each change writes most of it.
const TOGETHER: usize = 100_000;

/// So many manifests are remembered, so that what many builds have is read once.
const REMEMBERED: usize = 100_000;

/// How often all of it is looked through, for what a disk has changed.
const LOOKED_THROUGH: Duration = Duration::from_secs(24 * 3600);

/// Who keeps the index of a spool.
pub struct Keeper {
    spool: Spool,
    base: Connection,
    /// When all of it was looked through.
    looked_through: Instant,
    /// The file that is open, as it was left.
    left: Option<Left>,
    /// The months' directories as they were when they were first seen so.
    seen: HashMap<Month, (Stamp, Instant)>,
    /// The months that were listed since this process began: what a start of the machine has done to them no stamp tells.
    listed: HashSet<Month>,
    lines: HashMap<String, i64>,
    manifests: Manifests,
}

/// What a look at all months came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Round {
    /// Builds that were taken in.
    pub taken: usize,
    /// Builds that were there no more.
    pub gone: usize,
    /// Whether a month has changed too lately to be trusted: it is to be looked at again in some seconds.
    pub unsettled: bool,
    /// Builds that the disk did not give.
    pub unread: usize,
    /// Whether the index was made anew.
    pub anew: bool,
}

/// What went wrong: with the index, or else.
enum Failure {
    Base(rusqlite::Error),
    Else(Error),
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Failure {
        Failure::Base(error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Else(error)
    }
}

/// A file's inode and size, and when it was last written.
type Left = (u64, u64, (i64, i64));

impl Keeper {
    /// Opens the index, and makes it anew when it is not all right. Call it with builderd's lock held.
    ///
    /// # Errors
    /// When it can't be opened now.
    pub fn open(spool: &Spool) -> Result<Keeper> {
        let said = |failure: Failure| failure.said(spool);
        disk::make_dir(&spool.layout().index())?;
        let base = match whole(spool).map_err(said)? {
            Some(base) => base,
            None => anew(spool).map_err(said)?,
        };
        Ok(Keeper {
            looked_through: Instant::now(),
            left: left(spool),
            spool: spool.clone(),
            base,
            seen: HashMap::new(),
            listed: HashSet::new(),
            lines: HashMap::new(),
            manifests: RwLock::default(),
        })
    }

    /// Looks at all months and takes in what has changed, the newest first.
    ///
    /// # Errors
    /// When that could not be done; then it is to be tried again some time later.
    pub fn round(&mut self) -> Result<Round> {
        self.spool.make_sure_of_room()?;
        let mut round = Round::default();
        // Nobody else writes it, so who has is an accident.
        if left(&self.spool) != self.left || !self.is_whole_still() {
            self.begin_anew()?;
            round.anew = true;
        }
        let looked = self.look(&mut round);
        self.left = left(&self.spool);
        match looked {
            Ok(()) => Ok(round),
            Err(failure) if failure.is_damage() => {
                self.begin_anew()?;
                Ok(Round { anew: true, unsettled: true, ..round })
            }
            Err(failure) => {
                self.forget();
                Err(failure.said(&self.spool))
            }
        }
    }

    /// Looks through it once a day.
    fn is_whole_still(&mut self) -> bool {
        if self.looked_through.elapsed() < LOOKED_THROUGH {
            return true;
        }
        self.looked_through = Instant::now();
        schema::is_whole(&self.base, &self.spool).unwrap_or_else(|e| !schema::is_damage(&e))
    }

    fn begin_anew(&mut self) -> Result<()> {
        self.forget();
        self.listed.clear();
        let said = |failure: Failure| failure.said(&self.spool);
        // Two that have the same name open would have the same journal.
        self.base = Connection::open_in_memory().map_err(Failure::from).map_err(said)?;
        self.base = anew(&self.spool).map_err(said)?;
        self.left = left(&self.spool);
        Ok(())
    }

    /// Numbers that a change which was taken back has given.
    fn forget(&mut self) {
        self.lines.clear();
        self.manifests = RwLock::default();
    }

    fn look(&mut self, round: &mut Round) -> std::result::Result<(), Failure> {
        let recorded = stamps(&self.base)?;
        let months = self.spool.months()?;
        for gone in recorded.keys().filter(|month| !months.contains(month)) {
            round.gone += self.drop_month(gone)?;
        }
        for month in &months {
            let dir = self.spool.month_dir(month);
            let (Some(_), Some(stamp)) = (times(month), Stamp::of(&dir)) else { continue };
            if recorded.get(month) == Some(&stamp) && self.listed.contains(month) {
                continue;
            }
            let settled = self.is_settled(month, stamp);
            let unread = self.take_in(month, round)?;
            let unchanged = Stamp::of(&dir) == Some(stamp);
            if settled && unchanged && unread == 0 {
                self.record(month, stamp)?;
            }
            self.listed.insert(month.clone());
            round.unsettled |= !settled || !unchanged;
            round.unread += unread;
        }
        Ok(())
    }

    /// By the clock that the file system uses, or, should that have been set, by one that can't be.
    fn is_settled(&mut self, month: &Month, stamp: Stamp) -> bool {
        let since = match self.seen.get(month) {
            Some((seen, since)) if *seen == stamp => *since,
            _ => {
                let now = Instant::now();
                self.seen.insert(month.clone(), (stamp, now));
                now
            }
        };
        stamp.is_settled(clock::now()) || since.elapsed() >= SETTLED.unsigned_abs()
    }

    /// Has the rows of a month be what is listed in its directory now. Returns how many could not be read.
    fn take_in(&mut self, month: &Month, round: &mut Round) -> std::result::Result<usize, Failure> {
        let mut gone = self.keys(month)?;
        let mut new: Vec<BuildId> = Vec::new();
        let names = disk::names_as_stored(&self.spool.month_dir(month))?;
        for id in month.ids(&names, &Wanted::default()) {
            let (time, tail) = id.numbers();
            let known = self.line_of(&id)?.is_some_and(|line| gone.remove(&(line, time, tail)));
            if !known {
                new.push(id);
            }
        }
        drop(names);
        self.remove(month, &gone)?;
        round.gone += gone.len();
        let unread = self.add(month, &new)?;
        round.taken += new.len() - unread;
        Ok(unread)
    }

    fn keys(&self, month: &Month) -> rusqlite::Result<HashSet<Key>> {
        let within = times(month).unwrap_or(0..0);
        let sql = "SELECT line, time, tail FROM builds INDEXED BY builds_by_time WHERE failed = ?1 AND time >= ?2 AND time < ?3";
        let mut read = self.base.prepare_cached(sql)?;
        let key = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
        read.query_map((failed(month), within.start, within.end), key)?.collect()
    }

    fn line_of(&mut self, id: &BuildId) -> rusqlite::Result<Option<i64>> {
        let name = line_name(id);
        if let Some(line) = self.lines.get(name) {
            return Ok(Some(*line));
        }
        let line = known_line(&self.base, id)?;
        self.lines.extend(line.map(|line| (name.to_owned(), line)));
        Ok(line)
    }

    fn add(&mut self, month: &Month, ids: &[BuildId]) -> std::result::Result<usize, Failure> {
        let Keeper { spool, base, lines, manifests, .. } = self;
        let reading = Reading::new(spool, month, ids, manifests);
        thread::scope(|scope| {
            let (send, receive) = sync_channel::<Vec<Taken>>(4);
            for _ in 0..reading.readers() {
                let (send, reading) = (send.clone(), &reading);
                scope.spawn(move || reading.run(&send));
            }
            drop(send);
            let mut taken = receive.into_iter().peekable();
            while taken.peek().is_some() {
                let mut change = Change::begin(base, month, lines, manifests)?;
                let mut count = 0;
                while count < TOGETHER
                    && let Some(some) = taken.next()
                {
                    count += some.len();
                    some.iter().try_for_each(|one| change.add(one))?;
                }
                change.commit()?;
            }
            Ok::<_, rusqlite::Error>(())
        })?;
        let unread = reading.failed();
        if manifests.read().is_ok_and(|known| known.len() > REMEMBERED) {
            *manifests = RwLock::default();
        }
        Ok(unread)
    }

    fn remove(&mut self, month: &Month, keys: &HashSet<Key>) -> rusqlite::Result<()> {
        if keys.is_empty() {
            return Ok(());
        }
        self.manifests = RwLock::default();
        let change = Change::begin(&mut self.base, month, &mut self.lines, &self.manifests)?;
        keys.iter().try_for_each(|key| change.remove(*key))?;
        change.commit()
    }

    fn drop_month(&mut self, month: &Month) -> rusqlite::Result<usize> {
        let keys = self.keys(month)?;
        self.remove(month, &keys)?;
        self.base.execute("DELETE FROM months WHERE failed = ?1 AND month = ?2", (failed(month), &month.name))?;
        Ok(keys.len())
    }

    fn record(&self, month: &Month, stamp: Stamp) -> rusqlite::Result<()> {
        let sql = "INSERT OR REPLACE INTO months VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        let words = params![failed(month), month.name, stamp.inode, stamp.modified, stamp.changed, stamp.links];
        self.base.execute(sql, words).map(drop)
    }
}

impl Failure {
    fn is_damage(&self) -> bool {
        matches!(self, Failure::Base(error) if schema::is_damage(error))
    }

    fn said(self, spool: &Spool) -> Error {
        match self {
            Failure::Base(error) => schema::failure(&error, spool),
            Failure::Else(error) => error,
        }
    }
}

/// The index that is there, if all of it is right.
fn whole(spool: &Spool) -> std::result::Result<Option<Connection>, Failure> {
    let path = spool.layout().index_file();
    if !path.symlink_metadata().is_ok_and(|meta| meta.is_file()) {
        return Ok(None);
    }
    disk::set_mode(&path, 0o644)?;
    let opened = schema::open_for_keeping(spool).and_then(|base| Ok(schema::is_whole(&base, spool)?.then_some(base)));
    match opened.map_err(Failure::from) {
        Err(failure) if failure.is_damage() => Ok(None),
        other => other,
    }
}

/// An empty index in the place of what is there. A journal of another one would be played back into it, so it goes, but
/// not before the other one has gone durably: without its journal that one may look whole and not be.
fn anew(spool: &Spool) -> std::result::Result<Connection, Failure> {
    let layout = spool.layout();
    disk::make_dir(&layout.index())?;
    disk::remove_tree(&layout.index_file())?;
    disk::sync_dir(&layout.index())?;
    disk::remove_tree(&layout.index_journal())?;
    drop(disk::create_new(&layout.index_file(), 0o644)?);
    let mut base = schema::open_for_keeping(spool)?;
    schema::make(&mut base, spool)?;
    Ok(base)
}

fn left(spool: &Spool) -> Option<Left> {
    let meta = spool.layout().index_file().symlink_metadata().ok()?;
    Some((meta.ino(), meta.size(), (meta.mtime(), meta.mtime_nsec())))
}

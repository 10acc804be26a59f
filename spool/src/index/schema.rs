//! The index's tables, and opening the file that has them.
//!
//! A build's name is taken apart: its time in milliseconds and its tail as numbers, its job and platform as a line of
//! their own table. Contents are known by the first 64 bits of their digest, because each hit is looked up on the disk.

use crate::error::Error;
use crate::spool::Spool;
use rusqlite::{Connection, OpenFlags};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

/// Another number for any other tables: an index with another one is made anew.
const VERSION: i32 = 1;

/// `builder` as four bytes, for file(1).
const APPLICATION: i32 = i32::from_be_bytes(*b"bldr");

/// In this order.
pub const TABLES: [&str; 12] = [
    "CREATE TABLE root (inode INTEGER NOT NULL)",
    "CREATE TABLE months (failed INTEGER NOT NULL, month TEXT NOT NULL, inode INTEGER NOT NULL, modified INTEGER NOT \
     NULL, changed INTEGER NOT NULL, links INTEGER NOT NULL, PRIMARY KEY (failed, month)) WITHOUT ROWID",
    "CREATE TABLE lines (line INTEGER PRIMARY KEY, job TEXT NOT NULL, platform TEXT NOT NULL)",
    "CREATE UNIQUE INDEX lines_named ON lines (job, platform)",
    "CREATE TABLE builds (line INTEGER NOT NULL, time INTEGER NOT NULL, tail INTEGER NOT NULL, failed INTEGER NOT NULL, \
     finished INTEGER, worker TEXT, input BLOB, output BLOB, manifest INTEGER, PRIMARY KEY (line, time, tail, failed)) \
     WITHOUT ROWID",
    "CREATE INDEX builds_by_time ON builds (failed, time)",
    "CREATE INDEX builds_by_tail ON builds (tail)",
    "CREATE INDEX builds_by_end ON builds (failed, finished)",
    "CREATE INDEX builds_by_manifest ON builds (manifest) WHERE manifest IS NOT NULL",
    "CREATE TABLE manifests (manifest INTEGER PRIMARY KEY, sha256 BLOB NOT NULL UNIQUE)",
    "CREATE TABLE holds (manifest INTEGER NOT NULL, content INTEGER NOT NULL, PRIMARY KEY (manifest, content)) WITHOUT \
     ROWID",
    "CREATE INDEX holds_content ON holds (content)",
];

/// For so long one waits for somebody who has it locked: a reader has the directories to go on with.
const PATIENCE_OF_READERS: Duration = Duration::from_millis(100);
const PATIENCE_OF_THE_KEEPER: Duration = Duration::from_secs(5);

/// Opens the index to read it, if it is one of this release and of this spool. It is not looked through.
pub fn open(spool: &Spool) -> rusqlite::Result<Option<Connection>> {
    let path = spool.layout().index_file();
    // SQLite must not be asked for what is not there, or it looks for more.
    if !path.symlink_metadata().is_ok_and(|meta| meta.is_file()) {
        return Ok(None);
    }
    let base = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    base.busy_timeout(PATIENCE_OF_READERS)?;
    base.execute_batch("PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON")?;
    // SQLite takes what is missing of the last page for zeros.
    let (pages, size): (i64, i64) = (said(&base, "page_count")?, said(&base, "page_size")?);
    let whole = path.metadata().is_ok_and(|meta| meta.len() as i64 == pages * size);
    Ok((whole && is_ours(&base, spool)?).then_some(base))
}

/// What a pragma says.
fn said<T: rusqlite::types::FromSql>(base: &Connection, pragma: &str) -> rusqlite::Result<T> {
    base.query_row(&format!("PRAGMA {pragma}"), [], |row| row.get(0))
}

/// Opens it to write it. What is there must be a whole index of this release and this spool, or there must be nothing;
/// the first use tells.
pub fn open_for_keeping(spool: &Spool) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let base = Connection::open_with_flags(spool.layout().index_file(), flags)?;
    base.busy_timeout(PATIENCE_OF_THE_KEEPER)?;
    // A reader may have no right to write, and any file system may be below: so no shared memory, and a journal that stays.
    // A power cut must not leave half a change: an index that is damaged and does not look it gives wrong answers.
    base.execute_batch(
        "PRAGMA journal_mode = TRUNCATE; PRAGMA synchronous = FULL; PRAGMA trusted_schema = OFF; \
         PRAGMA cell_size_check = ON; PRAGMA cache_size = -131072; PRAGMA temp_store = MEMORY",
    )?;
    Ok(base)
}

/// Makes the tables, all or none.
pub fn make(base: &mut Connection, spool: &Spool) -> rusqlite::Result<()> {
    let change = base.transaction()?;
    TABLES.iter().try_for_each(|table| change.execute_batch(table))?;
    change.execute("INSERT INTO root VALUES (?1)", [root(spool)])?;
    change.pragma_update(None, "application_id", APPLICATION)?;
    change.pragma_update(None, "user_version", VERSION)?;
    change.commit()
}

/// Whether all of it can be trusted. This reads the whole file.
pub fn is_whole(base: &Connection, spool: &Spool) -> rusqlite::Result<bool> {
    if !is_ours(base, spool)? {
        return Ok(false);
    }
    let mut read = base.prepare("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY rowid")?;
    let tables: Vec<String> = read.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    Ok(tables == TABLES && said::<String>(base, "integrity_check(1)")? == "ok")
}

fn is_ours(base: &Connection, spool: &Spool) -> rusqlite::Result<bool> {
    let version: i32 = said(base, "user_version")?;
    Ok(version == VERSION && base.query_row("SELECT inode FROM root", [], |row| row.get::<_, i64>(0))? == root(spool))
}

/// A copy of a spool has another one.
fn root(spool: &Spool) -> i64 {
    spool.layout().root().metadata().map_or(0, |meta| meta.ino() as i64)
}

/// Whether the file is to be made anew: what is wrong with it does not pass.
pub fn is_damage(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::*;
    let passes =
        [DatabaseBusy, DatabaseLocked, DiskFull, SystemIoFailure, CannotOpen, OutOfMemory, FileLockingProtocolFailed];
    error.sqlite_error_code().is_none_or(|code| !passes.contains(&code))
}

/// A failure in the words of everything else.
pub fn failure(error: &rusqlite::Error, spool: &Spool) -> Error {
    use rusqlite::ErrorCode::*;
    let plain = match error.sqlite_error_code() {
        Some(DiskFull) => io::Error::from(io::ErrorKind::StorageFull),
        Some(DatabaseBusy | DatabaseLocked) => io::Error::other("somebody else has been reading it for too long"),
        _ => io::Error::other(error.to_string()),
    };
    Error::io("keep", &spool.layout().index_file(), plain)
}

//! A change of the index: builds of a month that come or go together, all or none.

use super::asking::failed;
use super::taking::{Contents, Listed, Manifests, Taken};
use crate::build_id::BuildId;
use crate::ended::Month;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};
use std::collections::HashMap;

/// A build as the index names it: line, time, tail.
pub type Key = (i64, i64, i64);

/// Some builds of a month that come into the index, or go, together.
pub struct Change<'c> {
    base: Transaction<'c>,
    month: &'c Month,
    lines: &'c mut HashMap<String, i64>,
    manifests: &'c Manifests,
}

impl<'c> Change<'c> {
    /// Begins it, and keeps others from changing anything. What it remembers is true only once it is committed.
    pub fn begin(
        base: &'c mut Connection,
        month: &'c Month,
        lines: &'c mut HashMap<String, i64>,
        manifests: &'c Manifests,
    ) -> rusqlite::Result<Change<'c>> {
        let base = base.transaction_with_behavior(TransactionBehavior::Immediate)?;
        Ok(Change { base, month, lines, manifests })
    }

    /// Makes it durable.
    pub fn commit(self) -> rusqlite::Result<()> {
        self.base.commit()
    }

    /// A build that is there.
    pub fn add(&mut self, taken: &Taken) -> rusqlite::Result<()> {
        let line = self.line(&taken.id)?;
        let (time, tail) = taken.id.numbers();
        let manifest = match &taken.manifest {
            None => None,
            Some(Listed::Known(number)) => Some(*number),
            Some(Listed::New(contents)) => Some(self.manifest(contents)?),
        };
        let known = taken.known.as_ref();
        let sql = "INSERT OR REPLACE INTO builds VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
        let mut insert = self.base.prepare_cached(sql)?;
        insert.execute(params![
            line,
            time,
            tail,
            failed(self.month),
            known.map(|(_, finished)| *finished),
            known.and_then(|(known, _)| known.worker.as_ref().map(|worker| worker.as_str())),
            known.and_then(|(known, _)| known.input.as_ref().map(|input| input.bytes())),
            known.and_then(|(known, _)| known.output.as_ref().map(|output| output.bytes())),
            manifest,
        ])?;
        Ok(())
    }

    /// One that is there no more.
    pub fn remove(&self, (line, time, tail): Key) -> rusqlite::Result<()> {
        let its = "line = ?1 AND time = ?2 AND tail = ?3 AND failed = ?4";
        let words = (line, time, tail, failed(self.month));
        let sql = format!("SELECT manifest FROM builds WHERE {its}");
        let manifest: Option<Option<i64>> =
            self.base.prepare_cached(&sql)?.query_row(words, |row| row.get(0)).optional()?;
        self.base.prepare_cached(&format!("DELETE FROM builds WHERE {its}"))?.execute(words)?;
        let Some(manifest) = manifest.flatten() else { return Ok(()) };
        let unused = "manifest = ?1 AND NOT EXISTS (SELECT 1 FROM builds WHERE manifest = ?1)";
        self.base.prepare_cached(&format!("DELETE FROM holds WHERE {unused}"))?.execute([manifest])?;
        self.base.prepare_cached(&format!("DELETE FROM manifests WHERE {unused}"))?.execute([manifest])?;
        Ok(())
    }

    fn line(&mut self, id: &BuildId) -> rusqlite::Result<i64> {
        let name = line_name(id);
        if let Some(line) = self.lines.get(name) {
            return Ok(*line);
        }
        let line = match known_line(&self.base, id)? {
            Some(line) => line,
            None => {
                let words = (id.job().as_str(), id.platform().as_str());
                self.base.execute("INSERT INTO lines (job, platform) VALUES (?1, ?2)", words)?;
                self.base.last_insert_rowid()
            }
        };
        self.lines.insert(name.to_owned(), line);
        Ok(line)
    }

    fn manifest(&self, contents: &Contents) -> rusqlite::Result<i64> {
        let sql = "SELECT manifest FROM manifests WHERE sha256 = ?1";
        let known = self.base.prepare_cached(sql)?.query_row([contents.sha256.bytes()], |row| row.get(0)).optional()?;
        let number = match known {
            Some(number) => number,
            None => {
                self.base
                    .prepare_cached("INSERT INTO manifests (sha256) VALUES (?1)")?
                    .execute([contents.sha256.bytes()])?;
                let number = self.base.last_insert_rowid();
                let mut insert = self.base.prepare_cached("INSERT INTO holds VALUES (?1, ?2)")?;
                contents.shorts.iter().try_for_each(|content| insert.execute((number, content)).map(drop))?;
                number
            }
        };
        if let Ok(mut manifests) = self.manifests.write() {
            manifests.insert(contents.identity, number);
        }
        Ok(number)
    }
}

/// `job@platform`, of an id's own text.
pub fn line_name(id: &BuildId) -> &str {
    let text = id.as_str();
    &text[BuildId::TIME_LEN + 1..text.len() - id.tail().len() - 1]
}

/// The number of a build's line, if it has one.
pub fn known_line(base: &Connection, id: &BuildId) -> rusqlite::Result<Option<i64>> {
    let sql = "SELECT line FROM lines WHERE job = ?1 AND platform = ?2";
    base.prepare_cached(sql)?.query_row((id.job().as_str(), id.platform().as_str()), |row| row.get(0)).optional()
}

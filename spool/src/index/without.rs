//! No index, in a program that has no SQLite.

use crate::build_id::BuildId;
use crate::digest::Sha256;
use crate::ended::{Hits, Known, Month, Wanted};
use crate::name::{JobName, Platform};
use crate::spool::Spool;
use jiff::Timestamp;
use std::collections::BTreeMap;

/// There is none.
pub(crate) enum Index {}

impl Index {
    pub fn open(_: &Spool) -> Option<Index> {
        None
    }

    pub fn is_true_of(&self, _: &Month) -> bool {
        match *self {}
    }

    pub fn ids(&self, _: &Month, _: &Wanted<'_>) -> Option<Vec<BuildId>> {
        match *self {}
    }

    pub fn of_job(&self, _: &Month, _: &JobName, _: Option<&Platform>) -> (bool, BTreeMap<BuildId, Known>) {
        match *self {}
    }

    pub fn having(&self, _: &Month, _: &Sha256) -> Hits {
        match *self {}
    }

    pub fn since(&self, _: &Month, _: Timestamp) -> Hits {
        match *self {}
    }
}

//! How long a build usually takes: as long as the last one that succeeded.

use crate::build_id::BuildId;
use crate::disk;
use crate::error::Result;
use crate::find::is_of;
use crate::layout::file;
use crate::name::{JobName, Platform};
use crate::place::End;
use crate::record::{self, BuildResult};
use crate::spool::Spool;

impl Spool {
    /// How many milliseconds the newest successful build of a job took on a platform; nothing when there is none.
    ///
    /// Reads the names of one month of `done/` after the other, the newest first, until one has such a build.
    pub fn usual_duration(&self, job: &JobName, platform: &Platform) -> Result<Option<u64>> {
        let done = self.layout().ended(End::Done);
        let mut months = disk::names(&done)?;
        months.sort();
        for month in months.iter().rev() {
            let names = disk::names(&done.join(month))?.into_iter();
            let newest = names.filter(|name| is_of(name, job, Some(platform))).max();
            if let Some(Ok(id)) = newest.map(|name| name.parse::<BuildId>()) {
                let result = record::read::<BuildResult>(&self.layout().finished(End::Done, &id).join(file::RESULT));
                return Ok(result?.map(|result| result.duration_ms));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Outcome;
    use jiff::Timestamp;

    #[test]
    fn the_newest_success_on_the_platform_counts() {
        let dir = tempfile::tempdir().unwrap();
        let (spool, _) = Spool::init(&dir.path().join("spool")).unwrap();
        let (job, platform): (JobName, Platform) = ("a".parse().unwrap(), "p".parse().unwrap());
        assert_eq!(spool.usual_duration(&job, &platform).unwrap(), None);
        for (id, end, duration_ms) in [
            ("20261124T094701.123Z-a@p-000000", End::Done, 1),
            ("20261224T094701.123Z-a@p-000000", End::Done, 2),
            ("20261225T094701.123Z-a@p-000000", End::Failed, 3),
            ("20270101T094701.123Z-a@other-000000", End::Done, 4),
        ] {
            let place = spool.layout().finished(end, &id.parse().unwrap());
            std::fs::create_dir_all(&place).unwrap();
            let outcome = Outcome::Exited { code: 0 };
            let result = BuildResult { duration_ms, ..BuildResult::unrun(outcome, Timestamp::UNIX_EPOCH) };
            std::fs::write(place.join(file::RESULT), record::to_bytes(&result).unwrap()).unwrap();
        }
        assert_eq!(spool.usual_duration(&job, &platform).unwrap(), Some(2));
    }
}

//! How long a build usually takes: as long as the last one that succeeded.

use crate::ended::Wanted;
use crate::error::Result;
use crate::name::{JobName, Platform};
use crate::place::End;
use crate::spool::Spool;

impl Spool {
    /// How many milliseconds the newest successful build of a job took on a platform; nothing when there is none.
    pub fn usual_duration(&self, job: &JobName, platform: &Platform) -> Result<Option<u64>> {
        let done = Wanted { job: Some(job), platform: Some(platform), end: Some(End::Done), ..Wanted::default() };
        match self.ended_as(1, &done)?.first() {
            Some(build) => Ok(build.result()?.map(|result| result.duration_ms)),
            None => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::file;
    use crate::record::{self, BuildResult, Outcome};
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

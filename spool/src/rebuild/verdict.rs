//! What the rebuilds of a build say: the same came out, or not.

use super::Rebuild;
use crate::build_id::BuildId;
use crate::ended::Wanted;
use crate::error::Result;
use crate::find::Build;
use crate::record::BuildResult;
use crate::spool::Spool;
use serde::Serialize;

/// A rebuild, where it is and how it ended.
#[derive(Debug)]
pub struct Rebuilt<'s> {
    /// Which.
    pub build: Build<'s>,
    /// What it repeats.
    pub rebuild: Rebuild,
    /// How it ended; nothing before that.
    pub result: Option<BuildResult>,
}

/// What a rebuild says of the build that it repeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is not over.
    Open,
    /// The same came out.
    Same {
        /// Whether it came from the same; another worker may have other packages.
        same_input: bool,
    },
    /// Something else came out.
    Different {
        /// Likewise.
        same_input: bool,
    },
    /// It did not exit 0, and says nothing of what would have come out.
    Failed,
}

/// What all rebuilds say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Verdict {
    /// As many as were wanted confirm it, and none does not.
    #[serde(rename = "reproduced")]
    Reproduced,
    /// Something else came out of one.
    #[serde(rename = "not reproduced")]
    NotReproduced,
    /// Some are not over, or did not get that far.
    #[serde(rename = "unknown")]
    Unknown,
}

impl Rebuilt<'_> {
    /// What it says of a build with this result.
    pub fn standing(&self, original: &BuildResult) -> Standing {
        let Some(result) = &self.result else { return Standing::Open };
        let same_input = result.input.is_some() && result.input == original.input;
        match result.output == original.output {
            _ if !result.outcome.succeeded() => Standing::Failed,
            true => Standing::Same { same_input },
            false => Standing::Different { same_input },
        }
    }
}

impl Verdict {
    /// The verdict of some rebuilds, of which at least `wanted` must confirm.
    pub fn of(standings: impl IntoIterator<Item = Standing>, wanted: usize) -> Verdict {
        let mut confirmed = 0;
        for standing in standings {
            match standing {
                Standing::Different { .. } => return Verdict::NotReproduced,
                Standing::Same { .. } => confirmed += 1,
                Standing::Open | Standing::Failed => {}
            }
        }
        if confirmed >= wanted { Verdict::Reproduced } else { Verdict::Unknown }
    }
}

impl Spool {
    /// The rebuilds of a build, wherever they are, the oldest first. One whose request can't be read is none.
    pub fn rebuilds_of(&self, of: &BuildId) -> Result<Vec<Rebuilt<'_>>> {
        // None is older than what it repeats.
        let wanted = Wanted {
            job: Some(of.job()),
            platform: Some(of.platform()),
            rebuild: Some(true),
            not_older: Some(of),
            ..Wanted::default()
        };
        let mut builds = self.open_builds_on(of.platform())?;
        builds.retain(|build| wanted.fits(&build.id));
        builds.extend(self.ended_as(usize::MAX, &wanted)?);
        let mut rebuilt: Vec<Rebuilt<'_>> = builds.into_iter().filter_map(|build| read(build, of)).collect();
        rebuilt.sort_by(|a, b| a.build.id.cmp(&b.build.id));
        rebuilt.dedup_by(|a, b| a.build.id == b.build.id);
        Ok(rebuilt)
    }

    /// What the rebuilds of a build say of it, when so many must confirm it.
    pub fn verdict(&self, of: &BuildId, original: &BuildResult, wanted: usize) -> Result<Verdict> {
        let rebuilds = self.rebuilds_of(of)?;
        Ok(Verdict::of(rebuilds.iter().map(|one| one.standing(original)), wanted))
    }
}

fn read<'s>(build: Build<'s>, of: &BuildId) -> Option<Rebuilt<'s>> {
    let rebuild = build.request().ok().flatten()?.rebuild.filter(|rebuild| rebuild.of == *of)?;
    let result = build.result().ok().flatten();
    Some(Rebuilt { build, rebuild, result })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_other_output_is_enough_and_silence_confirms_nothing() {
        use Standing::{Failed, Open};
        const SAME: Standing = Standing::Same { same_input: true };
        const OTHER: Standing = Standing::Same { same_input: false };
        const DIFFERENT: Standing = Standing::Different { same_input: true };
        let table: [(&[Standing], usize, Verdict); 8] = [
            (&[], 0, Verdict::Reproduced),
            (&[], 1, Verdict::Unknown),
            (&[SAME, OTHER], 2, Verdict::Reproduced),
            (&[SAME, Open], 2, Verdict::Unknown),
            (&[SAME, Failed], 2, Verdict::Unknown),
            (&[SAME, Failed, SAME], 2, Verdict::Reproduced),
            (&[SAME, SAME, DIFFERENT], 2, Verdict::NotReproduced),
            (&[Open, DIFFERENT], 1, Verdict::NotReproduced),
        ];
        for (standings, wanted, verdict) in table {
            assert_eq!(Verdict::of(standings.iter().copied(), wanted), verdict, "{standings:?}");
        }
    }
}

//! The other builds of a job, as seen from one of them: who reproduced it, and where its output changed.

use crate::digest::Sha256;
use crate::ended::Known;
use crate::error::Result;
use crate::find::Build;
use crate::record::BuildResult;

/// Other finished builds of the same job. One whose record can't be read is none of them.
#[derive(Debug, Default)]
pub struct Related<'s> {
    /// Those with the same output, on any platform, the newest first.
    pub reproductions: Vec<(Build<'s>, Known)>,
    /// Those with the same input and another output, the newest first: the job is not reproducible.
    pub irreproducible: Vec<(Build<'s>, Known)>,
    /// The newest on the same platform that has an output, when that is another build.
    pub latest: Option<Build<'s>>,
    /// The newest before this one, on the same platform, with another output.
    pub previous: Option<Build<'s>>,
    /// The oldest after this one, on the same platform, with another output.
    pub next: Option<Build<'s>>,
}

impl<'s> Related<'s> {
    /// Looks at all finished builds of the job. A build without artifacts has nothing to compare, and no relations.
    pub fn to(build: &Build<'s>, result: &BuildResult) -> Result<Related<'s>> {
        let mut related = Related::default();
        let Some(output) = result.output else { return Ok(related) };
        for (other, its) in build.spool().known_of(build.id.job(), None)? {
            let Some(its_output) = its.output.filter(|_| other.id != build.id) else { continue };
            if other.id.platform() == build.id.platform() && !other.id.is_rebuild() {
                related.place(build, &other, its_output != output);
            }
            if its_output == output {
                related.reproductions.push((other, its));
            } else if is_same(&result.input, &its.input) {
                related.irreproducible.push((other, its));
            }
        }
        Ok(related)
    }

    /// They come newest first.
    fn place(&mut self, build: &Build<'s>, other: &Build<'s>, differs: bool) {
        let is_newer = other.id > build.id;
        if is_newer {
            self.latest.get_or_insert_with(|| other.clone());
        }
        match (is_newer, differs) {
            (true, true) => self.next = Some(other.clone()),
            (false, true) => drop(self.previous.get_or_insert_with(|| other.clone())),
            (_, false) => {}
        }
    }
}

fn is_same(left: &Option<Sha256>, right: &Option<Sha256>) -> bool {
    left.is_some() && left == right
}

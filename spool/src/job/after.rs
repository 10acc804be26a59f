//! Jobs that come after others: a job may not come after itself, by whatever way around.

use crate::error::{Error, Kind, Result};
use crate::name::JobName;
use crate::spool::Spool;
use std::collections::{BTreeMap, BTreeSet};

/// Makes sure that the jobs exist after which this one is to come, and that it does not come after itself.
pub fn check(spool: &Spool, name: &JobName, after: &[JobName]) -> Result<()> {
    if after.is_empty() {
        return Ok(());
    }
    after.iter().filter(|other| *other != name).try_for_each(|other| spool.job(other).map(drop))?;
    let jobs = spool.jobs()?.into_iter();
    let mut edges: BTreeMap<JobName, Vec<JobName>> =
        jobs.filter_map(|(name, job)| Some((name, job.ok()?.after))).collect();
    edges.insert(name.clone(), after.to_vec());
    no_circle(&edges, name)
}

/// Makes sure that a job does not come after itself, given what each job comes after.
pub fn no_circle(edges: &BTreeMap<JobName, Vec<JobName>>, name: &JobName) -> Result<()> {
    let Some(path) = circle(edges, name) else { return Ok(()) };
    let shown: Vec<&str> = path.iter().map(JobName::as_str).collect();
    Err(Error::new(Kind::Data, format!("{name} would come after itself: {}", shown.join(" after ")))
        .hint("leave out one of these"))
}

/// A way from a job back to itself, with the job at both ends.
fn circle(edges: &BTreeMap<JobName, Vec<JobName>>, from: &JobName) -> Option<Vec<JobName>> {
    let mut seen = BTreeSet::new();
    let mut ways = vec![vec![from.clone()]];
    while let Some(way) = ways.pop() {
        for next in way.last().and_then(|last| edges.get(last)).into_iter().flatten() {
            let longer = [way.clone(), vec![next.clone()]].concat();
            if next == from {
                return Some(longer);
            }
            if seen.insert(next.clone()) {
                ways.push(longer);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_circle_is_found_however_long_it_is() {
        let name = |text: &str| text.parse::<JobName>().unwrap();
        let edges = |pairs: &[(&str, &[&str])]| -> BTreeMap<JobName, Vec<JobName>> {
            pairs.iter().map(|(from, to)| (name(from), to.iter().map(|to| name(to)).collect())).collect()
        };
        let shown = |edges: &BTreeMap<JobName, Vec<JobName>>| {
            circle(edges, &name("a")).map(|way| way.iter().map(JobName::to_string).collect::<Vec<_>>().join(" "))
        };
        assert_eq!(shown(&edges(&[("a", &["a"])])).as_deref(), Some("a a"));
        assert_eq!(
            shown(&edges(&[("a", &["b", "c"]), ("b", &["d"]), ("c", &["d"]), ("d", &["a"])])).as_deref(),
            Some("a c d a")
        );
        // A circle of others is not this job's fault, and a diamond is none.
        assert_eq!(shown(&edges(&[("a", &["b", "c"]), ("b", &["d"]), ("c", &["d", "b"]), ("d", &["c"])])), None);
    }
}

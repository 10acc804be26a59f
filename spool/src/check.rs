//! Whether what people wrote into a spool by hand can be read.

use crate::error::Result;
use crate::job::no_circle;
use crate::name::JobName;
use crate::spool::Spool;
use std::collections::BTreeMap;

/// What a check found.
#[derive(Clone, Debug, Default)]
pub struct Checked {
    /// Files that can be read.
    pub good: usize,
    /// What is wrong, a line each, with the file's path or the job's name.
    pub wrong: Vec<String>,
}

impl Spool {
    /// Reads every job, worker and platform, and looks whether the jobs fit together.
    pub fn check(&self) -> Result<Checked> {
        let mut checked = Checked::default();
        let mut after = BTreeMap::new();
        for (name, job) in self.jobs()? {
            // One that can't be read is there all the same, for those that come after it.
            after.insert(name, checked.take(job).map_or(Vec::new(), |job| job.after));
        }
        self.workers()?.into_values().for_each(|worker| drop(checked.take(worker)));
        for standing in self.standings()? {
            checked.take(standing);
        }
        checked.wrong.extend(misfits(&after));
        Ok(checked)
    }
}

impl Checked {
    fn take<T>(&mut self, read: Result<T>) -> Option<T> {
        match read {
            Ok(value) => {
                self.good += 1;
                Some(value)
            }
            Err(e) => {
                self.wrong.push(e.to_string());
                None
            }
        }
    }
}

/// Jobs that can't come after what they are to come after.
fn misfits(after: &BTreeMap<JobName, Vec<JobName>>) -> Vec<String> {
    let mut wrong = Vec::new();
    for (name, others) in after {
        for other in others.iter().filter(|other| !after.contains_key(*other)) {
            wrong.push(format!("job {name} comes after {other}, and there is no such job"));
        }
    }
    wrong.extend(after.keys().filter_map(|name| no_circle(after, name).err()).map(|e| e.to_string()));
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;
    use crate::platform::State;

    #[test]
    fn each_file_that_a_hand_has_broken_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let (spool, _) = Spool::init(&dir.path().join("spool")).unwrap();
        spool.set_platform(&"p".parse().unwrap(), State::Paused, clock::now()).unwrap();
        assert_eq!(spool.check().unwrap().good, 1);
        let put = |path: std::path::PathBuf, text: &str| std::fs::write(path, text).unwrap();
        let job = "created = \"2026-01-01T00:00:00Z\"\nplatforms = \"all\"\ntimeout_seconds = 1\nattempts = 1\nscript = \"x\"\n";
        put(spool.layout().job(&"good".parse().unwrap()), job);
        put(spool.layout().job(&"lonely".parse().unwrap()), &format!("after = [\"gone\"]\n{job}"));
        put(spool.layout().job(&"broken".parse().unwrap()), &format!("cron = \"* * *\"\n{job}"));
        put(spool.layout().job(&"round".parse().unwrap()), &format!("after = [\"round\"]\n{job}"));
        put(spool.layout().worker(&"w".parse().unwrap()), "platforms = 1");
        put(spool.layout().platform(&"q".parse().unwrap()), "state = \"pau");
        let checked = spool.check().unwrap();
        assert_eq!(checked.good, 4);
        let named = |part: &str| checked.wrong.iter().any(|line| line.contains(part));
        assert!(named("jobs/broken.toml: ") && named("workers/w.toml") && named("platforms/q.toml"), "{checked:?}");
        assert_eq!(checked.wrong.len(), 5, "{checked:?}");
        assert!(named("lonely comes after gone") && named("round after round"), "{checked:?}");
    }
}

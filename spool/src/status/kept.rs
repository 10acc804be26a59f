//! How many finished builds there are, counted anew only where something has come or gone.

use crate::disk;
use crate::ended::Month;
use crate::error::Result;
use crate::place::End;
use crate::spool::Spool;
use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;

/// When the names in a directory last changed.
type Changed = (i64, i64);

/// The months as they were when they were counted.
#[derive(Debug, Default)]
pub struct Kept(HashMap<Month, (Changed, usize)>);

impl Kept {
    /// How many builds are in `done/` and in `failed/`. A month that has not changed since the last time is not listed.
    pub fn count(&mut self, spool: &Spool) -> Result<[(End, usize); 2]> {
        let months = spool.months()?;
        self.0.retain(|month, _| months.contains(month));
        let mut counts = [(End::Done, 0), (End::Failed, 0)];
        for month in months {
            let dir = spool.month_dir(&month);
            let Ok(meta) = dir.symlink_metadata() else { continue };
            let changed = (meta.mtime(), meta.mtime_nsec());
            let known = self.0.get(&month).filter(|(then, _)| *then == changed).map(|(_, count)| *count);
            let count = match known {
                Some(count) => count,
                None => disk::names(&dir)?.len(),
            };
            counts.iter_mut().filter(|(end, _)| *end == month.end).for_each(|(_, sum)| *sum += count);
            self.0.insert(month, (changed, count));
        }
        Ok(counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_and_goes_is_counted() {
        let dir = tempfile::tempdir().unwrap();
        let (spool, _) = Spool::init(&dir.path().join("spool")).unwrap();
        let mut kept = Kept::default();
        assert_eq!(kept.count(&spool).unwrap(), [(End::Done, 0), (End::Failed, 0)]);
        let make = |path: &str| std::fs::create_dir_all(spool.layout().root().join(path)).unwrap();
        ["done/2026-11/a", "done/2026-12/b", "failed/2026-11/c"].into_iter().for_each(make);
        assert_eq!(kept.count(&spool).unwrap(), [(End::Done, 2), (End::Failed, 1)]);
        std::thread::sleep(std::time::Duration::from_millis(20));
        make("done/2026-11/d");
        std::fs::remove_dir_all(spool.layout().root().join("failed/2026-11")).unwrap();
        assert_eq!(kept.count(&spool).unwrap(), [(End::Done, 3), (End::Failed, 0)]);
    }
}

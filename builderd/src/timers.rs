//! The jobs' schedules in memory, each read again when its file changed, in the order in which they are due.

use jiff::{SignedDuration, Timestamp};
use spool::error::Result;
use spool::job::{self, Platforms};
use spool::name::{JobName, Platform};
use spool::platform::State;
use spool::{Spool, clock};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

/// A clock that differs by more from what has passed was set.
const JUMP: SignedDuration = SignedDuration::from_secs(2);

/// What is known of one job: little, for there may be very many.
struct Known {
    stamp: (u64, i64, i64),
    after: Vec<JobName>,
    everywhere: bool,
    /// When it is to be looked at next: it may owe something then.
    look: Option<Timestamp>,
}

/// All jobs' schedules.
pub struct Timers {
    known: BTreeMap<JobName, Known>,
    agenda: BTreeSet<(Timestamp, JobName)>,
    platforms: BTreeMap<Platform, State>,
    clock: (Timestamp, Instant),
}

impl Timers {
    /// Knows nothing yet.
    pub fn new() -> Timers {
        Timers {
            known: BTreeMap::new(),
            agenda: BTreeSet::new(),
            platforms: BTreeMap::new(),
            clock: (clock::now(), Instant::now()),
        }
    }

    /// Looks which job files are new, changed or gone.
    pub fn refresh(&mut self, spool: &Spool) -> Result<()> {
        let names: Vec<JobName> = spool.job_names()?;
        let there: BTreeSet<&JobName> = names.iter().collect();
        let gone: Vec<JobName> = self.known.keys().filter(|name| !there.contains(name)).cloned().collect();
        gone.iter().for_each(|name| self.forget(name));
        // Reading is what takes the time, and a hundred thousand files are read sooner by all cores.
        let share = names.len().div_ceil(std::thread::available_parallelism().map_or(1, usize::from)).max(1);
        let read: Vec<_> = std::thread::scope(|scope| {
            let known = &self.known;
            let parts = names.chunks(share).map(|part| {
                let look = move |name: &JobName| {
                    let (before, found) = (known.get(name), look_at(spool, name, known.get(name)));
                    // After a power cut its good file may be empty, or an older one.
                    if before.is_none() && matches!(found, Found::Job(_)) {
                        note_good(spool, name);
                    }
                    found
                };
                scope.spawn(move || part.iter().map(look).collect::<Vec<_>>())
            });
            let parts: Vec<_> = parts.collect();
            parts.into_iter().filter_map(|part| part.join().ok()).flatten().collect()
        });
        names.into_iter().zip(read).for_each(|(name, found)| self.take(name, found));
        Ok(())
    }

    /// Looks whether a job's file is new, changed or gone.
    pub fn refresh_job(&mut self, spool: &Spool, name: &JobName) {
        let found = look_at(spool, name, self.known.get(name));
        let changed = self.known.contains_key(name) && matches!(found, Found::Job(_));
        self.take(name.clone(), found);
        // A hand has changed it; where it was a verb, this has nothing to do.
        if changed {
            note_good(spool, name);
        }
    }

    fn take(&mut self, name: JobName, found: Found) {
        match found {
            Found::AsBefore => {}
            Found::Gone => self.forget(&name),
            Found::Job(known) => {
                self.forget(&name);
                if let Some(look) = known.look {
                    self.agenda.insert((look, name.clone()));
                }
                self.known.insert(name, known);
            }
        }
    }

    fn forget(&mut self, name: &JobName) {
        if let Some(known) = self.known.remove(name)
            && let Some(look) = known.look
        {
            self.agenda.remove(&(look, name.clone()));
        }
    }

    /// The jobs that may owe a build now.
    pub fn due(&mut self, spool: &Spool, now: Timestamp) -> Vec<JobName> {
        self.notice_a_set_clock(spool, now);
        let mut due: BTreeSet<JobName> =
            self.agenda.iter().take_while(|(at, _)| *at <= now).map(|(_, name)| name.clone()).collect();
        due.extend(self.newly_everywhere(spool));
        due.into_iter().collect()
    }

    /// After the clock was set, everything is due at other times than before.
    fn notice_a_set_clock(&mut self, spool: &Spool, now: Timestamp) {
        let (then, instant) = self.clock;
        let passed = SignedDuration::try_from(instant.elapsed()).unwrap_or(SignedDuration::MAX);
        self.clock = (now, Instant::now());
        if (now.duration_since(then) - passed).abs() <= JUMP {
            return;
        }
        tracing::info!("the clock was set");
        self.known.clear();
        self.agenda.clear();
        if let Err(e) = self.refresh(spool) {
            tracing::error!("{e}");
        }
    }

    /// The jobs for all platforms, when there are other platforms than before.
    fn newly_everywhere(&mut self, spool: &Spool) -> Vec<JobName> {
        let Ok(platforms) = spool.platform_states() else { return Vec::new() };
        if platforms == self.platforms {
            return Vec::new();
        }
        self.platforms = platforms;
        self.known.iter().filter(|(_, known)| known.everywhere).map(|(name, _)| name.clone()).collect()
    }

    /// Notes that a job was fired.
    pub fn fired(&mut self, spool: &Spool, name: &JobName) {
        self.take(name.clone(), look_at(spool, name, None));
        // Whatever the reason that it is due still: it must not keep the daemon from sleeping.
        let now = clock::now();
        if self.known.get(name).is_some_and(|known| known.look.is_some_and(|look| look <= now)) {
            self.postpone(name, now.checked_add(SignedDuration::from_secs(1)).unwrap_or(Timestamp::MAX));
        }
    }

    /// Looks at a job again later, because firing it failed.
    pub fn postpone(&mut self, name: &JobName, until: Timestamp) {
        if let Some(known) = self.known.get_mut(name) {
            if let Some(look) = known.look.replace(until) {
                self.agenda.remove(&(look, name.clone()));
            }
            self.agenda.insert((until, name.clone()));
        }
    }

    /// The next moment at which some job may be due.
    pub fn next(&self) -> Option<Timestamp> {
        self.agenda.first().map(|(at, _)| *at)
    }

    /// How many jobs there are.
    pub fn count(&self) -> usize {
        self.known.len()
    }

    /// The jobs that come after this one. A hand can write what no verb does: those that come after each other would
    /// be built for ever, and are left out for as long as they do.
    pub fn after(&self, name: &JobName) -> Vec<JobName> {
        let some = self.known.iter().filter(|(_, known)| !known.after.is_empty());
        let edges: BTreeMap<JobName, Vec<JobName>> =
            some.map(|(name, known)| (name.clone(), known.after.clone())).collect();
        let coming = edges.iter().filter(|(_, others)| others.contains(name)).map(|(other, _)| other);
        let sound = coming.filter(|other| match job::no_circle(&edges, other) {
            Ok(()) => true,
            Err(e) => {
                tracing::error!(job = %other, "{e}; it comes after nothing until that is mended");
                false
            }
        });
        sound.cloned().collect()
    }
}

fn note_good(spool: &Spool, name: &JobName) {
    if let Err(e) = spool.note_good(name) {
        tracing::warn!(job = %name, "its good file can't be noted: {e}");
    }
}

/// What was found of a job.
enum Found {
    AsBefore,
    Gone,
    Job(Known),
}

/// Reads a job, unless its file is what it was. One that can't be read is said once for each change.
fn look_at(spool: &Spool, name: &JobName, before: Option<&Known>) -> Found {
    let stamp = match job::stamp(spool, name) {
        Ok(Some(stamp)) => stamp,
        Ok(None) => return Found::Gone,
        Err(e) => {
            tracing::error!(job = %name, "{e}");
            return Found::AsBefore;
        }
    };
    if before.is_some_and(|before| before.stamp == stamp) {
        return Found::AsBefore;
    }
    match read(spool, name, stamp) {
        Ok(Some(known)) => Found::Job(known),
        Ok(None) => Found::Gone,
        Err(e) => {
            tracing::error!(job = %name, "{e}; it is not built by itself until that is mended");
            Found::Job(Known { stamp, after: Vec::new(), everywhere: false, look: None })
        }
    }
}

fn read(spool: &Spool, name: &JobName, stamp: (u64, i64, i64)) -> Result<Option<Known>> {
    let Some((job, broken)) = spool.job_in_effect(name)? else { return Ok(None) };
    if let Some(e) = broken {
        tracing::error!(job = %name, "{e}; its last good version stays");
    }
    let (schedule, now) = (job.schedule(name)?, clock::now());
    // One search instead of three: what comes after the last that counts is owed, or is what comes next.
    let look = match spool.fired(name)? {
        Some(fired) if fired <= now => schedule.next(fired),
        None if let Some(since) = schedule.since => schedule.next(since),
        fired => schedule.due(fired, now).or_else(|| schedule.next(now)),
    };
    Ok(Some(Known { stamp, everywhere: job.platforms == Platforms::All, after: job.after, look }))
}

//! What jobs owe: builds for moments that are due, and builds that somebody asks for.

use super::{Job, Platforms};
use crate::build_id::BuildId;
use crate::clock;
use crate::disk;
use crate::error::{Error, Kind, Result};
use crate::name::{JobName, Platform};
use crate::place::{Priority, Ticket};
use crate::platform::State;
use crate::queue::{NewBuild, Queues};
use crate::record::{Origin, Request};
use crate::spool::Spool;
use crate::tmp;
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

/// A build that a job has in a queue now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queued {
    /// Which.
    pub id: BuildId,
    /// Whether it was there before.
    pub already: bool,
}

/// What somebody wants of a build that is to run now.
#[derive(Clone, Debug, Default)]
pub struct Wishes {
    /// Values of the template, for this build alone.
    pub values: BTreeMap<String, String>,
    /// Its place in the queue, in front when it is missing.
    pub priority: Option<Priority>,
}

/// What was fired of a job.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Note {
    /// The last moment.
    moment: Option<Timestamp>,
    /// Where, for a job of all platforms.
    platforms: BTreeSet<Platform>,
}

impl Note {
    /// An unreadable note counts as none, because firing again is harmless.
    fn parse(text: &str) -> Note {
        let mut lines = text.lines();
        let moment = lines.next().and_then(|line| line.trim().parse().ok());
        Note { moment, platforms: lines.filter_map(|line| line.parse().ok()).collect() }
    }

    fn to_text(&self) -> String {
        let moment = self.moment.map(|moment| format!("{moment}\n")).unwrap_or_default();
        self.platforms.iter().fold(moment, |text, platform| text + platform.as_str() + "\n")
    }
}

/// Whether a file of `timers/` says when the job was fired.
pub(crate) fn is_note(bytes: &[u8]) -> bool {
    Note::parse(&String::from_utf8_lossy(bytes)).moment.is_some()
}

/// What a job owes at a moment.
struct Due {
    moment: Timestamp,
    platforms: Vec<Platform>,
    note: Note,
}

/// What has to be done about it.
#[derive(Default)]
struct Owed {
    /// All builds that it has in queues then.
    queued: Vec<Queued>,
    /// Those of them that are new.
    builds: Vec<NewBuild>,
    note: Option<Note>,
    /// Why one of them can't be queued. The others are, and the moment stays due.
    refused: Option<Error>,
}

/// What each of some jobs got, or why it got nothing.
pub type Fired = Vec<(JobName, Result<Vec<Queued>>)>;

impl Spool {
    /// Queues what timers owe, if they owe anything. However often this is interrupted and repeated, a due
    /// moment gives one build for each platform. Durable on return, all together.
    pub fn fire(&self, names: &[JobName], now: Timestamp) -> Result<Fired> {
        let _lock = self.lock_jobs()?;
        self.fire_locked(names, now)
    }

    pub(super) fn fire_locked(&self, names: &[JobName], now: Timestamp) -> Result<Fired> {
        let known = self.platform_states()?;
        let mut queues = Queues::new(self);
        let (mut fired, mut builds, mut notes): (Fired, _, _) = (Vec::new(), Vec::new(), Vec::new());
        for name in names {
            let owed = self.job_in_effect(name).and_then(|job| match job {
                Some((job, _)) => self.owed_builds(name, &job, &known, &mut queues, now),
                None => Ok(Owed::default()),
            });
            let queued = owed.and_then(|owed| {
                builds.extend(owed.builds);
                if let Some(refused) = owed.refused {
                    return Err(refused);
                }
                notes.extend(owed.note.map(|note| (self.layout().timer(name), note.to_text().into_bytes())));
                Ok(owed.queued)
            });
            fired.push((name.clone(), queued));
        }
        self.enqueue_all(&builds)?;
        tmp::replace_files(self.layout(), &notes)?;
        Ok(fired)
    }

    fn owed_builds(
        &self,
        name: &JobName,
        job: &Job,
        known: &BTreeMap<Platform, State>,
        queues: &mut Queues<'_>,
        now: Timestamp,
    ) -> Result<Owed> {
        let mut owed = Owed::default();
        let Some(due) = self.due(name, job, known, now)? else { return Ok(owed) };
        for platform in &due.platforms {
            let id = BuildId::of_timer(due.moment, name, platform);
            if let Some(ticket) = queues.of(name, platform)? {
                owed.queued.push(Queued { already: ticket.id != id, id: ticket.id });
                continue;
            }
            if self.is_past_queue(&id) {
                continue;
            }
            if let Err(full) = queues.make_room(platform) {
                owed.refused = Some(full);
                continue;
            }
            let (script, values) = job.script_for(platform, &BTreeMap::new())?;
            let ticket = Ticket { priority: job.priority, id };
            queues.add(&ticket);
            owed.queued.push(Queued { id: ticket.id.clone(), already: false });
            let request = Request { values, ..job.request(Origin::Timer, now) };
            owed.builds.push(NewBuild { ticket, request, script });
        }
        owed.note = Some(due.note);
        Ok(owed)
    }

    /// What a job owes now: its latest moment, or its last one on platforms that have appeared since.
    fn due(&self, name: &JobName, job: &Job, known: &BTreeMap<Platform, State>, now: Timestamp) -> Result<Option<Due>> {
        let before = self.note(name)?;
        let targets = job.targets(known);
        let all = job.platforms == Platforms::All;
        if let Some(moment) = job.schedule(name)?.due(before.moment, now) {
            let platforms = if all { targets.iter().cloned().collect() } else { BTreeSet::new() };
            return Ok(Some(Due { moment, platforms: targets, note: Note { moment: Some(moment), platforms } }));
        }
        let Some(moment) = before.moment.filter(|moment| all && *moment <= now) else { return Ok(None) };
        let new: Vec<Platform> = targets.into_iter().filter(|one| !before.platforms.contains(one)).collect();
        if new.is_empty() {
            return Ok(None);
        }
        let mut note = before;
        note.platforms.extend(new.iter().cloned());
        Ok(Some(Due { moment, platforms: new, note }))
    }

    fn note(&self, name: &JobName) -> Result<Note> {
        let note = disk::read_if_there(&self.layout().timer(name), 1 << 20)?;
        Ok(note.map(|bytes| Note::parse(&String::from_utf8_lossy(&bytes))).unwrap_or_default())
    }

    /// The last due moment of a job that was fired.
    pub fn fired(&self, name: &JobName) -> Result<Option<Timestamp>> {
        Ok(self.note(name)?.moment)
    }

    /// Queues a build of a job for each platform, in front of what timers queued. A job that waits in a
    /// queue already is moved to the front instead. Durable on return.
    pub fn run_job(&self, name: &JobName, platforms: &[Platform], wishes: &Wishes) -> Result<Vec<Queued>> {
        let _lock = self.lock_jobs()?;
        let job = self.job(name)?;
        job.check_values(&wishes.values)?;
        let mut queues = Queues::new(self);
        let (mut queued, mut builds) = (Vec::new(), Vec::new());
        let priority = wishes.priority.unwrap_or(Priority::FRONT.min(job.priority));
        for platform in platforms {
            self.refuse_dropped(platform)?;
            if let Some(ticket) = queues.of(name, platform)? {
                if !wishes.values.is_empty() {
                    return Err(waits_already(&ticket));
                }
                let moves = wishes.priority.map_or(priority < ticket.priority, |wanted| wanted != ticket.priority);
                if !moves || self.reprioritise(&ticket, priority)? {
                    queued.push(Queued { id: ticket.id, already: true });
                    continue;
                }
            }
            queues.make_room(platform)?;
            let ticket = Ticket { priority, id: BuildId::unique(clock::now(), name, platform)? };
            queued.push(Queued { id: ticket.id.clone(), already: false });
            let (script, values) = job.script_for(platform, &wishes.values)?;
            let request = Request { values, ..job.request(Origin::Run, clock::now()) };
            builds.push(NewBuild { ticket, request, script });
        }
        self.enqueue_all(&builds)?;
        Ok(queued)
    }
}

fn waits_already(ticket: &Ticket) -> Error {
    Error::new(Kind::TryAgain, format!("{} waits in its queue already, with other values", ticket.id))
        .hint(format!("wait for it, or say `builder cancel {}` first", ticket.id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_reads_back_and_an_old_one_is_read() {
        let note = Note {
            moment: Some("2026-11-24T03:00:00Z".parse().unwrap()),
            platforms: ["debian-12".parse().unwrap()].into(),
        };
        assert_eq!(Note::parse(&note.to_text()), note);
        assert_eq!(Note::parse("2026-11-24T03:00:00Z\n").moment, note.moment);
        assert_eq!(Note::parse("2026-11-2"), Note::default());
    }
}

//! The way into a queue, and out of it again: enqueue and claim.

mod position;
mod view;
mod waiting;

pub use view::QueueView;
pub use waiting::Queues;

use crate::build_id::BuildId;
use crate::disk::{self, Moved};
use crate::ended;
use crate::ending::OF_AN_ATTEMPT;
use crate::error::{At, Error, Kind, Result};
use crate::held::HeldBuild;
use crate::layout::file;
use crate::lock::Lock;
use crate::name::{JobName, Platform, WorkerName};
use crate::place::{Priority, Ticket};
use crate::record::{self, Lease, Request};
use crate::spool::Spool;
use crate::tmp::Draft;
use crate::{clock, wake};
use std::collections::BTreeSet;
use std::io::Write;

/// A build that is to be queued.
#[derive(Debug)]
pub struct NewBuild {
    /// Its name and its place.
    pub ticket: Ticket,
    /// What is asked for.
    pub request: Request,
    /// What is to be executed.
    pub script: Vec<u8>,
}

/// What became of an attempt to claim a build.
#[derive(Debug)]
pub enum Claimed<'s> {
    /// It is the claimer's.
    Yes(HeldBuild<'s>),
    /// Somebody else was first.
    Gone,
    /// As many builds of its job run on its platform as may run at once.
    Full,
}

impl<'s> Claimed<'s> {
    /// The build, when it is the claimer's.
    pub fn won(self) -> Option<HeldBuild<'s>> {
        match self {
            Claimed::Yes(held) => Some(held),
            Claimed::Gone | Claimed::Full => None,
        }
    }
}

impl Spool {
    /// Puts builds into their platforms' queues, all of them or, when that fails, perhaps some. On return they
    /// survive a crash and power loss. A build that is there already stays as it is.
    ///
    /// Order: everything is complete and durable under `tmp/`, then renames that never replace, then the
    /// queues' directories are synced. Many builds are made durable by one syncfs(2) instead of many syncs.
    ///
    /// # Errors
    /// [`Kind::TryAgain`] when only the reserve of the disk is left.
    pub fn enqueue_all(&self, builds: &[NewBuild]) -> Result<()> {
        if !builds.is_empty() {
            self.make_sure_of_room()?;
        }
        let together = builds.len() > disk::FEW;
        if together {
            self.store().bring(&builds.iter().map(|build| build.script.as_slice()).collect::<Vec<_>>())?;
        }
        let drafts = builds.iter().map(|build| self.draft(build, !together)).collect::<Result<Vec<_>>>()?;
        if together {
            disk::sync_all_of(self.layout().root())?;
        }
        for (build, draft) in builds.iter().zip(drafts) {
            self.publish(&build.ticket, draft)?;
        }
        let queues: BTreeSet<&Platform> = builds.iter().map(|build| build.ticket.id.platform()).collect();
        queues.iter().try_for_each(|platform| disk::sync_dir(&self.layout().queue(platform)))?;
        // Only now: a claimer that looked while a draft's lock was held has passed that build over.
        match together {
            true => queues.iter().for_each(|platform| wake::ring(&self.layout().wake_queue(platform))),
            false => builds.iter().for_each(|build| {
                wake::tell(&self.layout().wake_queue(build.ticket.id.platform()), &build.ticket.to_string());
            }),
        }
        Ok(())
    }

    /// As [`Spool::enqueue_all`], for one.
    pub fn enqueue(&self, build: &NewBuild) -> Result<()> {
        self.enqueue_all(std::slice::from_ref(build))
    }

    fn draft(&self, build: &NewBuild, sync: bool) -> Result<Draft> {
        let draft = Draft::directory(self.layout())?;
        let request = record::to_bytes(&build.request)?;
        if sync {
            disk::write_new(&draft.path().join(file::BUILD), &request, 0o644)?;
        } else {
            let path = draft.path().join(file::BUILD);
            disk::create_new(&path, 0o644)?.write_all(&request).at("write", &path)?;
        }
        self.store().keep(&build.script, &draft.path().join(file::SCRIPT))?;
        if sync {
            draft.handle().sync_all().at("sync", draft.path())?;
        }
        Ok(draft)
    }

    fn publish(&self, ticket: &Ticket, draft: Draft) -> Result<()> {
        let target = self.layout().queued(ticket);
        let mut moved = disk::rename_new(draft.path(), &target);
        let queue = self.layout().queue(ticket.id.platform());
        if !queue.is_dir() {
            disk::make_dir_synced(&queue)?;
            moved = disk::rename_new(draft.path(), &target);
        }
        match moved? {
            Moved::Yes => draft.published(),
            Moved::TargetExists => {}
            Moved::SourceGone => {
                return Err(Error::new(Kind::Internal, "a build vanished from tmp/ while it was made"));
            }
        }
        Ok(())
    }

    /// The queued builds of a platform whose ids pass a test, the newest first; `most` of them at the most. Only those
    /// are parsed.
    pub fn newest_queued(
        &self,
        platform: &Platform,
        most: usize,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<Vec<Ticket>> {
        const PRIORITY: usize = "50-".len();
        let mut names = disk::names(&self.layout().queue(platform))?;
        names.retain(|name| name.get(PRIORITY..).is_some_and(&wanted));
        names.sort_unstable_by(|a, b| b.get(PRIORITY..).cmp(&a.get(PRIORITY..)));
        Ok(names.iter().filter_map(|name| name.parse().ok()).take(most).collect())
    }

    /// The builds that wait for this platform, first come first. Names that are no tickets are left out.
    pub fn queue(&self, platform: &Platform) -> Result<BTreeSet<Ticket>> {
        let names = disk::names(&self.layout().queue(platform))?;
        Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
    }

    /// All platforms that have, or had, a queue.
    pub fn platforms(&self) -> Result<Vec<Platform>> {
        let mut names = disk::names(&self.layout().directory("new"))?;
        names.sort();
        Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
    }

    /// Wakes those who wait for a platform on which something is queued: who queued it may have died before it said so.
    pub fn tell_of_queues(&self) -> Result<()> {
        for platform in self.platforms()? {
            if !disk::is_empty_dir(&self.layout().queue(&platform)) {
                wake::ring(&self.layout().wake_queue(&platform));
            }
        }
        Ok(())
    }

    /// The queued build of a job on a platform, if there is one that repeats no other.
    pub fn queued_of(&self, job: &JobName, platform: &Platform) -> Result<Option<Ticket>> {
        let part = format!("-{job}@{platform}-");
        let names = disk::names(&self.layout().queue(platform))?;
        let candidates = names.iter().filter(|name| name.contains(&part));
        let mut tickets = candidates.filter_map(|name| name.parse::<Ticket>().ok());
        Ok(tickets.find(|ticket| ticket.id.job() == job && !ticket.id.is_rebuild()))
    }

    /// Moves a queued build to another priority, durably. False when it was taken meanwhile.
    pub fn reprioritise(&self, ticket: &Ticket, priority: Priority) -> Result<bool> {
        let target = Ticket { priority, id: ticket.id.clone() };
        let moved = disk::rename_new(&self.layout().queued(ticket), &self.layout().queued(&target))?;
        disk::sync_dir(&self.layout().queue(ticket.id.platform()))?;
        wake::tell(&self.layout().wake_queue(ticket.id.platform()), &target.to_string());
        Ok(moved == Moved::Yes)
    }

    /// Takes a build out of its queue for a worker, unless too many of its job run there already.
    ///
    /// Nothing is synced: after a power cut the build is either queued still or active without a server,
    /// and both are mended.
    pub fn claim(&self, ticket: &Ticket, worker: &WorkerName) -> Result<Claimed<'_>> {
        let _lock = self.lock_claims()?;
        let running = self.running(&ticket.id)?;
        if running > 0 && self.most_at_once(ticket).is_some_and(|most| running >= most as usize) {
            return Ok(Claimed::Full);
        }
        let Some(held) = self.take(ticket)? else { return Ok(Claimed::Gone) };
        let lease = Lease { worker: worker.clone(), since: clock::now(), token: fresh_token()? };
        held.write_lease(&lease)?;
        Ok(Claimed::Yes(held))
    }

    /// How many builds of this one's job may run at once. One that can't be read may run: its server finds out, and ends it.
    pub(crate) fn most_at_once(&self, ticket: &Ticket) -> Option<u32> {
        record::read::<Request>(&self.layout().queued(ticket).join(file::BUILD)).ok()??.concurrency
    }

    /// How many builds of the same job are active on the same platform.
    fn running(&self, id: &BuildId) -> Result<usize> {
        let names = disk::names(&self.layout().all_active())?;
        let same = |name: &&String| ended::is_of(name, id.job(), Some(id.platform()));
        Ok(names.iter().filter(same).count())
    }

    /// Takes a build out of its queue for no worker: to end or to remove it.
    pub fn take(&self, ticket: &Ticket) -> Result<Option<HeldBuild<'_>>> {
        let queued = self.layout().queued(ticket);
        let dir = match disk::open_dir(&queued) {
            Err(rustix::io::Errno::NOENT) => return Ok(None),
            other => other.at("open", &queued)?,
        };
        let Some(dir) = Lock::try_alone(dir) else { return Ok(None) };
        let active = self.layout().active(&ticket.id);
        match disk::rename_new(&queued, &active)? {
            Moved::Yes => {}
            Moved::SourceGone => return Ok(None),
            Moved::TargetExists => {
                return Err(Error::new(Kind::Internal, format!("{} is both queued and active", ticket.id))
                    .hint("builderd mends this when it starts"));
            }
        }
        // What was locked may have been requeued, so that another build directory had this name meanwhile.
        let ours = dir.metadata().at("look at", &active)?;
        match active.symlink_metadata() {
            Ok(there) if disk::same_file(&ours, &there) => {
                let held = HeldBuild::new(self, ticket.id.clone(), dir);
                held.forget_attempt()?;
                Ok(Some(held))
            }
            _ => Ok(None),
        }
    }

    /// Removes from queued builds what attempts have left whose claim a power cut has undone. Whoever takes such a build
    /// does so, too. Returns how many there were.
    pub fn forget_undone_claims(&self) -> Result<usize> {
        let mut undone = 0;
        for platform in self.platforms()? {
            for ticket in self.queue(&platform)? {
                let path = self.layout().queued(&ticket);
                if !disk::names(&path)?.iter().any(|name| OF_AN_ATTEMPT.contains(&name.as_str())) {
                    continue;
                }
                let Ok(dir) = disk::open_dir(&path) else { continue };
                if let Some(_lock) = Lock::try_alone(dir)
                    && path.is_dir()
                {
                    OF_AN_ATTEMPT.iter().try_for_each(|name| disk::remove_tree(&path.join(name)))?;
                    undone += 1;
                }
            }
        }
        Ok(undone)
    }
}

fn fresh_token() -> Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)
        .map_err(|e| Error::new(Kind::Io, format!("the system gives no random numbers: {e}")))?;
    Ok(bytes.iter().map(|b| format!("{b:02x}")).collect())
}

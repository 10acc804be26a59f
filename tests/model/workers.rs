//! What workers do to both: claim, finish, vanish, come back.

use super::world::{ATTEMPTS, GRACE, Known, State, World, worker};
use jiff::SignedDuration;
use spool::build_id::BuildId;
use spool::clock;
use spool::digest::Sha256;
use spool::held::{Offered, Published};
use spool::mend::Patience;
use spool::name::Platform;
use spool::place::End;
use spool::queue::Claimed;
use spool::record::{BuildResult, Outcome};
use spool::resume::Resumed;
use std::io::Write;

impl World {
    pub(super) fn claim(&mut self, w: usize, platform: &Platform) {
        let ticket = self.spool.queue(platform).expect("a queue").pop_first();
        let (Some(ticket), None, None) = (ticket, &self.workers[w].held, self.spool.withheld(platform)) else { return };
        let of_job = |id: &BuildId| id.job() == ticket.id.job() && id.platform() == platform;
        let runs = |known: &Known| matches!(known.state, State::Held | State::Orphan);
        let full = self.builds.iter().any(|(id, known)| of_job(id) && runs(known));
        match self.spool.claim(&ticket, &worker(w)).expect("a claim") {
            Claimed::Yes(held) => {
                assert!(!full, "two builds of {} run at once", ticket.id.job());
                let token = held.lease().expect("a lease").expect("a lease").token;
                let known = self.known(&ticket.id);
                assert_eq!(known.state, State::Queued);
                (known.state, known.worker, known.token) = (State::Held, Some(w), token.clone());
                self.workers[w].held = Some(held);
                self.workers[w].given.push((ticket.id, token));
            }
            Claimed::Full => assert!(full),
            Claimed::Gone => panic!("{} can't be claimed, and nobody has it", ticket.id),
        }
    }

    pub(super) fn finish(&mut self, w: usize, well: bool, artifacts: usize) {
        let Some(held) = self.workers[w].held.take() else { return };
        let id = held.id().clone();
        let contents: Vec<String> = (0..artifacts).map(|n| format!("content {}", n % 4)).collect();
        held.make_upload_area().expect("an upload area");
        let area = self.spool.upload_area(&worker(w)).expect("an area").expect("the worker's own");
        for content in contents.iter().filter(|content| !held.has(&Sha256::of(content.as_bytes()))) {
            let (draft, mut file) = area.draft().expect("a draft");
            file.write_all(content.as_bytes()).expect("written");
            drop(file);
            draft.publish(&Sha256::of(content.as_bytes())).expect("published");
        }
        let offer = |(n, content): (usize, &String)| Offered {
            path: format!("dir{}/file{n}", n % 3).parse().expect("a path"),
            sha256: Sha256::of(content.as_bytes()),
            size: content.len() as u64,
        };
        let offered: Vec<Offered> = contents.iter().enumerate().map(offer).collect();
        let Published::All(manifest) = held.publish(&offered).expect("published") else {
            panic!("something is missing")
        };
        let cancelled = self.spool.cancel_requested(&id);
        assert_eq!(cancelled, self.known(&id).cancelled);
        let outcome = if cancelled { Outcome::Cancelled } else { Outcome::Exited { code: u8::from(!well) } };
        let result = BuildResult {
            worker: Some(worker(w)),
            artifacts: offered.len() as u64,
            artifact_bytes: offered.iter().map(|one| one.size).sum(),
            ..BuildResult::unrun(outcome, self.now())
        };
        let end = held.finish(result, &manifest).expect("finished");
        assert_eq!(end, if well && !cancelled { End::Done } else { End::Failed });
        self.known(&id).state = State::Ended(end);
        self.known(&id).cancelled = false;
    }

    /// A build is taken from its worker.
    pub(super) fn lose(&mut self, id: &BuildId) {
        let known = self.known(id);
        known.lost.insert(known.token.clone());
        known.state = match known.cancelled || known.lost.len() >= ATTEMPTS {
            true => State::Ended(End::Failed),
            false => State::Queued,
        };
        known.cancelled &= known.state == State::Queued;
    }

    pub(super) fn resume(&mut self, w: usize, n: usize) {
        let given = self.workers[w].given.iter().rev().nth(n).cloned();
        let (None, Some((id, token))) = (&self.workers[w].held, given) else { return };
        let known = self.builds.get(&id).cloned();
        let ours = |known: &Known| known.worker == Some(w) && known.token == token && !known.lost.contains(&token);
        let ours = known.filter(ours).map(|known| known.state);
        match (self.spool.resume(&id, &worker(w), &token).expect("an answer"), ours) {
            (Resumed::Held(held), Some(State::Orphan)) => {
                self.known(&id).state = State::Held;
                self.workers[w].held = Some(held);
            }
            (Resumed::Over, Some(State::Ended(_))) | (Resumed::Lapsed, None | Some(State::Queued)) => {}
            (answer, state) => panic!("{id}: {answer:?} for {state:?}"),
        }
    }

    fn orphans(&self, wanted: impl Fn(&Known) -> bool) -> Vec<BuildId> {
        let orphan = |(_, known): &(&BuildId, &Known)| known.state == State::Orphan && wanted(known);
        self.builds.iter().filter(orphan).map(|(id, _)| id.clone()).collect()
    }

    pub(super) fn forget(&mut self, w: usize) {
        if self.workers[w].held.is_some() {
            return;
        }
        let expected = self.orphans(|known| known.worker == Some(w));
        assert_eq!(self.spool.give_up_all_of(&worker(w)).expect("given up"), expected);
        expected.iter().for_each(|id| self.lose(id));
    }

    pub(super) fn mend(&mut self, seconds: i64) {
        let patience = Patience { grace: SignedDuration::from_secs(GRACE), retry: SignedDuration::ZERO };
        let now = clock::now() + SignedDuration::from_secs(seconds);
        let expected = self.orphans(|known| known.cancelled || seconds > GRACE);
        let mended = self.spool.mend_leases(patience, now).expect("mended");
        assert_eq!(mended.iter().filter(|one| one.is_ok()).count(), expected.len(), "{mended:?}");
        expected.iter().for_each(|id| self.lose(id));
    }
}

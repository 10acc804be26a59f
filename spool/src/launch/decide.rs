//! How many workers are launched, and when that is looked at again.

use super::{Launch, Launches, Need, Slot, UnderWay};
use crate::backoff;
use crate::name::WorkerName;
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeSet;

/// What is to be done, and what has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What is known then, to be noted before anything is launched.
    pub launches: Launches,
    /// Who is to be launched.
    pub start: Vec<WorkerName>,
    /// Who has come.
    pub came: Vec<WorkerName>,
    /// Who was given up.
    pub late: Vec<WorkerName>,
    /// When to look again, though nothing is heard of; nothing when that makes no difference.
    pub again: Option<Timestamp>,
}

impl Launches {
    /// Decides what to do next. `most` commands may be started now.
    ///
    /// Who is free, and who is on the way, is counted against what waits. After a failure one worker at a time is tried, each
    /// in its turn, after a pause, until one comes.
    pub fn decide(&self, rules: &Launch, need: &Need, most: usize, now: Timestamp) -> Step {
        let mut next = self.clone();
        next.forgive_a_clock_that_was_set(now);
        let (came, late) = next.take_stock(rules, need, now);
        let (start, keyless) = next.choose(need, most, now);
        next.keyless = keyless;
        let gives_up = next.under_way.iter().map(|one| after(one.since, rules.patience()));
        let again = gives_up.chain(next.until.filter(|until| *until > now && !need.waiting.is_empty())).min();
        next.under_way.extend(start.iter().map(|worker| UnderWay { worker: worker.clone(), since: now }));
        Step { launches: next, start, came, late, again }
    }

    /// A launch has failed. What was under way at the last failure already says nothing new.
    pub fn fail(&mut self, worker: &WorkerName, why: &str, rules: &Launch, now: Timestamp) {
        let Some(at) = self.under_way.iter().position(|one| one.worker == *worker) else { return };
        let since = self.under_way.remove(at).since;
        self.said = Some(why.to_owned());
        if self.failed.is_none_or(|failed| since >= failed) {
            self.failures = self.failures.saturating_add(1);
            self.failed = Some(now);
            self.until = Some(after(now, pause(rules, self.failures)));
        }
    }

    fn forgive_a_clock_that_was_set(&mut self, now: Timestamp) {
        self.under_way.iter_mut().for_each(|one| one.since = one.since.min(now));
        self.failed = self.failed.map(|failed| failed.min(now));
        self.until = self.until.map(|until| until.min(after(now, backoff::LONGEST)));
    }

    /// Who has come, which ends all complaints, and who is given up.
    fn take_stock(&mut self, rules: &Launch, need: &Need, now: Timestamp) -> (Vec<WorkerName>, Vec<WorkerName>) {
        let has_come = |one: &UnderWay| need.slot(&one.worker).is_some_and(|slot| slot.has_come_since(one.since, now));
        let is_late = |one: &UnderWay| !has_come(one) && after(one.since, rules.patience()) <= now;
        let names = |is: &dyn Fn(&UnderWay) -> bool| -> Vec<WorkerName> {
            self.under_way.iter().filter(|one| is(one)).map(|one| one.worker.clone()).collect()
        };
        let (came, late) = (names(&has_come), names(&is_late));
        self.under_way.retain(|one| !came.contains(&one.worker));
        if !came.is_empty() {
            *self = Launches { under_way: std::mem::take(&mut self.under_way), ..Launches::default() };
        }
        for worker in &late {
            let strange = need.slot(worker).is_some_and(|slot| !slot.has_key);
            let hint =
                if strange { format!("; it has no key here, `builder worker add {worker}`") } else { String::new() };
            let why = format!("worker {worker} did not come within {} s{hint}", rules.patience_seconds);
            self.fail(worker, &why, rules, now);
        }
        (came, late)
    }

    /// Who is to be launched, and who would be as well if it could come in.
    fn choose(&self, need: &Need, most: usize, now: Timestamp) -> (Vec<WorkerName>, Vec<WorkerName>) {
        let on_trial = self.failures > 0;
        if self.until.is_some_and(|until| until > now) || (on_trial && !self.under_way.is_empty()) {
            return (Vec::new(), self.keyless.clone());
        }
        let under_way = self.under_way.iter().map(|one| &one.worker);
        let mut ready: BTreeSet<&WorkerName> = need.free.iter().chain(under_way.clone()).collect();
        let is_candidate = |slot: &&Slot| slot.is_ours && !slot.connected && !slot.quarantined && !slot.is_started;
        let can_come = need.slots.iter().filter(is_candidate).filter(|slot| slot.has_key);
        let can_not = need.slots.iter().filter(is_candidate).filter(|slot| !slot.has_key);
        let mut candidates: Vec<&WorkerName> = can_come.chain(can_not.clone()).map(|slot| &slot.name).collect();
        candidates.retain(|name| !under_way.clone().any(|other| other == *name));
        let mut start = Vec::new();
        // Those for whom only some will do choose first.
        for wanted in need.waiting.iter().flatten() {
            match ready.iter().find(|name| wanted.contains(**name)).copied() {
                Some(name) => drop(ready.remove(name)),
                None => {
                    let found = candidates.iter().position(|name| wanted.contains(*name));
                    start.extend(found.map(|at| candidates.remove(at).clone()));
                }
            }
        }
        let for_anyone = need.waiting.iter().filter(|wanted| wanted.is_none()).count();
        let wanted = match for_anyone.saturating_sub(ready.len()) {
            0 => 0,
            _ if on_trial => candidates.len(),
            wanted => wanted,
        };
        start.extend(candidates.into_iter().take(wanted).cloned());
        let (keyless, mut start): (Vec<_>, Vec<_>) =
            start.into_iter().partition(|name| can_not.clone().any(|slot| slot.name == *name));
        if on_trial && !start.is_empty() {
            // One that can't come keeps no other away.
            let turn = self.failures as usize % start.len();
            start.rotate_left(turn);
        }
        start.truncate(if on_trial { most.min(1) } else { most });
        (start, keyless)
    }
}

fn pause(rules: &Launch, failures: u32) -> SignedDuration {
    let first = SignedDuration::from_secs(rules.retry_seconds.into());
    backoff::grown(first, 2, failures.saturating_sub(1))
}

fn after(at: Timestamp, wait: SignedDuration) -> Timestamp {
    at.checked_add(wait).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    fn rules(limit: u32) -> Launch {
        toml::from_str(&format!("command = \"x\"\nlimit = {limit}\npatience_seconds = 100\nretry_seconds = 10"))
            .unwrap()
    }

    fn names(numbers: &[u32]) -> Vec<WorkerName> {
        numbers.iter().map(|number| format!("w-{number}").parse().unwrap()).collect()
    }

    /// So many builds wait, so many others are free, and these of ours are connected.
    fn need(limit: u32, waiting: usize, free: usize, connected: &[u32]) -> Need {
        let slot = |number: u32| Slot {
            name: names(&[number]).remove(0),
            is_ours: true,
            has_key: true,
            connected: connected.contains(&number),
            last: None,
            quarantined: false,
            is_started: false,
        };
        let free = (0..free).map(|number| format!("other{number}").parse().unwrap()).collect();
        Need { waiting: vec![None; waiting], free, slots: (1..=limit).map(slot).collect() }
    }

    fn started(step: &Step) -> String {
        step.start.iter().map(WorkerName::to_string).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn as_many_are_launched_as_wait_without_a_worker_up_to_the_limit() {
        let table = [
            (need(3, 0, 0, &[]), ""),
            (need(3, 1, 0, &[]), "w-1"),
            (need(3, 2, 1, &[]), "w-1"),
            (need(3, 2, 2, &[]), ""),
            (need(3, 9, 0, &[]), "w-1 w-2 w-3"),
            (need(3, 9, 0, &[1, 3]), "w-2"),
            (need(3, 9, 4, &[1, 2, 3]), ""),
        ];
        for (need, expected) in table {
            assert_eq!(started(&Launches::default().decide(&rules(3), &need, 9, at(0))), expected, "{need:?}");
        }
        let step = Launches::default().decide(&rules(9), &need(9, 9, 0, &[]), 2, at(0));
        assert_eq!(started(&step), "w-1 w-2", "no more commands at once than may run");
    }

    #[test]
    fn who_is_on_the_way_is_waited_for_and_not_launched_again() {
        let (rules, need) = (rules(3), need(3, 2, 0, &[]));
        let first = Launches::default().decide(&rules, &need, 9, at(0));
        assert_eq!(started(&first), "w-1 w-2");
        let second = first.launches.decide(&rules, &need, 9, at(50));
        assert_eq!((started(&second).as_str(), second.again, &second.launches), ("", Some(at(100)), &first.launches));
    }

    #[test]
    fn who_has_come_is_known_also_when_it_is_gone_again() {
        let rules = rules(1);
        let launches = Launches::default().decide(&rules, &need(1, 1, 0, &[]), 9, at(0)).launches;
        let mut seen = need(1, 1, 0, &[]);
        seen.slots[0].last = Some(at(-1));
        assert_eq!(launches.decide(&rules, &seen, 9, at(5)).came, []);
        seen.slots[0].last = Some(at(1));
        let step = launches.decide(&rules, &seen, 9, at(5));
        assert_eq!(
            (step.came.clone(), started(&step).as_str()),
            (names(&[1]), "w-1"),
            "it is launched for the next one"
        );
    }

    #[test]
    fn a_pause_doubles_until_somebody_comes_and_one_at_a_time_is_tried() {
        let (rules, need) = (rules(2), need(2, 5, 0, &[]));
        let mut launches = Launches::default();
        let mut now = 0;
        let mut pauses = Vec::new();
        for trial in 0..12 {
            let step = launches.decide(&rules, &need, 9, at(now));
            assert_eq!(step.start.len(), if trial == 0 { 2 } else { 1 }, "trial {trial}");
            let step = step.launches.decide(&rules, &need, 9, at(now + 100));
            assert_eq!((step.late.len(), started(&step).as_str()), (if trial == 0 { 2 } else { 1 }, ""));
            assert_eq!(step.again, step.launches.until);
            let until = step.launches.until.unwrap().duration_since(at(0)).as_secs();
            pauses.push(until - now - 100);
            assert!(step.launches.said.as_ref().unwrap().contains("did not come within 100 s"));
            (launches, now) = (step.launches, until);
        }
        assert_eq!(pauses, [10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600, 3600]);
        let trial = launches.decide(&rules, &need, 9, at(now));
        let came = super::tests::need(2, 5, 0, &[1]);
        let step = trial.launches.decide(&rules, &came, 9, at(now + 1));
        assert_eq!((step.came.clone(), started(&step).as_str()), (names(&[1]), "w-2"));
        assert_eq!((step.launches.failures, step.launches.said), (0, None));
    }

    #[test]
    fn one_that_can_not_come_keeps_no_other_away() {
        let only = |number: u32| Some(names(&[number]).into_iter().collect::<BTreeSet<_>>());
        for waiting in [vec![None], vec![None; 5], vec![only(1), None], vec![only(1), only(2)]] {
            let (rules, mut need) = (rules(3), need(3, 0, 0, &[]));
            need.waiting = waiting;
            let mut launches = Launches::default();
            let mut now = 0;
            // Only w-2 ever comes.
            let came = (0..10).find(|_| {
                let step = launches.decide(&rules, &need, 9, at(now));
                let step = step.launches.decide(&rules, &need, 9, at(now + 100));
                now = step.again.map_or(now, |again| again.duration_since(at(0)).as_secs());
                launches = step.launches.decide(&rules, &need, 9, at(now)).launches;
                launches.under_way.iter().any(|one| one.worker == names(&[2])[0])
            });
            assert!(came.is_some(), "{:?}: {launches:?}", need.waiting);
        }
    }

    #[test]
    fn who_is_late_is_not_launched_again_while_its_command_runs() {
        let (rules, mut need) = (rules(1), need(1, 1, 0, &[]));
        let launches = Launches::default().decide(&rules, &need, 9, at(0)).launches;
        need.slots[0].is_started = true;
        let late = launches.decide(&rules, &need, 9, at(100));
        assert_eq!(late.late, names(&[1]));
        assert_eq!(started(&late.launches.decide(&rules, &need, 9, at(1000))), "");
        need.slots[0].is_started = false;
        assert_eq!(started(&late.launches.decide(&rules, &need, 9, at(1000))), "w-1");
    }

    #[test]
    fn commands_that_fail_together_are_one_failure() {
        let rules = rules(3);
        let mut launches = Launches::default().decide(&rules, &need(3, 3, 0, &[]), 9, at(0)).launches;
        for (number, seconds) in [(1, 1), (2, 2), (3, 3)] {
            launches.fail(&names(&[number])[0], "refused", &rules, at(seconds));
        }
        assert_eq!((launches.failures, launches.until, launches.under_way.len()), (1, Some(at(11)), 0));
        launches.fail(&names(&[1])[0], "again", &rules, at(4));
        assert_eq!(launches.said.as_deref(), Some("refused"), "it was not under way any more");
    }

    #[test]
    fn a_build_that_some_may_take_gets_one_of_them() {
        let mut need = need(3, 0, 1, &[]);
        let only = |numbers: &[u32]| Some(names(numbers).into_iter().collect::<BTreeSet<_>>());
        need.waiting = vec![None, only(&[3]), only(&[3])];
        let step = Launches::default().decide(&rules(3), &need, 9, at(0));
        assert_eq!(started(&step), "w-3", "the other one is for who is free");
        need.waiting = vec![only(&[7])];
        assert_eq!(started(&Launches::default().decide(&rules(3), &need, 9, at(0))), "", "nobody of ours");
    }

    #[test]
    fn a_clock_that_was_set_back_holds_nothing_up_for_ever() {
        let rules = rules(1);
        let under_way = vec![UnderWay { worker: names(&[1]).remove(0), since: at(1_000_000) }];
        let launches = Launches { until: Some(at(2_000_000)), under_way, ..Launches::default() };
        let mut need = need(1, 1, 0, &[]);
        // When it was there before, which nobody takes for its coming.
        need.slots[0].last = Some(at(1_000_000));
        let step = launches.decide(&rules, &need, 9, at(0));
        assert_eq!((step.came, step.again), (vec![], Some(at(100))));
        assert_eq!(step.launches.until, Some(at(3600)));
    }

    #[test]
    fn who_could_not_come_in_is_not_launched_and_named_at_once() {
        let mut need = need(3, 1, 0, &[]);
        need.slots[0].has_key = false;
        let step = |need: &Need| Launches::default().decide(&rules(3), need, 9, at(0));
        let one = step(&need);
        assert_eq!((started(&one).as_str(), one.launches.keyless), ("w-2", vec![]), "another one will do");
        need.waiting = vec![None; 3];
        let all = step(&need);
        assert_eq!((started(&all).as_str(), all.launches.keyless.clone()), ("w-2 w-3", names(&[1])));
        need.slots.iter_mut().for_each(|slot| slot.has_key = true);
        let step = all.launches.decide(&rules(3), &need, 9, at(1));
        assert_eq!((started(&step).as_str(), step.launches.keyless), ("w-1", vec![]), "it has one now");
        // Nobody is needed.
        need.slots.iter_mut().for_each(|slot| slot.has_key = false);
        need.waiting.clear();
        assert_eq!(all.launches.decide(&rules(3), &need, 9, at(1)).launches.keyless, []);
    }

    #[test]
    fn a_sick_worker_and_one_that_is_no_longer_ours_are_not_launched() {
        let mut need = need(3, 3, 0, &[]);
        need.slots[0].quarantined = true;
        need.slots[1].is_ours = false;
        assert_eq!(started(&Launches::default().decide(&rules(3), &need, 9, at(0))), "w-3");
    }
}

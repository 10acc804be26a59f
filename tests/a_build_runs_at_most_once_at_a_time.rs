//! One winner for each build, however many want it.

use harness::{Lab, Running, wait_for};
use spool::build_id::BuildId;
use spool::job::{Job, Platforms};
use spool::place::{Place, Priority, Ticket};
use spool::queue::NewBuild;
use spool::record::{Origin, Request};

fn enqueue(lab: &Lab, job: &str) -> Ticket {
    let now = spool::clock::now();
    let id = BuildId::unique(now, &job.parse().expect("a name"), &harness::PLATFORM.parse().expect("a platform"))
        .expect("an id");
    let ticket = Ticket { priority: Priority::NORMAL, id };
    let request = Request::new(Origin::Run, now, 60);
    let build = NewBuild { ticket: ticket.clone(), request, script: b"true".to_vec() };
    lab.spool.enqueue(&build).expect("queued");
    ticket
}

#[test]
fn of_many_claimers_one_wins() {
    let lab = Lab::new();
    for round in 0..50 {
        let ticket = enqueue(&lab, "race");
        let barrier = std::sync::Barrier::new(8);
        let wins: usize = std::thread::scope(|scope| {
            let claimers: Vec<_> = (0..8)
                .map(|n| {
                    let (spool, ticket, barrier) = (lab.spool.clone(), &ticket, &barrier);
                    scope.spawn(move || {
                        barrier.wait();
                        let won =
                            spool.claim(ticket, &format!("w{n}").parse().expect("a name")).expect("a clear answer");
                        usize::from(won.won().is_some())
                    })
                })
                .collect();
            claimers.into_iter().map(|claimer| claimer.join().expect("no panic")).sum()
        });
        assert_eq!(wins, 1, "round {round}");
    }
}

#[test]
fn claim_against_removal_has_one_winner() {
    let lab = Lab::new();
    for round in 0..50 {
        lab.job("victim", "true");
        let id: BuildId = lab.run("victim").parse().expect("an id");
        let ticket = Ticket { priority: Priority::FRONT, id };
        let (claimed, removed) = std::thread::scope(|scope| {
            let claim =
                scope.spawn(|| lab.spool.claim(&ticket, &"w".parse().expect("a name")).expect("a clear answer").won());
            let (removed, _) = lab.spool.remove_job(&"victim".parse().expect("a name")).expect("removed");
            (claim.join().expect("no panic"), removed)
        });
        assert_eq!(usize::from(claimed.is_some()) + removed.len(), 1, "round {round}");
        if let Some(held) = claimed {
            held.remove().expect("removed");
        }
    }
}

#[test]
fn ten_workers_run_two_hundred_builds_once_each() {
    let lab = Lab::new();
    let sshd = lab.sshd();
    let keys: Vec<_> = (0..10).map(|n| (format!("w{n}"), lab.add_worker(&format!("w{n}")))).collect();
    let counter = lab.path("counter");
    let script = format!("echo $BUILDER_BUILD >> {}\n", counter.display());
    let workers: Vec<Running> = keys.iter().map(|(name, key)| sshd.worker(&lab, name, key, &["--keep"])).collect();
    for n in 0..200 {
        lab.spool
            .add_job(&format!("job{n}").parse().expect("a name"), &manual(&script))
            .and_then(|_| {
                lab.spool.run_job(
                    &format!("job{n}").parse().expect("a name"),
                    &[harness::PLATFORM.parse().expect("a platform")],
                    &Default::default(),
                )
            })
            .expect("queued");
    }
    wait_for("all builds are over", || lab.ended().len() == 200);
    drop(workers);
    let text = std::fs::read_to_string(counter).expect("what ran");
    let mut ran: Vec<&str> = text.lines().collect();
    ran.sort();
    assert_eq!(ran.len(), 200);
    ran.dedup();
    assert_eq!(ran.len(), 200, "none ran twice");
    assert!(lab.ended().iter().all(|build| build.place == Place::Ended(spool::place::End::Done)));
    lab.check();
}

fn manual(script: &str) -> Job {
    let platforms = Platforms::Named(vec![harness::PLATFORM.parse().expect("a platform")]);
    Job { script: script.to_owned(), attempts: 10, ..Job::new(platforms, spool::clock::now()) }
}

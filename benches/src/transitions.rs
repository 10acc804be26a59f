//! The spool's transitions against bare system calls, and a long queue against a short one.

use crate::bare::Bare;
use crate::site::Site;
use crate::stats::Samples;
use crate::table::{Table, ms, ratio};
use harness::Lab;
use spool::build_id::BuildId;
use spool::manifest::Manifest;
use spool::name::{Platform, WorkerName};
use spool::place::{Priority, Ticket};
use spool::queue::{NewBuild, QueueView};
use spool::record::{BuildResult, Origin, Outcome, Request};
use spool::{Spool, clock};

/// Builds a round.
const BUILDS: usize = 100;

/// As many builds wait in the short and in the long queue.
const FEW: usize = 100;
const MANY: usize = 100_000;

/// Claims a round, from either.
const CLAIMS: usize = 2_000;

/// Both tables.
pub fn measure(site: &Site) -> Vec<Table> {
    vec![transitions(site), queues(site)]
}

#[derive(Default)]
struct Times {
    enqueue: Samples,
    claim: Samples,
    finish: Samples,
}

fn transitions(site: &Site) -> Table {
    let lab = site.lab();
    let bare = Bare::new(lab.path("bare"));
    let (mut ours, mut limit) = (Times::default(), Times::default());
    // The first of all makes the queue, the month and the script's object.
    one_of_ours(&lab.spool, &mut Times::default());
    for n in 0..BUILDS * site.rounds {
        if n % 2 == 0 {
            one_of_ours(&lab.spool, &mut ours);
            one_bare(&bare, &mut limit);
        } else {
            one_bare(&bare, &mut limit);
            one_of_ours(&lab.spool, &mut ours);
        }
    }
    let mut table = Table::new("Transitions", &["", "bare calls", "builder", "limit / ours"]);
    let rows = [
        ("enqueue", &limit.enqueue, &ours.enqueue),
        ("claim", &limit.claim, &ours.claim),
        ("finish", &limit.finish, &ours.finish),
    ];
    for (name, limit, ours) in rows {
        let (limit, ours) = (limit.median(), ours.median());
        table.row(&[name.into(), ms(limit), ms(ours), ratio(limit / ours)]);
    }
    table
}

fn one_bare(bare: &Bare, times: &mut Times) {
    let name = times.enqueue.time(|| bare.enqueue());
    let dir = times.claim.time(|| bare.claim(&name));
    times.finish.time(|| bare.finish(&name, dir));
}

fn one_of_ours(spool: &Spool, times: &mut Times) {
    let ticket = ticket(&platform());
    let build = NewBuild { ticket: ticket.clone(), request: request(), script: b"true\n".to_vec() };
    times.enqueue.time(|| spool.enqueue(&build).expect("enqueue"));
    let held = times.claim.time(|| spool.claim(&ticket, &worker()).expect("claim").won().expect("its turn"));
    let mut result = BuildResult::unrun(Outcome::Exited { code: 0 }, clock::now());
    result.worker = Some(worker());
    times.finish.time(|| held.finish(result, &Manifest::default()).expect("finish"));
}

fn platform() -> Platform {
    harness::PLATFORM.parse().expect("a platform")
}

fn worker() -> WorkerName {
    "bench".parse().expect("a worker")
}

/// A place in a queue for a new build.
pub fn ticket(platform: &Platform) -> Ticket {
    let job = "hello".parse().expect("a job");
    let id = BuildId::unique(clock::now(), &job, platform).expect("an id");
    Ticket { priority: Priority::NORMAL, id }
}

/// What is asked for.
pub fn request() -> Request {
    Request { attempts: 3, ..Request::new(Origin::Run, clock::now(), 3600) }
}

fn queues(site: &Site) -> Table {
    let lab = site.lab();
    let short: Platform = "short".parse().expect("a platform");
    let long: Platform = "long".parse().expect("a platform");
    let (mut few, mut many) = (Queue::new(&lab, &short), Queue::new(&lab, &long));
    many.fill(MANY + CLAIMS * site.rounds);
    for _ in 0..site.rounds {
        for _ in 0..CLAIMS / FEW {
            few.fill(FEW);
            few.claim(FEW);
        }
        many.claim(CLAIMS);
    }
    let mut table =
        Table::new("Claim of the oldest, by queue length", &["", "100 queued", "100,000 queued", "short / long"]);
    let (short, long) = (few.claims.median(), many.claims.median());
    table.row(&["claim".into(), micros(short), micros(long), ratio(short / long)]);
    let (short, long) = (few.reads.median(), many.reads.median());
    table.row(&["reading the queue, for up to 1,024 claims".into(), micros(short), micros(long), ratio(short / long)]);
    table
}

fn micros(ms: f64) -> String {
    format!("{:.0} µs", ms * 1e3)
}

/// A queue whose builds are only claimed: durable or not makes no difference to that.
struct Queue<'l> {
    lab: &'l Lab,
    platform: Platform,
    view: QueueView,
    claims: Samples,
    reads: Samples,
}

impl<'l> Queue<'l> {
    fn new(lab: &'l Lab, platform: &Platform) -> Queue<'l> {
        std::fs::create_dir(lab.spool.layout().queue(platform)).expect("a queue");
        let (claims, reads) = Default::default();
        Queue { lab, platform: platform.clone(), view: QueueView::default(), claims, reads }
    }

    fn fill(&self, count: usize) {
        for _ in 0..count {
            let dir = self.lab.spool.layout().queued(&ticket(&self.platform));
            std::fs::create_dir(&dir).expect("a build");
            std::fs::write(dir.join("build.toml"), "attempts = 3\n").expect("a request");
        }
    }

    /// Claims as the server of a worker does, again and again.
    fn claim(&mut self, count: usize) {
        let (spool, platforms, name) = (&self.lab.spool, [self.platform.clone()], worker());
        let mut claimed = 0;
        while claimed < count {
            let Some(ticket) = self.view.pop() else {
                self.reads.time(|| self.view.refresh(spool, &platforms)).expect("a view");
                continue;
            };
            let held = self.claims.time(|| spool.claim(&ticket, &name)).expect("claim");
            let Some(held) = held.won() else { continue };
            // A spool has as many active builds as workers, not as this has claimed.
            held.remove().expect("removed");
            claimed += 1;
        }
    }
}

//! What can happen.

use super::{JOBS, PLATFORMS, WORKERS};
use proptest::prelude::*;

/// One event. Numbers stand for jobs, platforms, workers; a build is named by its place among all known ones.
#[derive(Clone, Debug)]
pub enum Operation {
    Add {
        job: usize,
        hourly: bool,
        both: bool,
        after: Option<usize>,
        retry: bool,
    },
    Remove(usize),
    Run(usize),
    /// The clock moves by so many minutes, and what is due then is fired.
    Fire(i64),
    Claim(usize, usize),
    /// A worker ends its build, successfully or not, with so many artifacts.
    Finish(usize, bool, usize),
    Abandon(usize),
    /// The process that serves a worker is gone.
    Crash(usize),
    /// A worker comes back to the build that it was given last, or so many before that.
    Resume(usize, usize),
    /// What was fired of a job is forgotten.
    ForgetTimer(usize),
    /// A worker that was started anew connects.
    Forget(usize),
    /// builderd looks at leases, so many seconds from now.
    Mend(i64),
    Cancel(usize),
    Prioritise(usize, u8),
    Pause(usize),
    Drop(usize),
    /// All platforms are open again.
    Open,
    /// What ends of builds owe is done.
    Pay,
    Sweep,
    CollectGarbage,
}

/// Any of them; what makes builds move comes more often.
pub fn operations() -> impl Strategy<Value = Operation> {
    let (job, platform, worker) = (0..JOBS, 0..PLATFORMS, 0..WORKERS);
    let add = (job.clone(), any::<bool>(), any::<bool>(), proptest::option::of(job.clone()), any::<bool>());
    prop_oneof![
        3 => add.prop_map(|(job, hourly, both, after, retry)| {
            // Only in this direction: a circle is refused.
            let after = after.filter(|after| *after < job);
            Operation::Add { job, hourly, both, after, retry }
        }),
        1 => job.clone().prop_map(Operation::Remove),
        4 => job.clone().prop_map(Operation::Run),
        3 => prop_oneof![-180..600_i64, -5..5_i64].prop_map(Operation::Fire),
        8 => (worker.clone(), platform.clone()).prop_map(|(worker, platform)| Operation::Claim(worker, platform)),
        6 => (worker.clone(), any::<bool>(), 0..12_usize).prop_map(|(w, well, n)| Operation::Finish(w, well, n)),
        1 => worker.clone().prop_map(Operation::Abandon),
        4 => worker.clone().prop_map(Operation::Crash),
        4 => (worker.clone(), 0..3_usize).prop_map(|(worker, n)| Operation::Resume(worker, n)),
        1 => job.clone().prop_map(Operation::ForgetTimer),
        1 => worker.prop_map(Operation::Forget),
        3 => prop_oneof![Just(-3600), Just(50), Just(150), Just(86_400)].prop_map(Operation::Mend),
        3 => (0..20_usize).prop_map(Operation::Cancel),
        1 => (0..20_usize, 0..100_u8).prop_map(|(build, priority)| Operation::Prioritise(build, priority)),
        1 => platform.clone().prop_map(Operation::Pause),
        1 => platform.prop_map(Operation::Drop),
        1 => Just(Operation::Open),
        2 => Just(Operation::Pay),
        1 => Just(Operation::Sweep),
        1 => Just(Operation::CollectGarbage),
    ]
}

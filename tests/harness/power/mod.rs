//! Power cuts: a life of a spool is recorded call by call, and what a file system may have kept of it when the power
//! went at any moment is made anew and recovered from.
//!
//! `life` and `whole` stand alone: whoever records what reaches a disk by other means can live the one and ask the other.

mod life;
mod log;
mod replay;
mod state;
mod trace;
mod whole;

pub use life::{DIARY, life};
pub use log::Log;
pub use replay::{Broken, Outcome, Plan, replay, replay_without};
pub use state::Model;
use trace::Call;
pub use whole::{Promise, recover, whole};

use crate::{BUILT, binary};
use std::path::{Path, PathBuf};

/// The program of the harness that lives lives and recovers spools, to be recorded.
pub struct PowerCut {
    program: PathBuf,
}

impl PowerCut {
    /// It is this program.
    pub fn at(program: impl Into<PathBuf>) -> PowerCut {
        PowerCut { program: program.into() }
    }

    /// Records a life.
    pub fn life(&self) -> Log {
        let dir = replay::memory();
        let calls = self.recorded("--life", dir.path());
        let mut labs = std::fs::read_dir(dir.path()).expect("a lab").flatten().map(|entry| entry.path());
        let lab = labs.find(|path| path.is_dir()).expect("a lab");
        Log::of(calls, &lab.join("spool"))
    }

    /// Cuts the power while spools are recovered from power cuts.
    pub fn recoveries(&self, life: &Log, plan: &Plan) -> Outcome {
        replay::replay_recoveries(life, plan, |root| self.recorded("--recover", root))
    }

    fn recorded(&self, what: &str, where_to: &Path) -> Vec<(u32, Call)> {
        let file = replay::memory();
        let trace = file.path().join("trace");
        let mut strace = trace::strace(&trace);
        strace.arg(&self.program).arg(what).arg(where_to);
        strace.env(BUILT, binary("builder").parent().expect("a directory"));
        let done = crate::Finished::of(&mut strace);
        assert_eq!(done.code, 0, "{done:?}");
        trace::calls(&std::fs::read_to_string(&trace).expect("a trace"))
    }
}

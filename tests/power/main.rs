//! power-cut - cuts the power at every moment of a spool's life, and looks at what recovers from it.
//!
//! `power-cut` does what CI does; `power-cut --states N` as many states at each moment, and
//! `power-cut --exhaustive` all, which takes hours. It exits with 1 when something is broken.
//! `power-cut --life DIRECTORY` and `power-cut --recover SPOOL` are what it records; the first leaves a lab there.

use harness::Lab;
use harness::power::{Model, Outcome, Plan, PowerCut, life, recover, replay, replay_without};
use spool::Spool;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => all(&Plan::QUICK),
        ["--exhaustive"] => all(&Plan::EXHAUSTIVE),
        ["--states", number] if number.parse::<usize>().is_ok() => {
            all(&Plan { states: number.parse().unwrap_or(1), ..Plan::QUICK })
        }
        ["--life", directory] => {
            let lab = Lab::below(Path::new(directory));
            life(&lab);
            // Its files are what this is for.
            std::mem::forget(lab);
            ExitCode::SUCCESS
        }
        ["--recover", root] => {
            let wrong = Spool::open(Path::new(root)).map(|spool| recover(&spool));
            assert_eq!(wrong.expect("a spool"), Vec::<String>::new());
            ExitCode::SUCCESS
        }
        _ => {
            eprintln!("power-cut: say nothing, --states N, --exhaustive, --life DIRECTORY or --recover SPOOL");
            ExitCode::from(64)
        }
    }
}

fn all(plan: &Plan) -> ExitCode {
    let program = PowerCut::at(std::env::current_exe().expect("this program"));
    let log = program.life();
    println!("{} operations", log.ops.len());
    let mut broken = 0;
    let mut timed = |what: &str, tried: &dyn Fn() -> Outcome| {
        let begun = Instant::now();
        let outcome = tried();
        println!("{what}: {} states, {} broken, {:.0?}", outcome.states, outcome.broken.len(), begun.elapsed());
        outcome.broken.iter().take(3).for_each(|one| println!("{}\n{:#?}", one.cut, one.wrong));
        broken += outcome.broken.len();
    };
    timed("ordered", &|| replay(&log, Model::Ordered, plan));
    timed("weak", &|| replay(&log, Model::Weak, plan));
    timed("recoveries", &|| program.recoveries(&log, plan));
    for (number, sync) in log.syncs.iter().enumerate() {
        let outcome = replay_without(&log, number, plan);
        let first = outcome.broken.first().and_then(|one| one.wrong.first());
        let why = first.map_or("spare".to_owned(), |wrong| wrong.chars().take(120).collect());
        println!("without {sync}: {} states, {why}", outcome.states);
    }
    ExitCode::from(u8::from(broken > 0))
}

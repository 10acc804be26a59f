//! `builder check`: whether the spool is what `spool-layout.md` says, and putting it right.

use crate::args::CheckArgs;
use crate::{out, text};
use serde::Serialize;
use spool::check::{Counts, Cure, Finding, Invariant, Repaired};
use spool::error::{Error, Kind, Result};
use spool::{Spool, clock, owner};
use std::path::Path;

/// Says what is wrong, a line each; nothing being wrong is worth a line, too.
pub fn run(spool: &Spool, args: &CheckArgs) -> Result<()> {
    let repaired = match args.repair {
        false => Repaired { checked: spool.check(args.deep)?, ..Repaired::default() },
        true => {
            owner::become_owner(spool)?;
            spool.repair(args.deep, clock::now())?
        }
    };
    let root = spool.layout().root();
    match args.json {
        true => out::json(&listed(&repaired, root))?,
        false => out::print(&lines(&repaired, root))?,
    }
    let left = repaired.checked.findings.len();
    match left {
        0 => Ok(()),
        _ => Err(Error::new(Kind::Data, format!("{} found", text::count(left, "fault"))).hint(hint(args, &repaired))),
    }
}

fn hint(args: &CheckArgs, repaired: &Repaired) -> &'static str {
    let known = repaired.checked.findings.iter().any(|finding| finding.cure.is_known());
    match (args.repair, known) {
        (false, true) => "`builder check --repair` does what it can",
        (true, true) if !repaired.failed.is_empty() => "see above what could not be done, and why",
        (true, true) => "what is left was in use, or waits for what a human must do; say it again then",
        (_, false) => "a human must do the rest",
    }
}

fn lines(repaired: &Repaired, root: &Path) -> String {
    let mut lines = String::new();
    for one in &repaired.done {
        let what = format!("{}: {}", shown(one, root), text::tame(&one.wrong));
        lines += &format!("mended {}: {what} ({})\n", one.invariant, one.cure);
    }
    for (one, why) in &repaired.failed {
        lines += &format!("failed {}: {}: {}\n", one.invariant, shown(one, root), text::tame(why));
    }
    for one in &repaired.checked.findings {
        let would = if one.cure.is_known() { "--repair would " } else { "" };
        lines += &format!("{}: {}: {}; {would}{}\n", one.invariant, shown(one, root), text::tame(&one.wrong), one.cure);
    }
    if repaired.swept > 0 {
        lines += &format!("removed {} of crashes\n", text::count(repaired.swept, "leftover"));
    }
    if repaired.checked.findings.is_empty() {
        lines += &summary(repaired.checked.counts);
    }
    lines
}

fn summary(counts: Counts) -> String {
    let Counts { builds, jobs, workers, contents, .. } = counts;
    let there = [(builds, "build"), (jobs, "job"), (workers, "worker"), (contents, "content")];
    let there: Vec<String> = there.iter().map(|(count, what)| text::count(*count, what)).collect();
    format!("nothing is wrong with {}\n", there.join(", "))
}

/// A path as the layout has it, relative to the root.
fn shown(finding: &Finding, root: &Path) -> String {
    text::tame(&finding.path.strip_prefix(root).unwrap_or(&finding.path).to_string_lossy())
}

#[derive(Serialize)]
struct Listed {
    findings: Vec<Fault>,
    mended: Vec<Fault>,
    counts: Counts,
}

#[derive(Serialize)]
struct Fault {
    invariant: Invariant,
    path: String,
    wrong: String,
    /// Whether a repair does something about it.
    curable: bool,
    cure: String,
}

fn listed(repaired: &Repaired, root: &Path) -> Listed {
    let fault = |finding: &Finding| Fault {
        invariant: finding.invariant,
        path: finding.path.strip_prefix(root).unwrap_or(&finding.path).to_string_lossy().into_owned(),
        wrong: finding.wrong.clone(),
        curable: finding.cure.is_known(),
        cure: Cure::to_string(&finding.cure),
    };
    Listed {
        findings: repaired.checked.findings.iter().map(fault).collect(),
        mended: repaired.done.iter().map(fault).collect(),
        counts: repaired.checked.counts,
    }
}

//! `builder diff`: two builds side by side. Exit status 0 when they are the same, 1 when they differ, as diff(1) has it.

mod content;
mod diffoscope;

use crate::args::DiffArgs;
use crate::terminal::{Look, Style};
use crate::{out, text};
use spool::Spool;
use spool::compare::{Artifact, Change, Comparison, Content, List};
use spool::error::{Error, Kind, Result};
use spool::find::Build;
use spool::layout::file;
use spool::name::Platform;
use std::fmt::Write;
use std::process::ExitCode;

/// Compares two builds.
pub fn run(spool: &Spool, args: &DiffArgs) -> Result<ExitCode> {
    let platform = args.platform.as_deref().map(str::parse::<Platform>).transpose()?;
    let (left, right) = pair(spool, args, platform.as_ref())?;
    let comparison = Comparison::of(&left, &right)?;
    if args.json {
        out::json(&comparison)?;
    } else {
        let look = Look::of_stdout();
        out::print(&page(&comparison, &left, &right, look)?)?;
        if !args.brief {
            let both = comparison.input_files.iter().chain(&comparison.artifacts);
            contents(both, args.plain, look)?;
        }
    }
    Ok(if comparison.is_same() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// The builds that are meant; of one alone, it and the last before it that has another output.
fn pair<'s>(spool: &'s Spool, args: &DiffArgs, platform: Option<&Platform>) -> Result<(Build<'s>, Build<'s>)> {
    let left = resolve(spool, &args.left, platform)?;
    if let Some(right) = &args.right {
        return Ok((left, resolve(spool, right, platform)?));
    }
    spool.last_two_that_differ(&left)?.ok_or_else(|| {
        let (job, on) = (left.id.job(), left.id.platform());
        Error::new(Kind::NoInput, format!("{job} has no two builds on {on} that differ in their artifacts"))
            .hint(format!("name two builds to compare something else; `builder history {job}` lists them"))
    })
}

/// A job stands for its newest build that is over: one that runs has nothing to compare yet.
fn resolve<'s>(spool: &'s Spool, text: &str, platform: Option<&Platform>) -> Result<Build<'s>> {
    if let Ok(job) = text.parse()
        && let Some(build) = spool.ended_of(&job, platform, 1)?.into_iter().next()
    {
        return Ok(build);
    }
    spool.resolve_on(text, platform)
}

fn page(comparison: &Comparison, left: &Build<'_>, right: &Build<'_>, look: Look) -> Result<String> {
    let mut page = String::new();
    for (mark, build) in [("---", left), ("+++", right)] {
        let result = build.result()?;
        let worker = result.as_ref().and_then(|result| result.worker.as_ref());
        let worker = worker.map(|worker| format!(", worker {worker}")).unwrap_or_default();
        let outcome = result.map(|result| text::outcome(&result.outcome)).unwrap_or_default();
        let _ = writeln!(page, "{mark} {}  {outcome}{worker}", build.id);
    }
    if let Some(platform) = &comparison.platform {
        page += &changes("Platform", std::slice::from_ref(platform), look);
    }
    for input in &comparison.inputs {
        page += &changes(title(input.list), &input.changes, look);
    }
    if comparison.script_differs {
        page += &heading("Script", look);
        page += &content::unified(&left.dir().join(file::SCRIPT), &right.dir().join(file::SCRIPT), look)?;
    }
    page += &files("Other inputs", &comparison.input_files, look);
    if comparison.same_input() {
        page += "Same input\n";
    }
    Ok(page + &artifacts(comparison, look))
}

/// Where two builds with different outputs part first, in a line or, for texts, a few.
pub fn first_difference(left: &Build<'_>, right: &Build<'_>) -> Result<String> {
    let comparison = Comparison::of(left, right)?;
    let Some(Artifact { path, left: here, right: there }) = comparison.artifacts.first() else {
        return Ok(format!("{} has another output, and what it has is the same", right.id));
    };
    let (Some(here), Some(there)) = (here, there) else {
        let only = if here.is_some() { left } else { right };
        return Ok(format!("{path} is in {} only", only.id));
    };
    let parts = content::compare(&here.file, &there.file, Look::plain())?;
    Ok(format!("{path} of {} is another one\n{}", right.id, parts.trim_end()))
}

fn title(list: List) -> &'static str {
    match list {
        List::Environment => "Environment",
        List::Packages => "Packages of the worker's system",
        List::BuildEnvironment => "Build environment, as the script left it",
        List::SystemPackages => "System packages, as the script left them",
        List::OpamSwitch => "Opam packages",
    }
}

fn heading(title: &str, look: Look) -> String {
    format!("{}\n", look.paint(Style::Title, title))
}

/// `- name value`, `+ name value`, `~ name value -> value`.
fn changes(title: &str, changes: &[Change], look: Look) -> String {
    let mut text = heading(title, look);
    for Change { name, left, right } in changes {
        let (style, line) = match (left, right) {
            (Some(left), Some(right)) => (Style::Odd, format!("  ~ {name}  {left} -> {right}")),
            (Some(left), None) => (Style::Bad, format!("  - {name}  {left}")),
            (None, right) => (Style::Good, format!("  + {name}  {}", right.as_deref().unwrap_or_default())),
        };
        text += &look.paint(style, text::tame(&line).trim_end());
        text.push('\n');
    }
    text
}

fn artifacts(comparison: &Comparison, look: Look) -> String {
    if comparison.artifacts.is_empty() {
        return match comparison.same_artifacts {
            0 => "No artifacts\n".to_owned(),
            same => format!("Same output, {}\n", text::count(same, "artifact")),
        };
    }
    files("Artifacts", &comparison.artifacts, look) + &format!("  {} the same\n", comparison.same_artifacts)
}

/// Files that are not the same, with their digests and sizes.
fn files(title: &str, files: &[Artifact], look: Look) -> String {
    let row = |one: &Artifact| {
        let mark = match (&one.left, &one.right) {
            (Some(_), Some(_)) => "~",
            (Some(_), None) => "-",
            (None, _) => "+",
        };
        let sides: Vec<String> = [&one.left, &one.right].into_iter().flatten().map(side).collect();
        vec![format!("{mark} {}", one.path), sides.join(" -> ")]
    };
    match files {
        [] => String::new(),
        _ => heading(title, look) + &text::table(&files.iter().map(row).collect::<Vec<_>>()),
    }
}

/// Enough of the digest to tell contents apart; `builder show` has all of it.
fn side(content: &Content) -> String {
    let size = content.size.map_or("missing".to_owned(), text::size);
    format!("SHA256:{:.12} ({size})", content.sha256.to_string())
}

/// What differs within the files that both builds have.
fn contents<'a>(artifacts: impl Iterator<Item = &'a Artifact>, plain: bool, look: Look) -> Result<()> {
    let diffoscope = if plain { None } else { diffoscope::find() };
    for Artifact { path, left, right } in artifacts {
        let (Some(left), Some(right)) = (left, right) else { continue };
        let mut text = heading(&format!("Content of {path}"), look);
        text += &match &diffoscope {
            Some(program) => diffoscope::compare(program, &left.file, &right.file)?,
            None => content::compare(&left.file, &right.file, look)?,
        };
        if out::print_unless_closed(&text)? {
            break;
        }
    }
    Ok(())
}

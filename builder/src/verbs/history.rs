//! `builder history`: how the builds of a job went, or which of all have failed lately, the newest first.

use crate::args::HistoryArgs;
use crate::terminal::{Fit, Look, Row, Style, Table, cell};
use crate::{out, text};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use spool::build_id::BuildId;
use spool::digest::Sha256;
use spool::error::{Error, Kind, Result};
use spool::name::{JobName, Platform};
use spool::place::End;
use spool::record::BuildResult;
use spool::{Spool, clock};
use std::collections::HashMap;
use std::collections::hash_map::Entry;

/// Stands behind an output that is not the one of the build before.
const CHANGED: &str = "*";

/// So many digits of a digest tell outputs apart.
const DIGITS: usize = 8;

#[derive(Serialize)]
struct Listed {
    build: BuildId,
    /// Whether its output differs from that of the build before it on its platform.
    output_changed: bool,
    #[serde(flatten)]
    result: Option<BuildResult>,
}

/// Lists finished builds.
pub fn run(spool: &Spool, args: &HistoryArgs) -> Result<()> {
    let name = args.name.as_deref().map(str::parse::<JobName>).transpose()?;
    let platform = args.platform.as_deref().map(str::parse::<Platform>).transpose()?;
    let listed = match &name {
        Some(name) if !args.failed && args.days.is_none() => listed(spool, name, platform.as_ref(), args.most)?,
        _ => filtered(spool, name.as_ref(), platform.as_ref(), args)?,
    };
    if let Some(name) = &name
        && listed.is_empty()
        && spool.newest_of(name, None)?.is_none()
    {
        spool.job(name)?;
    }
    if args.json {
        return out::json(&listed);
    }
    if listed.is_empty() {
        return Err(none(name.as_ref(), platform.as_ref(), args));
    }
    let lines = table(&listed, name.is_none(), Look::of_stdout());
    out::print(&lines.iter().map(|line| format!("{line}\n")).collect::<String>())
}

fn none(name: Option<&JobName>, platform: Option<&Platform>, args: &HistoryArgs) -> Error {
    let of = name.map(|name| format!(" of {name}")).unwrap_or_default();
    let place = platform.map(|platform| format!(" on {platform}")).unwrap_or_default();
    let what = match (args.failed, args.days) {
        (false, None) => format!("no build{of} is over yet{place}"),
        (true, None) => format!("no build{of} has failed{place}"),
        (failed, Some(days)) => {
            let ended = if failed { "failed" } else { "ended" };
            format!("no build{of} has {ended}{place} in the last {}", text::count(days as usize, "day"))
        }
    };
    let error = Error::new(Kind::NoInput, what);
    match name {
        Some(name) if !args.failed && args.days.is_none() => error.hint(format!("`builder run {name}` queues one")),
        _ => error,
    }
}

/// Those that failed, or that ended lately.
fn filtered(
    spool: &Spool,
    name: Option<&JobName>,
    platform: Option<&Platform>,
    args: &HistoryArgs,
) -> Result<Vec<Listed>> {
    let builds: Vec<(BuildId, Option<BuildResult>)> = match args.days {
        None => {
            let failed = spool.failed_of(name, platform, args.most)?.into_iter();
            failed.map(|build| (build.id.clone(), build.result().ok().flatten())).collect()
        }
        Some(days) => {
            let since = clock::now().checked_sub(SignedDuration::from_hours(24 * i64::from(days)));
            let all = spool.ended_since(since.unwrap_or(Timestamp::MIN), args.failed.then_some(End::Failed))?;
            let wanted = |id: &BuildId| {
                name.is_none_or(|name| id.job() == name) && platform.is_none_or(|platform| id.platform() == platform)
            };
            let wanted = all.into_iter().filter(|(build, _)| wanted(&build.id));
            wanted.map(|(build, result)| (build.id, Some(result))).take(args.most).collect()
        }
    };
    let mut outputs: HashMap<(JobName, Platform), Vec<(BuildId, Sha256)>> = HashMap::new();
    let mut listed = Vec::new();
    for (build, result) in builds {
        let output = result.as_ref().and_then(|result| result.output);
        let mut output_changed = false;
        if output.is_some() {
            let (job, platform) = (build.job().clone(), build.platform().clone());
            let all = match outputs.entry((job, platform)) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => new.insert(spool.outputs_of(build.job(), build.platform())?),
            };
            let before = all.iter().find(|(id, _)| *id < build).map(|(_, output)| *output);
            output_changed = before.is_some() && before != output;
        }
        listed.push(Listed { output_changed, result, build });
    }
    Ok(listed)
}

/// So many of the newest; one more is read for each platform, to compare the oldest with.
fn listed(spool: &Spool, name: &JobName, platform: Option<&Platform>, most: usize) -> Result<Vec<Listed>> {
    let more = platform.map_or_else(|| spool.platforms().map(|all| all.len()), |_| Ok(1))?;
    let builds = spool.ended_of(name, platform, most.saturating_add(more))?;
    let read = builds.into_iter().map(|build| Listed {
        output_changed: false,
        result: build.result().ok().flatten(),
        build: build.id,
    });
    let mut listed: Vec<Listed> = read.collect();
    mark(&mut listed);
    listed.truncate(most);
    Ok(listed)
}

/// A build without an output, such as one that failed, is compared with nothing.
fn mark(listed: &mut [Listed]) {
    let mut before: HashMap<Platform, Sha256> = HashMap::new();
    for one in listed.iter_mut().rev() {
        if let Some(output) = one.result.as_ref().and_then(|result| result.output) {
            let old = before.insert(one.build.platform().clone(), output);
            one.output_changed = old.is_some_and(|old| old != output);
        }
    }
}

/// With the jobs, where they are several.
fn table(listed: &[Listed], jobs: bool, look: Look) -> Vec<String> {
    let columns = &[Fit::Fixed, Fit::Words, Fit::Name, Fit::Name, Fit::Words, Fit::Fixed, Fit::Fixed, Fit::Below];
    Table { columns, rows: listed.iter().map(|one| row(one, jobs)).collect() }.lines(look)
}

/// The end of an id is short, and enough for `builder show`.
fn row(one: &Listed, jobs: bool) -> Row {
    let job = if jobs { one.build.job().as_str() } else { "" };
    let mut row = vec![
        cell(one.build.tail()),
        cell(text::minute(one.build.time())),
        cell(job),
        cell(one.build.platform().as_str()),
    ];
    let Some(result) = &one.result else {
        row.push(cell("its record is damaged").styled(Style::Bad));
        return row.into();
    };
    let outcome = cell(text::outcome(&result.outcome));
    let output = result.output.map(|output| output.to_string()[..DIGITS].to_owned()).unwrap_or_default();
    row.extend([
        if result.outcome.succeeded() { outcome } else { outcome.styled(Style::Bad) },
        cell(text::duration(result.duration_ms)),
        match one.output_changed {
            true => cell(format!("{output}{CHANGED}")).styled(Style::Odd),
            false => cell(output),
        },
        cell(result.worker.as_ref().map_or("", |worker| worker.as_str())),
    ]);
    row.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use spool::record::Outcome;

    fn build(id: &str, output: Option<&str>) -> Listed {
        let outcome = Outcome::Exited { code: u8::from(output.is_none()) };
        let mut result = BuildResult::unrun(outcome, Timestamp::UNIX_EPOCH);
        result.duration_ms = 681_000;
        result.worker = Some("w".repeat(24).parse().unwrap());
        result.output = output.map(|bytes| Sha256::of(bytes.as_bytes()));
        Listed { build: id.parse().unwrap(), output_changed: false, result: Some(result) }
    }

    fn rows() -> Vec<Listed> {
        let mut listed = vec![
            build("20261126T094701.123Z-a@debian-12xyz-00000e", Some("one")),
            build("20261125T094701.123Z-a@debian-12xyz-00000d", Some("two")),
            build("20261124T094701.123Z-a@debian-12xyz-00000c", None),
            build("20261123T094701.123Z-a@freebsd-14-00000b", Some("other")),
            build("20261122T094701.123Z-a@debian-12xyz-00000a", Some("two")),
        ];
        mark(&mut listed);
        listed
    }

    #[test]
    fn an_output_that_differs_from_the_one_before_on_its_platform_is_marked() {
        let changed: Vec<bool> = rows().iter().map(|one| one.output_changed).collect();
        assert_eq!(changed, [true, false, false, false, false]);
    }

    #[test]
    fn all_lines_have_eighty_columns_at_the_most() {
        let lines = table(&rows(), false, Look { terminal: None, colour: false });
        assert!(lines.iter().all(|line| line.chars().count() <= 80), "{lines:#?}");
        assert_eq!(lines[0].split_whitespace().next(), Some("00000e"));
        assert!(lines.iter().any(|line| line.contains(&"w".repeat(24))), "no name is shortened in a pipe");
    }
}

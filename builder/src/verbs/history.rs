//! `builder history`: how the builds of a job went, the newest first.

use crate::args::HistoryArgs;
use crate::terminal::{Fit, Look, Row, Style, Table, cell};
use crate::{out, text};
use serde::Serialize;
use spool::Spool;
use spool::build_id::BuildId;
use spool::digest::Sha256;
use spool::error::{Error, Kind, Result};
use spool::name::{JobName, Platform};
use spool::record::BuildResult;
use std::collections::HashMap;

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

/// Lists the finished builds of a job.
pub fn run(spool: &Spool, args: &HistoryArgs) -> Result<()> {
    let name: JobName = args.name.parse()?;
    let platform = args.platform.as_deref().map(str::parse::<Platform>).transpose()?;
    let listed = listed(spool, &name, platform.as_ref(), args.most)?;
    if listed.is_empty() && spool.newest_of(&name, None)?.is_none() {
        spool.job(&name)?;
    }
    if args.json {
        return out::json(&listed);
    }
    if listed.is_empty() {
        let place = platform.map(|platform| format!(" on {platform}")).unwrap_or_default();
        return Err(Error::new(Kind::NoInput, format!("no build of {name} is over yet{place}"))
            .hint(format!("`builder run {name}` queues one")));
    }
    let lines = table(&listed, Look::of_stdout());
    out::print(&lines.iter().map(|line| format!("{line}\n")).collect::<String>())
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

fn table(listed: &[Listed], look: Look) -> Vec<String> {
    let columns = &[Fit::Fixed, Fit::Words, Fit::Name, Fit::Words, Fit::Fixed, Fit::Fixed, Fit::Below];
    Table { columns, rows: listed.iter().map(row).collect() }.lines(look)
}

/// The end of an id is short, and enough for `builder show`.
fn row(one: &Listed) -> Row {
    let mut row =
        vec![cell(one.build.tail()), cell(text::minute(one.build.time())), cell(one.build.platform().as_str())];
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
    use jiff::Timestamp;
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
        let lines = table(&rows(), Look { terminal: None, colour: false });
        assert!(lines.iter().all(|line| line.chars().count() <= 80), "{lines:#?}");
        assert_eq!(lines[0].split_whitespace().next(), Some("00000e"));
        assert!(lines.iter().any(|line| line.contains(&"w".repeat(24))), "no name is shortened in a pipe");
    }
}

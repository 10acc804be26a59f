//! A listing as people read it: sections, each with a title and lines.

use super::super::worker;
use super::listing::{ListedJob, ListedPlatform, Listing, Queued, Running};
use crate::terminal::{Cell, Fit, Look, Row, Style, Table, cell, shorten};
use crate::text;
use jiff::Timestamp;
use spool::platform::State;

/// A part of a listing.
#[derive(Debug, PartialEq, Eq)]
pub struct Section {
    title: String,
    lines: Vec<String>,
}

/// The sections in which something stands.
pub fn sections(listing: &Listing, look: Look, now: Timestamp) -> Vec<Section> {
    let platforms = listing.platforms.iter().filter(|one| one.state != State::Open).map(platform);
    let tables = [
        ("Platforms", &[Fit::Name, Fit::Fixed, Fit::Fixed][..], platforms.collect()),
        (
            "Jobs",
            &[Fit::Name, Fit::Words, Fit::Words, Fit::Fixed],
            listing.jobs.iter().map(|one| job(one, now)).collect(),
        ),
        (
            "Queued",
            &[Fit::Name, Fit::Name, Fit::Name, Fit::Fixed, Fit::Fixed, Fit::Words],
            listing.queued.iter().map(|one| queued(one, now)).collect(),
        ),
        (
            "Running",
            &[Fit::Name, Fit::Name, Fit::Name, Fit::Name, Fit::Fixed],
            listing.running.iter().map(|one| running(one, now)).collect(),
        ),
    ];
    let drain = "The spool drains: nothing is handed out until `builder drain --off`";
    let drain = Section { title: cut(drain, look, Style::Odd), lines: Vec::new() };
    let mut sections: Vec<Section> = listing.drains.then_some(drain).into_iter().collect();
    let mut add = |title: &str, lines: Vec<String>| {
        if !lines.is_empty() {
            sections.push(Section { title: cut(title, look, Style::Title), lines });
        }
    };
    tables.into_iter().for_each(|(title, columns, rows)| add(title, Table { columns, rows }.lines(look)));
    add("Workers", worker::table(&listing.workers, look, now));
    sections
}

/// The files that can't be read, where there is no standard error beside the listing.
pub fn broken(listing: &Listing, look: Look) -> Option<Section> {
    let lines = listing.broken.iter().map(|line| cut(&format!("  {line}"), look, Style::Bad)).collect();
    (!listing.broken.is_empty()).then(|| Section { title: cut("Broken", look, Style::Title), lines })
}

fn cut(text: &str, look: Look, style: Style) -> String {
    let text = look.terminal.map_or_else(|| text.to_owned(), |width| shorten::end(text, width));
    look.paint(style, &text)
}

fn platform(one: &ListedPlatform) -> Row {
    let waiting = if one.queued > 0 { format!("{} queued", one.queued) } else { String::new() };
    vec![cell(one.platform.as_str()), cell(one.state.word()).styled(Style::Odd), cell(waiting)].into()
}

fn job(one: &ListedJob, now: Timestamp) -> Row {
    let next = one.next.map_or_else(Cell::default, |next| {
        let said = cell(text::until(next, now));
        if next <= now { said.styled(Style::Odd) } else { said }
    });
    vec![cell(one.name.as_str()), cell(one.platforms.to_string()), cell(&one.schedule), next].into()
}

fn queued(one: &Queued, now: Timestamp) -> Row {
    let lost = match one.lost_attempts {
        0 => String::new(),
        lost => format!("lost {}", text::count(lost, "worker")),
    };
    vec![
        cell(&one.short_id),
        cell(one.job.as_str()),
        cell(one.platform.as_str()),
        cell(text::ordinal(one.position)),
        cell(text::between(one.since, now)),
        cell(lost).styled(Style::Odd),
    ]
    .into()
}

fn running(one: &Running, now: Timestamp) -> Row {
    Row {
        cells: vec![
            cell(&one.short_id),
            cell(one.job.as_str()),
            cell(one.platform.as_str()),
            cell(one.worker.as_ref().map_or("?", |worker| worker.as_str())),
            cell(one.since.map_or(String::new(), |since| text::between(since, now))),
        ],
        note: silence(one, now).map(|text| cell(text).styled(Style::Bad)),
    }
}

/// Who is connected is heard of in less than two thirds of the time that they have.
fn silence(one: &Running, now: Timestamp) -> Option<String> {
    let (Some(heard), Some(lapses)) = (one.last_heard, one.lapses) else { return Some("not connected".to_owned()) };
    let (silent, has) = (now.duration_since(heard).as_secs(), lapses.duration_since(heard).as_secs());
    if one.connected && 3 * silent <= 2 * has {
        return None;
    }
    Some(match lapses.duration_since(now).as_secs() {
        left @ 1.. => format!("silent for {}, {} left", text::rough(silent.max(0)), text::rough(left)),
        _ => format!("silent for {}, to be queued again", text::rough(silent.max(0))),
    })
}

/// The sections as one text.
pub fn text(sections: &[Section]) -> String {
    let all = sections.iter().flat_map(|section| std::iter::once(&section.title).chain(&section.lines));
    all.map(|line| format!("{line}\n")).collect()
}

/// The lines that fit so many rows: what is short stays whole, and what is long is cut where the rest can spare it.
pub fn fitted(sections: &[Section], rows: usize) -> Vec<String> {
    let lengths: Vec<usize> = sections.iter().map(|section| section.lines.len()).collect();
    let shares = shares(&lengths, rows.saturating_sub(sections.len()));
    let mut lines = Vec::new();
    for (section, share) in sections.iter().zip(shares) {
        lines.push(section.title.clone());
        match section.lines.len() > share {
            true => {
                let shown = share.saturating_sub(1);
                lines.extend(section.lines[..shown].iter().cloned());
                lines.extend((share > 0).then(|| format!("  … and {} more", section.lines.len() - shown)));
            }
            false => lines.extend(section.lines.iter().cloned()),
        }
    }
    lines.truncate(rows);
    lines
}

/// Shares out so many rows: nobody gets more than they need, and nobody gets more while another who needs it has less.
fn shares(needs: &[usize], rows: usize) -> Vec<usize> {
    let mut shares = vec![0; needs.len()];
    let mut left = rows;
    let mut order: Vec<usize> = (0..needs.len()).collect();
    order.sort_by_key(|n| needs[*n]);
    for (done, n) in order.iter().enumerate() {
        shares[*n] = needs[*n].min(left / (needs.len() - done));
        left -= shares[*n];
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_sections_give_way_to_short_ones() {
        assert_eq!(shares(&[100, 2, 30], 20), [9, 2, 9]);
        assert_eq!(shares(&[1, 2, 3], 20), [1, 2, 3]);
        assert_eq!(shares(&[5, 5], 1), [0, 1]);
        assert_eq!(shares(&[], 1), [0; 0]);
    }

    #[test]
    fn what_is_cut_is_counted() {
        let section =
            |title: &str, n: usize| Section { title: title.into(), lines: (0..n).map(|n| format!("  {n}")).collect() };
        let lines = fitted(&[section("A", 10), section("B", 1)], 6);
        assert_eq!(lines, ["A", "  0", "  1", "  … and 8 more", "B", "  0"]);
        assert_eq!(fitted(&[section("A", 2)], 3), ["A", "  0", "  1"]);
    }

    #[test]
    fn who_is_silent_is_shown_with_the_time_that_is_left() {
        let at = |seconds: i64| Timestamp::from_second(1000 + seconds).unwrap();
        let one = |connected| Running {
            build: "20261124T094701.123Z-a@p-k3f9x2".parse().unwrap(),
            short_id: String::new(),
            job: "a".parse().unwrap(),
            platform: "p".parse().unwrap(),
            worker: None,
            since: None,
            connected,
            last_heard: Some(at(0)),
            lapses: Some(at(60)),
        };
        let said = |connected, seconds| silence(&one(connected), at(seconds)).unwrap_or_default();
        assert_eq!((said(true, 40), said(false, 5)), (String::new(), "silent for 5 s, 55 s left".into()));
        assert_eq!(said(true, 41), "silent for 41 s, 19 s left");
        assert_eq!(
            (said(true, 60), said(false, -3)),
            ("silent for 1 min, to be queued again".into(), "silent for 0 s, 1 min left".into())
        );
    }
}

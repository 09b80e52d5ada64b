//! Whom it hit most often, where, why, and how often.

use jiff::{Timestamp, tz::TimeZone};

use super::{
    chart::{self, Spans},
    table::end,
};
use crate::{
    output::history::{By, HistoryError, Query, Reader, Top},
    text::printable,
};

/// Names that are told of each kind.
const TOLD: usize = 5;
/// Where the text of a row begins.
const COLUMN: usize = 14;
/// Columns of the chart.
const CHART: usize = 60;
/// Lines are as wide where nothing says how wide they may be.
const WIDTH: usize = 100;

/// See the module; none if there is nothing.
pub fn lines(
    reader: &Reader,
    query: &Query,
    zone: &TimeZone,
    width: Option<usize>,
) -> Result<Vec<String>, HistoryError> {
    let totals = reader.totals(query)?;
    let Some((first_ns, last_ns)) = totals.span_ns else { return Ok(Vec::new()) };
    let width = width.unwrap_or(WIDTH);
    let say = |ns: i64| {
        let time = Timestamp::from_nanosecond(ns.into()).unwrap_or_default();
        time.to_zoned(zone.clone()).strftime("%F %T %:z").to_string()
    };
    let mut lines = vec![format!("{} to {}", say(first_ns), say(last_ns))];
    let kinds: Vec<_> = totals.kinds.iter().map(|(kind, count)| counted(kind, *count)).collect();
    let victims = format!("{} killed", plural(totals.victims, "process", "processes"));
    let all = [kinds, vec![victims]].concat().join(", ");
    lines.extend(wrapped("in all", &all, width));
    for (label, by) in [
        ("victims", By::Victim),
        ("cgroups", By::Cgroup),
        ("containers", By::Container),
        ("causes", By::Cause),
    ] {
        let more = u32::try_from(TOLD).unwrap_or(u32::MAX).saturating_add(1);
        lines.extend(most(label, &reader.most(query, by, more)?, width));
    }
    let spans = Spans::of(first_ns, last_ns, width.saturating_sub(2 * COLUMN).clamp(10, CHART), zone);
    let counts = reader.rate(query, spans.begin_ns, spans.step_ns, spans.count)?;
    lines.push(String::new());
    lines.extend(chart::lines(&spans, &counts, zone).into_iter().map(|line| format!("  {line}")));
    Ok(lines)
}

/// A label and a text behind it.
fn wrapped(label: &str, text: &str, width: usize) -> Vec<String> {
    let indent = " ".repeat(COLUMN);
    let label = headed(label);
    let options = textwrap::Options::new(width.max(COLUMN + 20))
        .initial_indent(&label)
        .subsequent_indent(&indent)
        .word_splitter(textwrap::WordSplitter::NoHyphenation);
    textwrap::wrap(text, options).iter().map(ToString::to_string).collect()
}

/// The most frequent names, each behind its count.
fn most(label: &str, top: &Top, width: usize) -> Vec<String> {
    let digits = top.iter().map(|(_, count)| count.to_string().len()).max().unwrap_or(0);
    let room = width.saturating_sub(COLUMN + digits + 2).max(20);
    let mut lines = Vec::new();
    for (at, (name, count)) in top.iter().take(TOLD).enumerate() {
        let label = headed(if at == 0 { label } else { "" });
        lines.push(format!("{label}{count:>digits$}  {}", end(&printable(name), room)));
    }
    if top.len() > TOLD {
        lines.push(format!("{:COLUMN$}{:digits$}  …", "", ""));
    }
    lines
}

fn headed(label: &str) -> String {
    format!("{:COLUMN$}", format!("  {label}"))
}

fn counted(kind: &str, count: u64) -> String {
    match kind {
        "oom" => plural(count, "run of the OOM killer", "runs of the OOM killer"),
        "userspace_kill" => plural(count, "kill by a daemon", "kills by daemons"),
        "fork_failure" => plural(count, "line on failed forks", "lines on failed forks"),
        "alloc_failure" => plural(count, "line on failed allocations", "lines on failed allocations"),
        "relief" => plural(count, "relief", "reliefs"),
        "loss" => plural(count, "loss", "losses"),
        _ => plural(count, "other line", "other lines"),
    }
}

fn plural(count: u64, one: &str, more: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {more}") }
}

//! The summary of a report, when the command has ended.

use std::collections::BTreeMap;

use textwrap::core::display_width;

use super::{
    chart::chart,
    rows::{allocations, bogo_ops, forks, latency, paging, victims, waits},
    text::{BOLD, COLUMN, DIM, GREEN, RED, Text, YELLOW},
};
use crate::{
    profile::{
        digest::{self, Mood, Toll, number, plural, sentence},
        report::{FindingCount, Latency, PressureKind, Report, Run, Whose},
    },
    text::printable,
    words::{size, span},
};

/// Runs that have a row of their own.
const SHOWN_RUNS: usize = 10;
/// Findings that are shown.
const SHOWN_FINDINGS: usize = 3;
/// What can be done about each, as far as it is shown.
const SHOWN_FIXES: usize = 2;
/// Reasons why something was not seen, and what it was of each.
const SHOWN_UNSEEN: usize = 3;
/// The command is shown to so many columns.
const COMMAND: usize = 200;
/// Columns of the chart.
const CHART: std::ops::RangeInclusive<usize> = 16..=60;
/// Columns beside it, for its scale.
const BESIDE_CHART: usize = 26;

const RECLAIM: &[PressureKind] = &[PressureKind::DirectReclaim, PressureKind::MemcgReclaim];

/// All of it, in lines of `width` columns; bystanders come first.
#[must_use]
pub fn summary(report: &Report, width: usize, colour: bool) -> String {
    let mut text = Text::new(width, colour);
    head(&mut text, report);
    let runs = &report.runs[..];
    if runs.is_empty() {
        return text.told();
    }
    if let [run] = runs {
        memory(&mut text, run);
    } else {
        several(&mut text, report);
    }
    for (label, style, whose) in
        [("bystander", RED, Whose::Bystander), ("own", DIM, Whose::Own), ("whose?", YELLOW, Whose::Unknown)]
    {
        if let Some(victims) = victims(runs, whose) {
            text.row_in(style, label, &victims);
        }
    }
    hurt(&mut text, report);
    used(&mut text, report, runs);
    for finding in findings(runs).iter().take(SHOWN_FINDINGS) {
        advise(&mut text, finding);
    }
    unseen(&mut text, report);
    let costs: Vec<_> = runs.iter().map(digest::cost).collect();
    if let [cost] = &costs[..] {
        text.row("cost", cost);
    } else {
        let lost = runs
            .iter()
            .flat_map(|run| run.cost.lost.values())
            .fold(0_u64, |sum, one| sum.saturating_add(*one));
        let cpu = runs.iter().fold(0_u64, |sum, run| sum.saturating_add(run.cost.cpu_ns));
        let lost = if lost == 0 {
            "nothing lost".to_owned()
        } else {
            format!("{} lost", plural(lost, "record", "records"))
        };
        text.row("cost", &format!("{} of CPU time in all runs · {lost}", span(cpu)));
    }
    text.told()
}

fn head(text: &mut Text, report: &Report) {
    let line = digest::command_line(report);
    let command = shortened(&printable(&line), COMMAND);
    let what = text.paint(BOLD, "RUN");
    let name = report.name.as_deref().map_or_else(String::new, |name| format!("{}: ", printable(name)));
    let outcome = match &report.runs[..] {
        [] => "it was not run".to_owned(),
        [run] => digest::outcome(run),
        runs => {
            let all = runs.iter().fold(0_u64, |sum, run| sum.saturating_add(run.duration_ns));
            format!("{} runs, {} in all", runs.len(), span(all))
        }
    };
    text.line(&format!("{what}  {name}{command}   {outcome}"), COLUMN);
    let toll = Toll::of_all(report);
    if toll.runs == 0 {
        return;
    }
    let style = match toll.mood() {
        Mood::Bad => RED,
        Mood::Warned => YELLOW,
        Mood::Good => GREEN,
    };
    let verdict = format!("{}.", sentence(&toll.verdict(&digest::command_name(report))));
    // Painted word by word: a line's end would cut a painted sentence, and the terminal's edge its end.
    let painted: Vec<_> = verdict.split(' ').map(|word| text.paint(style, word)).collect();
    text.line(&format!("  {}", painted.join(" ")), 2);
}

fn shortened(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most - 1).chain(['…']).collect()
}

/// The chart, and the marks below it.
fn memory(text: &mut Text, run: &Run) {
    let columns = text.width.saturating_sub(COLUMN + BESIDE_CHART).clamp(*CHART.start(), *CHART.end());
    let Some(chart) = chart(&run.course, run.duration_ns, columns) else { return };
    for (nth, row) in chart.rows.iter().enumerate() {
        let (label, beside) = match nth {
            0 => ("memory", format!("┐ {}", size(chart.most_bytes))),
            _ => ("", format!("┘ 0, over {}", span(chart.span_ns))),
        };
        // A chart is not text: it may begin with spaces, and no word of it is moved.
        let label = text.paint(DIM, &format!("{label:<9}"));
        text.line(&format!("  {label} {}{beside}", row.replace(' ', "\u{a0}")), COLUMN);
    }
    if let Some(marks) = &chart.marks {
        let legend: Vec<_> = chart.legend.iter().map(|(letter, words)| format!("{letter} {words}")).collect();
        let legend = legend.join(" · ");
        if COLUMN + display_width(marks) + 2 + display_width(&legend) <= text.width {
            text.row("when", &format!("{marks}  {legend}"));
        } else {
            text.row("when", marks);
            text.row("", &legend);
        }
    }
}

/// A row for each run.
fn several(text: &mut Text, report: &Report) {
    let runs = &report.runs[..];
    for (nth, run) in runs.iter().enumerate().take(SHOWN_RUNS) {
        let toll = Toll::of(report, run);
        let reclaim = digest::reclaim(run);
        let mut parts = vec![
            span(run.duration_ns),
            format!("{} killed", plural(toll.bystanders, "bystander", "bystanders")),
            format!("{} own", number(toll.own)),
        ];
        if toll.forks > 0 {
            parts.push(format!("{} failed", plural(toll.forks, "fork", "forks")));
        }
        parts.extend(reclaim.p99_ns.map(|ns| format!("reclaim p99 {}", crate::words::duration(ns))));
        parts.extend(digest::peak(run).map(|peak| format!("peak {}", size(peak.bytes))));
        if run.end.exit_status != Some(0) {
            parts.push(digest::ending(&run.end));
        }
        let style = if toll.mood() == Mood::Bad { RED } else { DIM };
        text.row_in(style, &format!("run {}", nth + 1), &parts.join(" · "));
    }
    if runs.len() > SHOWN_RUNS {
        text.row("", &format!("{} more runs", runs.len() - SHOWN_RUNS));
    }
}

/// What failed, and who waited how long.
fn hurt(text: &mut Text, report: &Report) {
    let runs = &report.runs[..];
    if let Some(forks) = forks(runs) {
        text.row_in(YELLOW, "forks", &forks);
    }
    if let Some(allocations) = allocations(runs) {
        text.row_in(YELLOW, "alloc", &allocations);
    }
    let reclaim = latency(&waits(runs, RECLAIM, None), "wait", "waits");
    // Where nothing is seen of it, the reason is in a row of its own.
    if reclaim.is_some() || digest::unseen(report, "pressure").is_none() {
        text.row("reclaim", &reclaim.unwrap_or_else(|| "nobody waited".to_owned()));
    }
    let others = waits(runs, RECLAIM, Some(Whose::Bystander));
    if let Some(others) = latency(&others, "wait", "waits") {
        text.row("", &format!("of bystanders {others}"));
    }
    if let Some(compaction) = latency(&waits(runs, &[PressureKind::Compaction], None), "wait", "waits") {
        text.row("compact", &compaction);
    }
    let merged = |of: fn(&Run) -> &Latency| Latency::merged(runs.iter().map(of));
    if let Some(stall) = latency(&merged(|run| &run.stall), "trigger waited", "triggers waited") {
        text.row("stall", &stall);
    }
    if let Some(relief) = latency(&merged(|run| &run.relief), "victim", "victims") {
        text.row("relief", &relief);
    }
}

/// How much memory there was in use, and what was done with it.
fn used(text: &mut Text, report: &Report, runs: &[Run]) {
    if let Some(peak) = runs.iter().filter_map(digest::peak).max_by_key(|peak| peak.bytes) {
        let limit = peak.limit_bytes.map_or_else(String::new, |limit| format!(" of {}", size(limit)));
        let mut parts = vec![format!("{}{limit} ({})", size(peak.bytes), printable(&peak.from))];
        if let [run] = runs {
            parts.extend(run.stressors.iter().take(2).map(|stressor| {
                let processes = plural(stressor.most_processes, "process", "processes");
                format!("{} {} in {processes}", printable(&stressor.comm), size(stressor.peak_rss_bytes))
            }));
        }
        text.row("peak", &parts.join(" · "));
    }
    if let Some(paging) = paging(runs, report.machine.page_bytes) {
        text.row("paging", &paging);
    }
    if let Some(bogo_ops) = bogo_ops(runs) {
        text.row("bogo-ops", &bogo_ops);
    }
}

/// Findings of all runs, each once, the worst first.
fn findings(runs: &[Run]) -> Vec<FindingCount> {
    let mut all: Vec<FindingCount> = Vec::new();
    for finding in runs.iter().flat_map(|run| &run.findings) {
        match all.iter_mut().find(|known| known.id == finding.id) {
            Some(known) => known.count = known.count.saturating_add(finding.count),
            None => all.push(finding.clone()),
        }
    }
    all.sort_by_key(|finding| match finding.severity.as_str() {
        "critical" => 0,
        "warning" => 1,
        _ => 2,
    });
    all
}

fn advise(text: &mut Text, finding: &FindingCount) {
    let style = match finding.severity.as_str() {
        "critical" => RED,
        "warning" => YELLOW,
        _ => DIM,
    };
    let times = if finding.count > 1 { format!(" (×{})", number(finding.count)) } else { String::new() };
    let see = format!("see oomtrace explain {}", printable(&finding.id));
    text.row_in(style, "finding", &format!("{}{times} ({see})", printable(&finding.summary)));
    for fix in finding.fixes.iter().take(SHOWN_FIXES) {
        text.row_in(BOLD, "do", &printable(fix));
    }
}

/// What could not be seen.
fn unseen(text: &mut Text, report: &Report) {
    let mut reasons = BTreeMap::<&str, Vec<&str>>::new();
    for (what, why) in &report.tracing.missing {
        reasons.entry(why).or_default().push(what);
    }
    for (why, what) in reasons.iter().take(SHOWN_UNSEEN) {
        let more = what.len().saturating_sub(SHOWN_UNSEEN);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let what: Vec<_> = what.iter().take(SHOWN_UNSEEN).map(|what| printable(what)).collect();
        text.row("unseen", &format!("{}{more}: {}", what.join(", "), printable(why)));
    }
    if reasons.len() > SHOWN_UNSEEN {
        text.row("", &format!("for {} more reasons: see the report", reasons.len() - SHOWN_UNSEEN));
    }
}

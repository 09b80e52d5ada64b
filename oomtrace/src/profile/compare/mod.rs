//! `oomtrace diff`: what got better and what got worse from one report to others.

mod comparison;
mod conditions;
mod files;
mod statistics;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

pub use self::{
    comparison::{Change, Comparison, ComparisonSchema, Condition, Interval, Row, Side, Values, Verdict},
    files::{MOST_BYTES, read},
};
use super::{
    measure::{self, Better, Measure, Reading},
    report::Report,
};

/// Reports that are compared at once, at most.
pub const MOST: usize = 16;

/// Why there is nothing to compare.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompareError {
    /// Of one report, or none.
    #[error("there is one report and nothing to compare it with: give at least two, the baseline first")]
    TooFew,
    /// More than can be looked at.
    #[error("{0} reports are more than can be looked at beside each other: give {MOST} at most")]
    TooMany(usize),
    /// A report of a command that never ran.
    #[error("{0} has no run: the command was not started, or oomtrace was interrupted while it warmed up")]
    NoRun(String),
}

/// Compares each of the reports with the first one.
///
/// # Errors
/// There is nothing to compare.
pub fn compare(reports: &[(String, Report)]) -> Result<Comparison, CompareError> {
    match reports.len() {
        0 | 1 => return Err(CompareError::TooFew),
        count if count > MOST => return Err(CompareError::TooMany(count)),
        _ => {}
    }
    if let Some((label, _)) = reports.iter().find(|(_, report)| report.runs.is_empty()) {
        return Err(CompareError::NoRun(label.clone()));
    }
    let sides = sides(reports);
    let labels: Vec<&str> = sides.iter().map(|side| side.label.as_str()).collect();
    let reports: Vec<&Report> = reports.iter().map(|(_, report)| report).collect();
    let mut rows = rows(&reports, &labels);
    for side in 0..reports.len().saturating_sub(1) {
        judge(&mut rows, side);
    }
    Ok(Comparison {
        schema: ComparisonSchema::V1,
        oomtrace: env!("CARGO_PKG_VERSION").to_owned(),
        conditions: conditions::differing(&reports),
        sides,
        rows,
    })
}

fn sides(reports: &[(String, Report)]) -> Vec<Side> {
    let mut taken = BTreeSet::new();
    let side = |(label, report): &(String, Report)| {
        let others = (2..).map(|number| format!("{label} ({number})"));
        let mut labels = [label.clone()].into_iter().chain(others);
        let label = labels.find(|label| taken.insert(label.clone())).unwrap_or_default();
        Side {
            label,
            command: report.command.clone(),
            host: report.machine.host.clone(),
            kernel: report.machine.kernel.clone(),
            started: report.runs.first().map(|run| run.started.clone()).unwrap_or_default(),
            runs: u64::try_from(report.runs.len()).unwrap_or(u64::MAX),
        }
    };
    reports.iter().map(side).collect()
}

/// All measures that any side has, with their changes but for the verdicts on those that noise may explain.
fn rows(reports: &[&Report], labels: &[&str]) -> Vec<Row> {
    let row = |measure: Measure| {
        let values: Vec<_> = reports.iter().map(|report| values(&measure, report)).collect();
        let (baseline, others) = values.split_first()?;
        values.iter().any(|values| values.mean.is_some()).then_some(())?;
        let labels = labels.iter().skip(1);
        let change = |(other, label): (&Values, &&str)| change(&measure, baseline, other, label);
        Some(Row {
            changes: others.iter().zip(labels).map(change).collect(),
            measure: measure.name.to_string(),
            what: measure.what.to_string(),
            unit: measure.unit,
            better: measure.better,
            values,
        })
    };
    measure::of_reports(reports).into_iter().filter_map(row).collect()
}

fn values(measure: &Measure, report: &Report) -> Values {
    let readings: Vec<_> = report.runs.iter().map(|run| measure.read(report, run)).collect();
    let runs: Vec<_> = readings.iter().map(Reading::value).collect();
    let there: Vec<f64> = runs.iter().copied().flatten().collect();
    let absent = readings.into_iter().find_map(|reading| match reading {
        Reading::Value(_) => None,
        Reading::OfNothing => Some("there was none to measure".to_owned()),
        Reading::Unseen(reason) => Some(reason),
    });
    Values { runs, mean: statistics::mean(&there), median: statistics::median(&there), absent }
}

/// From one side to the other. Its verdict is that by itself: see [`judge()`].
fn change(measure: &Measure, baseline: &Values, other: &Values, label: &str) -> Change {
    let (Some(before), Some(after)) = (baseline.mean, other.mean) else {
        let (side, lacking) = if other.mean.is_none() { (label, other) } else { ("the baseline", baseline) };
        let reason = lacking.absent.as_deref().unwrap_or("it has none");
        return Change { why: Some(format!("{side} has no value: {reason}")), ..Change::default() };
    };
    let difference = after - before;
    let percent = (before != 0.0).then(|| 100.0 * difference / before.abs());
    let change = Change { difference: Some(difference), percent, ..Change::default() };
    let (baseline, other) = (baseline.there(), other.there());
    let Some(noise) = statistics::compare(&baseline, &other, measure.exactness) else {
        let fewest = statistics::FEWEST;
        let (one, two) = (baseline.len(), other.len());
        let why = format!(
            "too few runs to tell it from noise: {one} and {two}, of at least {fewest} each (--repeat {fewest})"
        );
        return Change { why: Some(why), ..change };
    };
    let first = baseline.first().copied();
    let alike = baseline.iter().chain(&other).all(|value| Some(*value) == first);
    let p = (!alike).then_some(noise.p);
    Change { interval: Some(noise.interval), p, verdict: Verdict::Same, ..change }
}

/// Gives the verdicts on what differs beyond noise on a side, all measures of it being looked at.
fn judge(rows: &mut [Row], side: usize) {
    let ps: Vec<f64> = rows.iter().filter_map(|row| row.changes.get(side)?.p).collect();
    let judged = ps.len();
    let threshold = statistics::threshold(ps);
    for row in rows {
        let better = row.better;
        let Some(change) = row.changes.get_mut(side) else { continue };
        let (Some(p), Some(difference)) = (change.p, change.difference) else { continue };
        if threshold.is_some_and(|threshold| p <= threshold) {
            change.verdict = match (better, difference > 0.0) {
                (Better::Neither, _) => Verdict::Differs,
                (Better::Lower, true) | (Better::Higher, false) => Verdict::Worse,
                (Better::Lower, false) | (Better::Higher, true) => Verdict::Better,
            };
        } else if p < statistics::LEVEL {
            change.verdict = Verdict::Unsure;
            change.why = Some(format!(
                "noise alone differs as much in {:.1} of 100 cases, and {judged} measures are compared: more runs would tell",
                100.0 * p
            ));
        }
    }
}

impl Values {
    fn there(&self) -> Vec<f64> {
        self.runs.iter().copied().flatten().collect()
    }
}

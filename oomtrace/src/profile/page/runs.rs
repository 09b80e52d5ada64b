//! Several runs beside each other: what each came to, and how far they are apart.

use super::{
    html::{Element, classed, element},
    table::{Cell, Head, figures, table_with_foot, texts},
};
use crate::profile::{
    digest::{Toll, figure},
    measure::{self, Measure},
    report::{Report, Run},
};

/// What is shown of each run, with words for the head of the table.
const MEASURES: [(&str, &str); 12] = [
    ("bystander_kills", "bystanders killed"),
    ("own_kills", "own killed"),
    ("userspace_kills", "killed by daemons"),
    ("fork_failures", "failed forks"),
    ("alloc_failures", "failed allocations"),
    ("reclaim_p99_ms", "reclaim p99"),
    ("reclaim_max_ms", "longest"),
    ("reclaim_total_ms", "waited in all"),
    ("relief_p50_ms", "relief p50"),
    ("peak_bytes", "peak memory"),
    ("major_faults", "major faults"),
    ("duration_ms", "took"),
];
/// Rates of stress-ng's stressors, at the most: there is no room for a column of each of many.
const MOST_RATES: usize = 4;
/// Runs that are shown in the table.
const MOST: usize = 200;

/// A column: a measure, and its value in each run.
struct Column {
    head: Head,
    measure: Measure,
    values: Vec<Option<f64>>,
}

impl Column {
    fn cell(&self, value: Option<f64>) -> Cell {
        value.map_or_else(Cell::absent, |value| Cell::measure(value, figure(value, self.measure.unit)))
    }

    /// Lowest, median and highest.
    fn spread(&self) -> [Option<f64>; 3] {
        let mut there: Vec<f64> = self.values.iter().copied().flatten().collect();
        there.sort_by(f64::total_cmp);
        let upper = there.get(there.len() / 2);
        let lower = there.get(there.len().saturating_sub(1) / 2);
        let median = lower.zip(upper).map(|(lower, upper)| lower / 2.0 + upper / 2.0);
        [there.first().copied(), median, there.last().copied()]
    }

    /// Whether it tells anything: 0 in every run does not.
    fn tells(&self) -> bool {
        self.values.iter().any(|value| value.is_some_and(|value| value != 0.0))
    }
}

/// The table of runs; `None`: there are not several.
pub(super) fn runs(report: &Report) -> Option<Element> {
    if report.runs.len() < 2 {
        return None;
    }
    let columns: Vec<_> = columns(report).into_iter().filter(Column::tells).collect();
    let heads: Vec<_> =
        [texts("run")].into_iter().chain(columns.iter().map(|column| column.head.clone())).collect();
    let rows = report.runs.iter().enumerate().map(|(nth, run)| {
        let values = columns.iter().map(|column| column.cell(column.values.get(nth).copied().flatten()));
        [link(report, nth, run)].into_iter().chain(values).collect()
    });
    let spreads: Vec<_> = columns.iter().map(|column| (column, column.spread())).collect();
    let foot = ["lowest", "median", "highest"].into_iter().enumerate().map(|(which, name)| {
        let values = spreads.iter().map(|(column, spread)| column.cell(spread.get(which).copied().flatten()));
        [Cell::text(name)].into_iter().chain(values).collect()
    });
    let table = table_with_foot(&heads, rows.collect(), foot.collect(), MOST)?;
    Some(classed("div", "runs").child(table))
}

/// To the run's own part of the page.
fn link(report: &Report, nth: usize, run: &Run) -> Cell {
    let shape = if Toll::of(report, run).bystanders > 0 { " ◆" } else { "" };
    let link = element("a").with("href", format!("#run-{}", nth + 1)).text(format!("run {}", nth + 1));
    Cell::of(element("span").child(link).child(classed("span", "bystander").text(shape)))
}

fn columns(report: &Report) -> Vec<Column> {
    let column = |measure: Measure, head| {
        let values = report.runs.iter().map(|run| measure.read(report, run).value()).collect();
        Column { head, measure, values }
    };
    let known =
        MEASURES.iter().filter_map(|(name, words)| Some(column(Measure::named(name).ok()?, figures(*words))));
    let rates = measure::of_reports(&[report]).into_iter().filter_map(|measure| {
        let stressor = measure.name.strip_prefix(measure::BOGO_OPS)?;
        let head = figures(format!("{stressor} bogo-ops"));
        Some(column(measure, head))
    });
    known.chain(rates.take(MOST_RATES)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the spread: of what is there, and of nothing none.
    #[test]
    fn spreads_are_of_what_is_there() {
        let column = |values: &[Option<f64>]| Column {
            head: figures("x"),
            measure: Measure::named("kills").unwrap(),
            values: values.to_vec(),
        };
        let of = |values: &[Option<f64>]| column(values).spread();
        assert_eq!(of(&[Some(3.0), None, Some(1.0)]), [Some(1.0), Some(2.0), Some(3.0)]);
        assert_eq!(of(&[Some(9.0), Some(1.0), Some(5.0)]), [Some(1.0), Some(5.0), Some(9.0)]);
        assert_eq!(of(&[None]), [None; 3]);
        assert!(!column(&[Some(0.0), None]).tells() && column(&[Some(0.0), Some(1.0)]).tells());
    }
}

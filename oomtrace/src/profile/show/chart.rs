//! The course of memory in two rows of blocks, and below it when somebody was killed.

use crate::profile::report::{Course, Mark, MarkKind, Point};

/// Letters of a column, the least first.
const BLOCKS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Levels of a letter.
const LEVELS: u64 = 8;
/// Rows.
const ROWS: u64 = 2;

/// What marks look like, and what they are called; the first of these that is in a column is shown.
const MARKS: [(MarkKind, char, &str); 6] = [
    (MarkKind::BystanderKill, '◆', "bystander killed"),
    (MarkKind::UserspaceKill, '■', "killed by a daemon"),
    (MarkKind::OwnKill, '▾', "own killed"),
    (MarkKind::NoVictim, '○', "nobody to kill"),
    (MarkKind::ForkFailure, '×', "fork failed"),
    (MarkKind::AllocFailure, '+', "allocation failed"),
];

/// A chart.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Chart {
    /// The rows, the upper first.
    pub rows: Vec<String>,
    /// The upper end of the upper row.
    pub most_bytes: u64,
    /// How long it is.
    pub span_ns: u64,
    /// What happened, as one row, if anything did.
    pub marks: Option<String>,
    /// What its letters stand for.
    pub legend: Vec<(char, &'static str)>,
}

/// The command's memory: its cgroup's, or resident.
fn bytes(course: &Course) -> Option<fn(&Point) -> Option<u64>> {
    let kinds: [fn(&Point) -> Option<u64>; 2] = [|point| point.cgroup_bytes, |point| point.own_rss_bytes];
    kinds.into_iter().find(|of| course.points.iter().any(|point| of(point).is_some()))
}

/// Of so many columns; `None`: there is nothing to draw.
pub(super) fn chart(course: &Course, duration_ns: u64, columns: usize) -> Option<Chart> {
    let of = bytes(course)?;
    let last = course.points.last().map_or(0, |point| point.at_ns);
    let span_ns = duration_ns.max(last).max(1);
    let mut levels: Vec<Option<u64>> = vec![None; columns];
    for point in &course.points {
        if let (Some(level), Some(bytes)) = (levels.get_mut(column(point.at_ns, span_ns, columns)), of(point))
        {
            *level = (*level).max(Some(bytes));
        }
    }
    // Between samples it is as at the last one.
    let mut before = 0;
    for level in &mut levels {
        before = level.unwrap_or(before);
        *level = Some(before);
    }
    let levels: Vec<u64> = levels.into_iter().flatten().collect();
    let most_bytes = levels.iter().copied().max().filter(|most| *most > 0)?;
    let row = |row: u64| levels.iter().map(|bytes| block(*bytes, most_bytes, row)).collect();
    let (marks, legend) = marks(&course.marks, span_ns, columns);
    Some(Chart { rows: (0..ROWS).rev().map(row).collect(), most_bytes, span_ns, marks, legend })
}

fn column(at_ns: u64, span_ns: u64, columns: usize) -> usize {
    let wide = u128::try_from(columns).unwrap_or(0);
    let column = u128::from(at_ns) * wide / u128::from(span_ns.max(1));
    usize::try_from(column).unwrap_or(columns).min(columns.saturating_sub(1))
}

/// A bar's part in a row: what is there at all shows.
fn block(bytes: u64, most: u64, row: u64) -> char {
    let level = (u128::from(bytes) * u128::from(ROWS * LEVELS)).div_ceil(u128::from(most.max(1)));
    let level = u64::try_from(level).unwrap_or(0).saturating_sub(row * LEVELS).min(LEVELS);
    BLOCKS.get(usize::try_from(level).unwrap_or(0)).copied().unwrap_or(' ')
}

fn marks(marks: &[Mark], span_ns: u64, columns: usize) -> (Option<String>, Vec<(char, &'static str)>) {
    if marks.is_empty() {
        return (None, Vec::new());
    }
    let mut row = vec!['·'; columns];
    let mut legend = Vec::new();
    // The worst last, so that it covers the others.
    for (kind, letter, words) in MARKS.into_iter().rev() {
        let mut any = false;
        for mark in marks.iter().filter(|mark| mark.kind == kind) {
            any = true;
            if let Some(place) = row.get_mut(column(mark.at_ns, span_ns, columns)) {
                *place = letter;
            }
        }
        if any {
            legend.insert(0, (letter, words));
        }
    }
    (Some(row.into_iter().collect()), legend)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the chart: the highest fills it, what is little shows, between samples it goes on, and the worst mark covers others.
    #[test]
    fn memory_is_drawn_with_what_happened() {
        let point = |at_ns, bytes| Point { at_ns, own_rss_bytes: Some(bytes), ..Point::default() };
        let mark = |at_ns, kind| Mark { at_ns, kind, count: 1, comm: None };
        let course = Course {
            points: vec![point(0, 1), point(25, 500), point(70, 1000), point(99, 0)],
            marks: vec![
                mark(70, MarkKind::BystanderKill),
                mark(71, MarkKind::OwnKill),
                mark(200, MarkKind::ForkFailure),
            ],
            ..Course::default()
        };
        let chart = chart(&course, 100, 10).unwrap();
        assert_eq!(chart.rows, ["       ██ ", "▁▁███████ "]);
        assert_eq!(chart.marks.as_deref(), Some("·······◆·×"));
        assert_eq!((chart.most_bytes, chart.span_ns), (1000, 100));
        let letters: String = chart.legend.iter().map(|(letter, _)| letter).collect();
        assert_eq!(letters, "◆▾×");
        assert_eq!(super::chart(&Course::default(), 100, 10), None);
    }
}

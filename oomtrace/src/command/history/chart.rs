//! How often something happened over time, in blocks.

use jiff::{Timestamp, tz::TimeZone};

/// Rows of blocks.
const ROWS: u64 = 4;
/// Levels of a block.
const LEVELS: u64 = 8;
const BLOCKS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Spans that a column may stand for, ns, and what they are called.
const STEPS: [(i64, &str); 12] = [
    (1_000_000_000, "second"),
    (10_000_000_000, "10 seconds"),
    (60_000_000_000, "minute"),
    (300_000_000_000, "5 minutes"),
    (900_000_000_000, "15 minutes"),
    (3_600_000_000_000, "hour"),
    (3 * 3_600_000_000_000, "3 hours"),
    (6 * 3_600_000_000_000, "6 hours"),
    (24 * 3_600_000_000_000, "day"),
    (7 * 24 * 3_600_000_000_000, "7 days"),
    (30 * 24 * 3_600_000_000_000, "30 days"),
    (365 * 24 * 3_600_000_000_000, "365 days"),
];

/// Columns and what they stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spans {
    /// Where the first begins, ns since 1970.
    pub begin_ns: i64,
    /// What each is, ns.
    pub step_ns: i64,
    /// The same in words.
    pub unit: &'static str,
    /// How many.
    pub count: usize,
}

impl Spans {
    /// The finest that has no more than `columns` from `first` to `last`, with days that begin when they do in `zone`.
    pub fn of(first_ns: i64, last_ns: i64, columns: usize, zone: &TimeZone) -> Self {
        let columns = i64::try_from(columns.max(1)).unwrap_or(1);
        let offset = moment(first_ns).to_zoned(zone.clone()).offset().seconds();
        let offset_ns = i64::from(offset).saturating_mul(1_000_000_000);
        let begin = |step: i64| {
            let local = first_ns.saturating_add(offset_ns);
            local.saturating_sub(local.rem_euclid(step)).saturating_sub(offset_ns)
        };
        let of = |(step_ns, unit): (i64, &'static str)| {
            let count = last_ns.saturating_sub(begin(step_ns)).max(0) / step_ns + 1;
            (
                Self { begin_ns: begin(step_ns), step_ns, unit, count: usize::try_from(count).unwrap_or(1) },
                count,
            )
        };
        let mut last = None;
        for step in STEPS {
            let (spans, count) = of(step);
            if count <= columns {
                return spans;
            }
            last = Some(spans);
        }
        // More than a lifetime: the newest are left out.
        let spans = last.unwrap_or(Self { begin_ns: first_ns, step_ns: i64::MAX, unit: "", count: 1 });
        Self { count: usize::try_from(columns).unwrap_or(1), ..spans }
    }
}

/// The chart's lines.
pub fn lines(spans: &Spans, counts: &[u64], zone: &TimeZone) -> Vec<String> {
    let most = counts.iter().copied().max().unwrap_or(0).max(1);
    let scale = most.to_string();
    let left = scale.len();
    let mut lines = vec![format!("how many in each {} (highest: {most})", spans.unit)];
    for row in (0..ROWS).rev() {
        let label = if row + 1 == ROWS { &scale } else { "" };
        let bars: String = counts.iter().map(|count| block(*count, most, row)).collect();
        lines.push(format!("{label:>left$} ┤{bars}").trim_end().to_owned());
    }
    lines.push(format!("{:>left$} ┼{}", 0, "─".repeat(counts.len())));
    let end_ns = i64::try_from(counts.len())
        .ok()
        .and_then(|count| spans.step_ns.checked_mul(count))
        .map_or(spans.begin_ns, |length| spans.begin_ns.saturating_add(length));
    let say = |ns: i64| {
        let form = if spans.step_ns < 60_000_000_000 { "%F %T" } else { "%F %H:%M" };
        moment(ns).to_zoned(zone.clone()).strftime(form).to_string()
    };
    let (from, to) = (say(spans.begin_ns), say(end_ns));
    let gap = counts.len().saturating_sub(from.len() + to.len()).max(3);
    lines.push(format!("{:left$}  {from}{}{to}", "", " ".repeat(gap)));
    lines
}

/// A bar's part in a row: what is there at all shows.
fn block(count: u64, most: u64, row: u64) -> char {
    let all = ROWS * LEVELS;
    let wide = u128::from(count) * u128::from(all);
    let level = u64::try_from(wide.div_ceil(u128::from(most))).unwrap_or(all);
    let level = level.saturating_sub(row * LEVELS).min(LEVELS);
    BLOCKS.get(usize::try_from(level).unwrap_or(0)).copied().unwrap_or(' ')
}

fn moment(ns: i64) -> Timestamp {
    Timestamp::from_nanosecond(ns.into()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000_000_000;

    /// Guards the scale: the highest fills the chart, one of a thousand shows, and nothing shows as nothing.
    #[test]
    fn bars_are_as_high_as_their_counts() {
        let spans = Spans { begin_ns: 0, step_ns: HOUR, unit: "hour", count: 4 };
        let lines = lines(&spans, &[0, 1, 500, 1000], &TimeZone::UTC);
        assert_eq!(
            lines,
            [
                "how many in each hour (highest: 1000)",
                "1000 ┤   █",
                "     ┤   █",
                "     ┤  ██",
                "     ┤ ▁██",
                "   0 ┼────",
                "      1970-01-01 00:00   1970-01-01 04:00",
            ]
        );
    }

    /// Guards the columns against more of them than there is room for, and days against beginning in the middle of the night.
    #[test]
    fn a_column_stands_for_a_whole_span() {
        let spans = |first, last, columns| Spans::of(first, last, columns, &TimeZone::UTC);
        assert_eq!(spans(5, 5, 40), Spans { begin_ns: 0, step_ns: 1_000_000_000, unit: "second", count: 1 });
        let week = spans(HOUR, 7 * 24 * HOUR, 30);
        assert_eq!((week.unit, week.count, week.begin_ns), ("6 hours", 29, 0));
        assert!(spans(0, i64::MAX, 40).count <= 40);
        assert!(spans(i64::MIN, i64::MAX, 40).count <= 40);
        let berlin = TimeZone::fixed(jiff::tz::offset(1));
        let days = Spans::of(10 * 24 * HOUR, 40 * 24 * HOUR, 40, &berlin);
        assert_eq!((days.unit, days.begin_ns), ("day", 10 * 24 * HOUR - HOUR));
    }
}

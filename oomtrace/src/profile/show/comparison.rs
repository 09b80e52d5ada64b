//! A comparison: what got worse and what got better.

use super::text::{BOLD, COLUMN, DIM, GREEN, RED, Text, YELLOW};
use crate::{
    profile::{
        compare::Comparison,
        digest::{figure, plural, sentence},
        measure::Unit,
        ranking::{Ranked, Ranking, percent},
    },
    text::printable,
};

/// Measures of a group that are shown where nothing is sure.
const SHOWN_UNSURE: usize = 12;
/// Conditions that are shown.
const SHOWN_CONDITIONS: usize = 8;
/// Columns that measures' names take: as many as the longest, within these.
const NAME: std::ops::RangeInclusive<usize> = 12..=36;

/// All of it, in lines of `width` columns: what is sure and large comes first.
#[must_use]
pub fn comparison(comparison: &Comparison, width: usize, colour: bool) -> String {
    let mut text = Text::new(width, colour);
    let Some((baseline, others)) = comparison.sides.split_first() else { return text.told() };
    let what = text.paint(BOLD, "DIFF");
    let runs = |runs| plural(runs, "run", "runs");
    let names: Vec<_> =
        others.iter().map(|side| format!("{} ({})", printable(&side.label), runs(side.runs))).collect();
    let base = format!("{} ({})", printable(&baseline.label), runs(baseline.runs));
    text.line(&format!("{what}  {} against {base}", names.join(", ")), COLUMN);
    conditions(&mut text, comparison);
    for (nth, side) in others.iter().enumerate() {
        let ranking = Ranking::of(comparison, nth);
        let style = match (ranking.worse.is_empty(), ranking.better.is_empty()) {
            (false, _) => RED,
            (true, false) => GREEN,
            (true, true) => BOLD,
        };
        let verdict = format!("{}: {}.", printable(&side.label), ranking.verdict());
        let painted: Vec<_> = verdict.split(' ').map(|word| text.paint(style, word)).collect();
        text.line(&format!("  {}", painted.join(" ")), 2);
        changes(&mut text, &ranking);
    }
    text.told()
}

fn conditions(text: &mut Text, comparison: &Comparison) {
    for condition in comparison.conditions.iter().take(SHOWN_CONDITIONS) {
        let values =
            condition.values.iter().map(|value| value.as_deref().map_or_else(|| "–".to_owned(), printable));
        let values: Vec<_> = values.collect();
        text.row("differ", &format!("{}: {}", printable(&condition.what), values.join(" → ")));
    }
    let more = comparison.conditions.len().saturating_sub(SHOWN_CONDITIONS);
    if more > 0 {
        text.row("", &format!("{more} more conditions differ"));
    }
}

fn changes(text: &mut Text, ranking: &Ranking<'_>) {
    // What has no figures on both sides says nothing here.
    let unsure = ranking.unsure.iter().filter(|one| one.change.difference.is_some_and(|by| by != 0.0));
    let unsure: Vec<_> = unsure.collect();
    let sure = ranking.worse.iter().chain(&ranking.better).chain(&ranking.differs);
    let names = sure.chain(unsure.iter().copied().take(SHOWN_UNSURE));
    let longest = names.map(|ranked| ranked.row.measure.chars().count()).max().unwrap_or(0);
    let longest = longest.clamp(*NAME.start(), *NAME.end());
    for (label, style, rows) in [
        ("worse", RED, &ranking.worse),
        ("better", GREEN, &ranking.better),
        ("differs", YELLOW, &ranking.differs),
    ] {
        for ranked in rows {
            text.row_in(style, label, &change(ranked, longest));
        }
    }
    for ranked in unsure.iter().take(SHOWN_UNSURE) {
        text.row_in(DIM, "unsure", &change(ranked, longest));
    }
    if let Some(why) = unsure.first().and_then(|ranked| ranked.change.why.as_deref()) {
        text.row("", &sentence(&printable(why)));
    }
    let more = unsure.len().saturating_sub(SHOWN_UNSURE);
    if more > 0 {
        text.row("", &format!("{more} more cannot be told"));
    }
    if !ranking.same.is_empty() {
        let same = u64::try_from(ranking.same.len()).unwrap_or(u64::MAX);
        text.row(
            "same",
            &format!("{} without a difference beyond noise", plural(same, "measure", "measures")),
        );
    }
}

/// As in "reclaim_p99_ms  1.2 ms → 4.8 ms  +300 %  (95 %: +2.1 ms to +5.0 ms)".
fn change(ranked: &Ranked<'_>, longest: usize) -> String {
    let Ranked { row, change, before, after } = *ranked;
    let value = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |value| figure(value, row.unit));
    let name = format!("{:<longest$}", printable(&row.measure)).replace(' ', "\u{a0}");
    let mut said = format!("{name} {} → {}", value(before), value(after));
    if let Some(percent) = percent(change) {
        said = format!("{said}  {percent}");
    }
    if let Some(interval) = change.interval {
        let (low, high) = (signed(interval.low, row.unit), signed(interval.high, row.unit));
        said = format!("{said}  (95 %: {low} to {high})");
    }
    said
}

fn signed(value: f64, unit: Unit) -> String {
    format!("{}{}", if value > 0.0 { "+" } else { "" }, figure(value, unit))
}

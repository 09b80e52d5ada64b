//! Reports beside each other: what got worse and what got better, with how sure that is.

use super::{
    html::{Element, Part, classed, element},
    table::{Cell, figures, long, table, table_with_foot, texts},
};
use crate::profile::{
    compare::{Change, Comparison, Side, Verdict},
    digest::{figure, plural, sentence},
    measure::Better,
    ranking::{Ranked, Ranking, percent},
};

/// Rows of a table, at the most.
const MOST: usize = 400;
/// A whisker's axis ends there, in hundredths of the baseline: one that is longer would make dots of all others.
const MOST_PERCENT: f64 = 200.0;

/// What is on the page.
pub(super) fn comparison(comparison: &Comparison) -> Element {
    let baseline = comparison.sides.first();
    let others = comparison.sides.get(1..).unwrap_or_default();
    let against = baseline.map_or("the baseline", |side| side.label.as_str());
    let mut main = element("main").child(
        element("header")
            .child(classed("p", "kicker").text("oomtrace diff"))
            .children(others.iter().enumerate().map(|(nth, side)| verdict(comparison, nth, side, against))),
    );
    let sides = classed("section", "run").child(element("h2").text("What is compared"));
    main = main.child(sides.children(sides_table(comparison)).children(conditions(comparison)));
    for (nth, side) in others.iter().enumerate() {
        main = main.child(against_baseline(comparison, nth, side, against));
    }
    main
}

fn verdict(comparison: &Comparison, nth: usize, side: &Side, against: &str) -> Element {
    let ranking = Ranking::of(comparison, nth);
    let class = match (ranking.worse.is_empty(), ranking.better.is_empty()) {
        (false, _) => "verdict bad",
        (true, false) => "verdict good",
        (true, true) => "verdict neutral",
    };
    let text = format!("{} against {against}: {}.", side.label, ranking.verdict());
    classed("h1", class).text(text)
}

fn sides_table(comparison: &Comparison) -> Option<Element> {
    let heads = [
        texts("side"),
        texts("report"),
        figures("runs"),
        texts("kernel"),
        texts("host"),
        texts("began"),
        texts("command"),
    ];
    let rows = comparison.sides.iter().enumerate().map(|(nth, side)| {
        vec![
            Cell::text(if nth == 0 { "baseline" } else { "against it" }),
            Cell::long(Some(&side.label)),
            Cell::count(side.runs),
            Cell::long(Some(&side.kernel)),
            Cell::long(Some(&side.host)),
            Cell::text(side.started.split('.').next().unwrap_or_default().replace('T', " ")),
            Cell::long(Some(&side.command.join(" "))),
        ]
    });
    table(&heads, rows.collect(), MOST)
}

/// In what they differ but for what was measured.
fn conditions(comparison: &Comparison) -> Option<Element> {
    let labels = comparison.sides.iter().map(|side| texts(side.label.clone()));
    let heads: Vec<_> = [texts("what")].into_iter().chain(labels).collect();
    let rows = comparison.conditions.iter().map(|condition| {
        let values = condition.values.iter().map(|value| Cell::long(value.as_deref()));
        [Cell::long(Some(&condition.what))].into_iter().chain(values).collect()
    });
    let table = table(&heads, rows.collect(), MOST)?;
    let title = element("h3").text("In what the conditions differ");
    Some(classed("section", "part").child(title).child(table))
}

fn against_baseline(comparison: &Comparison, nth: usize, side: &Side, against: &str) -> Element {
    let ranking = Ranking::of(comparison, nth);
    let title = element("h2").child(long(&side.label)).text(" against ").child(long(against));
    let section = classed("section", "run").child(title);
    let groups = [
        ("Worse", &ranking.worse),
        ("Better", &ranking.better),
        ("Different, for better or worse", &ranking.differs),
        ("Cannot be told", &ranking.unsure),
        ("No difference beyond noise", &ranking.same),
    ];
    let parts = groups.into_iter().filter_map(|(title, rows)| {
        let table = changes(rows, side, against)?;
        let count = plural(u64::try_from(rows.len()).unwrap_or(u64::MAX), "measure", "measures");
        let title = element("h3").text(title).child(classed("span", "quiet").text(format!(" · {count}")));
        Some(classed("section", "part").child(title).child(table))
    });
    let note = "Dots are differences of means in hundredths of the baseline's, whiskers are where these are with a confidence of 95 %. What is told as worse or better is so beyond noise, all measures being looked at together.";
    section.child(classed("p", "quiet").text(note)).children(parts)
}

/// The reason of all of them, if they have the same.
fn same_reason<'a>(rows: &[Ranked<'a>]) -> Option<&'a str> {
    let mut reasons = rows.iter().map(|ranked| ranked.change.why.as_deref());
    let first = reasons.next()??;
    (rows.len() > 1 && reasons.all(|other| other == Some(first))).then_some(first)
}

/// Where the axis of these whiskers ends on both sides, in hundredths of the baseline.
fn axis(rows: &[Ranked<'_>]) -> f64 {
    let most = rows.iter().filter_map(reach).fold(0.0, f64::max);
    let ends = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0];
    ends.into_iter().find(|end| most <= *end).unwrap_or(MOST_PERCENT)
}

/// How far a whisker goes from 0, in hundredths of the baseline.
fn reach(ranked: &Ranked<'_>) -> Option<f64> {
    let (low, high) = interval(ranked)?;
    Some(low.abs().max(high.abs())).filter(|reach| reach.is_finite())
}

/// In hundredths of the baseline.
fn interval(ranked: &Ranked<'_>) -> Option<(f64, f64)> {
    let interval = ranked.change.interval?;
    let before = ranked.before.filter(|before| *before != 0.0)?.abs();
    Some((interval.low / before * 100.0, interval.high / before * 100.0))
}

fn changes(rows: &[Ranked<'_>], side: &Side, against: &str) -> Option<Element> {
    let axis = axis(rows);
    let same = same_reason(rows);
    let heads = [
        texts("measure"),
        figures(against.to_owned()),
        figures(side.label.clone()),
        figures("difference"),
        texts("with its interval"),
        figures("p"),
        texts("what it is"),
    ];
    let row = |ranked: &Ranked<'_>| {
        let Ranked { row, change, before, after } = *ranked;
        let value = |value: Option<f64>| {
            value.map_or_else(Cell::absent, |value| Cell::measure(value, figure(value, row.unit)))
        };
        let better = match row.better {
            Better::Lower => " (less is better)",
            Better::Higher => " (more is better)",
            Better::Neither => "",
        };
        let why = change.why.as_deref().filter(|_| same.is_none());
        let why = why.map_or_else(String::new, |why| format!(" – {why}"));
        vec![
            Cell::of(element("code").text(&row.measure)),
            value(before),
            value(after),
            difference(ranked),
            whisker(ranked, axis),
            change.p.map_or_else(Cell::absent, |p| Cell::measure(p, probability(p))),
            Cell::wrapped(&format!("{}{better}{why}", row.what)),
        ]
    };
    let ends = classed("div", "ends")
        .child(element("span").text(format!("-{axis:.0} %")))
        .child(element("span").text("0"))
        .child(element("span").text(format!("+{axis:.0} %")));
    let none = || Cell::text("");
    let foot = vec![none(), none(), none(), none(), Cell::of(ends), none(), none()];
    let shown = rows.iter().any(|ranked| interval(ranked).is_some());
    let foot = if shown { vec![foot] } else { Vec::new() };
    let table = table_with_foot(&heads, rows.iter().map(row).collect(), foot, MOST)?;
    let why = same.map(|why| element("p").text(format!("{}.", sentence(why))));
    Some(element("div").children(why).child(table))
}

fn probability(p: f64) -> String {
    if p < 0.001 { "< 0.001".to_owned() } else { format!("{p:.3}") }
}

fn class(change: &Change) -> &'static str {
    match change.verdict {
        Verdict::Worse => "change worse",
        Verdict::Better => "change better",
        Verdict::Differs | Verdict::Same | Verdict::Unsure => "change",
    }
}

fn difference(ranked: &Ranked<'_>) -> Cell {
    let change = ranked.change;
    let Some(by) = change.difference else { return Cell::absent() };
    let sign = if by > 0.0 { "+" } else { "" };
    let absolute = format!("{sign}{}", figure(by, ranked.row.unit));
    let text = percent(change).map_or_else(|| absolute.clone(), |percent| format!("{percent} ({absolute})"));
    let key = change.percent.unwrap_or(if by > 0.0 { f64::MAX } else { f64::MIN });
    Cell::measured(key, classed("span", class(change)).text(if by == 0.0 { "0".to_owned() } else { text }))
}

/// A dot, and where it may be instead. What goes beyond the axis ends at its end, without a cap.
fn whisker(ranked: &Ranked<'_>, axis: f64) -> Cell {
    let Some(((low, high), middle)) = interval(ranked).zip(ranked.change.percent) else {
        return Cell::absent();
    };
    let at = |percent: f64| 0.5 + (percent / axis).clamp(-1.0, 1.0) / 2.0;
    let zero = classed("line", "zero").with("x1", "50%").with("x2", "50%").with("y2", 22);
    let range = classed("line", "range")
        .with("x1", Part(at(low)))
        .with("x2", Part(at(high)))
        .with("y1", 11)
        .with("y2", 11);
    let caps = [low, high].into_iter().filter(|end| end.abs() <= axis).map(|end| {
        let x = Part(at(end));
        classed("line", "range").with("x1", x).with("x2", x).with("y1", 7).with("y2", 15)
    });
    let mut svg = classed("svg", "whisker").child(zero).child(range).children(caps);
    if middle.abs() <= axis {
        svg = svg.child(element("circle").with("cx", Part(at(middle))).with("cy", 11).with("r", 4));
    }
    let words = format!("{middle:+.1} %, from {low:+.1} % to {high:+.1} %");
    let svg = svg.child(element("title").text(words));
    Cell::measured(middle, classed("div", class(ranked.change)).child(svg))
}

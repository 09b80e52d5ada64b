//! What happened, in lanes below the chart of memory: a lane for each kind, with a shape and a colour of its own.
//!
//! A few marks are shown as such, near ones together with their number. Where there are more, bars show how many there were when.

use std::fmt::Write as _;

use super::{
    chart::{Chart, Content, float},
    html::{Element, Part, Px, classed, element},
    scale::Scale,
};
use crate::{
    profile::{
        digest::{number, plural},
        report::{Mark, MarkKind},
    },
    text::printable,
    words::duration,
};

/// A lane, px.
const HEIGHT: f64 = 24.0;
/// Marks nearer than this part of the width are shown as one.
const NEAR: f64 = 0.035;
/// The part of the width that a number beside a mark takes.
const ROOM: f64 = 0.08;
/// More than this are shown as bars.
const MOST_SHAPES: usize = 14;
/// Bars in a lane, at the most.
const BARS: usize = 160;

/// How a kind is shown.
pub(super) struct Look {
    kind: MarkKind,
    /// The id of its shape.
    shape: &'static str,
    class: &'static str,
    /// One, and several.
    words: [&'static str; 2],
}

const fn look(
    kind: MarkKind,
    shape: &'static str,
    class: &'static str,
    one: &'static str,
    several: &'static str,
) -> Look {
    Look { kind, shape, class, words: [one, several] }
}

/// The lanes, the worst first.
const LOOKS: [Look; 6] = [
    look(MarkKind::BystanderKill, "#bystander", "m-bystander", "bystander killed", "bystanders killed"),
    look(MarkKind::UserspaceKill, "#userspace", "m-userspace", "killed by a daemon", "killed by a daemon"),
    look(MarkKind::OwnKill, "#own", "m-own", "of the command's own killed", "of the command's own killed"),
    look(MarkKind::NoVictim, "#novictim", "m-novictim", "time nobody to kill", "times nobody to kill"),
    look(MarkKind::ForkFailure, "#fork", "m-fork", "fork failed", "forks failed"),
    look(MarkKind::AllocFailure, "#alloc", "m-alloc", "allocation failed", "allocations failed"),
];

/// The shapes, to be used anywhere on the page.
pub(super) fn shapes() -> Element {
    let shapes = [
        ("bystander", "M0-8 8 0 0 8-8 0Z"),
        ("userspace", "M-6-6H6V6H-6Z"),
        ("own", "M-6-5H6L0 6Z"),
        ("novictim", "M-6 0A6 6 0 0 1 6 0 6 6 0 0 1-6 0Z"),
        ("fork", "M-5-5 5 5M5-5-5 5"),
        ("alloc", "M0-6V6M-6 0H6"),
    ];
    let paths = shapes.map(|(id, d)| element("path").with("id", id).with("d", d));
    let hidden = classed("svg", "shapes").with("aria-hidden", "true").with("width", 0).with("height", 0);
    hidden.child(element("defs").children(paths))
}

/// Some marks that are near each other.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Group<'a> {
    from_ns: u64,
    to_ns: u64,
    count: u64,
    /// Whom the first of them hit.
    comm: Option<&'a str>,
    /// Whether all of them have the same name.
    same: bool,
}

/// Neighbours that are no further from the first of them than `near_ns`, together.
fn groups<'a>(marks: &[&'a Mark], near_ns: u64) -> Vec<Group<'a>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for mark in marks {
        let comm = mark.comm.as_deref();
        match groups.last_mut() {
            Some(last) if mark.at_ns.saturating_sub(last.from_ns) < near_ns => {
                last.to_ns = last.to_ns.max(mark.at_ns);
                last.count = last.count.saturating_add(mark.count);
                last.same &= last.comm == comm;
            }
            _ => groups.push(Group {
                from_ns: mark.at_ns,
                to_ns: mark.at_ns,
                count: mark.count,
                comm,
                same: true,
            }),
        }
    }
    groups
}

/// The lanes of a run, with an axis of time below the last of them if there is none above; `None`: nothing happened.
pub(super) fn lanes(marks: &[Mark], span_ns: u64, alone: bool) -> Option<Element> {
    let used = |look: &&Look| marks.iter().any(|mark| mark.kind == look.kind);
    let last = LOOKS.iter().filter(used).count().saturating_sub(1);
    let used = LOOKS.iter().filter(used).enumerate();
    let lanes: Vec<_> =
        used.filter_map(|(nth, look)| lane(look, marks, span_ns, alone && nth == last)).collect();
    (!lanes.is_empty()).then(|| classed("div", "lanes").children(lanes))
}

/// Where bystanders ended, as lines in a chart: a few, or none.
pub(super) fn lines(chart: &Chart, marks: &[Mark]) -> Vec<Element> {
    let of_bystanders: Vec<_> = marks.iter().filter(|mark| mark.kind == MarkKind::BystanderKill).collect();
    let groups = groups(&of_bystanders, near_ns(chart.span_ns));
    if groups.len() > MOST_SHAPES {
        return Vec::new();
    }
    let line = |group: &Group<'_>| {
        let x = Part(chart.x(group.from_ns));
        classed("line", "hit").with("x1", x).with("x2", x).with("y2", Px(chart.height))
    };
    groups.iter().map(line).collect()
}

/// How near marks are shown as one.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a part of a u64 is one")]
fn near_ns(span_ns: u64) -> u64 {
    (float(span_ns) * NEAR) as u64
}

fn lane(look: &Look, marks: &[Mark], span_ns: u64, times: bool) -> Option<Element> {
    let marks: Vec<_> = marks.iter().filter(|mark| mark.kind == look.kind).collect();
    let all = marks.iter().fold(0_u64, |sum, mark| sum.saturating_add(mark.count));
    marks.first()?;
    let chart = Chart { span_ns, height: HEIGHT, scale: Scale { most: 1.0, ticks: Vec::new() } };
    let groups = groups(&marks, near_ns(span_ns));
    let few = groups.len() <= MOST_SHAPES;
    let content = if few { shown_as_shapes(look, &groups, &chart) } else { bars(look, &marks, &chart) };
    let key = element("svg").with("class", look.class).with("width", 20).with("height", 18);
    let key = key.child(element("use").with("href", look.shape).with("x", 10).with("y", 9));
    let [one, several] = look.words;
    let how = if few { String::new() } else { format!(", at most {}", densest(&marks, span_ns)) };
    let words = format!("{}{how}", plural(all, one, several));
    let name = classed("p", "lane").child(key).text(&words);
    Some(classed("div", "strip").child(name).child(chart.draw(&words, content, times)))
}

fn shown_as_shapes(look: &Look, groups: &[Group<'_>], chart: &Chart) -> Content {
    let nexts = groups.iter().skip(1).map(|next| chart.x(next.from_ns)).chain([2.0]);
    let of = |(group, next): (&Group<'_>, f64)| {
        let x = Part(chart.x(group.from_ns));
        let mark = element("use").with("href", look.shape).with("x", x).with("y", Px(HEIGHT / 2.0));
        let mark =
            element("g").with("class", look.class).child(element("title").text(told(group))).child(mark);
        let room = next - chart.x(group.from_ns) > ROOM;
        let count = (group.count > 1 && room).then(|| {
            // At the right edge there is room before it only.
            let (class, aside) =
                if chart.x(group.from_ns) > 1.0 - ROOM { ("tick few end", -11) } else { ("tick few", 11) };
            let text = classed("text", class).with("x", x).with("dx", aside);
            let text = text.with("y", Px(HEIGHT / 2.0 + 4.0));
            text.text(format!("×{}", number(group.count)))
        });
        std::iter::once(mark).chain(count)
    };
    Content { stretched: Vec::new(), placed: groups.iter().zip(nexts).flat_map(of).collect() }
}

/// What is said of a group to whoever points at it.
fn told(group: &Group<'_>) -> String {
    let who = group.comm.map_or_else(|| "?".to_owned(), printable);
    let others = if group.same { "" } else { " and others" };
    let at = duration(group.from_ns);
    match group.count {
        0 | 1 => format!("{who} at {at}"),
        count if group.to_ns > group.from_ns => {
            format!("{who}{others}, {} from {at} to {}", number(count), duration(group.to_ns))
        }
        count => format!("{who}{others}, {} at {at}", number(count)),
    }
}

/// How many there were in each of so many parts of the time.
fn counts(marks: &[&Mark], span_ns: u64) -> Vec<u64> {
    let mut counts = vec![0_u64; BARS];
    let parts = u128::try_from(BARS).unwrap_or(1);
    for mark in marks {
        let part = u128::from(mark.at_ns) * parts / u128::from(span_ns.max(1));
        let part = usize::try_from(part).unwrap_or(BARS).min(BARS - 1);
        if let Some(count) = counts.get_mut(part) {
            *count = count.saturating_add(mark.count);
        }
    }
    counts
}

/// As in "120 in 5.0 s".
fn densest(marks: &[&Mark], span_ns: u64) -> String {
    let most = counts(marks, span_ns).into_iter().max().unwrap_or(0);
    let parts = u64::try_from(BARS).unwrap_or(1);
    format!("{} in {}", number(most), duration(span_ns / parts))
}

fn bars(look: &Look, marks: &[&Mark], chart: &Chart) -> Content {
    let counts = counts(marks, chart.span_ns);
    let most = counts.iter().copied().max().unwrap_or(0);
    // By their roots: one of a thousand is seen, and ten are more than one.
    let scale = Scale { most: float(most).sqrt().max(1.0), ticks: Vec::new() };
    let width = 1.0 / float(u64::try_from(BARS).unwrap_or(1));
    let mut path = String::new();
    for (count, nth) in counts.iter().zip(0_u32..).filter(|(count, _)| **count > 0) {
        let height = (HEIGHT - 4.0) * scale.part(float(*count).sqrt()).max(0.15);
        let x = f64::from(nth) * width * 1000.0;
        // Writing to a String cannot fail.
        let _ = write!(
            path,
            "M{} {}h{}v{}h-{}z",
            Px(x),
            Px(HEIGHT - height),
            Px(width * 900.0),
            Px(height),
            Px(width * 900.0)
        );
    }
    let bars = element("path").with("class", format!("bars {}", look.class)).with("d", path);
    Content { stretched: vec![bars], placed: Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(at_ns: u64, count: u64, comm: &str) -> Mark {
        Mark { at_ns, count, comm: Some(comm.to_owned()), ..Mark::default() }
    }

    /// Guards marks that are too near each other to be seen apart: they are one, and none is lost.
    #[test]
    fn near_marks_are_one() {
        let marks = [mark(0, 1, "a"), mark(9, 2, "a"), mark(10, 3, "b"), mark(19, 1, "c"), mark(500, 1, "d")];
        let marks: Vec<_> = marks.iter().collect();
        let found = groups(&marks, 10);
        let shown: Vec<_> = found.iter().map(|one| (one.from_ns, one.to_ns, one.count, one.same)).collect();
        assert_eq!(shown, [(0, 9, 3, true), (10, 19, 4, false), (500, 500, 1, true)]);
    }

    /// Guards what ten thousand kills look like: bars, few enough to be apart, that have all of them.
    #[test]
    fn many_marks_become_bars() {
        let marks: Vec<_> = (0..1000).map(|nth| mark(nth * 60_000_000, 10, "x")).collect();
        let mut shown = String::new();
        lanes(&marks, 60_000_000_000, false).unwrap().end(&mut shown);
        assert!(!shown.contains("#own\" x=\"5"), "{shown}");
        assert!(shown.contains("10,000 of the command&#39;s own killed, at most 70 in 375 ms"), "{shown}");
        let all: Vec<_> = marks.iter().collect();
        assert_eq!(counts(&all, 60_000_000_000).iter().sum::<u64>(), 10_000);
        assert!(lanes(&[], 1, true).is_none());
    }

    /// Guards marks at the very end, and beyond it.
    #[test]
    fn late_marks_are_within() {
        let late = mark(u64::MAX, 1, "late");
        assert_eq!(counts(&[&late], 10).last(), Some(&1));
    }
}

//! How long things took: histograms with a logarithmic axis of time, the same for all of a run.

use std::{collections::BTreeMap, fmt::Write as _};

use super::{
    chart::float,
    html::{Element, Part, Px, classed, element},
    scale::{Decades, Quantity, Scale},
};
use crate::{
    profile::{
        digest::number,
        report::{Bucket, Latency, PressureKind, Run, Whose},
    },
    words::{duration, size},
};

/// The bars, px.
const HEIGHT: f64 = 120.0;
/// Above them, for the percentiles: a row for each.
const ROW: f64 = 16.0;
const ABOVE: f64 = 3.0 * ROW + 4.0;
const BELOW: f64 = 20.0;

/// A histogram.
struct Panel {
    title: &'static str,
    /// What it counts, one and several.
    unit: &'static str,
    /// All of it.
    latency: Latency,
    /// Of that, of bystanders or of nobody known.
    others: Latency,
    freed_bytes: Option<u64>,
}

/// What each kind of pressure is called.
pub(super) fn kind(kind: PressureKind) -> &'static str {
    match kind {
        PressureKind::DirectReclaim => "direct reclaim",
        PressureKind::MemcgReclaim => "memcg reclaim",
        PressureKind::Compaction => "compaction",
    }
}

fn panels(run: &Run) -> Vec<Panel> {
    let of = |(kind, title): (PressureKind, &'static str)| {
        let chosen: Vec<_> = run.waits(&[kind]).collect();
        let others = chosen.iter().filter(|one| one.whose != Whose::Own).map(|one| &one.latency);
        let freed = chosen.iter().filter_map(|one| one.reclaimed_bytes);
        Panel {
            title,
            unit: "waits",
            others: Latency::merged(others),
            latency: Latency::merged(chosen.iter().map(|one| &one.latency)),
            freed_bytes: freed
                .fold(None, |sum: Option<u64>, bytes| Some(sum.unwrap_or(0).saturating_add(bytes))),
        }
    };
    let kinds = [
        (PressureKind::DirectReclaim, "Direct reclaim: the machine's memory is short"),
        (PressureKind::MemcgReclaim, "Memcg reclaim: a cgroup is at its limit"),
        (PressureKind::Compaction, "Compaction: room for larger pages"),
    ];
    let plain = |title, unit, latency: &Latency| Panel {
        title,
        unit,
        latency: latency.clone(),
        others: Latency::default(),
        freed_bytes: None,
    };
    let mut panels: Vec<_> = kinds.map(of).into();
    panels.push(plain("Stall: waited before the OOM killer ran", "waits", &run.stall));
    panels.push(plain("Relief: from the kill until the memory was free", "victims", &run.relief));
    panels.extend(
        run.decision.iter().map(|latency| plain("Decision: the OOM killer's own time", "decisions", latency)),
    );
    panels.retain(|panel| panel.latency.count > 0 && !panel.latency.buckets.is_empty());
    panels
}

/// All that there is something in.
pub(super) fn histograms(run: &Run) -> Option<Element> {
    let panels = panels(run);
    let buckets = || panels.iter().flat_map(|panel| &panel.latency.buckets);
    let least = buckets().map(|bucket| bucket.from_ns.max(256)).min()?;
    let most = panels.iter().filter_map(|panel| {
        let end = panel.latency.buckets.last().map(|last| last.below_ns.unwrap_or(last.from_ns));
        panel.latency.max_ns.max(end)
    });
    let axis = Decades::around(float(least), float(most.max().unwrap_or(least)));
    let two = panels.iter().any(|panel| panel.others.count > 0);
    let figures = panels.iter().map(|panel| draw(panel, axis));
    let shown = classed("div", "panels").children(figures);
    Some(if two {
        let swatch = |class: &'static str| element("i").with("class", format!("swatch {class}"));
        let keys = classed("ul", "keys")
            .child(element("li").child(swatch("h-own")).text("the command's own"))
            .child(element("li").child(swatch("h-others")).text("others"));
        element("div").child(keys).child(shown)
    } else {
        shown
    })
}

fn draw(panel: &Panel, axis: Decades) -> Element {
    let all = by_bucket(&panel.latency);
    let most = all.values().copied().max().unwrap_or(0);
    let scale = Scale::of(Quantity::Count, float(most), 2);
    let y = |count: u64| ABOVE + HEIGHT * (1.0 - scale.part(float(count)));
    let mut svg = classed("svg", "plot")
        .with("role", "img")
        .with("aria-label", panel.title)
        .with("width", "100%")
        .with("height", Px(ABOVE + HEIGHT + BELOW));
    for (value, name) in &scale.ticks {
        let at = ABOVE + HEIGHT * (1.0 - scale.part(*value));
        let line = classed("line", if *value == 0.0 { "axis" } else { "grid" });
        svg = svg.child(line.with("x2", "100%").with("y1", Px(at)).with("y2", Px(at)));
        svg = svg.child(classed("text", "tick end").with("x", -8).with("y", Px(at + 4.0)).text(name));
    }
    for (nth, (at, name)) in axis.ticks().into_iter().enumerate() {
        let line = classed("line", "grid").with("x1", Part(at)).with("x2", Part(at));
        svg = svg.child(line.with("y1", Px(ABOVE)).with("y2", Px(ABOVE + HEIGHT)));
        let class = if nth.is_multiple_of(2) { "tick mid" } else { "tick mid odd" };
        svg = svg.child(
            classed("text", class).with("x", Part(at)).with("y", Px(ABOVE + HEIGHT + 16.0)).text(name),
        );
    }
    let others = by_bucket(&panel.others);
    let bars = |class, counts: &BTreeMap<(u64, u64), u64>| bars(class, counts, axis, y);
    let curves = element("svg")
        .with("width", "100%")
        .with("height", Px(ABOVE + HEIGHT))
        .with("viewBox", format!("0 0 1000 {}", Px(ABOVE + HEIGHT)))
        .with("preserveAspectRatio", "none")
        .child(bars("h-own", &all))
        .child(bars("h-others", &others));
    svg = svg.child(curves).children(percentiles(&panel.latency, axis));
    let latency = &panel.latency;
    let mut words = vec![
        format!("{} {}", number(latency.count), panel.unit),
        format!("{} in all", duration(latency.total_ns)),
    ];
    words.extend(latency.max_ns.map(|ns| format!("longest {}", duration(ns))));
    words.extend(panel.freed_bytes.map(|bytes| format!("freed {}", size(bytes))));
    classed("figure", "panel")
        .child(element("h4").text(panel.title))
        .child(classed("p", "quiet").text(words.join(" · ")))
        .child(classed("div", "chart").child(svg))
}

/// Counts by their bounds, ns; what has no end ends with its octave.
fn by_bucket(latency: &Latency) -> BTreeMap<(u64, u64), u64> {
    let bounds =
        |bucket: &Bucket| (bucket.from_ns, bucket.below_ns.unwrap_or(bucket.from_ns.saturating_mul(2)));
    latency.buckets.iter().map(|bucket| (bounds(bucket), bucket.count)).collect()
}

fn bars(
    class: &'static str,
    counts: &BTreeMap<(u64, u64), u64>,
    axis: Decades,
    y: impl Fn(u64) -> f64,
) -> Element {
    let foot = ABOVE + HEIGHT;
    let mut path = String::new();
    for ((from, below), count) in counts.iter().filter(|(_, count)| **count > 0) {
        let (left, right) = (axis.part(float(*from)) * 1000.0, axis.part(float(*below)) * 1000.0);
        // One of very many is seen, too.
        let top = y(*count).min(foot - 2.0);
        // Writing to a String cannot fail.
        let _ = write!(
            path,
            "M{} {}V{}H{}V{}z",
            Px(left),
            Px(foot),
            Px(top),
            Px((right - 1.5).max(left + 1.0)),
            Px(foot)
        );
    }
    classed("path", class).with("d", path)
}

/// Lines at the percentiles, each with its words in a row of its own: they are often near each other.
fn percentiles(latency: &Latency, axis: Decades) -> Vec<Element> {
    let all = [("p50", latency.p50_ns), ("p90", latency.p90_ns), ("p99", latency.p99_ns)];
    let mut top = 0.0;
    let mut shown = Vec::new();
    for (name, ns) in all {
        top += ROW;
        let Some(ns) = ns else { continue };
        let at = axis.part(float(ns));
        let line = classed("line", "percentile").with("x1", Part(at)).with("x2", Part(at));
        shown.push(line.with("y1", Px(top - 10.0)).with("y2", Px(ABOVE + HEIGHT)));
        let (class, aside) = if at > 0.6 { ("on end", -5) } else { ("on", 5) };
        let text = classed("text", class).with("x", Part(at)).with("dx", aside).with("y", Px(top));
        shown.push(text.text(format!("{name} {}", duration(ns))));
    }
    shown
}

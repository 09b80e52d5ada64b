//! A chart over time, as wide as its place: curves are stretched to it, while texts, lines and marks keep their size.

use std::fmt::Write as _;

use super::{
    html::{Element, Part, Px, classed, element},
    scale::{Scale, time_ticks},
};

/// Units that curves are drawn in, over the width.
const WIDE: f64 = 1000.0;
/// Below the chart, for the axis of time, px.
const BELOW: f64 = 20.0;
/// Ticks of the axis of time.
const TIME_TICKS: u64 = 8;

/// The frame of a chart.
#[derive(Clone, Debug)]
pub(super) struct Chart {
    /// How long the axis of time is, ns.
    pub span_ns: u64,
    /// Without what is below it, px.
    pub height: f64,
    pub scale: Scale,
}

/// What is in a chart.
#[derive(Debug, Default)]
pub(super) struct Content {
    /// Curves, stretched to the width.
    pub stretched: Vec<Element>,
    /// The rest, behind and in front of these.
    pub placed: Vec<Element>,
}

impl Chart {
    /// The part of the width that a time is at.
    pub fn x(&self, at_ns: u64) -> f64 {
        (float(at_ns) / float(self.span_ns.max(1))).clamp(0.0, 1.0)
    }

    /// From the top, px.
    pub fn y(&self, value: f64) -> f64 {
        self.height * (1.0 - self.scale.part(value))
    }

    /// A curve through values at times; it is broken where there is none.
    pub fn curve(&self, class: &'static str, values: impl Iterator<Item = (u64, Option<f64>)>) -> Element {
        let mut path = Path::default();
        for (at_ns, value) in values {
            match value {
                Some(value) => path.to(self.x(at_ns) * WIDE, self.y(value)),
                None => path.lift(),
            }
        }
        classed("path", class).with("d", path.0)
    }

    /// What is below a curve.
    pub fn area(&self, class: &'static str, values: impl Iterator<Item = (u64, f64)>) -> Element {
        let mut path = Path::default();
        let mut ends = None;
        for (at_ns, value) in values {
            let x = self.x(at_ns) * WIDE;
            if ends.is_none() {
                path.to(x, self.height);
            }
            path.to(x, self.y(value));
            ends = Some(x);
        }
        if let Some(x) = ends {
            path.to(x, self.height);
        }
        classed("path", class).with("d", path.0)
    }

    /// A line across the chart with words above it.
    pub fn level(&self, class: &'static str, value: f64, words: &str) -> [Element; 2] {
        let y = self.y(value);
        let line = classed("line", class).with("x2", "100%").with("y1", Px(y)).with("y2", Px(y));
        // At the very top there is room below the line only.
        let at = if y < 14.0 { y + 14.0 } else { y - 5.0 };
        let text = classed("text", "on end").with("x", "100%").with("dx", -4).with("y", Px(at));
        [line, text.text(words)]
    }

    /// All of it. `label` is for those who cannot see it; with `times` the axis of time has labels.
    pub fn draw(&self, label: &str, content: Content, times: bool) -> Element {
        let below = if times { BELOW } else { 4.0 };
        let curves = element("svg")
            .with("width", "100%")
            .with("height", Px(self.height))
            .with("viewBox", format!("0 0 {WIDE} {}", Px(self.height)))
            .with("preserveAspectRatio", "none")
            .children(content.stretched);
        let plot = classed("svg", "plot")
            .with("role", "img")
            .with("aria-label", label)
            .with("width", "100%")
            .with("height", Px(self.height + below));
        classed("div", "chart").child(
            plot.children(self.levels()).children(self.times(times)).child(curves).children(content.placed),
        )
    }

    fn levels(&self) -> Vec<Element> {
        let of = |(value, name): &(f64, String)| {
            let y = self.y(*value);
            let line = classed("line", if *value == 0.0 { "axis" } else { "grid" });
            let line = line.with("x2", "100%").with("y1", Px(y)).with("y2", Px(y));
            [line, classed("text", "tick end").with("x", -8).with("y", Px(y + 4.0)).text(name)]
        };
        self.scale.ticks.iter().flat_map(of).collect()
    }

    fn times(&self, named: bool) -> Vec<Element> {
        let mut shown = Vec::new();
        for (nth, (at_ns, name)) in time_ticks(self.span_ns, TIME_TICKS).into_iter().enumerate() {
            let x = self.x(at_ns);
            let line = classed("line", "grid").with("x1", Part(x)).with("x2", Part(x));
            shown.push(line.with("y2", Px(self.height)));
            if named {
                // Where there is little room every other one is left out.
                let class = match (nth.is_multiple_of(2), x > 0.97) {
                    (true, false) => "tick mid",
                    (true, true) => "tick end",
                    (false, false) => "tick mid odd",
                    (false, true) => "tick end odd",
                };
                let text = classed("text", class).with("x", Part(x)).with("y", Px(self.height + 16.0));
                shown.push(text.text(name));
            }
        }
        shown
    }
}

/// The data of a path.
#[derive(Default)]
pub(super) struct Path(pub String);

impl Path {
    /// A line to there; the first one begins there, and so does one after the pen was lifted.
    pub fn to(&mut self, x: f64, y: f64) {
        let letter = if self.0.is_empty() || self.0.ends_with('M') { 'M' } else { 'L' };
        if !self.0.ends_with('M') {
            self.0.push(letter);
        }
        // Writing to a String cannot fail.
        let _ = write!(self.0, "{} {}", Px(x), Px(y));
    }

    /// The next line does not begin here.
    pub fn lift(&mut self) {
        if !self.0.is_empty() && !self.0.ends_with('M') {
            self.0.push('M');
        }
    }
}

/// As far as charts need them.
#[expect(clippy::cast_precision_loss, reason = "no chart shows the last of 53 bits")]
pub(super) fn float(value: u64) -> f64 {
    value as f64
}

//! How it went over time: memory, what happened, and what the machine did about it, on one axis.

use super::{
    chart::{Chart, Content, float},
    html::{Element, classed, element},
    marks,
    scale::{Quantity, Scale},
    table::long,
};
use crate::{
    profile::{
        digest::sentence,
        report::{Course, Point, Run, Series},
    },
    words::size,
};

/// Classes of the curves of names, the last one for the rest.
const LAYERS: [&str; 9] = ["s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7", "s8"];

/// The whole section's figures.
pub(super) fn timeline(run: &Run) -> Vec<Element> {
    let span_ns = span_ns(run);
    let mut shown = Vec::new();
    shown.extend(memory(run, span_ns));
    let alone = shown.is_empty();
    shown.extend(marks::lanes(&run.course.marks, span_ns, alone));
    shown.extend(strips(run, span_ns));
    if shown.is_empty() {
        shown.push(classed("p", "quiet").text("No samples were taken, and nothing happened."));
    }
    shown
}

/// All that there is is within it.
fn span_ns(run: &Run) -> u64 {
    let points = run.course.points.iter().map(|point| point.at_ns);
    let marks = run.course.marks.iter().map(|mark| mark.at_ns);
    points.chain(marks).chain([run.duration_ns]).max().unwrap_or(0).max(1)
}

fn values<'a>(
    course: &'a Course,
    of: impl Fn(&Point) -> Option<f64> + 'a,
) -> impl Iterator<Item = (u64, Option<f64>)> + 'a {
    course.points.iter().map(move |point| (point.at_ns, of(point)))
}

fn highest(course: &Course, of: impl Fn(&Point) -> Option<f64>) -> Option<f64> {
    course.points.iter().filter_map(of).max_by(f64::total_cmp)
}

fn cgroup(point: &Point) -> Option<f64> {
    point.cgroup_bytes.map(float)
}

fn available(point: &Point) -> Option<f64> {
    point.available_bytes.map(float)
}

fn own(point: &Point) -> Option<f64> {
    point.own_rss_bytes.map(float)
}

/// Whether what is available on the machine is shown beside the command's memory: where that is a good part of it, and has no limit
/// of its own. Otherwise one of both would be a flat line.
fn beside(course: &Course) -> bool {
    let (all, own) = (highest(course, available), highest(course, own));
    highest(course, cgroup).is_none() && all.zip(own).is_none_or(|(all, own)| own >= all / 20.0)
}

/// The command's memory by name, its cgroup, and the limit.
fn memory(run: &Run, span_ns: u64) -> Option<Element> {
    let course = &run.course;
    let stack = Stack::of(course);
    let in_cgroup = highest(course, cgroup);
    let beside = highest(course, available).filter(|_| beside(course));
    let own_most = highest(course, own);
    let most = [stack.highest(), in_cgroup, beside, own_most].into_iter().flatten().max_by(f64::total_cmp)?;
    let limit = run.cgroup.as_ref().and_then(|cgroup| cgroup.limit_bytes);
    // A limit far above all else would leave the rest flat.
    let shown_limit = limit.map(float).filter(|limit| *limit <= most * 4.0);
    let scale = Scale::of(Quantity::Bytes, most.max(shown_limit.unwrap_or(0.0)), 4);
    let chart = Chart { span_ns, height: 260.0, scale };
    let mut content = Content { stretched: stack.draw(&chart, course), placed: Vec::new() };
    let mut keys = stack.keys(course);
    if stack.0.is_empty() && own_most.is_some() {
        content.stretched.push(chart.curve("line own", values(course, own)));
        keys.push(key("own", "resident, the command's own"));
    }
    if in_cgroup.is_some() {
        content.stretched.push(chart.curve("line cgroup", values(course, cgroup)));
        keys.push(key("cgroup", "charged to its cgroup"));
    }
    if beside.is_some() {
        content.stretched.push(chart.curve("line available", values(course, available)));
        keys.push(key("available", "available on the machine"));
    }
    if let (Some(at), Some(bytes)) = (shown_limit, limit) {
        content.placed.extend(chart.level("limit", at, &format!("limit {}", size(bytes))));
    }
    content.placed.extend(marks::lines(&chart, &course.marks));
    let title = element("h4").text("Memory");
    let shown = chart.draw("Memory over time", content, true);
    let mut figure =
        classed("figure", "wide").child(title).child(classed("ul", "keys").children(keys)).child(shown);
    if !stack.0.is_empty() {
        let note = "Resident memory by name, on top of each other: pages that processes share count in each of them.";
        figure = figure.child(element("figcaption").text(note));
    }
    Some(figure)
}

fn key(class: &'static str, words: &str) -> Element {
    let swatch = element("i").with("class", format!("swatch {class}"));
    element("li").child(swatch).child(long(words))
}

/// Sums of curves: the first name's, the first two names', ….
struct Stack(Vec<Vec<u64>>);

impl Stack {
    fn of(course: &Course) -> Self {
        let mut below = vec![0_u64; course.points.len()];
        let mut sums = Vec::new();
        for series in course.stressors.iter().take(LAYERS.len()) {
            for (sum, bytes) in below.iter_mut().zip(&series.rss_bytes) {
                *sum = sum.saturating_add(*bytes);
            }
            sums.push(below.clone());
        }
        Self(if course.points.is_empty() { Vec::new() } else { sums })
    }

    fn highest(&self) -> Option<f64> {
        self.0.last()?.iter().copied().max().map(float)
    }

    /// The highest first: each is covered by those below it.
    fn draw(&self, chart: &Chart, course: &Course) -> Vec<Element> {
        let times = || course.points.iter().map(|point| point.at_ns);
        let layers = self.0.iter().zip(classes(course)).rev();
        layers.map(|(sums, class)| chart.area(class, times().zip(sums.iter().copied().map(float)))).collect()
    }

    fn keys(&self, course: &Course) -> Vec<Element> {
        if self.0.is_empty() {
            return Vec::new();
        }
        let of = |(series, class): (&Series, &'static str)| {
            let name = series.comm.as_deref().unwrap_or("all others");
            let peak = series.rss_bytes.iter().copied().max().unwrap_or(0);
            key(class, name).child(classed("span", "quiet").text(format!(" {}", size(peak))))
        };
        course.stressors.iter().zip(classes(course)).map(of).collect()
    }
}

/// The classes of names: the rest has the last one, however many there are.
fn classes(course: &Course) -> Vec<&'static str> {
    let last = LAYERS.last().copied().unwrap_or_default();
    let named = course.stressors.iter().zip(LAYERS);
    named.map(|(series, class)| if series.comm.is_some() { class } else { last }).collect()
}

/// A small chart.
struct Strip {
    title: &'static str,
    /// What it is called where it had nothing to show.
    nothing: &'static str,
    quantity: Quantity,
    of: fn(&Point) -> Option<f64>,
}

impl Strip {
    /// Up to the highest value, with an axis of time below it or without.
    fn draw(&self, run: &Run, span_ns: u64, most: f64, times: bool) -> Element {
        let course = &run.course;
        // Small shares are shown large, large ones as parts of all.
        let most = if self.quantity == Quantity::Share && most > 0.5 { 1.0 } else { most };
        let chart = Chart { span_ns, height: 64.0, scale: Scale::of(self.quantity, most, 2) };
        let there = values(course, self.of).filter_map(|(at_ns, value)| Some((at_ns, value?)));
        let curves = vec![chart.area("fill", there), chart.curve("line strip", values(course, self.of))];
        let content = Content { stretched: curves, placed: marks::lines(&chart, &course.marks) };
        let title = element("h4").text(self.title);
        classed("div", "strip").child(title).child(chart.draw(self.title, content, times))
    }
}

const STRIPS: [Strip; 6] = [
    Strip {
        title: "Waiting in reclaim and compaction (seconds per second, all threads together)",
        nothing: "nobody waited in reclaim or compaction",
        quantity: Quantity::Number,
        of: |point| point.waiting,
    },
    Strip {
        title: "Time in which some program waited for memory (PSI)",
        nothing: "no program waited for memory (PSI)",
        quantity: Quantity::Share,
        of: |point| point.psi_some,
    },
    Strip {
        title: "Available on the machine",
        nothing: "no memory was available",
        quantity: Quantity::Bytes,
        of: available,
    },
    Strip {
        title: "Swap in use",
        nothing: "no swap was in use",
        quantity: Quantity::Bytes,
        of: |point| point.swap_used_bytes.map(float),
    },
    Strip {
        title: "Swapped in and out",
        nothing: "nothing was swapped",
        quantity: Quantity::ByteRate,
        of: |point| point.swapped_bytes_per_second,
    },
    Strip {
        title: "Major faults a second",
        nothing: "there were no major faults",
        quantity: Quantity::Number,
        of: |point| point.major_faults_per_second,
    },
];

/// Those that have something to show, and a sentence on those that have nothing.
fn strips(run: &Run, span_ns: u64) -> Vec<Element> {
    let course = &run.course;
    let mut shown: Vec<(&Strip, f64)> = Vec::new();
    let mut nothing = Vec::new();
    for strip in &STRIPS {
        match highest(course, strip.of) {
            // It is in the chart of memory already.
            Some(_) if beside(course) && strip.title == "Available on the machine" => {}
            Some(most) if most > 0.0 => shown.push((strip, most)),
            Some(_) => nothing.push(strip.nothing),
            None => {}
        }
    }
    let last = shown.len().saturating_sub(1);
    let draw = |(nth, (strip, most)): (usize, &(&Strip, f64))| strip.draw(run, span_ns, *most, nth == last);
    let mut elements: Vec<_> = shown.iter().enumerate().map(draw).collect();
    if !nothing.is_empty() {
        let text = sentence(&nothing.join("; "));
        elements.push(classed("p", "quiet").text(format!("{text}.")));
    }
    elements
}

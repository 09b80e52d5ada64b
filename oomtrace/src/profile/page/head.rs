//! What the page begins with: the verdict, and the figures that people ask for first.

use super::{
    chart::float,
    html::{Element, Part, classed, element},
    table::long,
};
use crate::{
    profile::{
        digest::{self, Mood, Toll, number, plural, sentence},
        report::{Latency, Report, Run},
    },
    words::{duration, size, span},
};

/// The page's head.
pub(super) fn head(report: &Report) -> Element {
    let toll = Toll::of_all(report);
    let machine = &report.machine;
    let mut facts = vec![machine.host.clone(), format!("Linux {}", machine.kernel)];
    if machine.cpus > 0 {
        facts.push(plural(machine.cpus.into(), "CPU", "CPUs"));
    }
    facts.extend(machine.memory_bytes.map(|bytes| format!("{} of memory", size(bytes))));
    if let [run] = &report.runs[..] {
        facts.push(run.started.split('.').next().unwrap_or_default().replace('T', " ") + " UTC");
        facts.push(digest::outcome(run));
    }
    let settings = &report.settings;
    facts.extend(settings.cgroup_limit_bytes.map(|bytes| format!("limit {}", size(bytes))));
    facts.extend(settings.pids_limit.map(|most| plural(most, "process at most", "processes at most")));
    facts.retain(|fact| !fact.is_empty());
    let facts = facts.into_iter().map(|fact| element("li").text(fact));
    let kicker = report.name.as_deref().map_or_else(
        || classed("p", "kicker").text("oomtrace run"),
        |name| classed("p", "kicker").text("oomtrace run · ").child(long(name)),
    );
    element("header")
        .child(kicker)
        .child(classed("h1", verdict_class(toll.mood())).text(verdict(&toll, report)))
        .child(classed("p", "command").child(element("code").child(long(&digest::command_line(report)))))
        .child(classed("ul", "facts").children(facts))
}

pub(super) fn verdict(toll: &Toll, report: &Report) -> String {
    if toll.runs == 0 {
        return "There was no run.".to_owned();
    }
    format!("{}.", sentence(&toll.verdict(&digest::command_name(report))))
}

pub(super) fn verdict_class(mood: Mood) -> &'static str {
    match mood {
        Mood::Bad => "verdict bad",
        Mood::Warned => "verdict warned",
        Mood::Good => "verdict good",
    }
}

/// A figure with its name above and some words below.
struct Figure {
    name: &'static str,
    value: String,
    note: String,
    /// How bad it is.
    class: &'static str,
    /// How much of a whole it is, 0 to 1.
    meter: Option<f64>,
}

impl Figure {
    fn new(name: &'static str, value: String, note: String) -> Self {
        Self { name, value, note, class: "figure", meter: None }
    }

    /// Nothing is seen of it, which is not the same as nothing.
    fn hide(&mut self) {
        (self.value, self.note) = ("–".to_owned(), "not seen: the reason is at the page's end".to_owned());
        (self.class, self.meter) = ("figure", None);
    }

    fn show(self) -> Element {
        let mut card = classed("div", self.class)
            .child(element("dt").text(self.name))
            .child(classed("dd", "value").text(self.value));
        if let Some(part) = self.meter {
            let bar = element("i").with("style", format!("width:{}", Part(part.clamp(0.0, 1.0))));
            card = card.child(classed("dd", "meter").with("aria-hidden", "true").child(bar));
        }
        card.child(classed("dd", "note").text(self.note))
    }
}

/// What these figures are from.
const UNSEEN: [(&str, &[&str]); 3] =
    [("pressure", &[STALL, WAITED]), ("relief", &[RELIEF]), ("fork_failures", &[FORKS])];

const FORKS: &str = "Failed forks";
const STALL: &str = "Reclaim stall, p99";
const WAITED: &str = "Time waited";
const RELIEF: &str = "Relief after a kill";

/// The key figures of a run.
pub(super) fn figures(report: &Report, run: &Run) -> Element {
    let toll = Toll::of(report, run);
    let reclaim = digest::reclaim(run);
    let mut shown = vec![kills(&toll), forks(run, &toll), stall(&reclaim), waited(run, &reclaim)];
    shown.extend(peak(run));
    shown.push(relief(&run.relief));
    for (path, names) in UNSEEN {
        if digest::unseen(report, path).is_some() {
            // What was seen nonetheless is shown: cgroups count forks, too.
            let nothing = |figure: &&mut Figure| matches!(figure.value.as_str(), "0" | "–");
            let unseen = shown.iter_mut().filter(|figure| names.contains(&figure.name));
            unseen.filter(nothing).for_each(Figure::hide);
        }
    }
    classed("dl", "figures").children(shown.into_iter().map(Figure::show))
}

fn kills(toll: &Toll) -> Figure {
    let mut parts =
        vec![plural(toll.bystanders, "bystander", "bystanders"), format!("{} own", number(toll.own))];
    if toll.unknown > 0 {
        parts.push(format!("{} not known whose", number(toll.unknown)));
    }
    if toll.userspace > 0 {
        parts.push(format!("{} by daemons", number(toll.userspace)));
    }
    let class = if toll.bystanders > 0 || toll.userspace > 0 {
        "figure bad"
    } else if toll.kills() > 0 {
        "figure warned"
    } else {
        "figure"
    };
    Figure { class, ..Figure::new("Kills", number(toll.kills()), parts.join(", ")) }
}

fn forks(run: &Run, toll: &Toll) -> Figure {
    let most = run.fork_failures.iter().max_by_key(|failure| failure.count);
    let note = most.map_or_else(|| "none failed".to_owned(), |most| format!("most by {}", most.cause));
    let class = if toll.forks > 0 { "figure warned" } else { "figure" };
    Figure { class, ..Figure::new(FORKS, number(toll.forks), note) }
}

fn stall(reclaim: &Latency) -> Figure {
    let value = reclaim.p99_ns.map_or_else(|| "–".to_owned(), duration);
    let note = match (reclaim.count, reclaim.max_ns) {
        (0, _) => "no waits in reclaim".to_owned(),
        (count, Some(most)) => format!("of {}, longest {}", plural(count, "wait", "waits"), duration(most)),
        (count, None) => format!("of {}", plural(count, "wait", "waits")),
    };
    Figure::new(STALL, value, note)
}

fn waited(run: &Run, reclaim: &Latency) -> Figure {
    let share = float(reclaim.total_ns) / float(run.duration_ns.max(1));
    let note = if reclaim.count == 0 {
        "nobody waited".to_owned()
    } else {
        format!("in reclaim, all threads: {share:.2} s a second")
    };
    let value = if reclaim.total_ns == 0 { "0".to_owned() } else { span(reclaim.total_ns) };
    Figure::new(WAITED, value, note)
}

fn peak(run: &Run) -> Option<Figure> {
    let peak = digest::peak(run)?;
    let note = match peak.limit_bytes {
        Some(limit) => format!("of {} · {}", size(limit), peak.from),
        None => peak.from,
    };
    let meter = peak.limit_bytes.filter(|limit| *limit > 0).map(|limit| float(peak.bytes) / float(limit));
    Some(Figure { meter, ..Figure::new("Peak memory", size(peak.bytes), note) })
}

fn relief(relief: &Latency) -> Figure {
    let value = relief.p50_ns.map_or_else(|| "–".to_owned(), duration);
    let note = match (relief.p99_ns, relief.max_ns) {
        (Some(p99), Some(most)) => format!("median; p99 {}, longest {}", duration(p99), duration(most)),
        _ => "no victim's memory was waited for".to_owned(),
    };
    Figure::new(RELIEF, value, note)
}

//! What a report comes to, in words and figures that both the terminal and the page show.

mod toll;

pub(super) use self::toll::{Mood, Toll};
use super::{
    measure::{self, Unit},
    report::{CgroupMemory, End, Latency, PressureKind, Report, Run},
};
use crate::{
    text::printable,
    words::{duration, grouped, size, span},
};

/// What the command is called: the file's name, without the path to it.
pub(super) fn command_name(report: &Report) -> String {
    let name = report.command.first().map(|path| path.rsplit('/').next().unwrap_or(path));
    name.filter(|name| !name.is_empty()).map_or_else(|| "the command".to_owned(), cut_name)
}

/// Names are shown to so many letters where they are part of a sentence.
const NAME_LETTERS: usize = 40;

fn cut_name(name: &str) -> String {
    let name = printable(name);
    if name.chars().count() <= NAME_LETTERS {
        return name;
    }
    name.chars().take(NAME_LETTERS - 1).chain(['…']).collect()
}

/// The command, as one line.
pub(super) fn command_line(report: &Report) -> String {
    report.command.join(" ")
}

/// How the command ended.
pub(super) fn ending(end: &End) -> String {
    let mut text = match (end.exit_status, end.signal) {
        (Some(status), _) => format!("exit status {status}"),
        (None, Some(9)) if end.oom_killed => "killed by the OOM killer".to_owned(),
        (None, Some(signal)) => format!("ended by signal {signal}"),
        (None, None) => "its end is not known".to_owned(),
    };
    if end.interrupted {
        text.push_str(", interrupted");
    }
    if end.left_behind > 0 {
        let left = plural(end.left_behind, "process", "processes");
        text = format!("{text}, left {left} behind");
    }
    text
}

/// Waits in reclaim, of the node and of cgroups, of all tasks.
pub(super) fn reclaim(run: &Run) -> Latency {
    let waits = run.waits(&[PressureKind::DirectReclaim, PressureKind::MemcgReclaim]);
    Latency::merged(waits.map(|one| &one.latency))
}

/// Why nothing can be told of what is at that path in the report.
pub(super) fn unseen<'a>(report: &'a Report, path: &str) -> Option<&'a str> {
    measure::missing(&report.tracing, path)
}

/// The most memory that the command had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Peak {
    pub bytes: u64,
    pub limit_bytes: Option<u64>,
    /// Where that is from.
    pub from: String,
}

/// See [`Peak`]: of its cgroup; where it has none, resident, by samples.
pub(super) fn peak(run: &Run) -> Option<Peak> {
    let of_cgroup = |cgroup: &CgroupMemory| {
        let from = cgroup.peak_from.clone().unwrap_or_else(|| "its cgroup".to_owned());
        Some(Peak { bytes: cgroup.peak_bytes?, limit_bytes: cgroup.limit_bytes, from })
    };
    run.cgroup.as_ref().and_then(of_cgroup).or_else(|| {
        let bytes = run.course.points.iter().filter_map(|point| point.own_rss_bytes).max()?;
        // A short run may have none while it went on.
        let bytes = Some(bytes).filter(|bytes| *bytes > 0)?;
        Some(Peak { bytes, limit_bytes: None, from: "resident, by samples".to_owned() })
    })
}

/// What oomtrace took, as a sentence.
pub(super) fn cost(run: &Run) -> String {
    let cost = &run.cost;
    let mut parts =
        vec![format!("{} of CPU time{}", duration(cost.cpu_ns), share(cost.cpu_ns, run.duration_ns))];
    if let Some(ns) = cost.programs_ns {
        let runs = cost.program_runs.map_or_else(String::new, |runs| format!(" in {} runs", number(runs)));
        parts.push(format!("{} in the kernel{runs}", duration(ns)));
    }
    if let Some(bytes) = cost.peak_rss_bytes {
        parts.push(format!("{} of memory", size(bytes)));
    }
    let lost = cost.lost.values().fold(0_u64, |sum, count| sum.saturating_add(*count));
    parts.push(match lost {
        0 => "nothing lost".to_owned(),
        lost => format!("{} lost", plural(lost, "record", "records")),
    });
    parts.join(" · ")
}

/// Of the time of one CPU, in brackets.
fn share(cpu_ns: u64, duration_ns: u64) -> String {
    let ten_thousandths = u128::from(cpu_ns) * 10_000 / u128::from(duration_ns.max(1));
    if duration_ns == 0 {
        return String::new();
    }
    format!(" ({}.{:02} % of one CPU)", ten_thousandths / 100, ten_thousandths % 100)
}

/// How long it took and how it ended.
pub(super) fn outcome(run: &Run) -> String {
    format!("{}, {}", span(run.duration_ns), ending(&run.end))
}

/// A number with its thousands apart.
pub(super) fn number(count: u64) -> String {
    grouped(i64::try_from(count).unwrap_or(i64::MAX))
}

/// So many of them.
pub(super) fn plural(count: u64, one: &str, more: &str) -> String {
    format!("{} {}", number(count), if count == 1 { one } else { more })
}

/// A measure's value, as people read it.
pub(super) fn figure(value: f64, unit: Unit) -> String {
    let sign = if value < 0.0 { "-" } else { "" };
    let value = value.abs();
    let text = match unit {
        Unit::Milliseconds => duration(whole(value * 1e6)),
        Unit::Bytes => size(whole(value)),
        Unit::Percent => format!("{value:.1} %"),
        Unit::Code => format!("{value:.0}"),
        // Means of counts are not whole.
        Unit::Count if value < 100.0 && value.fract() > 0.005 => format!("{value:.2}"),
        Unit::PerSecond if value < 100.0 => format!("{value:.2}/s"),
        Unit::Count => number(whole(value)),
        Unit::PerSecond => format!("{}/s", number(whole(value))),
    };
    format!("{sign}{text}")
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "casts saturate, and it is no less than 0"
)]
fn whole(value: f64) -> u64 {
    value.round() as u64
}

/// With a capital letter, as sentences begin.
pub(super) fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

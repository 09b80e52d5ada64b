//! Figures of a run, one number each, by name: what criteria judge, and comparisons compare.

mod table;
#[cfg(test)]
mod tests;

use std::{borrow::Cow, sync::LazyLock};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::report::{Latency, PressureKind, Report, Run, Tracing, Whose};
use crate::{text::printable, words};

/// What a measure counts in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// How many.
    #[default]
    Count,
    /// Milliseconds.
    Milliseconds,
    /// Bytes.
    Bytes,
    /// Hundredths.
    Percent,
    /// How many a second.
    PerSecond,
    /// A number that stands for something, such as an exit status.
    Code,
}

impl Unit {
    /// A value, or a difference of values, for people.
    #[must_use]
    pub fn shown(self, value: f64) -> String {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates; NaN is 0")]
        let whole = |value: f64| value.round() as u64;
        let sign = if value < 0.0 { "-" } else { "" };
        let value = value.abs();
        let text = match self {
            Self::Milliseconds => words::duration(whole(value * 1e6)),
            Self::Bytes => words::size(whole(value)),
            Self::Percent => format!("{value:.1} %"),
            Self::PerSecond => format!("{}/s", plain(value, whole(value))),
            Self::Count | Self::Code => plain(value, whole(value)),
        };
        format!("{sign}{text}")
    }
}

/// A number: with a decimal if it is small and not whole.
fn plain(value: f64, whole: u64) -> String {
    if value < 1000.0 && value.fract() != 0.0 {
        return format!("{value:.1}");
    }
    words::grouped(i64::try_from(whole).unwrap_or(i64::MAX))
}

/// What is to be wished for of a measure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Better {
    /// Less of it.
    Lower,
    /// More of it.
    Higher,
    /// Neither by itself.
    #[default]
    Neither,
}

/// How exact a measure is by itself, however often it is taken.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Exactness {
    /// It is what it is.
    Exact,
    /// Events are counted, which chance brings about: the variance of such counts is no less than their mean (Poisson).
    Events,
    /// It may be that part more than it was: the buckets of histograms ([`oomtrace_ebpf::histogram`]).
    Within(f64),
    /// It is in steps of that much: the kernel's ticks.
    Steps(f64),
}

/// What a measure needs that the command is not always given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// A cgroup of its own.
    Cgroup,
    /// A file that stress-ng writes.
    StressNgYaml,
}

/// What a measure is of a run.
#[derive(Clone, Debug, PartialEq)]
pub enum Reading {
    /// This.
    Value(f64),
    /// A percentile, or the longest, of no times at all: there is none, and it exceeds nothing.
    OfNothing,
    /// It cannot be known, for this reason.
    Unseen(String),
}

impl Reading {
    /// The value, if there is one.
    #[must_use]
    pub fn value(&self) -> Option<f64> {
        if let Self::Value(value) = self { Some(*value) } else { None }
    }

    fn or(value: Option<f64>, reason: &str) -> Self {
        value.map_or_else(|| Self::Unseen(reason.to_owned()), Self::Value)
    }
}

/// A figure.
#[derive(Clone, Debug)]
pub struct Measure {
    /// Its name, which has the unit in it.
    pub name: Cow<'static, str>,
    /// What it is, in words.
    pub what: Cow<'static, str>,
    /// What it counts in.
    pub unit: Unit,
    /// What is to be wished for.
    pub better: Better,
    /// How exact it is.
    pub exactness: Exactness,
    /// What it needs.
    pub need: Option<Need>,
    /// Where in the report it comes from: what tracing is missing there, it cannot be told of.
    path: &'static str,
    source: Source,
}

/// How it is read.
#[derive(Clone, Debug)]
enum Source {
    Run(fn(&Run) -> Reading),
    Latency(fn(&Run) -> Option<&Latency>, Statistic),
    Pressure(Pressures, Statistic),
    /// A counter of the kernel's that counts pages.
    Pages(&'static str),
    /// What stress-ng says of the rate of one of its stressors.
    BogoOps(String),
}

/// Waits of some kinds, of some tasks; `None`: of all.
#[derive(Clone, Copy, Debug)]
struct Pressures {
    kinds: &'static [PressureKind],
    whose: Option<Whose>,
}

/// Of times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Statistic {
    Count,
    Percentile(u64),
    Max,
    Total,
}

/// What the names of measures of stress-ng's rates begin with; the stressor's own follows.
pub const BOGO_OPS: &str = "bogo_ops_per_second.";

/// All measures but those that are named after a stressor of stress-ng's, in the order in which they are shown.
#[must_use]
pub fn all() -> &'static [Measure] {
    static ALL: LazyLock<Vec<Measure>> = LazyLock::new(table::table);
    &ALL
}

/// All measures that these reports may have: stressors of stress-ng's by name too.
#[must_use]
pub fn of_reports(reports: &[&Report]) -> Vec<Measure> {
    let rates = reports.iter().flat_map(|report| &report.runs).flat_map(|run| &run.bogo_ops);
    let mut stressors: Vec<&str> = rates.map(|rate| rate.stressor.as_str()).collect();
    stressors.sort_unstable();
    stressors.dedup();
    all().iter().cloned().chain(stressors.into_iter().map(table::bogo_ops)).collect()
}

impl Measure {
    /// The measure of that name.
    ///
    /// # Errors
    /// There is none: a sentence with the nearest.
    pub fn named(name: &str) -> Result<Self, String> {
        if let Some(stressor) = name.strip_prefix(BOGO_OPS) {
            // Names of stressors are plain: what is put in quotes by mistake is none.
            let plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_');
            if stressor.is_empty() || !stressor.chars().all(plain) {
                return Err(format!(
                    "\"{}\" lacks the name of a stressor of stress-ng's: {BOGO_OPS}vm, for example",
                    printable(name)
                ));
            }
            return Ok(table::bogo_ops(stressor));
        }
        if let Some(measure) = all().iter().find(|measure| measure.name == name) {
            return Ok(measure.clone());
        }
        let names = all().iter().map(|measure| measure.name.as_ref()).chain([BOGO_OPS]);
        let near = names.map(|other| (strsim::jaro_winkler(name, other), other));
        let near = near.max_by(|(one, _), (other, _)| one.total_cmp(other)).filter(|(near, _)| *near > 0.8);
        let hint = near.map_or_else(
            || format!("such are {} or {}; docs/measures.md lists all", "kills", "reclaim_p99_ms"),
            |(_, other)| format!("did you mean {other}?"),
        );
        Err(format!("there is no measure \"{}\": {hint}", printable(name)))
    }

    /// What it is of that run of the report.
    #[must_use]
    pub fn read(&self, report: &Report, run: &Run) -> Reading {
        let reading = self.told(report, run);
        // What is there was seen, whatever else was not; what is not there may not have been.
        let is_there = reading.value().is_some_and(|value| value != 0.0);
        match missing(&report.tracing, self.path).filter(|_| !is_there) {
            Some(reason) => Reading::Unseen(reason.to_owned()),
            None => reading,
        }
    }

    /// What the report has, whether or not anybody looked.
    fn told(&self, report: &Report, run: &Run) -> Reading {
        match &self.source {
            Source::Run(read) => read(run),
            Source::Latency(of, statistic) => of(run).map_or_else(
                || Reading::Unseen("no hook in use shows it".to_owned()),
                |latency| statistic.of(latency),
            ),
            Source::Pressure(pressures, statistic) => statistic.of(&pressures.of(run)),
            Source::Pages(counter) => {
                let pages = run.counters.0.get(*counter).copied().filter(|_| report.machine.page_bytes > 0);
                let bytes = pages.map(|pages| number(pages) * f64::from(report.machine.page_bytes));
                Reading::or(bytes, "this kernel does not count it")
            }
            Source::BogoOps(stressor) => {
                let rate = run.bogo_ops.iter().find(|rate| rate.stressor == *stressor);
                let rate = rate.and_then(|rate| rate.per_second);
                Reading::or(rate, "stress-ng's file (--stress-ng-yaml) does not tell it")
            }
        }
    }
}

/// What is counted by hooks alone, and by those of which role: without them there is nothing to see, which is not nothing.
const ROLES: [(&str, &str); 5] = [
    ("pressure", "pressure"),
    ("stall", "stall"),
    ("relief", "relief"),
    ("fork_failures", "fork_failure"),
    ("alloc_failures", "alloc_failure"),
];

/// Why nothing can be told of what is at `path`, or of all that this is part of.
pub(super) fn missing<'a>(tracing: &'a Tracing, path: &str) -> Option<&'a str> {
    let is_part =
        |of: &str| path.strip_prefix(of).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    let told = tracing.missing.iter().find(|(of, _)| is_part(of) || path.ends_with(&format!(".{of}")));
    told.map(|(_, reason)| reason.as_str()).or_else(|| {
        let (_, role) = ROLES.iter().find(|(of, _)| is_part(of))?;
        let blind = !tracing.tier.is_empty() && tracing.hooks.get(*role).is_none_or(Vec::is_empty);
        blind.then_some("no hook in use shows it")
    })
}

impl Pressures {
    fn of(self, run: &Run) -> Latency {
        let chosen = run.waits(self.kinds).filter(|wait| self.whose.is_none_or(|whose| whose == wait.whose));
        Latency::merged(chosen.map(|wait| &wait.latency))
    }
}

impl Statistic {
    fn of(self, latency: &Latency) -> Reading {
        let of_some = |ns: Option<u64>| ns.map_or(Reading::OfNothing, |ns| Reading::Value(milliseconds(ns)));
        match self {
            Self::Count => Reading::Value(number(latency.count)),
            Self::Total => Reading::Value(milliseconds(latency.total_ns)),
            Self::Max => of_some(latency.max_ns),
            Self::Percentile(percent) => of_some(latency.percentile(percent)),
        }
    }
}

/// As far as a number of 64 bits is exact: 2^53.
#[expect(clippy::cast_precision_loss, reason = "what is beyond 2^53 needs no last digit")]
fn number(value: u64) -> f64 {
    value as f64
}

fn milliseconds(ns: u64) -> f64 {
    number(ns) / 1e6
}

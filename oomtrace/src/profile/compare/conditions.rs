//! What else is not the same in reports.

use std::collections::BTreeSet;

use super::Condition;
use crate::{profile::report::Report, words};

/// What a report says of something; `None`: nothing.
type Answer = fn(&Report) -> Option<String>;

/// What reports are asked, in this order.
const QUESTIONS: [(&str, Answer); 13] = [
    ("command", |report| Some(report.command.join(" "))),
    ("host", |report| told(&report.machine.host)),
    ("kernel", |report| told(&report.machine.kernel)),
    ("CPUs", |report| Some(report.machine.cpus.to_string())),
    // As people read it: the kernel takes a few pages more or less of the same memory.
    ("memory", |report| report.machine.memory_bytes.map(words::size)),
    ("swap", |report| report.machine.swap_bytes.map(words::size)),
    ("page size", |report| Some(words::size(report.machine.page_bytes.into()))),
    ("cgroup limit", |report| report.settings.cgroup_limit_bytes.map(words::size)),
    ("pids limit", |report| report.settings.pids_limit.map(|limit| limit.to_string())),
    ("cgroup version", |report| report.settings.cgroup_version.map(|version| version.to_string())),
    ("runs to warm up", |report| Some(report.settings.warmup.to_string())),
    ("tier", |report| told(&report.tracing.tier)),
    ("version of oomtrace", |report| told(&report.oomtrace)),
];

fn told(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// In what these differ.
pub fn differing(reports: &[&Report]) -> Vec<Condition> {
    let of = |what: &str, value: &dyn Fn(&Report) -> Option<String>| {
        let values: Vec<_> = reports.iter().map(|report| value(report)).collect();
        let differs = values.iter().any(|value| Some(value) != values.first());
        differs.then(|| Condition { what: what.to_owned(), values })
    };
    let asked = QUESTIONS.iter().filter_map(|(what, value)| of(what, value));
    let settings: BTreeSet<_> = reports.iter().flat_map(|report| report.machine.sysctls.keys()).collect();
    let settings =
        settings.into_iter().filter_map(|name| of(name, &|report| report.machine.sysctls.get(name).cloned()));
    asked.chain(settings).collect()
}

//! All that is measured, as families.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use super::{
    checked::Found,
    counts::{By, ByTwo, Counts},
    family::{Family, Kind, Labels, Sample, Unit, Value},
    histogram::Histogram,
    process,
};
use crate::{explain::Severity, output::Health};

/// What a program in the kernel costs.
#[derive(Clone, Debug, PartialEq)]
pub struct ProgramCost {
    /// Its name.
    pub program: String,
    /// How often it ran.
    pub runs: u64,
    /// How long, in all.
    pub run_time: std::time::Duration,
}

/// What happened, and what of it was lost.
#[must_use]
pub fn events(counts: &Counts) -> Vec<Family> {
    let counter = |name, help| Family::new(Kind::Counter, name, None, help);
    let two = |family: Family, second: &'static str, counts: &ByTwo| {
        counts.iter().fold(family, |family, ([scope, name], count)| {
            family.with([("scope", (*scope).into()), (second, (*name).into())], *count)
        })
    };
    let one = |family: Family, label, counts: &By| {
        family.by(label, counts.iter().map(|(name, count)| (*name, *count)))
    };
    let histogram = |name, help, histograms: &BTreeMap<&'static str, Histogram>| {
        let samples = histograms.iter().map(|(scope, one)| (*scope, Value::Histogram(one.clone())));
        Family::new(Kind::Histogram, name, Some(Unit::Seconds), help).by("scope", samples)
    };
    let mut workloads = counter(
        "oomtrace_workload_kills",
        "Processes that the OOM killer killed, by the container, systemd unit or cgroup that they were in.",
    );
    let samples = counts.workloads.samples().into_iter();
    workloads.samples = samples.map(|(labels, count)| Sample { labels, value: count.into() }).collect();
    vec![
        two(
            counter("oomtrace_incidents", "Runs of the OOM killer that came to a decision."),
            "outcome",
            &counts.incidents,
        ),
        two(
            counter(
                "oomtrace_recovered_incidents",
                "Incidents that were found in logs afterwards, and count nowhere else.",
            ),
            "outcome",
            &counts.recovered,
        ),
        two(counter("oomtrace_kills", "Processes that the OOM killer killed."), "verdict", &counts.kills),
        workloads,
        one(
            counter(
                "oomtrace_userspace_kills",
                "Processes that a daemon in user space killed for want of memory.",
            ),
            "killer",
            &counts.user_kills,
        ),
        one(
            counter("oomtrace_fork_failures", "Forks that failed, by what refused them."),
            "cause",
            &counts.fork_failures,
        ),
        one(
            counter("oomtrace_allocation_failures", "Allocations that failed though nobody was killed."),
            "kind",
            &counts.alloc_failures,
        ),
        histogram(
            "oomtrace_stall_seconds",
            "Time that who asked for memory spent in reclaim before the OOM killer decided.",
            &counts.stalls,
        ),
        histogram(
            "oomtrace_relief_seconds",
            "Time from a kill until the memory of the victim was free again.",
            &counts.reliefs,
        ),
        one(
            counter("oomtrace_relief_overdue", "Victims whose memory was not free 30 s after the kill."),
            "scope",
            &counts.overdue,
        ),
        one(
            counter(
                "oomtrace_lost_records",
                "What was lost before it reached any output, by the place of the loss.",
            ),
            "place",
            &counts.lost,
        ),
    ]
}

/// What is traced, and how.
#[must_use]
pub fn tracing(counts: &Counts) -> Vec<Family> {
    let armed = counts.armed.as_ref();
    let mut info = Family::new(
        Kind::Info,
        "oomtrace_tracing",
        None,
        "The hooks in use, and the kernel that they are in.",
    );
    if let Some(armed) = armed {
        let kernel = armed.kernel.clone().unwrap_or_default();
        info = info.with([("tier", armed.tier.name().into()), ("kernel", kernel.into())], 1_u64);
    }
    vec![
        Family::new(Kind::Info, "oomtrace_build", None, "This oomtrace.")
            .with([("version", env!("CARGO_PKG_VERSION").into())], 1_u64),
        info,
        Family::new(Kind::Gauge, "oomtrace_armed", None, "Whether tracing goes on: 1, or 0.")
            .only(Some(armed.is_some_and(|armed| armed.now))),
        Family::new(
            Kind::Gauge,
            "oomtrace_hooks",
            None,
            "Hooks in the kernel by what they are for; 0: that is not seen.",
        )
        .by("role", armed.into_iter().flat_map(|armed| &armed.hooks).map(|(role, hooks)| (*role, *hooks))),
    ]
}

/// How outputs are doing. Two of one name count together.
#[must_use]
pub fn outputs(healths: &[Arc<Health>]) -> Vec<Family> {
    let by = |read: fn(&Health) -> u64| {
        let mut sums = By::new();
        for health in healths {
            let sum = sums.entry(health.name()).or_default();
            *sum = sum.saturating_add(read(health));
        }
        sums
    };
    let family = |kind, name, help, read| Family::new(kind, name, None, help).by("output", by(read));
    vec![
        family(
            Kind::Counter,
            "oomtrace_output_messages",
            "Messages that an output wrote.",
            Health::messages_written,
        ),
        family(
            Kind::Counter,
            "oomtrace_output_lost_messages",
            "Messages that an output never will write.",
            Health::messages_lost,
        ),
        family(
            Kind::Counter,
            "oomtrace_output_failures",
            "How often an output could not write.",
            Health::failures,
        ),
        family(
            Kind::Gauge,
            "oomtrace_output_failing",
            "Whether an output cannot write just now: 1, or 0.",
            |health| health.failing().is_some().into(),
        ),
    ]
}

/// What programs in the kernel cost, where that is counted.
#[must_use]
pub fn programs(costs: Option<Vec<ProgramCost>>) -> Vec<Family> {
    let mut sums: BTreeMap<String, (u64, f64)> = BTreeMap::new();
    for cost in costs.into_iter().flatten() {
        let (runs, seconds) = sums.entry(cost.program).or_default();
        *runs = runs.saturating_add(cost.runs);
        *seconds += cost.run_time.as_secs_f64();
    }
    vec![
        Family::new(
            Kind::Counter,
            "oomtrace_bpf_run_seconds",
            Some(Unit::Seconds),
            "Time in oomtrace's programs in the kernel; there only while kernel.bpf_stats_enabled is 1.",
        )
        .by("program", sums.iter().map(|(program, (_, seconds))| (program.clone(), *seconds))),
        Family::new(
            Kind::Counter,
            "oomtrace_bpf_runs",
            None,
            "Runs of oomtrace's programs in the kernel; there only while kernel.bpf_stats_enabled is 1.",
        )
        .by("program", sums.iter().map(|(program, (runs, _))| (program.clone(), *runs))),
    ]
}

/// What there is to mend.
#[must_use]
pub fn check(found: Option<&Found>) -> Vec<Family> {
    let mut findings = Family::new(
        Kind::Gauge,
        "oomtrace_check_finding",
        None,
        "Findings of `oomtrace check`, by id; what is not found has none.",
    );
    for finding in found.into_iter().flat_map(|found| &found.findings) {
        let labels =
            Labels::from([("id", finding.id.into()), ("severity", severity(finding.severity).into())]);
        findings.samples.push(Sample { labels, value: finding.count.into() });
    }
    vec![
        findings,
        Family::new(
            Kind::Gauge,
            "oomtrace_check_time_seconds",
            Some(Unit::Seconds),
            "When the machine was last checked, in seconds since 1970.",
        )
        .only(found.map(|found| found.at_seconds)),
    ]
}

/// What the agent itself costs.
#[must_use]
pub fn own_cost() -> Vec<Family> {
    process::families(Path::new("/proc/self"))
}

fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "critical",
        Severity::Warning => "warning",
        Severity::Notice => "notice",
    }
}

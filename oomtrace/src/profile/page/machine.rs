//! Where it ran, what it was given, how it was watched, and what that took.

use std::collections::BTreeMap;

use super::{
    html::{Element, classed, element},
    table::{Cell, figures, long, table, texts},
};
use crate::{
    profile::{
        digest::{self, plural},
        report::{Report, Run},
    },
    words::{duration, size},
};

/// Rows of a table, at the most.
const MOST: usize = 300;

/// The page's last section.
pub(super) fn machine(report: &Report) -> Element {
    let parts = [
        Some(list("Machine", of_machine(report))),
        Some(list("Given", given(report))),
        Some(list("Watched", watched(report))),
        pairs("Settings of the kernel", ["name", "value"], &report.machine.sysctls),
        pairs("What could not be seen, and why", ["what", "why"], &report.tracing.missing),
        hooks(report),
    ];
    classed("div", "columns").children(parts.into_iter().flatten())
}

fn list(title: &'static str, facts: Vec<(&'static str, String)>) -> Element {
    let of =
        |(name, value): (&'static str, String)| [element("dt").text(name), element("dd").child(long(&value))];
    let list = classed("dl", "facts").children(facts.into_iter().flat_map(of));
    classed("section", "part").child(element("h3").text(title)).child(list)
}

fn pairs(title: &'static str, heads: [&'static str; 2], map: &BTreeMap<String, String>) -> Option<Element> {
    let rows = map.iter().map(|(name, value)| vec![Cell::long(Some(name)), Cell::wrapped(value)]);
    let table = table(&heads.map(texts), rows.collect(), MOST)?;
    Some(classed("section", "part").child(element("h3").text(title)).child(table))
}

fn of_machine(report: &Report) -> Vec<(&'static str, String)> {
    let machine = &report.machine;
    let mut facts = vec![
        ("host", machine.host.clone()),
        ("kernel", machine.kernel.clone()),
        ("CPUs", machine.cpus.to_string()),
    ];
    facts.extend(machine.memory_bytes.map(|bytes| ("memory", size(bytes))));
    facts.extend(
        machine.swap_bytes.map(|bytes| ("swap", if bytes == 0 { "none".to_owned() } else { size(bytes) })),
    );
    if machine.page_bytes > 0 {
        facts.push(("page", size(machine.page_bytes.into())));
    }
    facts
}

fn given(report: &Report) -> Vec<(&'static str, String)> {
    let settings = &report.settings;
    let mut facts = vec![("command", digest::command_line(report))];
    facts.extend(settings.cgroup_limit_bytes.map(|bytes| ("limit of memory", size(bytes))));
    facts.extend(settings.pids_limit.map(|most| ("limit of processes", digest::number(most))));
    let own = settings.cgroup_version.map_or_else(|| "none".to_owned(), |version| format!("v{version}"));
    facts.push(("cgroup of its own", own));
    if settings.warmup > 0 {
        facts.push(("runs to warm up", settings.warmup.to_string()));
    }
    let samples = match settings.sample_interval_ns {
        0 => "none were taken".to_owned(),
        ns => format!("every {} at first", duration(ns)),
    };
    facts.push(("samples", samples));
    facts
}

fn watched(report: &Report) -> Vec<(&'static str, String)> {
    let tier = Some(report.tracing.tier.clone()).filter(|tier| !tier.is_empty());
    vec![
        ("by", format!("oomtrace {}", report.oomtrace)),
        ("tier", tier.unwrap_or_else(|| "not known".to_owned())),
    ]
}

fn hooks(report: &Report) -> Option<Element> {
    let rows = report.tracing.hooks.iter().map(|(role, hooks)| {
        let hooks = if hooks.is_empty() { "none".to_owned() } else { hooks.join(", ") };
        vec![Cell::long(Some(role)), Cell::wrapped(&hooks)]
    });
    let table = table(&[texts("role"), texts("hooks")], rows.collect(), MOST)?;
    Some(classed("section", "part").child(element("h3").text("Hooks")).child(table))
}

/// What oomtrace took, and what the kernel counted, of a run.
pub(super) fn accounts(run: &Run) -> Element {
    let cost = classed("section", "part")
        .child(element("h3").text("What oomtrace itself took"))
        .child(element("p").text(format!("{}.", digest::cost(run))))
        .children(costs(run));
    let counted = run.counters.0.iter().filter(|(_, count)| **count > 0);
    let rows = counted.map(|(name, count)| vec![Cell::long(Some(name)), Cell::count(*count)]);
    let counters = table(&[texts("counter"), figures("difference")], rows.collect(), MOST);
    let counters = counters.map(|table| {
        classed("section", "part")
            .child(element("h3").text("What the kernel counted (/proc/vmstat)"))
            .child(table)
    });
    classed("div", "columns").child(cost).children(of_cgroup(run)).children(counters)
}

fn costs(run: &Run) -> Vec<Element> {
    let cost = &run.cost;
    let mut said = Vec::new();
    if cost.sampling_cpu_ns > 0 {
        said.push(format!("Of that CPU time {} went to samples.", duration(cost.sampling_cpu_ns)));
    }
    if cost.programs_ns.is_none() {
        said.push(
            "Time in the kernel's half is not in it: it is counted while kernel.bpf_stats_enabled is 1."
                .to_owned(),
        );
    }
    said.extend(
        cost.lost
            .iter()
            .take(16)
            .map(|(place, count)| format!("Lost at {place}: {}.", plural(*count, "record", "records"))),
    );
    said.iter().map(|text| classed("p", "quiet").text(text)).collect()
}

fn of_cgroup(run: &Run) -> Vec<Element> {
    let mut parts = Vec::new();
    let mut waits = Vec::new();
    if let Some(psi) = run.psi {
        waits.push(("machine: some waited", duration(psi.some_ns)));
        waits.push(("machine: all waited", duration(psi.full_ns)));
    }
    if let Some(psi) = run.cgroup.as_ref().and_then(|cgroup| cgroup.psi) {
        waits.push(("its cgroup: some waited", duration(psi.some_ns)));
        waits.push(("its cgroup: all waited", duration(psi.full_ns)));
    }
    if let Some(kswapd) = run.kswapd {
        waits.push(("kswapd: CPU time", duration(kswapd.cpu_ns)));
        waits.push(("kswapd: looked at", size(kswapd.scanned_bytes)));
        waits.push(("kswapd: freed", size(kswapd.reclaimed_bytes)));
    }
    if !waits.is_empty() {
        parts.push(list("Pressure (PSI) and kswapd", waits));
    }
    if let Some(cgroup) = &run.cgroup {
        let mut rows = vec![("path", cgroup.path.clone())];
        rows.extend(cgroup.most_pids.map(|most| ("processes at once", digest::number(most))));
        parts.push(list("Its cgroup", rows));
        let events =
            cgroup.events.iter().map(|(name, count)| vec![Cell::long(Some(name)), Cell::count(*count)]);
        parts.extend(table(&[texts("event of the cgroup"), figures("count")], events.collect(), MOST));
    }
    parts
}

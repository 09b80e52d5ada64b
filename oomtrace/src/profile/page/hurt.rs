//! Who was hit, by name: victims, forks, allocations, waits, and what stress-ng says of its stressors.

use super::{
    histogram::kind,
    html::{Element, classed, element},
    table::{Cell, Head, figures, latency, latency_heads, table, texts},
};
use crate::profile::{
    digest::number,
    report::{BogoOps, FindingCount, Run, Whose},
};

/// Rows of a table, at the most.
const MOST: usize = 200;
/// Findings, at the most: there are fewer rules.
const MOST_FINDINGS: usize = 64;

/// With a headline.
fn section(title: &'static str, content: Option<Element>) -> Option<Element> {
    Some(classed("section", "part").child(element("h3").text(title)).child(content?))
}

/// All that a run has of these.
pub(super) fn sections(run: &Run) -> Vec<Element> {
    let by_name = victims_by_name(run);
    let victims = [by_name, victims(run)].into_iter().flatten();
    let victims: Vec<_> = victims.collect();
    let victims = (!victims.is_empty()).then(|| element("div").children(victims));
    [
        section("What to do", findings(&run.findings)),
        section("Victims", victims),
        section("Failed forks", fork_failures(run)),
        section("Failed allocations", alloc_failures(run)),
        section("Waits by name", pressure(run)),
        section("stress-ng's own account", bogo_ops(run)),
        section("Memory by name", stressors(run)),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// What it comes to.
fn findings(findings: &[FindingCount]) -> Option<Element> {
    let of = |finding: &FindingCount| {
        let class = match finding.severity.as_str() {
            "critical" => "finding critical",
            "warning" => "finding warning",
            _ => "finding",
        };
        let fixes = finding.fixes.iter().map(|fix| element("li").text(clipped(fix)));
        let times = if finding.count > 1 { format!(" ×{}", number(finding.count)) } else { String::new() };
        classed("li", class)
            .child(
                element("p")
                    .child(classed("span", "badge").text(&finding.severity))
                    .text(" ")
                    .child(element("span").text(clipped(&finding.summary))),
            )
            .child(element("ul").children(fixes.take(8)))
            .child(classed("p", "quiet").child(element("code").text(clipped(&finding.id))).text(times))
    };
    let shown = findings.iter().take(MOST_FINDINGS).map(of);
    (!findings.is_empty()).then(|| classed("ul", "findings").children(shown))
}

/// Letters of a sentence, at the most.
const MOST_LETTERS: usize = 1200;

fn clipped(text: &str) -> String {
    match text.char_indices().nth(MOST_LETTERS) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or(text)),
        None => text.to_owned(),
    }
}

fn victims_by_name(run: &Run) -> Option<Element> {
    let heads = [
        texts("name"),
        texts("whose"),
        figures("kills"),
        figures("largest"),
        figures("first at"),
        figures("last at"),
    ];
    // Each is a row of the table of victims already.
    if run.victims_by_name.iter().all(|name| name.kills <= 1) && !run.victims.is_empty() {
        return None;
    }
    let rows = run.victims_by_name.iter().map(|name| {
        vec![
            Cell::name(name.comm.as_deref(), name.whose),
            Cell::whose(name.whose),
            Cell::count(name.kills),
            Cell::bytes(name.largest_rss_bytes),
            Cell::time(Some(name.first_at_ns)),
            Cell::time(Some(name.last_at_ns)),
        ]
    });
    table(&heads, rows.collect(), MOST)
}

fn victims(run: &Run) -> Option<Element> {
    let heads = [
        figures("at"),
        texts("name"),
        texts("whose"),
        figures("pid"),
        figures("memory"),
        figures("swap"),
        figures("adj"),
        texts("verdict"),
        texts("what ran out"),
        texts("asked for by"),
        figures("stalled"),
        figures("freed after"),
        texts("cgroup"),
        texts("command line"),
    ];
    let rows = run.victims.iter().map(|victim| {
        let adj = victim.oom_score_adj;
        let ran_out = match &victim.scope_path {
            Some(path) => Cell::path(Some(path)),
            None => Cell::long(Some(&victim.scope)),
        };
        // Whose it was matters where it was none of the command's own.
        let asked = victim.trigger_comm.as_deref().map(|comm| match victim.trigger_whose {
            Whose::Bystander => format!("{comm} (bystander)"),
            Whose::Own | Whose::Unknown => comm.to_owned(),
        });
        vec![
            Cell::time(Some(victim.at_ns)),
            Cell::long(Some(victim.comm.as_deref().unwrap_or("?"))),
            Cell::whose(victim.whose),
            victim.pid.map_or_else(Cell::absent, |pid| Cell::figure(pid.into(), pid.to_string())),
            Cell::bytes(victim.rss_bytes),
            Cell::bytes(victim.swap_bytes.filter(|bytes| *bytes > 0)),
            adj.map_or_else(Cell::absent, |adj| Cell::signed(adj.into())),
            Cell::long(victim.verdict.as_deref().map(words).as_deref()),
            ran_out,
            Cell::long(asked.as_deref()),
            Cell::time(victim.stall_ns),
            Cell::time(victim.freed_ns),
            Cell::path(victim.cgroup.as_deref().filter(|path| Some(*path) != victim.scope_path.as_deref())),
            Cell::long(victim.cmdline.as_deref()),
        ]
    });
    table(&heads, rows.collect(), MOST)
}

/// A word of the report's, for people.
fn words(word: &str) -> String {
    clipped(&word.replace('_', " "))
}

fn fork_failures(run: &Run) -> Option<Element> {
    let heads = [
        texts("cause"),
        texts("name"),
        texts("whose"),
        figures("failed"),
        texts("error"),
        figures("limit"),
        texts("limit at"),
        figures("first at"),
        figures("last at"),
    ];
    let rows = run.fork_failures.iter().map(|failure| {
        vec![
            Cell::long(Some(&words(&failure.cause))),
            Cell::name(failure.comm.as_deref(), failure.whose),
            Cell::whose(failure.whose),
            Cell::count(failure.count),
            Cell::long(failure.errno_name.as_deref()),
            failure.limit.map_or_else(Cell::absent, Cell::count),
            Cell::path(failure.limit_at.as_deref()),
            Cell::time(Some(failure.first_at_ns)),
            Cell::time(Some(failure.last_at_ns)),
        ]
    });
    table(&heads, rows.collect(), MOST)
}

fn alloc_failures(run: &Run) -> Option<Element> {
    let heads = [texts("what"), texts("name"), texts("whose"), figures("failed")];
    let rows = run.alloc_failures.iter().map(|failure| {
        vec![
            Cell::long(Some(&words(&failure.what))),
            Cell::name(failure.comm.as_deref(), failure.whose),
            Cell::whose(failure.whose),
            Cell::count(failure.count),
        ]
    });
    table(&heads, rows.collect(), MOST)
}

fn pressure(run: &Run) -> Option<Element> {
    let heads: Vec<Head> = [texts("name"), texts("whose"), texts("waited in")]
        .into_iter()
        .chain(latency_heads())
        .chain([figures("freed")])
        .collect();
    let rows = run.pressure.iter().map(|pressure| {
        let named = [
            Cell::name(pressure.comm.as_deref(), pressure.whose),
            if pressure.is_kcompactd() { Cell::quiet("kernel") } else { Cell::whose(pressure.whose) },
            Cell::text(kind(pressure.kind)),
        ];
        named
            .into_iter()
            .chain(latency(&pressure.latency))
            .chain([Cell::bytes(pressure.reclaimed_bytes)])
            .collect()
    });
    table(&heads, rows.collect(), MOST)
}

/// Letters of a process's name (TASK_COMM_LEN is 16, with the NUL: include/linux/sched.h).
const COMM: usize = 15;

/// What a stressor of stress-ng calls its processes.
fn comm_of(stressor: &str) -> String {
    format!("stress-ng-{stressor}").chars().take(COMM).collect()
}

fn bogo_ops(run: &Run) -> Option<Element> {
    let heads = [
        texts("stressor"),
        figures("bogo-ops"),
        figures("a second"),
        figures("wall clock"),
        figures("CPU time"),
        figures("killed"),
        figures("failed forks"),
        figures("peak memory"),
    ];
    let row = |ops: &BogoOps| {
        let comm = comm_of(&ops.stressor);
        let own = |whose: Whose, name: Option<&str>| whose != Whose::Bystander && name == Some(comm.as_str());
        let kills = run.victims_by_name.iter().filter(|name| own(name.whose, name.comm.as_deref()));
        let forks = run.fork_failures.iter().filter(|name| own(name.whose, name.comm.as_deref()));
        let memory = run.stressors.iter().find(|stressor| stressor.comm == comm);
        let sum = |counts: &mut dyn Iterator<Item = u64>| counts.fold(0_u64, u64::saturating_add);
        vec![
            Cell::long(Some(&ops.stressor)),
            Cell::count(ops.bogo_ops),
            ops.per_second.map_or_else(Cell::absent, Cell::rate),
            Cell::time(ops.wall_ns),
            Cell::time(ops.cpu_ns),
            Cell::count(sum(&mut kills.map(|name| name.kills))),
            Cell::count(sum(&mut forks.map(|name| name.count))),
            Cell::bytes(memory.map(|memory| memory.peak_rss_bytes)),
        ]
    };
    table(&heads, run.bogo_ops.iter().map(row).collect(), MOST)
}

fn stressors(run: &Run) -> Option<Element> {
    let heads = [texts("name"), figures("peak resident"), figures("peak swap"), figures("processes at once")];
    let rows = run.stressors.iter().map(|stressor| {
        vec![
            Cell::long(Some(&stressor.comm)),
            Cell::bytes(Some(stressor.peak_rss_bytes)),
            Cell::bytes(Some(stressor.peak_swap_bytes).filter(|bytes| *bytes > 0)),
            Cell::count(stressor.most_processes),
        ]
    });
    table(&heads, rows.collect(), MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the kills beside stress-ng's figures: its processes' names are cut by the kernel.
    #[test]
    fn names_of_stressors_are_cut_as_the_kernel_does() {
        assert_eq!(comm_of("vm"), "stress-ng-vm");
        assert_eq!(comm_of("bigheap"), "stress-ng-bighe");
        assert_eq!(comm_of("bigheap").len(), COMM);
    }
}

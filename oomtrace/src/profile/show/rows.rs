//! What the rows of a summary say, of one run or of all.

use std::collections::BTreeMap;

use crate::{
    profile::{
        digest::{number, plural},
        report::{Latency, PressureKind, Run, Whose},
    },
    text::printable,
    words::{duration, size, span},
};

/// Names in a row, at the most: the report has the others.
const SHOWN: usize = 4;

/// The first few, and how many there are beside these.
fn few(mut shown: Vec<String>, most: usize) -> Option<String> {
    let more = shown.len().saturating_sub(most);
    shown.truncate(most);
    if more > 0 {
        shown.push(format!("{more} more"));
    }
    (!shown.is_empty()).then(|| shown.join(" · "))
}

fn name(comm: Option<&str>) -> String {
    comm.map_or_else(|| "others".to_owned(), printable)
}

/// Victims by name, of those whose they were: the most first.
pub(super) fn victims(runs: &[Run], whose: Whose) -> Option<String> {
    #[derive(Default)]
    struct Of {
        kills: u64,
        largest: Option<u64>,
        first_ns: Option<u64>,
    }
    let mut names = BTreeMap::<Option<&str>, Of>::new();
    for count in runs.iter().flat_map(|run| &run.victims_by_name).filter(|count| count.whose == whose) {
        let of = names.entry(count.comm.as_deref()).or_default();
        of.kills = of.kills.saturating_add(count.kills);
        of.largest = of.largest.max(count.largest_rss_bytes);
        of.first_ns = Some(of.first_ns.map_or(count.first_at_ns, |first| first.min(count.first_at_ns)));
    }
    let mut names: Vec<_> = names.into_iter().collect();
    names.sort_by_key(|(_, of)| std::cmp::Reverse(of.kills));
    let one = runs.len() == 1;
    let tell = |(comm, of): &(Option<&str>, Of)| {
        let times = if of.kills > 1 { format!(" ×{}", number(of.kills)) } else { String::new() };
        let largest = of
            .largest
            .map(|bytes| if of.kills > 1 { format!("largest {}", size(bytes)) } else { size(bytes) });
        let first = of.first_ns.filter(|_| one).map(|ns| {
            if of.kills > 1 { format!("first at {}", duration(ns)) } else { format!("at {}", duration(ns)) }
        });
        let about: Vec<_> = largest.into_iter().chain(first).collect();
        let about = if about.is_empty() { String::new() } else { format!(" ({})", about.join(", ")) };
        format!("{}{times}{about}", name(*comm))
    };
    few(names.iter().map(tell).collect(), SHOWN)
}

/// Forks that failed, by cause.
pub(super) fn forks(runs: &[Run]) -> Option<String> {
    #[derive(Default)]
    struct Of<'a> {
        count: u64,
        bystanders: u64,
        /// The first name.
        comm: Option<&'a str>,
    }
    let failures = || runs.iter().flat_map(|run| &run.fork_failures);
    let all = failures().fold(0_u64, |sum, failure| sum.saturating_add(failure.count));
    let mut causes = BTreeMap::<(&str, Option<u64>), Of<'_>>::new();
    for failure in failures() {
        let of = causes.entry((&failure.cause, failure.limit)).or_default();
        of.count = of.count.saturating_add(failure.count);
        if failure.whose == Whose::Bystander {
            of.bystanders = of.bystanders.saturating_add(failure.count);
        }
        of.comm = of.comm.or(failure.comm.as_deref());
    }
    let mut causes: Vec<_> = causes.into_iter().collect();
    causes.sort_by_key(|(_, of)| std::cmp::Reverse(of.count));
    let tell = |((cause, limit), of): ((&str, Option<u64>), Of<'_>)| {
        let limit = limit.map_or_else(String::new, |limit| format!(" ({})", number(limit)));
        let who = of.comm.map_or_else(String::new, |comm| format!(", {}", printable(comm)));
        let bystanders = match of.bystanders {
            0 => String::new(),
            count => format!(", {} of bystanders", number(count)),
        };
        (number(of.count), format!("by {}{limit}{who}{bystanders}", printable(cause)))
    };
    let causes: Vec<_> = causes.into_iter().map(tell).collect();
    if let [(count, cause)] = &causes[..] {
        return Some(format!("{count} failed {cause}"));
    }
    let causes = few(causes.into_iter().map(|(count, cause)| format!("{count} {cause}")).collect(), SHOWN)?;
    Some(format!("{} failed: {causes}", number(all)))
}

/// Allocations that failed.
pub(super) fn allocations(runs: &[Run]) -> Option<String> {
    let mut kinds = BTreeMap::<&str, u64>::new();
    let mut all = 0_u64;
    for failure in runs.iter().flat_map(|run| &run.alloc_failures) {
        all = all.saturating_add(failure.count);
        let count = kinds.entry(&failure.what).or_default();
        *count = count.saturating_add(failure.count);
    }
    let tell =
        |(what, count): (&str, u64)| format!("{} {}", printable(&what.replace('_', " ")), number(count));
    few(kinds.into_iter().map(tell).collect(), SHOWN).map(|kinds| format!("{} failed: {kinds}", number(all)))
}

/// As in "12 waits: p50 12 µs, p99 1.2 ms, longest 214 ms, 3.2 s in all".
pub(super) fn latency(latency: &Latency, one: &str, several: &str) -> Option<String> {
    let (p50, p99, most) = (latency.p50_ns?, latency.p99_ns?, latency.max_ns?);
    // One has no percentiles.
    if latency.count == 1 {
        return Some(format!("{}: {}", plural(1, one, several), duration(most)));
    }
    Some(format!(
        "{}: p50 {}, p99 {}, longest {}, {} in all",
        plural(latency.count, one, several),
        duration(p50),
        duration(p99),
        duration(most),
        span(latency.total_ns)
    ))
}

/// Waits of these kinds, of all runs.
pub(super) fn waits(runs: &[Run], kinds: &[PressureKind], whose: Option<Whose>) -> Latency {
    let chosen = runs.iter().flat_map(|run| run.waits(kinds));
    let chosen = chosen.filter(|one| whose.is_none_or(|whose| one.whose == whose));
    Latency::merged(chosen.map(|one| &one.latency))
}

/// What was swapped and read anew, of the whole machine, if anything was.
pub(super) fn paging(runs: &[Run], page_bytes: u32) -> Option<String> {
    let sum = |name: &str| {
        runs.iter()
            .filter_map(|run| run.counters.0.get(name))
            .fold(0_u64, |sum, count| sum.saturating_add(*count))
    };
    let bytes = |name| sum(name).saturating_mul(page_bytes.into());
    let mut said = Vec::new();
    for (name, words) in [("pswpout", "swapped out"), ("pswpin", "swapped in")] {
        if bytes(name) > 0 {
            said.push(format!("{} {words}", size(bytes(name))));
        }
    }
    let faults = sum("pgmajfault");
    if faults > 0 {
        said.push(plural(faults, "major fault", "major faults"));
    }
    (!said.is_empty()).then(|| said.join(" · "))
}

/// What stress-ng says, of the first run: of several they are in the page.
pub(super) fn bogo_ops(runs: &[Run]) -> Option<String> {
    let [run] = runs else { return None };
    let tell = |ops: &crate::profile::report::BogoOps| {
        let rate = ops.per_second.map_or_else(String::new, |rate| {
            format!(" ({})", crate::profile::digest::figure(rate, crate::profile::measure::Unit::PerSecond))
        });
        format!("{} {}{rate}", printable(&ops.stressor), number(ops.bogo_ops))
    };
    few(run.bogo_ops.iter().map(tell).collect(), 6)
}

//! Whether the counts agree: no incident is missing, none is invented.

use std::collections::BTreeSet;

use crate::checks::Checks;
use crate::eater::Facts;
use crate::watch::Seen;

/// Reconciles the log, the machine's counter, the cgroups' counters and oomtrace's incidents. `eaters` are all
/// that the scenario started.
pub fn counts(checks: &mut Checks, seen: &Seen, eaters: &[&Facts]) {
    checks.that(!seen.log_overrun, || "the kernel log was overwritten before it could be read".to_owned());
    let lines: u64 = seen.log.iter().map(|oom| oom.kills.len() as u64).sum();
    checks.equal("the log's kills", Some(lines), Some(seen.oom_kills), "/proc/vmstat");
    for eater in eaters {
        cgroup(checks, seen, eater, eaters);
    }
    if let Some(traced) = &seen.traced {
        let killing = seen.log.iter().filter(|oom| !oom.kills.is_empty());
        let logged = killing.map(|oom| oom.kills.iter().map(|kill| kill.pid).collect());
        let incidents = traced.incidents.iter().map(|incident| &incident.fields);
        let killing = incidents.filter(|incident| incident.outcome.as_deref() != Some("no_victim"));
        let reported = killing
            .map(|incident| &incident.victims)
            .map(|victims| victims.iter().filter(|it| it.is_logged()).filter_map(|it| it.tid).collect())
            .filter(|tids: &BTreeSet<u64>| !tids.is_empty());
        checks.equal("the victims of each incident", Some(sorted(reported)), Some(sorted(logged)), "the log");
    }
}

/// Compares the counter of an eater's cgroup, which is new, with the log's kills in it.
fn cgroup(checks: &mut Checks, seen: &Seen, eater: &Facts, eaters: &[&Facts]) {
    let Some(cgroup) = &eater.cgroup else { return };
    let inside: Vec<u64> = eaters
        .iter()
        .filter(|other| other.cgroup.as_ref() == Some(cgroup))
        .map(|other| other.pid())
        .collect();
    let kills =
        seen.log.iter().flat_map(|oom| &oom.kills).filter(|kill| inside.contains(&kill.pid)).count() as u64;
    match cgroup.oom_kills() {
        Ok(counted) => {
            checks.equal("the log's kills in the cgroup", Some(kills), Some(counted), "its counter");
        }
        Err(error) => checks.fail(format!("the kills in {} cannot be counted: {error:#}", cgroup.path)),
    }
}

/// Sets of victims in an order of their own: two cgroups' incidents may close in another order than they began.
fn sorted(incidents: impl Iterator<Item = BTreeSet<u64>>) -> Vec<BTreeSet<u64>> {
    let mut incidents: Vec<_> = incidents.collect();
    incidents.sort();
    incidents
}

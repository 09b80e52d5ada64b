//! What every incident carries: where, when, by which means.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use super::Case;
use crate::checks::Checks;
use crate::incident::Incident;

/// How far the wall clock may have been set while the scenario ran.
const CLOCK_STEP: Duration = Duration::from_secs(1);

/// Checks the envelope of one incident.
pub(super) fn check(checks: &mut Checks, case: &Case<'_>) {
    let (fields, machine) = (&case.incident.fields, case.machine);
    let expected = [
        ("schema", &fields.schema, "oomtrace/1"),
        ("source", &fields.source, "ebpf"),
        ("host", &fields.host, machine.host.as_str()),
        ("boot_id", &fields.boot_id, machine.boot_id.as_str()),
        ("kernel", &fields.kernel, machine.kernel.as_str()),
        ("outcome", &fields.outcome, "killed"),
    ];
    for (what, ours, expected) in expected {
        checks.equal(what, ours.as_deref(), Some(expected), "the machine");
    }
    if let Some(tier) = case.tier.filter(|tier| *tier != "auto") {
        checks.equal("tier", fields.tier.as_deref(), Some(tier), "the command line");
    }
    checks.equal("lost_records", fields.lost_records, Some(0), "the contract");

    let (began, ended) = case.seen.window;
    checks.that(fields.boot_ns.is_some_and(|at| (began.boot_ns..=ended.boot_ns).contains(&at)), || {
        format!("boot_ns {:?} is not between {} and {}", fields.boot_ns, began.boot_ns, ended.boot_ns)
    });
    checks.that(time_is_between(fields.time.as_deref(), (began.wall, ended.wall), CLOCK_STEP), || {
        format!("time {:?} is not between {:?} and {:?}", fields.time, began.wall, ended.wall)
    });
}

/// Checks that the incidents of one run can be told apart and are in order.
pub fn sequence(checks: &mut Checks, incidents: &[Incident]) {
    let ids: BTreeSet<_> = incidents.iter().filter_map(|incident| incident.fields.id.as_ref()).collect();
    checks.equal("distinct ids", Some(ids.len()), Some(incidents.len()), "the count of incidents");
    let numbers: Vec<_> = incidents.iter().map(|incident| incident.fields.seq).collect();
    checks.that(numbers.is_sorted_by(|one, next| one.is_some() && one < next), || {
        format!("the sequence numbers {numbers:?} do not rise")
    });
}

/// Whether an RFC 3339 time lies in a window, give or take `slack`.
pub(super) fn time_is_between(time: Option<&str>, window: (SystemTime, SystemTime), slack: Duration) -> bool {
    let time = time.and_then(|time| humantime::parse_rfc3339(time).ok());
    time.is_some_and(|time| window.0 - slack <= time && time <= window.1 + slack)
}

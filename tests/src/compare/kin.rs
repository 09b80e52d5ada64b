//! Whose child a task is, and its pid in its own namespace.

use crate::checks::Checks;
use crate::eater::Facts;
use crate::incident::Ancestor;

/// As many ancestors are told.
const MOST: usize = 8;

/// Checks what is told of the kin of an eater against /proc.
pub(super) fn check(
    checks: &mut Checks,
    (what, eater): (&str, &Facts),
    ns_pid: Option<u64>,
    told: Option<&[Ancestor]>,
) {
    let before = &eater.before;
    checks.equal(&format!("{what}ns_pid"), ns_pid, Some(before.ns_pid), "/proc");
    let told = told.map(|told| {
        told.iter()
            .map(|ancestor| (ancestor.pid.unwrap_or(0), ancestor.comm.clone().unwrap_or_default()))
            .collect::<Vec<_>>()
    });
    let ancestors = before.ancestors.iter().take(MOST).cloned().collect();
    checks.equal(&format!("{what}ancestors"), told, Some(ancestors), "/proc");
}

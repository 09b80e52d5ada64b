//! How long it hurt before.

use std::collections::BTreeMap;

use super::types::{Cause, Stall};
use crate::record::Mark;

/// The trigger's stall; why there is none goes to `missing`.
pub(super) fn of(
    first: Option<&Mark>,
    cause: Option<Cause>,
    missing: &mut BTreeMap<String, String>,
) -> Option<Stall> {
    // The kworker that sysrq has kill may have reclaimed before, for somebody else.
    let sysrq = cause == Some(Cause::Sysrq);
    // Of a group, the first kill ends the stall.
    let reason = match first.and_then(|mark| mark.stall) {
        _ if sysrq => "nobody asked for memory: sysrq asked for a kill",
        Some(stall) if stall.unseen == 0 => {
            return Some(Stall { rounds: stall.rounds, duration_ns: stall.spent_ns });
        }
        Some(_) => {
            "part of it may have gone unseen: the program was at work for another thread on that processor"
        }
        _ => "the trigger was not seen to reclaim before",
    };
    missing.entry("stall".to_owned()).or_insert_with(|| reason.to_owned());
    None
}

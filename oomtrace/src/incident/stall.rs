//! How long it hurt before.

use std::collections::BTreeMap;

use super::types::Stall;
use crate::record::{self, Decision};

/// `oom_control.order` of a kill by sysrq (`moom_callback()`, drivers/tty/sysrq.c).
const SYSRQ: i32 = -1;

/// The trigger's stall; why there is none goes to `missing`.
pub(super) fn of(
    stall: Option<record::Stall>,
    decision: Option<&Decision>,
    missing: &mut BTreeMap<String, String>,
) -> Option<Stall> {
    // The kworker that sysrq has kill may have reclaimed before, for somebody else.
    let sysrq = decision.is_some_and(|decision| decision.order == Some(SYSRQ));
    let reason = match stall {
        Some(stall) if !sysrq => {
            return Some(Stall { rounds: stall.rounds, duration_ns: stall.spent_ns });
        }
        _ if sysrq => "nobody asked for memory: sysrq asked for a kill",
        _ => "the trigger was not seen to reclaim before",
    };
    missing.entry("stall".to_owned()).or_insert_with(|| reason.to_owned());
    None
}

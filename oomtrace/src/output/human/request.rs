//! What was asked for, and what it took to decide.

use std::fmt::Write as _;

use super::{
    SHOWN_CANDIDATES,
    task::place,
    words::{duration, grouped, name, who},
};
use crate::{
    incident::{Cause, Incident},
    kernel::hooks::Tier,
};

/// Who asked for memory, and for what; `None`: a log has nothing of it.
pub(super) fn asked(incident: &Incident) -> Option<String> {
    let trigger = &incident.trigger;
    if trigger.comm.is_none() && trigger.tid.is_none() && incident.common.tier == Tier::Kmsg {
        return None;
    }
    let first = incident.victims.first();
    let mut text = if trigger.pid.is_some() && first.is_some_and(|victim| victim.pid == trigger.pid) {
        "the victim itself".to_owned()
    } else {
        format!("{} ({})", name(trigger.comm.as_deref()), who(trigger.pid, trigger.tid))
    };
    match incident.scope.cause {
        Some(Cause::LimitLowered) => text.push_str(", by lowering the limit"),
        Some(Cause::PageFault) => text.push_str(", by a page fault"),
        _ => {}
    }
    // Writing to a String cannot fail.
    if let Some(order) = trigger.order.filter(|order| *order >= 0) {
        let _ = write!(text, ", order {order}");
    }
    if let Some(flags) = trigger.gfp_flags.as_deref().filter(|flags| !flags.is_empty()) {
        let _ = write!(text, ", {}", flags.join("|"));
    }
    if let Some(place) = place(&trigger.place)
        && first.is_some_and(|victim| victim.place.cgroup != trigger.place.cgroup)
    {
        let _ = write!(text, ", in {place}");
    }
    Some(text)
}

/// How long it took until somebody was killed.
pub(super) fn hurt(incident: &Incident) -> Option<String> {
    let mut parts = Vec::new();
    if let Some(stall) = incident.stall {
        let rounds = if stall.rounds == 1 { "round" } else { "rounds" };
        parts.push(format!(
            "stalled {} in {} {rounds} of reclaim before",
            duration(stall.duration_ns),
            stall.rounds
        ));
    }
    parts.extend(incident.decision_ns.map(|ns| format!("decided in {}", duration(ns))));
    if let Some(calls) = incident.calls_without_decision.filter(|calls| *calls > 0) {
        let times = match calls {
            1 => "once".to_owned(),
            calls => format!("{} times", grouped(i64::try_from(calls).ok()?)),
        };
        parts.push(format!("asked {times} without a kill before this one"));
    }
    (!parts.is_empty()).then(|| parts.join(" · "))
}

/// Who else there was, if anybody.
pub(super) fn ballot(incident: &Incident) -> Option<String> {
    if let Some(ballot) = incident.ballot.filter(|ballot| ballot.examined == ballot.unkillable) {
        return Some(format!("{} examined, none of which may be killed", ballot.examined));
    }
    let ballot = incident.ballot.filter(|ballot| ballot.examined > 1)?;
    let best: Vec<_> = incident
        .candidates
        .iter()
        .take(SHOWN_CANDIDATES)
        .map(|candidate| format!("{} {}", name(candidate.comm.as_deref()), grouped(candidate.points)))
        .collect();
    let mut text = format!("{} examined: {}", ballot.examined, best.join(" · "));
    let killable = ballot.examined.saturating_sub(ballot.unkillable) as usize;
    let more = killable.saturating_sub(best.len());
    if more > 0 {
        // Writing to a String cannot fail.
        let _ = write!(text, " · {more} below");
    }
    if ballot.unkillable > 0 {
        let _ = write!(text, " · {} not to be killed", ballot.unkillable);
    }
    if ballot.computed {
        text.push_str(" · scores computed");
    }
    Some(text)
}

//! What became of victims.

use super::{
    SHOWN_CANDIDATES,
    task::started_as,
    words::{duration, id, name},
};
use crate::{
    incident::{Relief, Relieved, Verdict, Victim},
    kernel::hooks::Tier,
};

/// What became of the victims.
pub(super) fn after(relief: &Relief) -> String {
    let victims = &relief.victims;
    let last = |of: fn(&Relieved) -> Option<u64>| {
        victims.iter().map(of).collect::<Option<Vec<_>>>().and_then(|all| all.into_iter().max())
    };
    let all = if victims.len() > 1 { format!(" of all {}", victims.len()) } else { String::new() };
    let mut parts = Vec::new();
    if let Some(ns) = last(|victim| victim.freed_ns) {
        parts.push(format!("memory{all} back after {}", duration(ns)));
    } else if relief.common.tier != Tier::Kmsg {
        let freed = victims.iter().filter(|victim| victim.freed_ns.is_some()).count();
        let of =
            if victims.len() > 1 { format!(" of {freed} of {}", victims.len()) } else { " not".to_owned() };
        let of_victims = |(field, _): &(&String, &String)| field.starts_with("victims");
        let reason = relief.missing.iter().find(of_victims).map_or("", |(_, reason)| reason.as_str());
        parts.push(format!("memory{of} back: {reason}"));
        if let Some(ns) = last(|victim| victim.exited_ns) {
            parts.push(format!("ended after {}", duration(ns)));
        }
    }
    let reaped = victims.iter().filter_map(|victim| victim.reaped_ns).max();
    // A log tells of nothing but the reaper.
    let what = if relief.common.tier == Tier::Kmsg { "memory " } else { "" };
    if let Some(ns) = reaped {
        parts.push(format!("{what}taken by the OOM reaper after {}", duration(ns)));
    } else if victims.iter().any(|victim| victim.reaped) {
        parts.push(format!("{what}taken by the OOM reaper"));
    }
    for victim in victims {
        if let Some(line) = started_as(&victim.command) {
            parts.push(format!("pid {} was {line}", victim.pid));
        }
    }
    if let Some(with) = with(&relief.collateral) {
        parts.push(with);
    }
    parts.join(" · ")
}

/// Who was killed with the victims.
fn with(collateral: &[Victim]) -> Option<String> {
    let first = collateral.first()?;
    let why = match first.verdict {
        Some(Verdict::PidnsCollateral) => "with its PID namespace",
        _ => "since they share its memory",
    };
    let mut names: Vec<_> = collateral
        .iter()
        .take(SHOWN_CANDIDATES)
        .map(|victim| format!("{} (pid {})", name(victim.comm.as_deref()), id(victim.pid)))
        .collect();
    let more = collateral.len() - names.len();
    if more > 0 {
        names.push(format!("{more} more"));
    }
    Some(format!("killed {why}: {}", names.join(", ")))
}

//! Kills by daemons in user space.

use super::words::{duration, id, name};
use crate::incident::{SentSignal, SentVia, UserKill};

/// Who sent what to the first victim.
pub(super) fn by(kill: &UserKill) -> String {
    let killer = &kill.killer;
    let sent: Vec<_> =
        kill.victims.first().into_iter().flat_map(|victim| &victim.signals).map(signal).collect();
    format!("by {} (pid {}): {}", name(killer.comm.as_deref()), id(killer.pid), sent.join(", "))
}

fn signal(sent: &SentSignal) -> String {
    let name = sent.name.map_or_else(|| format!("signal {}", sent.number), str::to_owned);
    let via = match sent.via {
        SentVia::Kill => "",
        SentVia::CgroupKill => " to its whole cgroup",
    };
    match sent.after_ns {
        0 => format!("{name}{via}"),
        after_ns => format!("{name}{via} after {}", duration(after_ns)),
    }
}

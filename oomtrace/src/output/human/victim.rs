//! Victims: what they had, and why it was them.

use std::fmt::Write as _;

use super::words::{grouped, id, name, size};
use crate::{
    incident::{RssKernel, Scope, ScopeKind, Verdict, Victim},
    text::printable,
};

/// How large it was and what became of it.
pub(super) fn figures(victim: &Victim, scope: &Scope, named: bool) -> String {
    let mut parts = Vec::new();
    if named {
        parts.push(format!("{} (pid {})", name(victim.comm.as_deref()), id(victim.pid)));
    }
    match victim.rss {
        Some(rss) => {
            let swap = victim.swap_bytes.map_or_else(String::new, |swap| format!(", swap {}", size(swap)));
            let error = match rss.error_bytes {
                0 => String::new(),
                error => format!(" (± {})", size(error)),
            };
            parts.push(format!(
                "anon {}, file {}, shmem {}{swap}{error}",
                size(rss.anon_bytes),
                size(rss.file_bytes),
                size(rss.shmem_bytes)
            ));
            // Not its file pages: others may be charged for them.
            let own = rss.anon_bytes.saturating_add(rss.shmem_bytes);
            if let Some(per_cent) =
                scope.capacity_bytes.and_then(|capacity| own.saturating_mul(100).checked_div(capacity))
            {
                let of = if scope.kind == Some(ScopeKind::Memcg) { "limit" } else { "capacity" };
                parts.push(if per_cent > 100 {
                    // A file in memory counts for whoever wrote it, also in whoever else maps it.
                    format!("anon and shmem more than the {of}: some of it is shared, and counts for others")
                } else {
                    format!("anon and shmem {per_cent} % of the {of}")
                });
            }
        }
        None => {
            parts.push(victim.rss_kernel.map_or_else(
                || "memory not known".to_owned(),
                |rss| as_logged(rss, victim.swap_bytes, scope),
            ));
        }
    }
    if let Some(ns_pid) = victim.kinship.ns_pid.filter(|ns_pid| victim.pid.is_some_and(|pid| pid != *ns_pid))
    {
        parts.push(format!("pid {ns_pid} in its namespace"));
    }
    if let Some(uid) = victim.uid {
        parts.push(format!("uid {uid}"));
    }
    if let Some(threads) = victim.threads.filter(|threads| *threads > 1) {
        parts.push(format!("{threads} threads"));
    }
    if let (Some(unit), None) = (&victim.place.unit, &victim.place.container) {
        parts.push(format!("unit {}", printable(unit)));
    }
    match victim.verdict {
        Some(Verdict::GroupKilled) => parts.push("killed with its group".to_owned()),
        Some(Verdict::AlreadyExiting) => parts.push("was exiting already, not killed".to_owned()),
        Some(Verdict::MmShared) => parts.push("killed since it shares the victim's memory".to_owned()),
        Some(Verdict::PidnsCollateral) => parts.push("killed with its PID namespace".to_owned()),
        Some(Verdict::Killed) | None => {}
    }
    parts.join(" · ")
}

/// What the kernel's own figures say, where there are no others: before 4.5 shared memory is among files, before 2.6.32 there
/// is no more than the sum.
fn as_logged(rss: RssKernel, swap_bytes: Option<u64>, scope: &Scope) -> String {
    let parts = [
        ("anon", rss.anon_bytes),
        ("file", rss.file_bytes),
        ("shmem", rss.shmem_bytes),
        ("swap", swap_bytes),
    ];
    let known: Vec<_> =
        parts.into_iter().filter_map(|(what, bytes)| Some(format!("{what} {}", size(bytes?)))).collect();
    let text = match rss.anon_bytes {
        Some(_) => known.join(", "),
        None => format!("resident {}", size(rss.total_bytes)),
    };
    let own = rss.anon_bytes.map(|anon| anon.saturating_add(rss.shmem_bytes.unwrap_or(0)));
    let limit = scope.memcg.as_ref().and_then(|memcg| {
        scope.limits.iter().find(|level| memcg.path.as_ref() == Some(&level.path))?.limit_bytes
    });
    let per_cent = own.zip(limit).and_then(|(own, limit)| own.saturating_mul(100).checked_div(limit));
    match per_cent.filter(|per_cent| *per_cent <= 100) {
        Some(per_cent) => format!("{text} · anon and shmem {per_cent} % of the limit"),
        None => text,
    }
}

/// The score taken apart.
pub(super) fn why(victim: &Victim, scope: &Scope) -> Option<String> {
    let points = victim.points?;
    let mut text = format!("score {} pages", grouped(points));
    if let (Some(rss), Some(adj)) = (victim.rss_kernel, victim.oom_score_adj) {
        let mut of = vec![format!("rss {}", size(rss.total_bytes))];
        if let Some(swap) = victim.swap_bytes.filter(|swap| *swap > 0) {
            of.push(format!("swap {}", size(swap)));
        }
        if let Some(tables) = victim.pgtables_bytes {
            of.push(format!("page tables {}", size(tables)));
        }
        if adj != 0 {
            let share = scope
                .capacity_bytes
                .map_or_else(String::new, |capacity| format!(" ({adj}/1000 of {})", size(capacity)));
            of.push(format!("oom_score_adj {adj}{share}"));
        }
        // Writing to a String cannot fail.
        let _ = write!(text, ": {}", of.join(" + "));
    }
    Some(text)
}

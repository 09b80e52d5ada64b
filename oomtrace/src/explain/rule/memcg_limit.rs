//! The victim's own limit was reached.

use super::{
    super::{
        case::own_bytes,
        finding::Fix,
        node::nearly_reached,
        place::{Swap, raise},
    },
    Case, Conclusion, Rule, SERVERS,
};
use crate::{
    host::node::{Group, Node},
    incident::{Cause, Cgroup, Outcome},
    text::printable,
    words::{name, size},
};

pub const RULE: Rule = Rule {
    incident: Some(holds),
    node: Some(of_node),
    yields_to: SERVERS,
    ..Rule::new("memcg-limit", include_str!("../../../docs/findings/memcg-limit.md"))
};

fn holds(case: &Case<'_>) -> Option<Conclusion> {
    let hit = case.hit().filter(|hit| hit.own)?;
    let incident = case.incident;
    if incident.scope.cause == Some(Cause::LimitLowered) || incident.outcome != Some(Outcome::Killed) {
        return None;
    }
    let victim = case.victim()?;
    let comm = name(victim.comm.as_deref());
    let limit = size(hit.limit_bytes);
    let of = if hit.with_swap { "memory and swap" } else { "memory" };
    let own = own_bytes(victim);
    // What a process maps may be charged elsewhere: then it has more than there is.
    let alone = own.is_some_and(|own| own.min(hit.limit_bytes) >= hit.limit_bytes / 5 * 3);
    let trigger = &incident.trigger;
    let other = trigger.pid.is_some() && victim.pid.is_some() && trigger.pid != victim.pid;
    let summary = match own {
        Some(own) if alone && other => format!(
            "the processes here may have {limit} of {of} together, and {} asked for more; {comm} was killed for it, since it held most \
             of that, {}. Either the limit is too small for what they do, or one of them leaks",
            name(trigger.comm.as_deref()),
            size(own.min(hit.limit_bytes))
        ),
        Some(own) if alone => format!(
            "{comm} may have {limit} of {of} here, and wanted more: it held {} of that itself. Either the limit is too small for \
             what it does, or it leaks",
            size(own.min(hit.limit_bytes))
        ),
        _ => format!(
            "the processes here may have {limit} of {of} together, and wanted more; {comm} was the largest of them"
        ),
    };
    let memcg = case.limited()?;
    let told = Conclusion::warning(summary)
        .with("limit_bytes", hit.limit_bytes)
        .with("limit_at", hit.level.path.as_str())
        .with_known("usage_bytes", hit.level.usage_bytes)
        .with_known("victim_bytes", own)
        .fix(if hit.with_swap { both() } else { raise(&memcg, hit.limit_bytes, Swap::of(hit.level)) });
    Some(told.fix(Fix::advice(
        format!("look for a leak, if {comm} grows without end: a higher limit is then reached only later"),
        "none",
    )))
}

/// What is done about version 1's limit of memory and swap.
fn both() -> Fix {
    Fix::advice(
        "raise the limit of memory and swap together: memory.memsw.limit_in_bytes of the group, --memory-swap of a container",
        "others on the machine have that much less",
    )
}

/// Groups whose programs fill their limits nearly by themselves, where swap does not help.
fn of_node(node: &Node) -> Vec<Conclusion> {
    let spare_swap = node.settings.swap_free_bytes.is_some_and(|free| free > 0);
    let told = node.groups.iter().filter_map(|group| {
        let memory = group.memory.as_ref()?;
        let may_swap = match (memory.swap_limit_bytes, memory.limit_bytes) {
            // Version 1's is of both.
            (Some(both), Some(limit)) if memory.legacy => both > limit,
            (swap, _) => swap != Some(0),
        };
        let can_swap = spare_swap && may_swap;
        (!can_swap).then(|| nearly_full(group)).flatten()
    });
    told.collect()
}

fn nearly_full(group: &Group) -> Option<Conclusion> {
    let memory = group.memory.as_ref()?;
    let (limit, needed) = (memory.limit_bytes?, memory.needed_bytes?);
    nearly_reached(needed, limit).then(|| {
        // Version 1's limit is of memory and swap together.
        let in_memory = if memory.legacy { limit } else { 0 };
        let swap =
            memory.swap_limit_bytes.map_or(Swap::Any, |bytes| Swap::UpTo(bytes.saturating_sub(in_memory)));
        let memcg =
            Cgroup { path: Some(group.path.clone()), id: None, hierarchy: Some(memory.legacy.into()) };
        Conclusion::warning(format!(
            "{} needs {} of the {} that it may have: page cache and what else could be dropped are {}",
            printable(&group.path),
            size(needed),
            size(limit),
            size(memory.usage_bytes.unwrap_or(needed).saturating_sub(needed))
        ))
        .with("limit_at", group.path.as_str())
        .with("limit_bytes", limit)
        .with("needed_bytes", needed)
        .with_known("usage_bytes", memory.usage_bytes)
        .fix(raise(&memcg, limit, swap))
    })
}

#[cfg(test)]
mod tests {
    use super::super::super::tests::{MIB, ids, level, memcg, told, victim};
    use super::*;

    /// Guards whose fault it is said to be: of one that fills the limit, and of several that do so together.
    #[test]
    fn one_or_several_fill_the_limit() {
        let summary = told("memcg-limit", &memcg()).conclusion.summary;
        assert!(
            summary.starts_with("app may have 32.0 MiB of memory here") && summary.contains("30.0 MiB"),
            "{summary}"
        );
        let mut several = memcg();
        several.victims = vec![victim("app", 10, 8, "/web")];
        let summary = told("memcg-limit", &several).conclusion.summary;
        assert!(summary.contains("together") && summary.contains("app was the largest"), "{summary}");
    }

    /// Guards version 1: the limit of memory and swap is another one.
    #[test]
    fn the_limit_with_swap_is_told() {
        let mut v1 = memcg();
        let own = &mut v1.scope.limits[0];
        (own.usage_bytes, own.memsw_usage_bytes, own.memsw_limit_bytes) =
            (Some(20 * MIB), Some(48 * MIB), Some(48 * MIB));
        let conclusion = told("memcg-limit", &v1).conclusion;
        assert!(conclusion.summary.contains("48.0 MiB of memory and swap"));
        assert!(conclusion.fix[0].what.contains("memsw"));
    }

    /// Guards against the limit of others, and against an incident in which nobody was killed for it.
    #[test]
    fn near_misses() {
        let mut above = memcg();
        above.scope.limits = vec![level("/web/a", 30, Some(64)), level("/web", 32, Some(32))];
        above.victims = vec![victim("app", 10, 30, "/web/a")];
        assert_eq!(ids(&above), ["memcg-ancestor"]);
        let mut exiting = memcg();
        exiting.outcome = Some(Outcome::AlreadyExiting);
        exiting.victims[0].verdict = Some(crate::incident::Verdict::AlreadyExiting);
        assert_eq!(ids(&exiting), [""; 0]);
    }
}

//! The machine's memory ran out.

use super::{
    super::{case::size_of, finding::Fix, systemd},
    Case, Conclusion, Rule,
};
use crate::{
    host::node::Node,
    incident::Cause,
    text::printable,
    words::{name, size},
};

pub const RULE: Rule = Rule {
    incident: Some(holds),
    node: Some(|node| of_node(node).into_iter().collect()),
    yields_to: &[
        "min-free-oversized",
        "huge-pages-reserved",
        "unreclaimable-slab",
        "shmem",
        "mlocked",
        "fragmentation",
        "lowmem-zone",
    ],
    ..Rule::new("node-exhausted", include_str!("../../../docs/findings/node-exhausted.md"))
};

fn holds(case: &Case<'_>) -> Option<Conclusion> {
    if !case.machine_ran_out() {
        return None;
    }
    let incident = case.incident;
    let memory = case.memory_bytes();
    let all = memory.map_or_else(String::new, |memory| format!(" ({})", size(memory)));
    let biggest = case.biggest();
    // If it is another one that is larger, victim-not-culprit says why.
    let most = biggest.filter(|(one, _)| case.victim().is_some_and(|victim| victim.pid == Some(one.pid)));
    let most = most.and_then(|(one, bytes)| {
        Some(format!(
            "; {} was the largest process that may be killed, with {}",
            name(Some(one.comm.as_deref()?)),
            size(bytes)
        ))
    });
    let thrashing = incident.scope.cause == Some(Cause::Mglru);
    let what = if thrashing {
        "so little memory was left that the same pages were read in again and again"
    } else {
        "the machine's memory is used up, and nothing could be given back"
    };
    let mut told = Conclusion::critical(format!("{what}{all}{}", most.unwrap_or_default()))
        .with_known("memory_bytes", memory)
        .with_known("largest", biggest.and_then(|(one, _)| one.comm.as_deref()))
        .with_known("largest_bytes", biggest.and_then(|(one, _)| size_of(one)));
    if let Some(used) = case.used() {
        told = told
            .with_known("anon_bytes", used.anon_mapped_bytes)
            .with_known("shmem_bytes", used.shmem_bytes)
            .with_known("slab_unreclaimable_bytes", used.slab_unreclaimable_bytes);
    }
    told = told.fix(need_less());
    // Whoever has a limit of its own is killed alone, and before everybody waits for memory.
    let free_unit = case.victim().and_then(|victim| victim.place.unit.as_deref()).filter(|unit| {
        // Where its limits are not known, it may have one.
        let known = !incident.missing.keys().any(|field| field.starts_with("scope.limits"));
        let unlimited = incident.scope.limits.iter().all(|level| level.limit_bytes.is_none());
        unit.ends_with(".service") && known && unlimited
    });
    let path = case.victim().and_then(|victim| victim.place.cgroup.as_deref()).unwrap_or_default();
    if let (Some(unit), Some(memory)) = (free_unit, memory) {
        told = told.fix(systemd::change(
            path,
            unit,
            &format!("MemoryMax={}M", memory >> 21),
            format!(
                "give {} a limit, so that it alone runs out of memory and not the whole machine",
                printable(unit)
            ),
            "it is killed at its limit even while the machine has memory: choose what it needs",
        ));
    }
    Some(told)
}

fn need_less() -> Fix {
    Fix::advice(
        "run less on this machine, give its programs smaller settings, or give it more memory",
        "none",
    )
}

/// Before anything ran out: hardly any memory is left.
fn of_node(node: &Node) -> Option<Conclusion> {
    let (total, available) = (node.settings.memory_bytes?, node.memory.available?);
    if available > total / 10 {
        return None;
    }
    let biggest = node.programs().max_by_key(|process| process.size_bytes());
    let most = biggest.map_or_else(String::new, |process| {
        format!(
            "; {} (pid {}) has most, {}",
            printable(&process.comm),
            process.pid,
            size(process.size_bytes())
        )
    });
    let summary =
        format!("programs could have only {} more of the machine's {}{most}", size(available), size(total));
    let told =
        if available <= total / 33 { Conclusion::critical(summary) } else { Conclusion::warning(summary) };
    Some(
        told.with("available_bytes", available)
            .with("memory_bytes", total)
            .with_known("largest", biggest.map(|process| process.comm.as_str()))
            .with_known("largest_bytes", biggest.map(crate::host::node::Process::size_bytes))
            .fix(need_less()),
    )
}

#[cfg(test)]
mod tests {
    use super::super::super::tests::{global, ids, memcg, told};
    use super::*;
    use crate::incident::{Place, ScopeKind};

    /// Guards the plain case, what it names, and the limit that is proposed for a unit without one.
    #[test]
    fn the_machine_ran_out() {
        let finding = told("node-exhausted", &global());
        assert!(
            finding
                .conclusion
                .summary
                .contains("(1.0 GiB); app was the largest process that may be killed, with 601.0 MiB")
        );
        assert_eq!(finding.conclusion.fix.len(), 1);
        let mut unit = global();
        unit.victims[0].place = Place::of(Some("/system.slice/web.service".to_owned()));
        let fix = &told("node-exhausted", &unit).conclusion.fix[1];
        assert_eq!(fix.command.as_deref(), Some("systemctl set-property -- web.service MemoryMax=512M"));
        let mut thrashing = global();
        thrashing.scope.cause = Some(Cause::Mglru);
        assert!(told("node-exhausted", &thrashing).conclusion.summary.contains("again and again"));
    }

    /// Guards against a kill that an operator asked for, a cgroup's limit, and a scope that is not known.
    #[test]
    fn near_misses() {
        let mut sysrq = global();
        sysrq.scope.cause = Some(Cause::Sysrq);
        assert_eq!(ids(&sysrq), [""; 0]);
        assert_eq!(ids(&memcg()), ["memcg-limit"]);
        let mut unknown = global();
        unknown.scope.kind = None;
        assert_eq!(ids(&unknown), [""; 0]);
        let mut confined = global();
        confined.scope.kind = Some(ScopeKind::Cpuset);
        assert!(!ids(&confined).contains(&"node-exhausted"));
    }
}

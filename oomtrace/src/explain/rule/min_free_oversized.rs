//! The kernel keeps too much free for itself.

use super::{
    super::{
        finding::{Fix, Lasts},
        reserve,
    },
    Case, Conclusion, Rule,
};
use crate::{host::node::Node, words::size};

pub const RULE: Rule = Rule {
    incident: Some(holds),
    node: Some(|node| of_node(node).into_iter().collect()),
    ..Rule::new("min-free-oversized", include_str!("../../../docs/findings/min-free-oversized.md"))
};

fn holds(case: &Case<'_>) -> Option<Conclusion> {
    if !case.nodes_ran_out() {
        return None;
    }
    let memory = case.memory_bytes()?;
    let min_free = case.min_free_bytes()?;
    if !is_oversized(min_free, memory) {
        return None;
    }
    let free = case.zones().filter_map(|zone| zone.free_bytes).fold(0_u64, u64::saturating_add);
    let told =
        Conclusion::critical(format!("{}; {} were free as it killed", kept(min_free, memory), size(free)));
    Some(complete(told, min_free, memory).with("free_bytes", free))
}

fn of_node(node: &Node) -> Option<Conclusion> {
    let memory = node.settings.memory_bytes?;
    let min_free = node.settings.min_free_kbytes?.saturating_mul(1024);
    is_oversized(min_free, memory).then(|| {
        let told = format!("{}: the machine runs out of memory that much earlier", kept(min_free, memory));
        complete(Conclusion::warning(told), min_free, memory)
    })
}

fn is_oversized(min_free: u64, memory: u64) -> bool {
    min_free > memory / 100 && min_free > reserve::most_by_default(memory)
}

fn kept(min_free: u64, memory: u64) -> String {
    let percent = min_free.saturating_mul(100) / memory.max(1);
    format!(
        "vm.min_free_kbytes keeps {} ({percent} % of memory) from all programs, far more than the kernel needs",
        size(min_free)
    )
}

fn complete(told: Conclusion, min_free: u64, memory: u64) -> Conclusion {
    let proper = reserve::by_default(memory) >> 10;
    told.with("min_free_bytes", min_free).with("memory_bytes", memory).fix(Fix::command(
        "set vm.min_free_kbytes to what the kernel itself would choose, and take the line out of /etc/sysctl.conf or /etc/sysctl.d",
        format!("sysctl vm.min_free_kbytes={proper}"),
        "a network card or driver that asks for much at once in interrupts may need more: then take 1 % of memory, which is enough for any",
    ).lasting(Lasts::UntilBoot))
}

#[cfg(test)]
mod tests {
    use super::super::super::tests::{global, ids_with, memcg, settings};
    use crate::{host::settings::Settings, incident::Incident};

    fn with(kbytes: u64) -> Settings {
        Settings { min_free_kbytes: Some(kbytes), ..settings() }
    }

    fn by_zones(kib: u64) -> Incident {
        let mut incident = global();
        incident.zones[0].min_bytes = Some(kib * 1024);
        incident
    }

    /// Guards the case by the setting, and by the zones' watermarks where no setting is known.
    #[test]
    fn too_much_is_kept_free() {
        assert_eq!(ids_with(&global(), &with(104_858)), ["min-free-oversized"]);
        assert_eq!(ids_with(&by_zones(150_000), &Settings::default()), ["min-free-oversized"]);
    }

    /// Guards against what the kernel chooses by itself, with huge pages too (5 % of a small machine), against a boost of the
    /// watermarks, and against a cgroup's limit.
    #[test]
    fn near_misses() {
        for kbytes in [4096, 10_000, 45_000] {
            assert_eq!(ids_with(&global(), &with(kbytes)), ["node-exhausted"], "{kbytes}");
        }
        let mut boosted = by_zones(150_000);
        boosted.zones[0].boost_bytes = Some(146_000 * 1024);
        assert_eq!(ids_with(&boosted, &Settings::default()), ["node-exhausted"]);
        assert_eq!(ids_with(&memcg(), &with(500_000)), ["memcg-limit"]);
    }
}

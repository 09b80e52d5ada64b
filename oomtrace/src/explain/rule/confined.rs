//! A cpuset or a memory policy left no other node.

use super::{super::finding::Fix, Case, Conclusion, Rule};
use crate::{
    incident::ScopeKind,
    words::{name, size},
};

pub const RULE: Rule = Rule {
    incident: Some(holds),
    ..Rule::new("confined", include_str!("../../../docs/findings/confined.md"))
};

fn holds(case: &Case<'_>) -> Option<Conclusion> {
    let scope = &case.incident.scope;
    let by = match scope.kind? {
        ScopeKind::Cpuset => "a cpuset (cpuset.mems)",
        ScopeKind::Mempolicy => "a memory policy (numactl --membind, mbind())",
        ScopeKind::Global | ScopeKind::Memcg => return None,
    };
    let nodes = scope.nodes.as_deref().map(|nodes| nodes.iter().map(u32::to_string).collect::<Vec<_>>());
    let which = match nodes.as_deref() {
        Some([one]) => format!("node {one}"),
        Some(several) if !several.is_empty() => format!("the nodes {}", several.join(", ")),
        _ => "some nodes".to_owned(),
    };
    let who = name(case.incident.trigger.comm.as_deref());
    let managed = case.zones().filter_map(|zone| zone.managed_bytes).fold(0_u64, u64::saturating_add);
    let of = match case.memory_bytes() {
        Some(all) if managed > 0 && managed < all => {
            format!(" ({} of the machine's {})", size(managed), size(all))
        }
        _ => String::new(),
    };
    let told = Conclusion::warning(format!(
        "not the whole machine ran out of memory: {by} keeps {who} to {which}{of}, and that is used up"
    ))
    .with("confined_by", by)
    .with_known("nodes", nodes)
    .with_known("asked_by", case.incident.trigger.comm.as_deref());
    Some(told.fix(Fix::advice(
        "let it use more nodes (cpuset.mems, AllowedMemoryNodes= of the unit; --preferred instead of --membind), or run less on these",
        "memory of another node is slower to reach",
    )))
}

#[cfg(test)]
mod tests {
    use super::super::super::tests::{global, ids, told};
    use super::*;

    /// Guards both kinds, and which nodes are named.
    #[test]
    fn some_nodes_ran_out() {
        for (kind, nodes, words) in [
            (ScopeKind::Cpuset, Some(vec![1]), "a cpuset (cpuset.mems) keeps app to node 1"),
            (ScopeKind::Mempolicy, Some(vec![0, 2]), "keeps app to the nodes 0, 2"),
            (ScopeKind::Mempolicy, None, "keeps app to some nodes"),
        ] {
            let mut incident = global();
            (incident.scope.kind, incident.scope.nodes) = (Some(kind), nodes);
            assert_eq!(ids(&incident), ["confined"]);
            assert!(told("confined", &incident).conclusion.summary.contains(words));
        }
    }

    /// Guards against a machine that ran out as a whole.
    #[test]
    fn near_miss() {
        let mut incident = global();
        incident.scope.nodes = Some(vec![0]);
        assert_eq!(ids(&incident), ["node-exhausted"]);
    }
}

//! Many workers of nginx that fill a limit together.

use std::collections::BTreeMap;

use super::{
    super::{case::size_of, finding::Fix},
    Case, Conclusion, Rule,
};
use crate::{host::node::Node, incident::Candidate, words::size};

pub const RULE: Rule = Rule {
    incident: Some(holds),
    node: Some(of_node),
    ..Rule::new("nginx-workers", include_str!("../../../docs/findings/nginx-workers.md"))
};

/// Fewer are no pool that somebody has set too large.
const MANY: usize = 4;

fn holds(case: &Case<'_>) -> Option<Conclusion> {
    let is_nginx = |comm: &Option<String>| comm.as_deref() == Some("nginx");
    let hit = case.hit().filter(|_| case.victim().is_some_and(|victim| is_nginx(&victim.comm)))?;
    let workers: Vec<&Candidate> =
        case.incident.candidates.iter().filter(|one| is_nginx(&one.comm)).collect();
    // What they share in memory is in each one's figure: so this is an upper bound.
    let together = workers.iter().filter_map(|worker| size_of(worker)).fold(0_u64, u64::saturating_add);
    let told = of_pool(workers.len(), together, hit.limit_bytes)?;
    Some(told.with("limit_at", hit.level.path.as_str()))
}

/// Before anything ran out: pools that run, by the group whose limit they share.
fn of_node(node: &Node) -> Vec<Conclusion> {
    let mut pools: BTreeMap<&str, (usize, u64, u64)> = BTreeMap::new();
    for process in node.programs().filter(|process| process.comm == "nginx") {
        let limit = process.place.cgroup.as_deref().and_then(|cgroup| node.limit_above(cgroup));
        if let Some((limit, path)) = limit {
            let (workers, together, _) = pools.get(path).copied().unwrap_or_default();
            pools.insert(path, (workers + 1, together.saturating_add(process.size_bytes()), limit));
        }
    }
    let told = pools.into_iter().filter_map(|(path, (workers, together, limit))| {
        Some(of_pool(workers, together, limit)?.with("limit_at", path))
    });
    told.collect()
}

fn of_pool(workers: usize, together: u64, limit: u64) -> Option<Conclusion> {
    if workers < MANY || together < limit / 2 {
        return None;
    }
    let told = Conclusion::warning(format!(
        "{workers} or more processes of nginx share the limit of {}: about {} for each of them",
        size(limit),
        size(limit / workers as u64)
    ))
    .likely()
    .with("processes", workers as u64)
    .with("limit_bytes", limit);
    Some(told.fix(Fix::advice(
        "set worker_processes to as many as the group has CPUs: \"auto\" counts those of the machine; then worker_connections and \
         buffers so that each worker fits",
        "fewer workers serve fewer connections at once",
    )))
}

#[cfg(test)]
mod tests {
    use super::super::super::tests::{candidate, ids, memcg, victim};
    use crate::incident::Incident;

    fn pool(workers: u32, mib: u64, comm: &str) -> Incident {
        let mut incident = memcg();
        incident.victims = vec![victim(comm, 10, mib, "/web")];
        incident.candidates = (0..workers).map(|worker| candidate(comm, 10 + worker, mib, 0)).collect();
        incident
    }

    /// Guards a pool that fills the limit.
    #[test]
    fn a_pool_that_fills_the_limit() {
        assert_eq!(ids(&pool(8, 4, "nginx")), ["nginx-workers"]);
    }

    /// Guards against few workers, small ones, and others' pools.
    #[test]
    fn near_misses() {
        for incident in [pool(3, 9, "nginx"), pool(8, 1, "nginx"), pool(8, 4, "apache2")] {
            assert_eq!(ids(&incident), ["memcg-limit"]);
        }
    }
}

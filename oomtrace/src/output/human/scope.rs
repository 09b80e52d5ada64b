//! What ran out.

use super::words::size;
use crate::{
    incident::{Cause, Limit, Scope, ScopeKind},
    text::printable,
};

/// Which limit was reached, or else what was used up.
pub(super) fn scope(scope: &Scope) -> String {
    let lowered = scope.cause == Some(Cause::LimitLowered);
    match (scope.kind, &scope.memcg) {
        (Some(ScopeKind::Memcg), Some(memcg)) => {
            let level =
                memcg.path.as_deref().and_then(|path| scope.limits.iter().find(|level| level.path == path));
            let limit = level
                .and_then(|level| level.limit_bytes)
                .map_or_else(|| "memory cgroup's limit".to_owned(), |limit| format!("limit {}", size(limit)));
            let own = scope.limits.first().map(|level| level.path.as_str()) == memcg.path.as_deref();
            let of = match memcg.path.as_deref() {
                Some(path) if !own => format!(" of {}", printable(path)),
                _ => String::new(),
            };
            format!("{limit}{of} {}", if lowered { "lowered below usage" } else { "reached" })
        }
        (Some(ScopeKind::Memcg), None) => "a memory cgroup's limit reached".to_owned(),
        (Some(ScopeKind::Global), _) => match scope.cause {
            Some(Cause::Sysrq) => "asked for by sysrq".to_owned(),
            Some(Cause::Mglru) => "the machine is thrashing (MGLRU min_ttl_ms)".to_owned(),
            _ => "the machine's memory is exhausted".to_owned(),
        },
        (Some(ScopeKind::Cpuset), _) => "the memory of the cpuset's nodes is exhausted".to_owned(),
        (Some(ScopeKind::Mempolicy), _) => "the memory of the policy's nodes is exhausted".to_owned(),
        (None, _) => "what ran out is not known".to_owned(),
    }
}

/// The levels that have a limit, where there are several.
pub(super) fn crowded(scope: &Scope) -> Vec<String> {
    let limited: Vec<_> = scope.limits.iter().filter(|level| level.limit_bytes.is_some()).collect();
    if limited.len() < 2 {
        return Vec::new();
    }
    limited.into_iter().map(level).collect()
}

/// Whether nodes' memory ran out.
pub(super) fn of_nodes(scope: &Scope) -> bool {
    let nodes = matches!(scope.kind, Some(ScopeKind::Global | ScopeKind::Cpuset | ScopeKind::Mempolicy));
    nodes && scope.cause != Some(Cause::Sysrq)
}

/// What a memory cgroup uses of its limits.
pub(super) fn level(level: &Limit) -> String {
    let of = |usage: Option<u64>, limit: Option<u64>| match (usage, limit) {
        (Some(usage), Some(limit)) => Some(format!("{} of {}", size(usage), size(limit))),
        _ => None,
    };
    let memory = of(level.usage_bytes, level.limit_bytes).unwrap_or_default();
    let swap = of(level.swap_usage_bytes, level.swap_limit_bytes)
        .map_or_else(String::new, |text| format!(", swap {text}"));
    format!("{}: {memory}{swap}", printable(&level.path))
}

//! What ran out.

use super::Case;
use crate::checks::Checks;
use crate::incident::Limit;
use crate::size::KIB;
use crate::witness::cgroup::Version;
use crate::witness::comm::same_name;

/// Checks the scope.
pub(super) fn check(checks: &mut Checks, case: &Case<'_>) {
    let scope = &case.incident.fields.scope;
    let decision = case.logged.decision.as_ref();
    let constraint = decision.map(|decision| decision.constraint.as_str());
    if case.is_blind() {
        // No tracepoint tells which nodes were allowed, and README says so; the log does, where it is read.
        let kind = scope.kind.as_deref();
        if scope.constraint.is_some() {
            checks.equal("scope.kind", kind, constraint.and_then(kind_of), "the log's constraint");
        } else {
            checks.that(kind.is_none_or(|kind| kind == "global"), || format!("scope.kind is {kind:?}"));
        }
        checks.note("with tracepoints only, scope.kind", scope.kind.clone());
        checks.note("with tracepoints only, scope.capacity_bytes", scope.capacity_bytes);
        return;
    }
    checks.equal("scope.kind", scope.kind.as_deref(), constraint.and_then(kind_of), "the log's constraint");
    checks.equal_if_given("scope.constraint", scope.constraint.as_deref(), constraint, "the log");
    checks.equal("scope.cause", scope.cause.as_deref(), Some(case.expected.cause), "the scenario");
    checks.equal("scope.capacity_bytes", scope.capacity_bytes, case.capacity_bytes(), "the log");
    match decision.and_then(|decision| decision.oom_memcg.as_deref()) {
        Some(path) => memcg(checks, case, path),
        None => checks.that(scope.memcg.is_none(), || {
            format!("scope.memcg is {:?} and none is concerned", scope.memcg)
        }),
    }
    if case.expected.victims.first().is_some_and(|victim| victim.cgroup.is_some()) {
        limits(checks, case);
    }
}

impl Case<'_> {
    /// Whether some of the machine's nodes have run out.
    pub(super) fn is_of_nodes(&self) -> bool {
        let constraint = self.logged.decision.as_ref().map(|decision| decision.constraint.as_str());
        matches!(constraint, Some("CONSTRAINT_CPUSET" | "CONSTRAINT_MEMORY_POLICY"))
    }

    /// Whether the tier cannot tell these from the whole machine.
    fn is_blind(&self) -> bool {
        self.is_of_nodes() && self.incident.fields.tier.as_deref() == Some("tracepoint")
    }

    /// The scope's capacity by the log: the memcg's limit and the swap that it may use (`mem_cgroup_get_max`), what the
    /// nodes have that are allowed (`constrained_alloc`), or all memory and swap. In bytes.
    pub(super) fn capacity_bytes(&self) -> Option<u64> {
        if self.expected.limited.is_some() {
            return Some(self.logged.memcg_limit_kb? * KIB + self.expected.swap_bytes);
        }
        if self.is_of_nodes() && !self.is_blind() {
            return Some((self.logged.memory.present_kb()? + self.logged.totals.swap_kb?) * KIB);
        }
        let totals = self.logged.totals;
        let pages = totals.pages?.checked_sub(totals.reserved_pages?)?;
        Some(pages * self.machine.page_bytes + totals.swap_kb? * KIB)
    }
}

/// The kind of scope that goes with a constraint.
fn kind_of(constraint: &str) -> Option<&'static str> {
    match constraint {
        "CONSTRAINT_NONE" => Some("global"),
        "CONSTRAINT_CPUSET" => Some("cpuset"),
        "CONSTRAINT_MEMORY_POLICY" => Some("mempolicy"),
        "CONSTRAINT_MEMCG" => Some("memcg"),
        _ => None,
    }
}

/// Checks the memory cgroup whose limit was reached.
fn memcg(checks: &mut Checks, case: &Case<'_>, logged: &[u8]) {
    let memcg = case.incident.fields.scope.memcg.clone().unwrap_or_default();
    checks.that(memcg.path.as_deref().is_some_and(|path| same_name(path, logged)), || {
        format!("scope.memcg.path is {:?}, the log says {:?}", memcg.path, logged.escape_ascii().to_string())
    });
    let Some(limited) = case.expected.limited else { return };
    checks.equal("scope.memcg.id", memcg.id, limited.id().ok(), "the cgroup's inode");
    let hierarchy = case.machine.hierarchy.as_ref().map(|hierarchy| hierarchy.id);
    checks.equal("scope.memcg.hierarchy", memcg.hierarchy, hierarchy, "/proc/cgroups");
}

/// Checks the chain of limits from the victim's cgroup to the root.
fn limits(checks: &mut Checks, case: &Case<'_>) {
    let limits = &case.incident.fields.scope.limits;
    let victim = case.expected.victims.first().and_then(|victim| victim.cgroup.as_ref());
    let chain: Vec<_> = victim.into_iter().flat_map(|cgroup| cgroup.chain().collect::<Vec<_>>()).collect();
    let paths: Vec<_> = limits.iter().map(|limit| limit.path.as_deref().unwrap_or_default()).collect();
    let expected: Vec<_> = chain.iter().map(|cgroup| cgroup.path.as_str()).collect();
    checks.equal("scope.limits[].path", Some(paths), Some(expected), "the cgroup tree");
    for (limit, cgroup) in limits.iter().zip(&chain) {
        let swap = match cgroup.version() {
            Version::V1 => ("memsw_limit_bytes", limit.memsw_limit_bytes, cgroup.swap_limit()),
            Version::V2 => ("swap_limit_bytes", limit.swap_limit_bytes, cgroup.swap_limit()),
        };
        for (field, ours, witness) in [("limit_bytes", limit.limit_bytes, cgroup.limit()), swap] {
            let what = format!("scope.limits[{}].{field}", cgroup.path);
            match witness {
                Ok(witness) => checks.equal(&what, Some(ours), Some(witness), "the cgroup's file"),
                Err(error) => checks.fail(format!("{what} cannot be checked: {error:#}")),
            }
        }
    }
    usages(checks, case, limits);
}

/// Checks the usages: that of the limited cgroup against the log, the others for being possible at all. The stock
/// of charged pages that each CPU holds may be drained in between, and an earlier victim may be giving back its memory.
fn usages(checks: &mut Checks, case: &Case<'_>, limits: &[Limit]) {
    let slack = case.machine.charge_stock_bytes() + case.expected.draining_bytes;
    if let Some(limited) = case.expected.limited {
        let ours = limits.iter().find(|limit| limit.path.as_deref() == Some(&limited.path));
        let logged = case.logged.memcg_usage_kb.map(|kb| kb * KIB);
        let bound = slack + case.expected.moving_bytes;
        checks.within(
            "limited usage_bytes",
            ours.and_then(|limit| limit.usage_bytes),
            logged,
            bound,
            "the log",
        );
    }
    // The root of version 2 is not charged, so the last level is left out.
    let charged = limits.split_last().map_or(limits, |(_root, levels)| levels);
    for (level, above) in charged.iter().zip(charged.iter().skip(1)) {
        let possible =
            level.usage_bytes.is_some() && level.usage_bytes <= above.usage_bytes.map(|above| above + slack);
        checks.that(possible, || format!("usage of {level:?} is more than that of its parent {above:?}"));
    }
}

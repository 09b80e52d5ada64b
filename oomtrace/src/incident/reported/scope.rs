//! What ran out, by the log.

use std::collections::BTreeMap;

use super::{
    super::{
        logged::CONSTRAINTS,
        missing::{self, lacking},
        types::Cgroup,
    },
    Reported, Scope, ScopeKind,
};
use crate::{
    incident::{Cause, Limit},
    kmsg::{
        Supply,
        report::{Charge, ChargeKind},
    },
};

/// Why it is not known what a charge that failed was for.
const CHARGED: &str = "the log does not say whether memory was asked for or the limit was lowered";
/// Why a kill of a kernel before 5.0 may be of the machine, or of some of its nodes.
const SOME_NODES: &str = "the log does not say whether the request was confined to some of the nodes";
/// Levels of cgroups that are told, at most.
const LEVELS: usize = 64;

impl Reported<'_> {
    pub(super) fn scope(&self, page_bytes: Option<u64>, missing: &mut BTreeMap<String, String>) -> Scope {
        let report = self.report;
        let decided = report.decided.as_ref();
        let constraint =
            decided.and_then(|decided| CONSTRAINTS.iter().find(|(name, ..)| *name == decided.constraint));
        let kind = constraint.map(|(_, kind, _)| *kind).or_else(|| self.kind());
        if kind.is_none() {
            let headless = report.invoked.is_none() && decided.is_none();
            let reason = if headless { self.lacks() } else { SOME_NODES };
            missing.insert("scope.kind".to_owned(), reason.to_owned());
        }
        if constraint.is_none() {
            missing.insert("scope.constraint".to_owned(), self.lacks().to_owned());
        }
        let mut scope = Scope { kind, constraint: constraint.map(|(name, ..)| *name), ..Scope::default() };
        if kind == Some(ScopeKind::Memcg) {
            self.limited(&mut scope, missing);
        } else if kind.is_none() {
            missing.insert("scope.memcg".to_owned(), self.lacks().to_owned());
        }
        scope.nodes = match kind {
            Some(ScopeKind::Cpuset) => decided.and_then(|decided| decided.mems_allowed.clone()),
            Some(ScopeKind::Mempolicy) => decided.and_then(|decided| decided.nodemask.clone()),
            Some(ScopeKind::Global | ScopeKind::Memcg) | None => None,
        };
        let confined = matches!(kind, Some(ScopeKind::Cpuset | ScopeKind::Mempolicy));
        if confined && scope.nodes.is_none() {
            missing.insert("scope.nodes".to_owned(), self.lacks().to_owned());
        }
        scope.cause = self.cause(kind);
        if scope.cause.is_none() {
            let known = report.invoked.is_some() && kind == Some(ScopeKind::Memcg);
            let reason = if known { CHARGED } else { self.lacks() };
            missing.insert("scope.cause".to_owned(), reason.to_owned());
        }
        scope.capacity_bytes = self.capacity(&scope, page_bytes);
        if scope.capacity_bytes.is_none() {
            missing.insert("scope.capacity_bytes".to_owned(), self.lacks().to_owned());
        }
        scope
    }

    /// The kind, where the kernel does not name it (before 5.0), or where that line is lost.
    fn kind(&self) -> Option<ScopeKind> {
        let report = self.report;
        let of_kill = report.kills.first().and_then(|kill| kill.killed.supply);
        let by_words = of_kill.or_else(|| report.supply.filter(|supply| *supply != Supply::Machine));
        match by_words {
            Some(Supply::Machine) => return Some(ScopeKind::Global),
            Some(Supply::Cpuset) => return Some(ScopeKind::Cpuset),
            Some(Supply::Mempolicy) => return Some(ScopeKind::Mempolicy),
            Some(Supply::Memcg | Supply::Nodes) | None => {}
        }
        if by_words == Some(Supply::Memcg)
            || report.memcg.is_some()
            || report.task_memcg.is_some()
            || !report.charges.is_empty()
        {
            return Some(ScopeKind::Memcg);
        }
        // A machine of one node cannot confine a request to some (constrained_alloc(), mm/oom_kill.c).
        (report.invoked.is_some() && self.has_one_node()).then_some(ScopeKind::Global)
    }

    /// Whether the zones of the report are of one node, and that is all there is: since 2.6.39 it leaves out nodes that the
    /// request could not be served from (`SHOW_MEM_FILTER_NODES`), but not out of the sum.
    fn has_one_node(&self) -> bool {
        let memory = &self.report.memory;
        let Some(first) = memory.zones.first() else { return false };
        let present: u64 = memory
            .zones
            .iter()
            .filter_map(|zone| zone.bytes.get("present"))
            .fold(0, |sum, bytes| sum.saturating_add(*bytes));
        let all = memory.ram_pages.zip(memory.page_bytes).map(|(pages, bytes)| pages.saturating_mul(bytes));
        memory.zones.iter().all(|zone| zone.node == first.node)
            // Holes between them are counted, too, by old kernels.
            && all.is_none_or(|all| present >= all / 8 * 7)
    }

    /// How the OOM killer was entered.
    fn cause(&self, kind: Option<ScopeKind>) -> Option<Cause> {
        if self.report.sysrq {
            return Some(Cause::Sysrq);
        }
        let invoked = self.report.invoked.as_ref()?;
        if invoked.order == -1 {
            return Some(Cause::Sysrq);
        }
        if invoked.gfp_mask == 0 {
            return Some(Cause::PageFault);
        }
        match kind? {
            ScopeKind::Memcg => {
                // memory_max_write() (mm/memcontrol.c) asks with GFP_KERNEL, and so do most charges.
                let names = invoked.gfp_flags.as_ref()?;
                let lowering =
                    invoked.order == 0 && names.len() == 1 && names.iter().all(|name| name == "GFP_KERNEL");
                (!lowering).then_some(Cause::Allocation)
            }
            // lru_gen_age_node() (mm/vmscan.c) calls it from kswapd, which does so for nothing else.
            ScopeKind::Global | ScopeKind::Cpuset | ScopeKind::Mempolicy => {
                (!invoked.comm.starts_with("kswapd")).then_some(Cause::Allocation)
            }
        }
    }

    /// The memory cgroup at its limit, and the levels from the victim's up to it.
    fn limited(&self, scope: &mut Scope, missing: &mut BTreeMap<String, String>) {
        let report = self.report;
        let decided = report.decided.as_ref();
        let path = decided.and_then(|decided| decided.oom_memcg.clone()).or_else(|| report.memcg.clone());
        let Some(path) = path else {
            missing::all(missing, ["scope.memcg", "scope.limits"], self.lacks());
            return;
        };
        // What swap alone is limited in is version 2, whose hierarchy is the unified one (mem_cgroup_print_oom_meminfo(),
        // mm/memcontrol.c); version 1's has a number that no log has.
        let unified = report.charges.iter().any(|charge| charge.kind == ChargeKind::Swap);
        let hierarchy = unified.then_some(0);
        let unknown = [("scope.memcg.id", true), ("scope.memcg.hierarchy", hierarchy.is_none())];
        missing::all(missing, lacking(unknown), self.reasons.never);
        let own = self.victims_memcg().unwrap_or(&path);
        let mut levels = Vec::new();
        let mut level = own;
        while level != path && levels.len() < LEVELS && is_below(level, &path) {
            let at = levels.len();
            let unknown = ["usage_bytes", "limit_bytes"].map(|field| format!("scope.limits[{at}].{field}"));
            missing::all(missing, unknown, "the kernel's report has those of the cgroup at its limit alone");
            levels.push(Limit { path: level.to_owned(), ..Limit::default() });
            level =
                level.rsplit_once('/').map_or("/", |(above, _)| if above.is_empty() { "/" } else { above });
        }
        if report.charges.is_empty() {
            let at = levels.len();
            let unknown = ["usage_bytes", "limit_bytes"].map(|field| format!("scope.limits[{at}].{field}"));
            missing::all(missing, unknown, self.lacks());
        }
        levels.push(charged(path.clone(), &report.charges));
        if path != "/" {
            missing.insert(
                // The next level up: a field that is there is not missing.
                format!("scope.limits[{}]", levels.len()),
                "the kernel's report ends at the cgroup at its limit".to_owned(),
            );
        }
        scope.limits = levels;
        scope.memcg_stats.clone_from(&report.stats_bytes);
        scope.memcg = Some(Cgroup { path: Some(path), id: None, hierarchy });
    }

    /// The memory cgroup of who was chosen.
    pub(super) fn victims_memcg(&self) -> Option<&str> {
        let decided = self.report.decided.as_ref().and_then(|decided| decided.task_memcg.as_deref());
        decided.or(self.report.task_memcg.as_deref())
    }

    /// `oom_control.totalpages` (constrained_alloc(), mm/oom_kill.c), where the report has what it is made of.
    fn capacity(&self, scope: &Scope, page_bytes: Option<u64>) -> Option<u64> {
        let memory = &self.report.memory;
        match scope.kind? {
            ScopeKind::Global => {
                let pages = memory.ram_pages?.checked_sub(memory.reserved_pages?)?;
                pages.checked_mul(page_bytes?)?.checked_add(memory.swap_total_bytes?)
            }
            // mem_cgroup_get_max(): as much swap as it may use is added, of which there may be less.
            ScopeKind::Memcg => {
                let charge = |kind| self.report.charges.iter().find(|charge| charge.kind == kind);
                let limit = charge(ChargeKind::Memory)?.limit_bytes?;
                let no_swap = charge(ChargeKind::Swap).is_some_and(|swap| swap.limit_bytes == Some(0));
                no_swap.then_some(limit)
            }
            ScopeKind::Cpuset | ScopeKind::Mempolicy => None,
        }
    }
}

/// Whether a cgroup is another one or below it.
fn is_below(path: &str, above: &str) -> bool {
    above == "/" || path.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn charged(path: String, charges: &[Charge]) -> Limit {
    let mut limit = Limit { path, ..Limit::default() };
    for charge in charges {
        let usage = Some(charge.usage_bytes);
        match charge.kind {
            ChargeKind::Memory => (limit.usage_bytes, limit.limit_bytes) = (usage, charge.limit_bytes),
            ChargeKind::MemorySwap => {
                (limit.memsw_usage_bytes, limit.memsw_limit_bytes) = (usage, charge.limit_bytes);
            }
            ChargeKind::Swap => {
                (limit.swap_usage_bytes, limit.swap_limit_bytes) = (usage, charge.limit_bytes);
            }
            ChargeKind::Kernel => {}
        }
    }
    limit
}

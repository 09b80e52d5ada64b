//! What ran out, and how the OOM killer was entered: from the decision where a hook shows it, otherwise from what
//! the trigger reclaimed last and from the limits of the memory cgroups.

use std::collections::BTreeMap;

use super::{
    chain::{Chain, stock_pages},
    log::Report,
    missing::{self, UNREAD, lacking},
    types::{Cause, Cgroup, Scope, ScopeKind},
};
use crate::{
    record::{Allowed, Ceiling, CgroupId, Decision, Level, Mark, Reclaim, Task},
    session::Session,
};

/// What is known of a run of the OOM killer that bears on its scope.
pub(super) struct Evidence<'a> {
    pub decision: Option<&'a Decision>,
    /// The nodes that it was confined to.
    pub allowed: Option<&'a Allowed>,
    /// The first mark.
    pub mark: Option<&'a Mark>,
    pub victim: &'a Chain,
    /// The trigger's chain: the victim's if they share it.
    pub trigger: &'a Chain,
    /// What the kernel log says of it, where no hook shows the decision.
    pub report: Option<&'a Report>,
    pub session: &'a Session,
}

/// `PF_WQ_WORKER` and `PF_KSWAPD` (include/linux/sched.h).
const PF_WQ_WORKER: u32 = 0x20;
const PF_KSWAPD: u32 = 0x2_0000;
/// `GFP_KERNEL`, the mask of memory_max_write() (mm/memcontrol.c).
const GFP_KERNEL: u32 = 0xcc0;

impl Evidence<'_> {
    /// The scope. Why parts of it are missing goes to `missing`, and what is from the kernel log to `from_log`.
    pub fn scope(&self, from_log: &mut Vec<&'static str>, missing: &mut BTreeMap<String, String>) -> Scope {
        let mut scope = match (self.decision, self.report) {
            (Some(decision), _) => self.decided(decision, missing),
            (None, Some(report)) => self.logged(report, from_log, missing),
            (None, None) => self.inferred(missing),
        };
        match self.victim.limits(self.session.host.page_bytes) {
            Ok(limits) => {
                if limits.is_empty() {
                    let reason = "the victim's memory cgroups could not be read in the kernel".to_owned();
                    missing.insert("scope.limits".to_owned(), reason);
                }
                scope.limits = limits;
                self.unread(missing);
            }
            Err(reason) => {
                missing.insert("scope.limits".to_owned(), reason);
            }
        }
        if let Some(Cgroup { path: None, .. }) = scope.memcg {
            let reason = "the cgroup is in no chain of cgroups that is whole".to_owned();
            missing.insert("scope.memcg.path".to_owned(), reason);
        }
        scope
    }

    /// Says of what limits and usages could not be read: without a word their absence means that there are none.
    fn unread(&self, missing: &mut BTreeMap<String, String>) {
        for (at, level) in self.victim.levels().iter().enumerate().filter(|(_, level)| !level.link.root) {
            let swap = if level.link.id.is_none_or(|id| id.hierarchy == 0) { "swap" } else { "memsw" };
            let unread = [
                ("usage_bytes".to_owned(), level.usage_pages.is_none()),
                ("limit_bytes".to_owned(), level.limit.is_none()),
                (format!("{swap}_usage_bytes"), level.swap_usage_pages.is_none()),
                (format!("{swap}_limit_bytes"), level.swap_limit.is_none()),
                ("oom_group".to_owned(), level.oom_group.is_none()),
            ];
            missing::all(missing, lacking(unread).map(|field| format!("scope.limits[{at}].{field}")), UNREAD);
        }
    }

    fn decided(&self, decision: &Decision, missing: &mut BTreeMap<String, String>) -> Scope {
        let mut note = |field: &str, reason: &str| {
            missing.insert(field.to_owned(), reason.to_owned());
        };
        let kind = match decision.constraint {
            Some(0) => Some(ScopeKind::Global),
            Some(1) => Some(ScopeKind::Cpuset),
            Some(2) => Some(ScopeKind::Mempolicy),
            Some(3) => Some(ScopeKind::Memcg),
            Some(other) => {
                note("scope.kind", &format!("this kernel's constraint {other} is not known to oomtrace"));
                None
            }
            None => {
                note("scope.kind", "the kernel's oom_control could not be read");
                None
            }
        };
        let constraint = match kind {
            Some(ScopeKind::Global) => Some("CONSTRAINT_NONE"),
            Some(ScopeKind::Cpuset) => Some("CONSTRAINT_CPUSET"),
            Some(ScopeKind::Mempolicy) => Some("CONSTRAINT_MEMORY_POLICY"),
            Some(ScopeKind::Memcg) => Some("CONSTRAINT_MEMCG"),
            None => {
                note("scope.constraint", "see scope.kind");
                None
            }
        };
        let memcg = decision.memcg.flatten().map(|id| self.cgroup(id));
        if decision.capacity_pages.is_none() {
            note("scope.capacity_bytes", "the kernel's oom_control could not be read");
        }
        if memcg.is_none() && matches!(kind, Some(ScopeKind::Memcg) | None) {
            note("scope.memcg", "the kernel's oom_control and mem_cgroup could not be read");
        }
        let confined = matches!(kind, Some(ScopeKind::Cpuset | ScopeKind::Mempolicy));
        let nodes = self.allowed.filter(|_| confined).and_then(|allowed| allowed.nodes.clone());
        if confined && nodes.is_none() {
            note("scope.nodes", "the nodes that it was confined to could not be read in the kernel");
        }
        let cause = self.decided_cause(decision);
        if cause.is_none() {
            note("scope.cause", "what tells the causes apart came in incomplete");
        }
        Scope {
            kind,
            cause,
            constraint,
            memcg,
            nodes,
            capacity_bytes: decision.capacity_pages.map(|pages| self.bytes(pages)),
            memcg_stats: BTreeMap::new(),
            limits: Vec::new(),
        }
    }

    pub(super) fn decided_cause(&self, decision: &Decision) -> Option<Cause> {
        // moom_callback() (drivers/tty/sysrq.c) is the one caller with this order.
        if decision.order? == -1 {
            return Some(Cause::Sysrq);
        }
        if let Some(memcg) = decision.memcg? {
            let as_writer = decision.order == Some(0) && decision.gfp_mask == Some(GFP_KERNEL);
            return match self.trigger.depth_of(memcg) {
                Some(_) => Some(Cause::Allocation),
                None if !as_writer => Some(Cause::Allocation),
                None if self.trigger.whole() => Some(Cause::LimitLowered),
                // Whether the trigger is outside cannot be told from half a chain.
                None => None,
            };
        }
        // lru_gen_age_node() (mm/vmscan.c), in kswapd.
        if decision.trigger.flags? & PF_KSWAPD != 0 {
            return Some(Cause::Mglru);
        }
        // pagefault_out_of_memory() (mm/oom_kill.c, until 5.15).
        Some(if decision.gfp_mask? == 0 { Cause::PageFault } else { Cause::Allocation })
    }

    /// Without a hook at the decision. The kernel reclaims from what is short before it kills, so the trigger's
    /// last reclaim tells a node from a memory cgroup.
    pub(super) fn inferred(&self, missing: &mut BTreeMap<String, String>) -> Scope {
        let flags = self.mark.map_or_else(Task::default, |mark| mark.trigger.clone()).flags.unwrap_or(0);
        let nothing_reclaimed =
            "the trigger reclaimed nothing before, so what ran out is not known in this tier";
        match self.mark.and_then(|mark| mark.reclaim) {
            Some(Reclaim::Memcg(id)) => self.memcg(id, missing),
            Some(Reclaim::Direct) => self.node(Some(Cause::Allocation), missing),
            // A program that is preempted on its CPU by another run of itself misses that run, so a reclaim may go
            // unseen. A limit that both have reached speaks for itself.
            None if self.victim.levels().iter().any(|level| self.shared(level) && self.at_limit(level)) => {
                self.memcg(None, missing)
            }
            None if flags & PF_KSWAPD != 0 => self.node(Some(Cause::Mglru), missing),
            None if flags & PF_WQ_WORKER != 0 => self.node(Some(Cause::Sysrq), missing),
            None => {
                let unknown = ["scope.kind", "scope.cause", "scope.memcg", "scope.capacity_bytes"];
                missing::all(missing, unknown, nothing_reclaimed);
                Scope::default()
            }
        }
    }

    pub(super) fn node(&self, cause: Option<Cause>, missing: &mut BTreeMap<String, String>) -> Scope {
        // A cpuset or a memory policy would show in the decision only; the kernel's totalpages is that of the
        // machine otherwise (constrained_alloc(), mm/oom_kill.c).
        let host = &self.session.host;
        let capacity_bytes =
            host.memory_bytes.zip(host.swap_bytes).map(|(memory, swap)| memory.saturating_add(swap));
        if capacity_bytes.is_none() {
            missing.insert("scope.capacity_bytes".to_owned(), "/proc/meminfo could not be read".to_owned());
        }
        Scope { kind: Some(ScopeKind::Global), cause, capacity_bytes, ..Scope::default() }
    }

    fn memcg(&self, reclaimed: Option<u64>, missing: &mut BTreeMap<String, String>) -> Scope {
        let level = self.victim.levels().iter().find(|level| match reclaimed {
            Some(id) => level.link.id.is_some_and(|cgroup| cgroup.id == id),
            None => self.shared(level) && self.at_limit(level),
        });
        // Whoever lowers a limit is not below it.
        let level = level.or_else(|| self.victim.levels().iter().find(|level| self.at_limit(level)));
        // An earlier victim may have given its memory back by now. A limit was reached all the same, and where there
        // is one only, it is this.
        let level = level.or_else(|| {
            let mut limited =
                self.victim.levels().iter().filter(|level| self.shared(level) && is_limited(level));
            limited.next().filter(|_| limited.next().is_none())
        });
        let Some((level, id)) = level.and_then(|level| Some((level, level.link.id?))) else {
            missing::all(
                missing,
                ["scope.memcg", "scope.cause", "scope.capacity_bytes"],
                "no memory cgroup of the victim was at its limit any more when it was marked",
            );
            return Scope { kind: Some(ScopeKind::Memcg), ..Scope::default() };
        };
        self.at(level, id, missing)
    }

    /// The scope of a memory cgroup at its limit.
    pub(super) fn at(&self, level: &Level, id: CgroupId, missing: &mut BTreeMap<String, String>) -> Scope {
        let cause = if self.shared(level) { Cause::Allocation } else { Cause::LimitLowered };
        let capacity_bytes = self.capacity_pages(level).map(|pages| self.bytes(pages));
        if capacity_bytes.is_none() {
            missing.insert(
                "scope.capacity_bytes".to_owned(),
                "the cgroup's limits could not be read".to_owned(),
            );
        }
        Scope {
            kind: Some(ScopeKind::Memcg),
            cause: Some(cause),
            memcg: Some(self.cgroup(id)),
            capacity_bytes,
            ..Scope::default()
        }
    }

    /// Whether the trigger is below the cgroup too.
    fn shared(&self, level: &Level) -> bool {
        level.link.id.is_some_and(|id| self.trigger.depth_of(id).is_some())
    }

    fn at_limit(&self, level: &Level) -> bool {
        let slack = stock_pages(self.session.host.cpus_online);
        let reached = |usage: Option<u64>, limit: Option<Ceiling>| match (usage, limit) {
            (Some(usage), Some(Ceiling::Pages(limit))) => usage.saturating_add(slack) >= limit,
            _ => false,
        };
        // v1: memory and swap together have a limit of their own. v2's swap limit makes no charge fail.
        let memsw = level.link.id.is_some_and(|id| id.hierarchy != 0)
            && reached(level.swap_usage_pages, level.swap_limit);
        reached(level.usage_pages, level.limit) || memsw
    }

    /// `mem_cgroup_get_max()` (mm/memcontrol.c): the limit, and what swap may be used beyond it.
    fn capacity_pages(&self, level: &Level) -> Option<u64> {
        let page = u64::from(self.session.host.page_bytes);
        let machine_swap = self.session.host.swap_bytes? / page;
        // Without a limit of its own, a counter's limit is PAGE_COUNTER_MAX.
        let max = i64::MAX.cast_unsigned() / page;
        let memory = level.limit?.pages().unwrap_or(max);
        let swap = match level.link.id?.hierarchy {
            0 => level.swap_limit.and_then(Ceiling::pages).unwrap_or(max),
            _ => level.swap_limit.and_then(Ceiling::pages).unwrap_or(max).saturating_sub(memory),
        };
        memory.checked_add(swap.min(machine_swap))
    }

    fn cgroup(&self, id: CgroupId) -> Cgroup {
        let path =
            [self.victim, self.trigger].into_iter().find_map(|chain| chain.path(chain.depth_of(id)?).ok());
        Cgroup { path, id: Some(id.id), hierarchy: Some(id.hierarchy) }
    }

    fn bytes(&self, pages: u64) -> u64 {
        pages.saturating_mul(u64::from(self.session.host.page_bytes))
    }
}

/// Whether the cgroup has a limit that a charge can fail at. v2's swap limit makes none fail.
fn is_limited(level: &Level) -> bool {
    let memsw = level.link.id.is_some_and(|id| id.hierarchy != 0)
        && matches!(level.swap_limit, Some(Ceiling::Pages(_)));
    memsw || matches!(level.limit, Some(Ceiling::Pages(_)))
}

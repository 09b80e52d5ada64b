//! What of a decision cannot be true.
//!
//! Nothing that we could read of our own beforehand shows where this kernel keeps the fields of its `oom_control`, so
//! each decision is held against what else is known of the incident: the process that was marked, its memory
//! cgroups, the machine. A decision that does not fit is not told.

use std::collections::BTreeMap;

use oomtrace_ebpf::RSS_ANON;

use super::{chain::Chain, memory, missing, types::Scope};
use crate::{
    record::{Decision, Mark},
    session::Session,
};

/// The largest order that any kernel allocates (`MAX_PAGE_ORDER`, at most 13 on arm64 with pages of 64 KiB), and
/// some more.
const LARGEST_ORDER: i32 = 20;
/// `___GFP_DIRECT_RECLAIM` (include/linux/gfp_types.h; by this value since 4.4): without it nobody comes to the OOM
/// killer, but for the legacy page-fault path with a mask of 0.
const DIRECT_RECLAIM: u32 = 0x400;
/// Masks have fewer bits than this on every kernel (`__GFP_BITS_SHIFT`).
const GFP_BITS: u32 = 30;
/// `CONSTRAINT_MEMCG` (include/linux/oom.h).
const MEMCG: u32 = 3;

/// A decision, as far as it can be true.
pub(super) struct Examined {
    /// Without what cannot be.
    pub decision: Decision,
    /// What was left out, and why.
    pub doubt: Option<Doubt>,
}

/// Why a decision is not told.
pub(super) struct Doubt {
    /// What does not fit, in words.
    pub reason: String,
    /// Whether it is the limits of the memory cgroups that do not fit: either may be the wrong one.
    pub limits: bool,
}

impl Doubt {
    /// Leaves out of an incident what is in doubt, and says so.
    pub fn note(&self, scope: &mut Scope, missing: &mut BTreeMap<String, String>) {
        let doubted = [
            "scope.kind",
            "scope.cause",
            "scope.constraint",
            "scope.capacity_bytes",
            "scope.memcg",
            "trigger.gfp_mask",
            "trigger.gfp_flags",
            "trigger.order",
        ];
        missing::all(missing, doubted, &self.reason);
        if self.limits {
            scope.limits.clear();
            missing.insert("scope.limits".to_owned(), self.reason.clone());
        }
    }
}

/// Examines a decision beside the first mark that came of it, and the chain of its victim.
pub(super) fn examine(
    decision: &Decision,
    mark: Option<&Mark>,
    victim: &Chain,
    session: &Session,
) -> Examined {
    let contradiction = Contradiction { decision, mark, victim, session };
    let Some((words, limits)) = contradiction.find() else {
        let mut decision = decision.clone();
        if !plausible_points(&decision, mark, session) {
            decision.chosen_points = None;
        }
        return Examined { decision, doubt: None };
    };
    let reason = format!("the kernel's oom_control is not where its types say: {words}");
    let decision = Decision { trigger: decision.trigger.clone(), ..Decision::default() };
    Examined { decision, doubt: Some(Doubt { reason, limits }) }
}

/// Leaves out what the memory cgroups use if it cannot be true: the victim's own, and the one that is at its limit, must
/// hold at least half of its memory, and the latter something.
pub(super) fn usage(
    scope: &mut Scope,
    mark: Option<&Mark>,
    page_bytes: u32,
    missing: &mut BTreeMap<String, String>,
) {
    let anon = mark.and_then(|mark| mark.mm.rss_sum.or(mark.mm.rss_count)).map_or(0, |pages| pages[RSS_ANON]);
    let held = u64::try_from(anon).unwrap_or(0).saturating_mul(u64::from(page_bytes));
    let full = scope.memcg.as_ref().and_then(|memcg| memcg.id);
    let little = scope.limits.iter().enumerate().find_map(|(at, level)| {
        // Not its limit: the memory of a victim before may be coming back by now.
        let is_full = full.is_some() && level.id == full;
        let least = if at == 0 || is_full { held } else { 0 };
        let least = least.max(if is_full { 2 * u64::from(page_bytes) } else { 0 });
        // v1: a limit of memory and swap together may be reached with little in memory.
        let usage = level.usage_bytes?.max(level.memsw_usage_bytes.unwrap_or(0));
        (usage < least / 2).then(|| {
            format!(
                "read by its types, the kernel's mem_cgroup of {} uses {usage} bytes, where {least} are to be \
                 expected: they do not fit this kernel, or the victim came from another cgroup",
                level.path
            )
        })
    });
    let Some(reason) = little else { return };
    for (at, level) in scope.limits.iter_mut().enumerate() {
        for (field, value) in [
            ("usage_bytes", &mut level.usage_bytes),
            ("swap_usage_bytes", &mut level.swap_usage_bytes),
            ("memsw_usage_bytes", &mut level.memsw_usage_bytes),
        ] {
            if value.take().is_some() {
                missing.insert(format!("scope.limits[{at}].{field}"), reason.clone());
            }
        }
    }
}

struct Contradiction<'a> {
    decision: &'a Decision,
    mark: Option<&'a Mark>,
    victim: &'a Chain,
    session: &'a Session,
}

impl Contradiction<'_> {
    /// What does not fit, in words, and whether it may be the fault of the cgroups' limits.
    fn find(&self) -> Option<(String, bool)> {
        let words = self.chosen().or_else(|| self.request()).or_else(|| self.memcg());
        words.map(|words| (words, false)).or_else(|| Some((self.capacity()?, true)))
    }

    /// Who is chosen is marked first: `oom_kill_process()`. Of a group others may be, if that one has gone meanwhile.
    fn chosen(&self) -> Option<String> {
        if self.victim.kills_groups() {
            return None;
        }
        let (chosen, marked) = (self.decision.chosen.pid?, self.mark?.victim.pid?);
        (chosen != marked).then(|| format!("it has process {chosen} as chosen, and {marked} was marked"))
    }

    fn request(&self) -> Option<String> {
        if let Some(order) = self.decision.order
            && !(-1..=LARGEST_ORDER).contains(&order)
        {
            return Some(format!("it has {order} as the order of the request"));
        }
        let mask = self.decision.gfp_mask?;
        let sound = mask & DIRECT_RECLAIM != 0 && mask >> GFP_BITS == 0;
        // pagefault_out_of_memory(), up to 5.15.
        let legacy = mask == 0 && self.decision.order == Some(0);
        (!sound && !legacy).then(|| format!("it has {mask:#x} as the allocation flags"))
    }

    fn memcg(&self) -> Option<String> {
        let memcg = self.decision.memcg?;
        let constraint = self.decision.constraint?;
        if memcg.is_some() != (constraint == MEMCG) {
            let is = if memcg.is_some() { "a" } else { "no" };
            return Some(format!("it has {is} memory cgroup and the constraint {constraint}"));
        }
        // Victims are below the cgroup that is at its limit: mem_cgroup_scan_tasks().
        let id = memcg?;
        (self.victim.whole() && self.victim.depth_of(id).is_none())
            .then(|| format!("it has the memory cgroup {}, and the victim is not below it", id.id))
    }

    /// `oom_control.totalpages`, from constrained_alloc().
    fn capacity(&self) -> Option<String> {
        let capacity = self.decision.capacity_pages?;
        let host = &self.session.host;
        let pages = |bytes: u64| bytes / u64::from(host.page_bytes);
        let (memory, swap) = (pages(host.memory_bytes?), pages(host.swap_bytes?));
        let (least, most) = match (self.decision.constraint?, self.decision.memcg.flatten()) {
            // mem_cgroup_get_max(): the limit, and what swap may be used beyond it. Swap may have been added since
            // tracing began, so all that it could hold is granted.
            (MEMCG, Some(id)) => {
                let level = self.victim.levels().get(self.victim.depth_of(id)?)?;
                let limit = level.limit?.pages()?;
                (limit, limit.checked_add(swap.max(memory))?)
            }
            // Memory and swap may have been added or taken away.
            (0, _) => (memory / 16, memory.checked_add(swap)?.checked_mul(4)?),
            // The nodes of a cpuset or a memory policy.
            (1 | 2, _) => (1, memory.checked_add(swap)?.checked_mul(4)?),
            _ => return None,
        };
        (!(least..=most).contains(&capacity))
            .then(|| format!("it has a capacity of {capacity} pages where {least} to {most} can be"))
    }
}

/// Whether the score is that of the process that was marked. Without a mark, or without knowing all that the score is
/// made of, it may be.
fn plausible_points(decision: &Decision, mark: Option<&Mark>, session: &Session) -> bool {
    let (Some(points), Some(mark)) = (decision.chosen_points, mark) else { return true };
    // `vm.oom_kill_allocating_task` scores nobody; oom_task_origin() is beyond every score.
    if points == 0 || points == i64::MAX {
        return true;
    }
    let computed = memory::as_kernel(&mark.mm, session).ok().and_then(|pages| {
        memory::points(
            &pages,
            mark.mm.pgtables_bytes?,
            mark.victim.oom_score_adj?,
            decision.capacity_pages,
            session.host.page_bytes,
        )
    });
    // The victim goes on between its scoring and its mark: it may grow, and give back.
    computed.is_none_or(|computed| points.abs_diff(computed) <= computed.unsigned_abs() / 2 + 16_384)
}

//! What an incident has from the kernel log: in the tracepoint tier what was asked for and what ran out, in every tier
//! the number of its message; and incidents that the log alone tells.

use std::collections::BTreeMap;

use super::{
    gfp,
    log::{Kill, Report},
    scope::Evidence,
    types::{
        Command, Common, Incident, OomTag, Outcome, Place, RssKernel, SchemaName, Scope, ScopeKind, Trigger,
        Verdict, Victim,
    },
};
use crate::record::{CgroupId, Decision};

/// Fields that a decision tells, and else the log alone.
pub const LOGGED: [&str; 4] = ["scope.constraint", "trigger.gfp_mask", "trigger.gfp_flags", "trigger.order"];
/// Why one is missing though the log has the kill.
const LIMITED: &str = "the kernel log does not have it: the kernel limits its reports to 10 in 5 s";
/// Why one is missing where the log has no kill.
const LATE: &str = "the kernel log did not have it in time";
/// Why all is missing that the log does not say.
const UNSEEN: &str = "the tracer did not see this kill; the kernel log has it";

/// Kinds by the kernel's name (`oom_constraint_text`, mm/oom_kill.c) and their number (`enum oom_constraint`).
const CONSTRAINTS: [(&str, ScopeKind, u32); 4] = [
    ("CONSTRAINT_NONE", ScopeKind::Global, 0),
    ("CONSTRAINT_CPUSET", ScopeKind::Cpuset, 1),
    ("CONSTRAINT_MEMORY_POLICY", ScopeKind::Mempolicy, 2),
    ("CONSTRAINT_MEMCG", ScopeKind::Memcg, 3),
];

impl Evidence<'_> {
    /// The scope by the log; what it does not say is inferred. Fields in which the log changed or added something go to
    /// `from_log`.
    pub(super) fn logged(
        &self,
        report: &Report,
        from_log: &mut Vec<&'static str>,
        missing: &mut BTreeMap<String, String>,
    ) -> Scope {
        let mut reasons = BTreeMap::new();
        let inferred = self.inferred(&mut reasons);
        let scope = self.by_log(report, &inferred, &mut reasons);
        for (field, before, after, same) in [
            ("scope.kind", inferred.kind.is_some(), scope.kind.is_some(), inferred.kind == scope.kind),
            ("scope.cause", inferred.cause.is_some(), scope.cause.is_some(), inferred.cause == scope.cause),
            ("scope.constraint", false, scope.constraint.is_some(), false),
            ("scope.memcg", inferred.memcg.is_some(), scope.memcg.is_some(), inferred.memcg == scope.memcg),
            ("scope.nodes", false, scope.nodes.is_some(), false),
            (
                "scope.capacity_bytes",
                inferred.capacity_bytes.is_some(),
                scope.capacity_bytes.is_some(),
                inferred.capacity_bytes == scope.capacity_bytes,
            ),
        ] {
            if after && !(before && same) {
                from_log.push(field);
            }
            if after {
                reasons.remove(field);
                missing.remove(field);
            }
        }
        missing.extend(reasons);
        scope
    }

    fn by_log(&self, report: &Report, inferred: &Scope, missing: &mut BTreeMap<String, String>) -> Scope {
        let decided = report.decided.as_ref();
        let constraint =
            decided.and_then(|decided| CONSTRAINTS.iter().find(|(name, ..)| *name == decided.constraint));
        let Some((name, kind, number)) = constraint else { return inferred.clone() };
        let limited = decided.and_then(|decided| decided.oom_memcg.as_deref());
        let level = limited.and_then(|path| self.victim.named(path));
        let id = level.and_then(|level| level.id);
        let mut scope = match (kind, level, id) {
            (ScopeKind::Memcg, Some(level), Some(id)) => self.at(level, id, missing),
            (ScopeKind::Memcg, ..) if inferred.kind == Some(ScopeKind::Memcg) => inferred.clone(),
            (ScopeKind::Memcg, ..) => {
                for field in ["scope.memcg", "scope.capacity_bytes"] {
                    let reason = "the kernel log names a memory cgroup that is none of the victim's";
                    missing.insert(field.to_owned(), reason.to_owned());
                }
                Scope::default()
            }
            (ScopeKind::Global, ..) => self.node(inferred.cause, missing),
            (ScopeKind::Cpuset | ScopeKind::Mempolicy, ..) => {
                let reason = "how much the nodes have that were allowed is not known in this tier";
                missing.insert("scope.capacity_bytes".to_owned(), reason.to_owned());
                Scope { cause: inferred.cause, ..Scope::default() }
            }
        };
        if *kind != ScopeKind::Memcg {
            missing.remove("scope.memcg");
        }
        let confined = match kind {
            ScopeKind::Cpuset => Some(decided.and_then(|decided| decided.mems_allowed.clone())),
            ScopeKind::Mempolicy => Some(decided.and_then(|decided| decided.nodemask.clone())),
            ScopeKind::Global | ScopeKind::Memcg => None,
        };
        if confined == Some(None) {
            let reason = "the kernel log's line leaves open which nodes were allowed";
            missing.insert("scope.nodes".to_owned(), reason.to_owned());
        }
        scope.nodes = confined.flatten();
        scope.kind = Some(*kind);
        scope.constraint = Some(name);
        scope.cause = self.logged_cause(report, *number, id).or(scope.cause);
        scope
    }

    /// How the OOM killer was entered, as where a hook shows the decision.
    fn logged_cause(
        &self,
        report: &Report,
        constraint: u32,
        memcg: Option<CgroupId>,
    ) -> Option<super::types::Cause> {
        let invoked = report.invoked.as_ref()?;
        let memcg = if constraint == 3 { Some(Some(memcg?)) } else { Some(None) };
        self.decided_cause(&Decision {
            trigger: self.mark?.trigger.clone(),
            gfp_mask: Some(invoked.gfp_mask),
            order: Some(invoked.order),
            constraint: Some(constraint),
            memcg,
            ..Decision::default()
        })
    }
}

/// Fills in what the trigger asked for.
pub(super) fn asked(
    trigger: &mut Trigger,
    report: &Report,
    from_log: &mut Vec<&'static str>,
    missing: &mut BTreeMap<String, String>,
) {
    let Some(invoked) = &report.invoked else { return };
    let names = invoked.gfp_flags.clone().unwrap_or_else(|| gfp::flag_names(invoked.gfp_mask));
    trigger.gfp_mask = Some(invoked.gfp_mask);
    trigger.gfp_flags = Some(names);
    trigger.order = Some(invoked.order);
    for field in LOGGED.into_iter().filter(|field| field.starts_with("trigger.")) {
        missing.remove(field);
        from_log.push(field);
    }
}

/// Says why what only the log has is missing still, with the kill or without it.
pub(super) fn unlogged(kill: Option<&Kill>, missing: &mut BTreeMap<String, String>) {
    let reason = if kill.is_some() { LIMITED } else { LATE };
    for field in LOGGED {
        if let Some(known) = missing.get_mut(field) {
            reason.clone_into(known);
        }
    }
}

/// An incident that the log alone tells. Its thread id stands for the process's too: of a process whose first thread has
/// ended, it is another one's.
pub(super) fn alone(kill: &Kill, common: Common, id: String) -> Incident {
    let killed = &kill.killed;
    let decided = kill.report.as_ref().and_then(|report| report.decided.as_ref());
    let bytes = |kb: Option<u64>| kb.map(|kb| kb.saturating_mul(1024));
    let parts = (bytes(killed.anon_rss_kb), bytes(killed.file_rss_kb), bytes(killed.shmem_rss_kb));
    let rss_kernel = match parts {
        (Some(anon_bytes), Some(file_bytes), Some(shmem_bytes)) => Some(RssKernel {
            anon_bytes,
            file_bytes,
            shmem_bytes,
            total_bytes: anon_bytes.saturating_add(file_bytes).saturating_add(shmem_bytes),
        }),
        _ => None,
    };
    let victim = Victim {
        pid: Some(killed.pid),
        tid: Some(killed.pid),
        comm: Some(killed.comm.clone()),
        uid: killed.uid,
        verdict: Some(if kill.group { Verdict::GroupKilled } else { Verdict::Killed }),
        oom_score_adj: killed.oom_score_adj,
        total_vm_bytes: bytes(killed.total_vm_kb),
        rss_kernel,
        pgtables_bytes: bytes(killed.pgtables_kb),
        place: Place::of(decided.and_then(|decided| decided.task_memcg.clone())),
        command: Command::default(),
        ..Victim::default()
    };
    let constraint =
        decided.and_then(|decided| CONSTRAINTS.iter().find(|(name, ..)| *name == decided.constraint));
    let by_words = match killed.memcg {
        Some(true) => Some(ScopeKind::Memcg),
        // A node, or some of them.
        Some(false) | None => None,
    };
    let scope = Scope {
        kind: constraint.map(|(_, kind, _)| *kind).or(by_words),
        constraint: constraint.map(|(name, ..)| *name),
        ..Scope::default()
    };
    let invoked = kill.report.as_ref().and_then(|report| report.invoked.as_ref());
    let mut trigger = Trigger { comm: invoked.map(|invoked| invoked.comm.clone()), ..Trigger::default() };
    if let Some(report) = &kill.report {
        asked(&mut trigger, report, &mut Vec::new(), &mut BTreeMap::new());
    }
    let mut missing = unseen(&scope, &trigger, &victim);
    if let Some(path) = decided.and_then(|decided| decided.oom_memcg.as_ref()) {
        missing.insert("scope.memcg".to_owned(), format!("{UNSEEN}, with its path alone: {path}"));
    }
    Incident {
        schema: SchemaName::V1,
        r#type: OomTag::Oom,
        id,
        common,
        scope,
        trigger,
        outcome: Some(Outcome::Killed),
        victims: vec![victim],
        candidates: Vec::new(),
        stall: None,
        ballot: None,
        zones: Vec::new(),
        host_memory: None,
        decision_ns: None,
        calls_without_decision: None,
        from_log: vec!["victims"],
        kmsg_seq: Some(kill.seq),
        missing,
        lost_records: 0,
    }
}

/// All that the log does not say of a kill.
fn unseen(scope: &Scope, trigger: &Trigger, victim: &Victim) -> BTreeMap<String, String> {
    let mut missing = BTreeMap::new();
    for (field, lacks) in [
        ("scope.kind", scope.kind.is_none()),
        ("scope.cause", true),
        ("scope.constraint", scope.constraint.is_none()),
        ("scope.memcg", scope.kind.is_none_or(|kind| kind == ScopeKind::Memcg)),
        ("scope.capacity_bytes", true),
        ("scope.limits", true),
        ("trigger.pid", true),
        ("trigger.tid", true),
        ("trigger.comm", trigger.comm.is_none()),
        ("trigger.uid", true),
        ("trigger.cgroup", true),
        ("trigger.cmdline", true),
        ("trigger.gfp_mask", trigger.gfp_mask.is_none()),
        ("trigger.gfp_flags", trigger.gfp_flags.is_none()),
        ("trigger.order", trigger.order.is_none()),
        ("victims[0].ppid", true),
        ("victims[0].uid", victim.uid.is_none()),
        ("victims[0].threads", true),
        ("victims[0].oom_score_adj", victim.oom_score_adj.is_none()),
        ("victims[0].points", true),
        ("victims[0].total_vm_bytes", victim.total_vm_bytes.is_none()),
        ("victims[0].rss", true),
        ("victims[0].rss_kernel", victim.rss_kernel.is_none()),
        ("victims[0].swap_bytes", true),
        ("victims[0].pgtables_bytes", victim.pgtables_bytes.is_none()),
        ("victims[0].cgroup", victim.place.cgroup.is_none()),
        ("victims[0].cmdline", true),
        ("victims[0].start_time", true),
        ("candidates", true),
        ("ballot", true),
        ("stall", true),
        ("zones", true),
        ("host_memory", true),
        ("decision_ns", true),
        ("calls_without_decision", true),
        ("trigger.ancestors", true),
        ("trigger.ns_pid", true),
        ("victims[0].ancestors", true),
        ("victims[0].ns_pid", true),
    ] {
        if lacks {
            missing.insert(field.to_owned(), UNSEEN.to_owned());
        }
    }
    missing
}

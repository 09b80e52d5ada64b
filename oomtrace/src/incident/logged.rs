//! What an incident has from the kernel log: in the tracepoint tier what was asked for and what ran out, in every tier
//! the number of its message.

use std::collections::BTreeMap;

use super::{
    gfp,
    log::{Kill, Report},
    missing,
    scope::Evidence,
    types::{Scope, ScopeKind, Trigger},
};
use crate::record::{CgroupId, Decision};

/// Fields that a decision tells, and else the log alone.
pub const LOGGED: [&str; 4] = ["scope.constraint", "trigger.gfp_mask", "trigger.gfp_flags", "trigger.order"];
/// Why one is missing though the log has the kill.
const LIMITED: &str = "the kernel log does not have it: the kernel limits its reports to 10 in 5 s";
/// Why one is missing where the log has no kill.
const LATE: &str = "the kernel log did not have it in time";
/// Kinds by the kernel's name (`oom_constraint_text`, mm/oom_kill.c) and their number (`enum oom_constraint`).
pub(super) const CONSTRAINTS: [(&str, ScopeKind, u32); 4] = [
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
        let id = level.and_then(|level| level.link.id);
        let mut scope = match (kind, level, id) {
            (ScopeKind::Memcg, Some(level), Some(id)) => self.at(level, id, missing),
            (ScopeKind::Memcg, ..) if inferred.kind == Some(ScopeKind::Memcg) => inferred.clone(),
            (ScopeKind::Memcg, ..) => {
                let reason = "the kernel log names a memory cgroup that is none of the victim's";
                missing::all(missing, ["scope.memcg", "scope.capacity_bytes"], reason);
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

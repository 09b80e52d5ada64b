//! Incidents that the kernel log alone tells: no program saw them.

use std::collections::BTreeMap;

use super::{
    log::{Kill, Nobody, Report},
    logged::{CONSTRAINTS, asked},
    missing::{self, lacking},
    types::{
        Cgroup, Common, Incident, OomTag, Outcome, Place, RssKernel, SchemaName, Scope, ScopeKind, Trigger,
        Verdict, Victim,
    },
};

/// Why all is missing that the log does not say of a kill.
const UNSEEN: &str = "the tracer did not see this kill; the kernel log has it";
/// The same of a run without a victim.
const UNHOOKED: &str =
    "no hook shows a run of the OOM killer without a victim in this tier; the kernel log has it";

/// A kill. Its thread id stands for the process's too: of a process whose first thread has ended, it is another one's.
pub(super) fn kill(kill: &Kill, common: Common, id: String) -> Incident {
    let killed = &kill.killed;
    let report = kill.report.as_ref();
    let by_words = match killed.memcg {
        Some(true) => Some(ScopeKind::Memcg),
        // A node, or some of them.
        Some(false) | None => None,
    };
    let told = Alone { report, by_words, seq: kill.seq, reason: UNSEEN };
    let incident = Incident {
        outcome: Some(Outcome::Killed),
        victims: vec![victim(kill)],
        from_log: vec!["victims"],
        ..told.incident(common, id)
    };
    with_missing(incident)
}

/// Nobody was to be killed.
pub(super) fn nobody(nobody: &Nobody, common: Common, id: String) -> Incident {
    let report = nobody.report.as_ref();
    // Only a memory cgroup's: where the machine has nobody to kill it panics, unless an operator asked (sysrq).
    let by_words = report.and_then(|report| report.memcg.as_ref()).map(|_| ScopeKind::Memcg);
    let told = Alone { report, by_words, seq: nobody.seq, reason: UNHOOKED };
    Incident { outcome: Some(Outcome::NoVictim), from_log: vec!["outcome"], ..told.incident(common, id) }
}

/// What the log has of either.
struct Alone<'a> {
    report: Option<&'a Report>,
    /// What ran out, by the words of its line.
    by_words: Option<ScopeKind>,
    /// Number of its message.
    seq: u64,
    /// Why the rest is missing.
    reason: &'static str,
}

impl Alone<'_> {
    /// The incident without its victims.
    fn incident(&self, common: Common, id: String) -> Incident {
        let (scope, trigger) = (self.scope(), self.trigger());
        let mut missing = BTreeMap::new();
        let inode = scope.memcg.is_some();
        let asked = trigger.gfp_mask.is_some();
        let unsaid = [
            ("scope.kind", scope.kind.is_none()),
            ("scope.cause", true),
            ("scope.constraint", scope.constraint.is_none()),
            ("scope.memcg", !inode && scope.kind.is_none_or(|kind| kind == ScopeKind::Memcg)),
            ("scope.memcg.id", inode),
            ("scope.memcg.hierarchy", inode),
            ("scope.capacity_bytes", true),
            ("scope.limits", true),
            ("trigger.pid", true),
            ("trigger.tid", trigger.tid.is_none()),
            ("trigger.comm", trigger.comm.is_none()),
            ("trigger.uid", true),
            ("trigger.cgroup", true),
            ("trigger.cmdline", true),
            ("trigger.gfp_mask", !asked),
            ("trigger.gfp_flags", !asked),
            ("trigger.order", !asked),
            ("trigger.ancestors", true),
            ("trigger.ns_pid", true),
            ("candidates", true),
            ("ballot", true),
            ("stall", true),
            ("zones", true),
            ("host_memory", true),
            ("decision_ns", true),
            ("calls_without_decision", true),
        ];
        missing::all(&mut missing, lacking(unsaid), self.reason);
        Incident {
            schema: SchemaName::V1,
            r#type: OomTag::Oom,
            id,
            common,
            scope,
            trigger,
            outcome: None,
            victims: Vec::new(),
            candidates: Vec::new(),
            stall: None,
            ballot: None,
            zones: Vec::new(),
            host_memory: None,
            decision_ns: None,
            calls_without_decision: None,
            from_log: Vec::new(),
            kmsg_seq: Some(self.seq),
            findings: Vec::new(),
            missing,
            lost_records: 0,
        }
    }

    fn scope(&self) -> Scope {
        let decided = self.report.and_then(|report| report.decided.as_ref());
        let constraint =
            decided.and_then(|decided| CONSTRAINTS.iter().find(|(name, ..)| *name == decided.constraint));
        let kind = constraint.map(|(_, kind, _)| *kind).or(self.by_words);
        let path = decided.and_then(|decided| decided.oom_memcg.clone());
        let path = path.or_else(|| self.report?.memcg.clone()).filter(|_| kind == Some(ScopeKind::Memcg));
        let memcg = path.map(|path| Cgroup { path: Some(path), id: None, hierarchy: None });
        Scope { kind, constraint: constraint.map(|(name, ..)| *name), memcg, ..Scope::default() }
    }

    fn trigger(&self) -> Trigger {
        let Some(report) = self.report else { return Trigger::default() };
        let comm = report.invoked.as_ref().map(|invoked| invoked.comm.clone());
        let mut trigger = Trigger { comm, tid: report.tid, ..Trigger::default() };
        asked(&mut trigger, report, &mut Vec::new(), &mut BTreeMap::new());
        trigger
    }
}

fn victim(kill: &Kill) -> Victim {
    let killed = &kill.killed;
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
    let decided = kill.report.as_ref().and_then(|report| report.decided.as_ref());
    Victim {
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
        ..Victim::default()
    }
}

/// The incident, with all that the log does not say of its victim, if it has one.
fn with_missing(mut incident: Incident) -> Incident {
    let Some(victim) = incident.victims.first() else { return incident };
    let unsaid = [
        ("ppid", true),
        ("uid", victim.uid.is_none()),
        ("threads", true),
        ("oom_score_adj", victim.oom_score_adj.is_none()),
        ("points", true),
        ("total_vm_bytes", victim.total_vm_bytes.is_none()),
        ("rss", true),
        ("rss_kernel", victim.rss_kernel.is_none()),
        ("swap_bytes", true),
        ("pgtables_bytes", victim.pgtables_bytes.is_none()),
        ("cgroup", victim.place.cgroup.is_none()),
        ("cmdline", true),
        ("environment", true),
        ("start_time", true),
        ("ancestors", true),
        ("ns_pid", true),
    ];
    let unsaid = lacking(unsaid).map(|field| format!("victims[0].{field}"));
    missing::all(&mut incident.missing, unsaid, UNSEEN);
    incident
}

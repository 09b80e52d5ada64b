//! A run of the OOM killer, told as an incident.

mod trigger;
mod victims;

pub(super) use victims::{companion, facts, lacks};

use super::{
    ballot,
    cmdlines::{Cmdlines, VICTIMS_CMDLINE},
    doubt,
    environments::{Environments, VICTIMS_ENVIRONMENT},
    id,
    kin::Kins,
    log::Kill,
    logged, missing,
    run::Run,
    scope::Evidence,
    stall,
    types::{Common, Incident, OomTag, Outcome, SchemaName, Verdict, Victim},
    zones,
};
use crate::{kernel::hooks::Tier, record::Whose, session::Session};

/// Why it is not known how long the OOM killer took.
const UNTIMED: &str = "the OOM killer's run was not seen from its beginning to its end";

/// A run, and what else there is to tell of it.
pub(super) struct Telling<'a> {
    pub run: &'a Run,
    pub session: &'a Session,
    pub cmdlines: &'a Cmdlines,
    pub environments: &'a Environments,
    pub kins: &'a Kins,
    /// What the kernel log tells of its first victim.
    pub kill: Option<&'a Kill>,
    /// Calls of `out_of_memory()` without a decision when the incident before was told.
    pub undecided: u32,
}

impl Telling<'_> {
    /// The incident, under its head.
    pub fn incident(&self, common: Common) -> Incident {
        let &Self { run, session, kill, .. } = self;
        let mut missing = session.missing.clone();
        // It is said of each victim.
        missing.remove(VICTIMS_CMDLINE);
        missing.remove(VICTIMS_ENVIRONMENT);
        let mark = run.marks.first().map(|(_, mark)| mark);
        let victim = run.limits();
        let trigger = run.trigger().cloned().unwrap_or_default();
        let trigger_chain = run.chain(&trigger, Whose::Trigger);
        // Another run's trigger asked for something else.
        let same = |comm: &String| trigger.comm.as_ref().is_none_or(|own| own == comm);
        let report = kill.and_then(|kill| kill.report.as_ref()).filter(|report| {
            run.decision.is_none() && report.invoked.as_ref().is_none_or(|invoked| same(&invoked.comm))
        });
        let evidence = Evidence {
            decision: run.decision.as_ref(),
            allowed: run.allowed.as_ref(),
            mark,
            victim,
            trigger: trigger_chain,
            report,
            session,
        };
        let mut from_log = Vec::new();
        let mut scope = evidence.scope(&mut from_log, &mut missing);
        let stall = stall::of(mark, scope.cause, &mut missing);
        let capacity_pages = scope.capacity_bytes.map(|bytes| bytes / u64::from(session.host.page_bytes));
        let victims = self.victims(capacity_pages, &mut missing);
        let mut trigger = self.trigger(&trigger, trigger_chain, &mut missing);
        match report {
            Some(report) => logged::asked(&mut trigger, report, &mut from_log, &mut missing),
            None if session.kmsg && mark.is_some_and(|mark| mark.killed) && run.decision.is_none() => {
                logged::unlogged(kill, &mut missing);
            }
            None => {}
        }
        if let Some(doubt) = &run.doubt {
            doubt.note(&mut scope, &mut missing);
        }
        doubt::usage(&mut scope, mark, session.host.page_bytes, &mut missing);
        let (candidates, ballot) = ballot::of(
            &run.candidates,
            run.close,
            run.decision.as_ref().and_then(|decision| decision.chosen_points),
            mark.is_some(),
            session,
            &mut missing,
        );
        let timed = run.close.and_then(|close| Some((run.closed_ns?, close.entered_ns?, close.undecided)));
        if timed.is_none() {
            missing::unless_known(&mut missing, ["decision_ns", "calls_without_decision"], UNTIMED);
        }
        let seen = zones::Seen {
            zones: &run.zones,
            nodes: &run.nodes,
            none: match (&run.decision, session.tier) {
                (Some(_), _) => zones::NONE_SEEN,
                (None, Tier::Tracepoint) => zones::NOT_RECLAIMED,
                (None, _) => zones::NO_DECISION_SEEN,
            },
            allowed: scope.nodes.as_deref(),
        };
        let (zones, host_memory) =
            seen.told(run.doubt.as_ref().map(|doubt| doubt.reason.as_str()), session, &mut missing);
        let spared = |victim: &Victim| victim.verdict == Some(Verdict::AlreadyExiting);
        let outcome = match (&run.decision, victims.is_empty()) {
            (_, false) if victims.iter().all(spared) => Some(Outcome::AlreadyExiting),
            (_, false) => Some(Outcome::Killed),
            (Some(_), true) if run.close.is_some() => Some(Outcome::NoVictim),
            (_, true) => {
                missing
                    .insert("outcome".to_owned(), "the end of the OOM killer's run was not seen".to_owned());
                None
            }
        };
        Incident {
            schema: SchemaName::V1,
            r#type: OomTag::Oom,
            id: id::of_run(session.host.boot_id.as_deref(), run.opened_ns, run.tid),
            common,
            scope,
            trigger,
            outcome,
            panic: None,
            victims,
            candidates,
            zones,
            host_memory,
            stall,
            ballot,
            decision_ns: timed.map(|(closed_ns, entered_ns, _)| closed_ns.saturating_sub(entered_ns)),
            calls_without_decision: timed
                .map(|(.., undecided)| u64::from(undecided.wrapping_sub(self.undecided))),
            before: None,
            from_log,
            kmsg_seq: kill.map(|kill| kill.seq),
            findings: Vec::new(),
            missing,
            lost_records: u64::from(run.made.saturating_sub(run.records)),
        }
    }
}

//! Incidents that a kernel log alone tells, from what it reports of a run of the OOM killer.
//!
//! What is not in the report is absent. What a report leaves open is inferred only where nothing else can be: the reasons
//! stand beside the code.

mod ballot;
mod memory;
mod scope;
mod victims;

use std::collections::BTreeMap;

use super::{
    gfp,
    missing::{self, lacking},
    types::{
        Common, HostMemory, Incident, OomTag, Outcome, SchemaName, Scope, ScopeKind, Trigger, Victim, Zone,
    },
};
use crate::kmsg::report::{End, Report, TaskRow};

/// A report, and what else is known.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reported<'a> {
    /// The report.
    pub report: &'a Report,
    /// Bytes in a page, where the log is this machine's.
    pub page_bytes: Option<u64>,
    /// Why fields are missing.
    pub reasons: Reasons,
}

/// See [`Reported`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Reasons {
    /// Of what no log has.
    pub never: &'static str,
    /// Of what a whole report has.
    pub lacks: &'static str,
    /// Of what a whole report has, where it lacks its header.
    pub headless: &'static str,
}

/// Why what no log has is missing.
pub const NOT_IN_LOGS: &str = "kernel logs do not have it";

impl Reasons {
    /// One reason for all.
    pub const fn all(reason: &'static str) -> Self {
        Self { never: reason, lacks: reason, headless: reason }
    }

    /// Where there is nothing but the log.
    pub const OF_LOG: Self = Self {
        never: NOT_IN_LOGS,
        lacks: "this report of the kernel's does not have it",
        headless: "the log has no report before this kill: the kernel limits its reports to 10 in 5 s, or messages were lost",
    };
}

impl Reported<'_> {
    /// The incident, without findings.
    pub fn incident(&self, common: Common, id: String) -> Incident {
        let mut missing = BTreeMap::new();
        let page_bytes = self.page_bytes();
        let scope = self.scope(page_bytes, &mut missing);
        let trigger = self.trigger(&mut missing);
        let (zones, host_memory) = self.memory(&scope, &trigger, page_bytes, &mut missing);
        let candidates = self.candidates(&scope, page_bytes, &mut missing);
        let victims = self.victims(&scope, page_bytes, &mut missing);
        let outcome = self.outcome();
        let ballot = self.ballot();
        let unsaid = [
            ("outcome", outcome.is_none()),
            ("ballot", ballot.is_none()),
            ("stall", true),
            ("decision_ns", true),
            ("calls_without_decision", true),
        ];
        missing::all(&mut missing, lacking(unsaid), self.reasons.never);
        Incident {
            schema: SchemaName::V1,
            r#type: OomTag::Oom,
            id,
            common,
            scope,
            trigger,
            outcome,
            panic: self.panic().map(str::to_owned),
            victims,
            candidates,
            zones,
            host_memory,
            stall: None,
            ballot,
            decision_ns: None,
            calls_without_decision: None,
            before: None,
            from_log: Vec::new(),
            kmsg_seq: self.kmsg_seq(),
            findings: Vec::new(),
            missing,
            lost_records: 0,
        }
    }

    /// Number of the record that tells the outcome.
    fn kmsg_seq(&self) -> Option<u64> {
        let report = self.report;
        report.kills.first().map_or(report.end_seq.or(report.seq), |kill| kill.seq)
    }

    fn outcome(&self) -> Option<Outcome> {
        match self.report.end {
            End::Unknown => None,
            End::Killed => Some(Outcome::Killed),
            End::AlreadyExiting => Some(Outcome::AlreadyExiting),
            End::NoVictim => Some(Outcome::NoVictim),
            End::Panic(_) => Some(Outcome::Panic),
        }
    }

    /// The words of a panic.
    fn panic(&self) -> Option<&str> {
        match &self.report.end {
            End::Panic(words) => Some(words),
            End::Unknown | End::Killed | End::AlreadyExiting | End::NoVictim => None,
        }
    }

    /// Why a part of the report is missing.
    fn lacks(&self) -> &'static str {
        let Report { invoked, decided, .. } = self.report;
        if invoked.is_none() && decided.is_none() { self.reasons.headless } else { self.reasons.lacks }
    }

    /// Bytes in a page: as is known, as the free blocks say, or as what stands twice comes to, in pages and in kB.
    fn page_bytes(&self) -> Option<u64> {
        let twice = || {
            self.report.kills.iter().find_map(|kill| {
                let pages = self.row(kill.killed.pid)?.total_vm_pages?;
                let bytes = kill.killed.total_vm_kb?.checked_mul(1024)?.checked_div(pages)?;
                (bytes.is_power_of_two() && (4096..=65_536).contains(&bytes)).then_some(bytes)
            })
        };
        self.page_bytes.or(self.report.memory.page_bytes).or_else(twice)
    }

    /// A thread's row in the table of tasks.
    fn row(&self, tid: u32) -> Option<&TaskRow> {
        self.report.tasks.iter().find(|row| row.pid == tid)
    }

    fn trigger(&self, missing: &mut BTreeMap<String, String>) -> Trigger {
        let report = self.report;
        let row = report.tid.and_then(|tid| self.row(tid));
        let invoked = report.invoked.as_ref();
        let flags = |invoked: &crate::kmsg::Invoked| {
            invoked.gfp_flags.clone().or_else(|| {
                // Before 4.6 the log has no names, and the bits had other places before 4.2.
                let bits_known = self.since((5, 10)).unwrap_or(false);
                bits_known.then(|| gfp::flag_names(invoked.gfp_mask))
            })
        };
        let trigger = Trigger {
            pid: row.and_then(|row| row.tgid),
            tid: report.tid,
            comm: invoked.map(|invoked| invoked.comm.clone()),
            uid: row.and_then(|row| row.uid),
            gfp_mask: invoked.map(|invoked| invoked.gfp_mask),
            gfp_flags: invoked.and_then(flags),
            order: invoked.map(|invoked| invoked.order),
            ..Trigger::default()
        };
        let unsaid = [
            ("trigger.pid", trigger.pid.is_none()),
            ("trigger.tid", trigger.tid.is_none()),
            ("trigger.comm", trigger.comm.is_none()),
            ("trigger.uid", trigger.uid.is_none()),
            ("trigger.gfp_mask", trigger.gfp_mask.is_none()),
            ("trigger.gfp_flags", trigger.gfp_flags.is_none()),
            ("trigger.order", trigger.order.is_none()),
        ];
        missing::all(missing, lacking(unsaid), self.lacks());
        let never = ["cgroup", "cmdline", "ancestors", "ns_pid"].map(|field| format!("trigger.{field}"));
        missing::all(missing, never, self.reasons.never);
        trigger
    }

    /// Whether the kernel is of this release or a later one, if the log says of which it is.
    fn since(&self, release: (u32, u32)) -> Option<bool> {
        let mut numbers = self.report.kernel.as_deref()?.split(['.', '-']);
        let mut number = || numbers.next()?.parse::<u32>().ok();
        Some((number()?, number()?) >= release)
    }
}

#[cfg(test)]
mod tests;

//! The task whose allocation failed.

use std::collections::BTreeMap;

use super::Telling;
use crate::{
    incident::{
        chain::Chain,
        cmdlines::TRIGGER_CMDLINE,
        gfp,
        missing::{self, note, unread},
        types::{Place, Trigger},
    },
    kernel::hooks::Tier,
    record::Task,
};

impl Telling<'_> {
    /// What is known of it; why the rest is not goes to `missing`.
    pub(super) fn trigger(
        &self,
        task: &Task,
        chain: &Chain,
        missing: &mut BTreeMap<String, String>,
    ) -> Trigger {
        let run = self.run;
        let decision = run.decision.as_ref();
        if self.session.tier > Tier::Tracepoint && decision.is_none() {
            let reason = if run.marks.iter().any(|(_, mark)| mark.killed) {
                "the decision came before the hook that shows it was in place"
            } else {
                "the kernel marked the task without a decision: it was exiting already"
            };
            let of_decision = [
                "trigger.gfp_mask",
                "trigger.gfp_flags",
                "trigger.order",
                "scope.constraint",
                "ballot",
                "candidates",
                "zones",
                "host_memory",
            ];
            missing::all(missing, of_decision, reason);
        }
        let cgroup = chain.path(0);
        note(missing, "trigger.cgroup", &cgroup);
        let command = self.cmdlines.told(task, TRIGGER_CMDLINE, TRIGGER_CMDLINE, self.session, missing);
        unread(
            missing,
            "trigger",
            [
                ("comm", task.comm.is_none()),
                ("pid", task.pid.is_none()),
                ("tid", task.tid.is_none()),
                ("uid", task.uid.is_none()),
            ],
        );
        if let Some(decision) = decision {
            let mask = decision.gfp_mask.is_none();
            unread(
                missing,
                "trigger",
                [("gfp_mask", mask), ("gfp_flags", mask), ("order", decision.order.is_none())],
            );
        }
        Trigger {
            pid: task.pid,
            tid: task.tid,
            comm: task.comm.clone(),
            uid: task.uid,
            of_run: task.of_run,
            kinship: self.kins.of(task, "trigger", missing),
            command,
            place: Place::of(cgroup.ok()),
            gfp_mask: decision.and_then(|decision| decision.gfp_mask),
            gfp_flags: decision.and_then(|decision| decision.gfp_mask).map(gfp::flag_names),
            order: decision.and_then(|decision| decision.order),
        }
    }
}

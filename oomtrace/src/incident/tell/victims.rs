//! Those who were chosen, and who died with them.

use std::collections::BTreeMap;

use super::Telling;
use crate::{
    incident::{
        cmdlines::VICTIMS_CMDLINE,
        memory,
        missing::{self, note, unread},
        types::{Place, Verdict, Victim, WallTime},
    },
    record::{Mm, Struck, Task, Tie, Whose},
    session::Session,
};

/// What was seen of a victim.
struct Seen<'a> {
    task: &'a Task,
    mm: Mm,
    verdict: Verdict,
    /// Its place among the victims: the first is the one that was chosen.
    index: usize,
}

impl Telling<'_> {
    /// All of them: why what is not known of one is missing goes to `missing`.
    pub(super) fn victims(
        &self,
        capacity_pages: Option<u64>,
        missing: &mut BTreeMap<String, String>,
    ) -> Vec<Victim> {
        let run = self.run;
        let mut victims: Vec<Victim> = Vec::new();
        for (_, mark) in &run.marks {
            // A hook at mark_oom_victim() may see the first of a group twice.
            if mark.victim.pid.is_some() && victims.iter().any(|known| known.pid == mark.victim.pid) {
                continue;
            }
            let verdict = match (mark.killed, victims.is_empty()) {
                (true, true) => Verdict::Killed,
                (true, false) => Verdict::GroupKilled,
                (false, _) => Verdict::AlreadyExiting,
            };
            let seen = Seen { task: &mark.victim, mm: mark.mm, verdict, index: victims.len() };
            victims.push(self.victim(&seen, capacity_pages, missing));
        }
        if victims.is_empty()
            && let (Some(decision), Some(close)) = (&run.decision, run.close)
            && (close.kills > 0 || close.marks > 0)
        {
            // Either its mark was lost on the way, or the chosen task had let go of its memory before the kill reached
            // it ("is already exiting"), and there was nothing to mark.
            let verdict = match (close.kills > 0, close.marks > 0) {
                (true, true) => Verdict::Killed,
                _ => Verdict::AlreadyExiting,
            };
            if close.marks > 0 {
                let lost = ["rss", "total_vm_bytes", "pgtables_bytes", "swap_bytes"];
                missing::all(
                    missing,
                    lost.map(|field| format!("victims[0].{field}")),
                    "the record of its mark was lost",
                );
            }
            let seen = Seen { task: &decision.chosen, mm: Mm::default(), verdict, index: 0 };
            victims.push(self.victim(&seen, capacity_pages, missing));
        }
        for struck in &run.struck {
            let (task, verdict) = (&struck.task, verdict(struck.tie));
            let seen = Seen { task, mm: struck.mm, verdict, index: victims.len() };
            victims.push(self.victim(&seen, capacity_pages, missing));
        }
        victims
    }

    fn victim(
        &self,
        seen: &Seen,
        capacity_pages: Option<u64>,
        missing: &mut BTreeMap<String, String>,
    ) -> Victim {
        let &Seen { task, mm, verdict, index } = seen;
        let (run, session) = (self.run, self.session);
        let first = index == 0;
        let field = &format!("victims[{index}]");
        let page_bytes = session.host.page_bytes;
        let chain = run.chain(task, Whose::Victim);
        let pages = memory::as_kernel(&mm, session);
        let computed = pages.as_ref().ok().and_then(|pages| {
            memory::points(pages, mm.pgtables_bytes?, task.oom_score_adj?, capacity_pages, page_bytes)
        });
        // The kernel's own score where a hook shows it: of the one that it chose.
        let decided = run.decision.as_ref().filter(|decision| first && decision.chosen.pid == task.pid);
        let scored = || {
            let candidate = run
                .candidates
                .iter()
                .find(|candidate| first && !candidate.computed && Some(candidate.pid) == task.pid)?;
            Some(candidate.points)
        };
        let points = decided.and_then(|decision| decision.chosen_points).or_else(scored).or(computed);
        let cgroup = chain.path(0);
        let command =
            self.cmdlines.told(task, &format!("{field}.cmdline"), VICTIMS_CMDLINE, session, missing);
        note(missing, &format!("{field}.cgroup"), &cgroup);
        note(missing, &format!("{field}.rss_kernel"), &pages);
        let facts = facts(task, &mm, session);
        unread(missing, field, lacks(task, &mm, &facts));
        if points.is_none() {
            missing
                .insert(format!("{field}.points"), "what the score is made of is not all known".to_owned());
        }
        Victim {
            // Counted before the kill, where a hook shows the decision: threads end as soon as the signal is sent.
            threads: decided.and_then(|decision| decision.chosen.threads).or(task.threads),
            points,
            kinship: self.kins.of(task, field, missing),
            command,
            environment: self.environments.told(task, field, session, missing),
            place: Place::of(cgroup.ok()),
            start_time: task.start_boot_ns.map(|start_ns| WallTime::at(start_ns, run.offset_ns)),
            verdict: Some(verdict),
            ..facts
        }
    }
}

/// Who was killed with a victim after the incident was told.
pub(in crate::incident) fn companion(struck: &Struck, session: &Session) -> Victim {
    Victim { verdict: Some(verdict(struck.tie)), ..facts(&struck.task, &struck.mm, session) }
}

/// Which of the facts of a victim are lacking.
pub(in crate::incident) fn lacks(task: &Task, mm: &Mm, facts: &Victim) -> [(&'static str, bool); 12] {
    [
        ("pid", task.pid.is_none()),
        ("tid", task.tid.is_none()),
        ("ppid", task.ppid.is_none()),
        ("comm", task.comm.is_none()),
        ("uid", task.uid.is_none()),
        ("threads", task.threads.is_none()),
        ("oom_score_adj", task.oom_score_adj.is_none()),
        ("start_time", task.start_boot_ns.is_none()),
        ("total_vm_bytes", mm.total_vm_pages.is_none()),
        ("pgtables_bytes", mm.pgtables_bytes.is_none()),
        ("rss", facts.rss.is_none()),
        ("swap_bytes", facts.swap_bytes.is_none()),
    ]
}

/// What a victim's own records tell, without what its incident adds.
pub(in crate::incident) fn facts(task: &Task, mm: &Mm, session: &Session) -> Victim {
    let page_bytes = session.host.page_bytes;
    Victim {
        pid: task.pid,
        tid: task.tid,
        ppid: task.ppid,
        comm: task.comm.clone(),
        uid: task.uid,
        threads: task.threads,
        of_run: task.of_run,
        oom_score_adj: task.oom_score_adj,
        total_vm_bytes: mm.total_vm_pages.map(|pages| pages.saturating_mul(u64::from(page_bytes))),
        rss: memory::best(mm, task.threads, session),
        rss_kernel: memory::as_kernel(mm, session).ok().map(|pages| memory::kernel_rss(&pages, page_bytes)),
        swap_bytes: memory::swap_bytes(mm, page_bytes),
        pgtables_bytes: mm.pgtables_bytes,
        ..Victim::default()
    }
}

/// What became of a task that was killed with a victim.
fn verdict(tie: Tie) -> Verdict {
    match tie {
        Tie::Memory => Verdict::MmShared,
        Tie::Namespace => Verdict::PidnsCollateral,
    }
}

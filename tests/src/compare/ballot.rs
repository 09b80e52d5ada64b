//! Who could have been chosen: the candidates, their scores, and how many were looked at.

use std::collections::BTreeSet;
use std::ptr;

use super::Case;
use crate::checks::Checks;
use crate::floor::{excused, is_excused};
use crate::incident::{Ballot, Candidate};
use crate::witness::comm::same_name;
use crate::witness::klog::TaskRow;

/// What oomtrace, which runs, may take or give back between its own score and the decision, in bytes: as much as it had for loading.
const GROWS: u64 = 4 << 20;
/// Candidates that are reported at most.
const MOST: usize = 16;
/// The adjustment of what must not be killed (`OOM_SCORE_ADJ_MIN`, include/uapi/linux/oom.h).
const NEVER: i64 = -1000;

/// Checks the candidates, or that there are none for a reason.
pub(super) fn check(checks: &mut Checks, case: &Case<'_>) {
    let fields = &case.incident.fields;
    let candidates = &fields.candidates;
    if candidates.is_empty() && fields.ballot.is_none() {
        checks.that(!case.owes_candidates(), || {
            format!("candidates are absent in tier {:?}: {:?}", fields.tier, fields.missing.get("candidates"))
        });
        for field in ["candidates", "ballot"] {
            checks.that(is_excused(field, &excused(&fields.missing)), || {
                format!("{field} is absent, and `missing` gives no reason")
            });
        }
        return;
    }
    checks.that(!case.scores_unseen(), || {
        "candidates are there, where no hook sees the kernel score them".to_owned()
    });
    let computed = fields.ballot.is_some_and(|ballot| ballot.computed);
    checks.equal("ballot.computed", Some(computed), Some(case.computes_scores()), "the kernel's version");
    form(checks, candidates, fields.ballot.unwrap_or_default());
    winner(checks, case);
    for candidate in candidates {
        Figures { case, candidate, row: candidate.pid.and_then(|pid| case.logged.process(pid)) }
            .check(checks);
    }
    if case.logged.tasks.is_some() {
        table(checks, case);
    }
}

/// Checks what holds for any ballot: the best come first, each one once, as many as there are seats.
fn form(checks: &mut Checks, candidates: &[Candidate], ballot: Ballot) {
    let scores: Vec<_> = candidates.iter().map(|candidate| candidate.points).collect();
    checks.that(scores.is_sorted_by(|one, next| one >= next && next.is_some()), || {
        format!("the candidates' points {scores:?} do not fall")
    });
    let pids: BTreeSet<_> = candidates.iter().filter_map(|candidate| candidate.pid).collect();
    checks.equal("distinct pids of candidates", Some(pids.len()), Some(candidates.len()), "their count");
    let killable = ballot.killable().and_then(|killable| usize::try_from(killable).ok());
    let seats = killable.map(|killable| killable.min(MOST));
    checks.equal("number of candidates", Some(candidates.len()), seats, "the ballot");
}

impl Ballot {
    /// Of those that were looked at, the ones that may be killed.
    fn killable(self) -> Option<u64> {
        self.examined?.checked_sub(self.unkillable?)
    }
}

/// Checks that the one that was killed is one of those with the highest score, by that very score.
fn winner(checks: &mut Checks, case: &Case<'_>) {
    let fields = &case.incident.fields;
    let killed = fields.victims.first().filter(|victim| victim.verdict.as_deref() == Some("killed"));
    let Some(victim) = killed.filter(|_| fields.outcome.as_deref() == Some("killed")) else { return };
    let highest = fields.candidates.first().and_then(|candidate| candidate.points);
    let winners = fields.candidates.iter().filter(|candidate| candidate.points == highest);
    let pids: Vec<_> = winners.map(|candidate| candidate.pid).collect();
    checks.that(victim.pid.is_some() && pids.contains(&victim.pid), || {
        format!("the highest score is that of {pids:?}, and {:?} was killed", victim.pid)
    });
    checks.equal("points of the victim", victim.points, highest, "the highest score of the candidates");
}

/// Checks that those who were scored are those whom the log lists, which is to say (mm/oom_kill.c, 5.10 to 7.2):
/// `dump_tasks` goes the way of `select_bad_process`, leaving out what has no memory any more. That one
/// is looked at all the same, and found unkillable. So is one that is listed with an adjustment of -1000. One that was
/// killed before is listed as long as it has memory, but not scored again. Otherwise, one that is in the middle of a
/// vfork, or whose memory was reaped, would be listed and unkillable; no scenario has such.
fn table(checks: &mut Checks, case: &Case<'_>) {
    let fields = &case.incident.fields;
    let ballot = fields.ballot.unwrap_or_default();
    let earlier = case.seen.log.iter().take_while(|oom| !ptr::eq(*oom, case.logged));
    let dead: BTreeSet<u64> = earlier.flat_map(|oom| &oom.kills).map(|kill| kill.pid).collect();
    let rows = case.logged.tasks.iter().flatten().filter(|row| !dead.contains(&row.tgid));
    let (never, killable): (Vec<_>, Vec<_>) = rows.partition(|row| row.oom_score_adj == NEVER);
    let listed = |rows: &[&TaskRow]| rows.len() as u64;
    checks.equal("killable tasks", ballot.killable(), Some(listed(&killable)), "the task table");
    checks.that(ballot.unkillable >= Some(listed(&never)), || {
        format!("{:?} are unkillable, and {} of the task table are", ballot.unkillable, never.len())
    });
    let lowest = fields.candidates.last().and_then(|candidate| candidate.points);
    for row in killable {
        if fields.candidates.iter().any(|candidate| candidate.pid == Some(row.tgid)) {
            continue;
        }
        let used = (row.rss_pages + row.swap_pages) * case.machine.page_bytes;
        let score = case.score(used, row.pgtables_bytes, row.oom_score_adj);
        let beaten = score <= lowest || case.moved_bytes(row.tgid) != Some(0);
        checks.that(beaten && fields.candidates.len() == MOST, || {
            format!("{} of the task table is no candidate, with points of {score:?}", row.tgid)
        });
    }
}

impl Case<'_> {
    /// Whether no hook sees the kernel score: there are tracepoints only.
    fn scores_unseen(&self) -> bool {
        self.tier == Some("tracepoint")
    }

    /// Whether the scores are oomtrace's own: the scan of 5.10 has the greater part of `oom_badness` inlined, so that no
    /// hook sees it return.
    fn computes_scores(&self) -> bool {
        self.machine.kernel.starts_with("5.10.")
    }

    /// Whether the incident must have candidates: who decides by hooks sees whom the kernel scored before.
    fn owes_candidates(&self) -> bool {
        let fields = &self.incident.fields;
        let decided =
            fields.scope.constraint.is_some() && fields.scope.cause.as_deref() == Some("allocation");
        let by_hooks = fields.tier.as_deref().is_some_and(|tier| ["trampoline", "kprobe"].contains(&tier));
        decided && by_hooks && !self.scores_unseen() && !self.expected.starting
    }

    /// How much memory process `pid` may have moved between its score and its row in the table, in bytes. None
    /// for a process of which the scenario knows nothing.
    ///
    /// One thread moves nothing if it sleeps, or if it is the trigger: then it is in the OOM killer. Whoever else is in
    /// a scenario's cgroup sleeps.
    fn moved_bytes(&self, pid: u64) -> Option<u64> {
        let known = self.expected.victims.iter().chain(&self.expected.trigger);
        match known.copied().find(|eater| eater.pid() == pid) {
            Some(eater) if eater.threads() > 1 => {
                Some(self.machine.counter_error_bytes(eater.threads()) + self.machine.charge_stock_bytes())
            }
            Some(eater) => (eater.held.is_some() || self.logged.trigger_tid == Some(pid)).then_some(0),
            None => self.expected.limited.map(|_| 0),
        }
    }

    /// `oom_badness` (mm/oom_kill.c) of one that uses so many bytes: rss and swap + page tables +
    /// adj × (capacity / 1000), all in pages, the divisions first.
    fn score(&self, used_bytes: u64, pgtables_bytes: u64, adj: i64) -> Option<i64> {
        let page = self.machine.page_bytes;
        let used = i64::try_from(used_bytes / page + pgtables_bytes / page).ok()?;
        Some(used + adj * i64::try_from(self.capacity_bytes()? / page / 1000).ok()?)
    }
}

/// A candidate's figures beside those of its row in the task table.
struct Figures<'a> {
    case: &'a Case<'a>,
    candidate: &'a Candidate,
    row: Option<&'a TaskRow>,
}

impl Figures<'_> {
    /// Checks them all. The kernel scores first, then oomtrace reads, then the table is printed.
    fn check(&self, checks: &mut Checks) {
        let (candidate, page) = (self.candidate, self.case.machine.page_bytes);
        let Some(row) = self.row else {
            return checks.that(self.case.logged.tasks.is_none(), || {
                format!("{} is not in the task table", self.what("it"))
            });
        };
        let adj = self.what("oom_score_adj");
        checks.equal_if_given(&adj, candidate.oom_score_adj, Some(row.oom_score_adj), "the task table");
        checks.that(candidate.comm.as_deref().is_none_or(|comm| same_name(comm, &row.comm)), || {
            format!(
                "{} is {:?}, the task table says {}",
                self.what("comm"),
                candidate.comm,
                row.comm.escape_ascii()
            )
        });
        for (field, ours, pages, apart) in [
            ("rss_bytes", candidate.rss_bytes, row.rss_pages, 0),
            ("swap_bytes", candidate.swap_bytes, row.swap_pages, self.case.swap_error_bytes()),
        ] {
            self.moved(checks, field, ours, (pages * page, apart));
        }
        self.score(checks, row);
    }

    /// Checks an amount of memory: equal to the table's, or within what that may be off by and what may have moved in
    /// between.
    fn moved(&self, checks: &mut Checks, field: &str, ours: Option<u64>, (listed, apart): (u64, u64)) {
        let what = self.what(field);
        match self.candidate.pid.and_then(|pid| self.case.moved_bytes(pid)).map(|moved| moved + apart) {
            Some(0) => checks.equal_if_given(&what, ours, Some(listed), "the task table"),
            Some(moved) if ours.is_some() => {
                checks.within(&what, ours, Some(listed), moved, "the task table");
            }
            _ => checks.note(&what, ours.and_then(|ours| ours.checked_signed_diff(listed))),
        }
    }

    /// Checks the score against one that is recomputed from oomtrace's own figures and the page tables by the task
    /// table: equal for one that moves nothing; of one whose threads go on, different by what these may move; of one
    /// that nothing is known of, by no more than the page tables make, in so short a time, or oomtrace itself may grow.
    fn score(&self, checks: &mut Checks, row: &TaskRow) {
        let candidate = self.candidate;
        let figures = candidate.rss_bytes.zip(candidate.swap_bytes).zip(candidate.oom_score_adj);
        let Some(((rss, swap), adj)) = figures else { return };
        let moved = candidate.pid.and_then(|pid| self.case.moved_bytes(pid));
        let tracer = candidate.comm.as_deref() == Some("oomtrace");
        let unknown = if tracer { row.pgtables_bytes.max(GROWS) } else { row.pgtables_bytes };
        let bound = (moved.unwrap_or(unknown) + self.case.swap_error_bytes()) / self.case.machine.page_bytes;
        let score = self.case.score(rss + swap, row.pgtables_bytes, adj);
        checks.that(
            candidate.points.zip(score).is_some_and(|(ours, score)| ours.abs_diff(score) <= bound),
            || {
                let points = (self.what("points"), candidate.points);
                format!("{} is {:?}, recomputed {score:?}, give or take {bound}", points.0, points.1)
            },
        );
    }

    /// A field's name in messages.
    fn what(&self, field: &str) -> String {
        let pid = self.candidate.pid.map_or_else(|| "?".to_owned(), |pid| pid.to_string());
        format!("candidate {pid}: {field}")
    }
}

//! Who could have been chosen: the table of tasks, scored by the kernel's formula.

use std::{cmp::Reverse, collections::BTreeMap};

use super::{Reported, Scope};
use crate::{
    incident::{Ballot, Candidate},
    kmsg::report::{End, TaskRow},
};

/// As many as a hook tells.
const CANDIDATES: usize = 16;
/// Never killed (`OOM_SCORE_ADJ_MIN`).
const NEVER: i32 = -1000;
/// The formula has been the same since 4.17: before that root had 3 % less.
const SAME_FORMULA: (u32, u32) = (4, 17);

impl Reported<'_> {
    pub(super) fn candidates(
        &self,
        scope: &Scope,
        page_bytes: Option<u64>,
        missing: &mut BTreeMap<String, String>,
    ) -> Vec<Candidate> {
        let mut scored: Vec<_> = self
            .report
            .tasks
            .iter()
            .filter(|row| row.oom_score_adj != Some(NEVER))
            .filter_map(|row| Some((row, self.points(row, scope, page_bytes)?)))
            .collect();
        // What has the same stays in the order of the table, which is that of the kernel's scan.
        scored.sort_by_key(|(_, points)| Reverse(*points));
        let bytes = |pages: Option<u64>| pages?.checked_mul(page_bytes?);
        let candidates: Vec<_> = scored
            .into_iter()
            .take(CANDIDATES)
            .map(|(row, points)| Candidate {
                pid: row.tgid.unwrap_or(row.pid),
                comm: Some(row.comm.clone()),
                points,
                rss_bytes: bytes(row.rss_pages),
                swap_bytes: bytes(row.swap_pages),
                oom_score_adj: row.oom_score_adj,
            })
            .collect();
        if candidates.is_empty() {
            missing.insert("candidates".to_owned(), self.lacks().to_owned());
        }
        candidates
    }

    /// How many were looked at, where nobody was found: then the table has all of these.
    pub(super) fn ballot(&self) -> Option<Ballot> {
        let report = self.report;
        let nobody =
            report.end == End::NoVictim || self.panic().is_some_and(|words| words.contains("killable"));
        let whole = report.tasks_in_all > 0 && report.tasks_in_all == report.tasks.len() as u64;
        if !nobody || !whole {
            return None;
        }
        let count = |rows: usize| u32::try_from(rows).ok();
        let unkillable = report.tasks.iter().filter(|row| row.oom_score_adj == Some(NEVER)).count();
        Some(Ballot { examined: count(report.tasks.len())?, unkillable: count(unkillable)?, computed: true })
    }

    /// The kernel's badness of a task, pages (oom_badness(), mm/oom_kill.c).
    pub(super) fn points(&self, row: &TaskRow, scope: &Scope, page_bytes: Option<u64>) -> Option<i64> {
        // A kernel that names the constraint is of 5.0 at least.
        if !self.since(SAME_FORMULA).unwrap_or(self.report.decided.is_some()) {
            return None;
        }
        let page_bytes = page_bytes?;
        let used = row.rss_pages?.checked_add(row.swap_pages?)?;
        let used = i64::try_from(used.checked_add(row.pgtables_bytes? / page_bytes)?).ok()?;
        let adjustment = match i64::from(row.oom_score_adj?) {
            0 => 0,
            adj => {
                let thousandth = i64::try_from(scope.capacity_bytes? / page_bytes / 1000).ok()?;
                adj.checked_mul(thousandth)?
            }
        };
        used.checked_add(adjustment)
    }
}

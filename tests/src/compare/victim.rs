//! Who was chosen: identity, figures, score.

use std::time::Duration;

use super::envelope::time_is_between;
use super::{Case, kin};
use crate::checks::Checks;
use crate::eater::Facts;
use crate::incident::{Rss, Victim};
use crate::size::KIB;
use crate::witness::comm::same_name;
use crate::witness::line::Killed;

/// Start times are kept in clock ticks, and the wall clock may have been set since.
const START_SLACK: Duration = Duration::from_secs(1);

/// Checks every victim.
pub(super) fn check(checks: &mut Checks, case: &Case<'_>) {
    let victims = &case.incident.fields.victims;
    let expected = &case.expected.victims;
    let killed = victims.iter().filter(|victim| victim.is_logged()).count();
    checks.equal("number of victims", Some(killed), Some(expected.len()), "the scenario");
    for victim in victims.iter().filter(|victim| !victim.is_logged()) {
        let along = victim.pid.is_some_and(|pid| case.expected.along.contains(&pid));
        checks.that(along, || format!("{:?} is told of as {:?}", victim.comm, victim.verdict));
    }
    for (place, eater) in expected.iter().enumerate() {
        let found = victims.iter().position(|victim| victim.pid == Some(eater.pid()));
        let Some((index, victim)) = found.and_then(|index| Some((index, victims.get(index)?))) else {
            checks.fail(format!("the victim {} (pid {}) is not reported", eater.label(), eater.pid()));
            continue;
        };
        let verdict = if index == 0 { "killed" } else { "group_killed" };
        checks.equal("verdict", victim.verdict.as_deref(), Some(verdict), "the order of the kills");
        checks.that((place == 0) == (index == 0), || {
            format!("{} is victim {index}, not {place}", eater.label())
        });
        identity(checks, case, victim, eater);
        match case.logged.killed(eater.pid()) {
            Some(kill) => Figures { case, victim, kill, eater }.check(checks),
            None => checks.fail(format!("the log does not name {}", eater.label())),
        }
        if let Some(walked) = eater.held {
            // The schema promises each part to a third of the total's error.
            let error = victim.rss.error_bytes.unwrap_or(0);
            for (part, ours, walked, bound) in [
                ("total_bytes", victim.rss.total_bytes, walked.rss_bytes, error),
                ("anon_bytes", victim.rss.anon_bytes, walked.anon_bytes, error / 3),
            ] {
                let what = format!("{}: rss.{part}", eater.label());
                checks.within(&what, ours, Some(walked), bound, "the page tables");
            }
        }
    }
}

/// Checks who the victim is.
fn identity(checks: &mut Checks, case: &Case<'_>, victim: &Victim, eater: &Facts) {
    let (before, who) = (&eater.before, eater.label());
    let what = |field: &str| format!("{who}: {field}");
    checks.that(victim.comm.as_deref().is_some_and(|comm| same_name(comm, &eater.name)), || {
        format!("{who}: comm is {:?}", victim.comm)
    });
    checks.equal(&what("ppid"), victim.ppid, Some(before.ppid), "/proc");
    kin::check(checks, (&what(""), eater), victim.ns_pid, victim.ancestors.as_deref());
    checks.equal(&what("uid"), victim.uid, Some(before.uid), "/proc");
    if case.expected.moving_bytes == 0 {
        checks.equal(&what("threads"), victim.threads, Some(eater.threads()), "/proc");
    } else {
        // It has been sent the signal when it is marked, so threads on other CPUs may be gone already.
        checks.note(&what("threads at the mark"), victim.threads);
        checks.that(victim.threads.is_some_and(|threads| (1..=eater.threads()).contains(&threads)), || {
            format!("{who}: threads is {:?}, it had {}", victim.threads, eater.threads())
        });
    }
    // One that does not ask itself has to run once more, and may be late: the relief tells it then.
    let late = victim.cmdline.is_none() && case.incident.fields.trigger.pid != victim.pid;
    if !victim.cmdline_truncated && !late {
        checks.equal(&what("cmdline"), victim.cmdline.as_ref(), Some(&before.cmdline), "/proc");
    }
    checks.equal(&what("oom_score_adj"), victim.oom_score_adj, Some(before.oom_score_adj), "/proc");
    checks.equal(&what("total_vm_bytes"), victim.total_vm_bytes, Some(before.total_vm_bytes), "/proc");
    checks.that(time_is_between(victim.start_time.as_deref(), eater.started, START_SLACK), || {
        format!("{who}: start_time is {:?}, it was started at {:?}", victim.start_time, eater.started)
    });
    if let Some(cgroup) = &eater.cgroup {
        checks.equal(&what("cgroup"), victim.cgroup.as_deref(), Some(cgroup.path.as_str()), "the scenario");
    }
    let decided = case.logged.decision.as_ref().filter(|decision| decision.pid == eater.pid());
    if let Some(decision) = decided {
        checks
            .that(victim.cgroup.as_deref().is_some_and(|path| same_name(path, &decision.task_memcg)), || {
                format!("{who}: cgroup is {:?}, not the log's task_memcg", victim.cgroup)
            });
    }
}

/// A victim's figures beside those of its line in the log.
struct Figures<'a> {
    case: &'a Case<'a>,
    victim: &'a Victim,
    kill: &'a Killed,
    eater: &'a Facts,
}

impl Figures<'_> {
    /// Checks them all.
    fn check(&self, checks: &mut Checks) {
        let (victim, kill) = (self.victim, self.kill);
        checks.equal(&self.what("tid"), victim.tid, Some(kill.pid), "the log");
        checks.equal(&self.what("uid"), victim.uid, Some(kill.uid), "the log");
        checks.equal(&self.what("oom_score_adj"), victim.oom_score_adj, Some(kill.oom_score_adj), "the log");
        checks.that(victim.comm.as_deref().is_some_and(|comm| same_name(comm, &kill.comm)), || {
            format!(
                "{}: comm is {:?}, the log says {}",
                self.eater.label(),
                victim.comm,
                kill.comm.escape_ascii()
            )
        });
        let moving = self.case.expected.moving_bytes;
        self.same(checks, "total_vm_bytes", victim.total_vm_bytes, kill.total_vm_kb, moving);
        self.same(checks, "pgtables_bytes", victim.pgtables_bytes, kill.pgtables_kb, moving);
        let kernel = &victim.rss_kernel;
        let moving = moving.max(self.flushed_bytes());
        let total_kb = kill.anon_rss_kb + kill.file_rss_kb + kill.shmem_rss_kb;
        self.same(checks, "rss_kernel.anon_bytes", kernel.anon_bytes, kill.anon_rss_kb, moving);
        self.same(checks, "rss_kernel.file_bytes", kernel.file_bytes, kill.file_rss_kb, moving);
        self.same(checks, "rss_kernel.shmem_bytes", kernel.shmem_bytes, kill.shmem_rss_kb, moving);
        self.same(checks, "rss_kernel.total_bytes", kernel.total_bytes, total_kb, moving);
        self.best(checks);
        self.score(checks, total_kb);
    }

    /// Checks one figure against the log's, which is in kB: equal, or within what may have moved in between.
    fn same(&self, checks: &mut Checks, field: &str, ours: Option<u64>, logged_kb: u64, moving: u64) {
        let (what, logged) = (self.what(field), logged_kb * KIB);
        match moving {
            0 => checks.equal(&what, ours, Some(logged), "the log"),
            _ => checks.within(&what, ours, Some(logged), moving, "the log"),
        }
    }

    /// What a victim on another CPU may add to its counters between the mark and the log's line. It has been sent
    /// the signal by then, and up to 6.1 an exiting thread first adds up what it held back (`sync_mm_rss` in
    /// `do_exit`). One that is the trigger cannot: it is in the OOM killer.
    fn flushed_bytes(&self) -> u64 {
        let is_trigger = self.case.logged.trigger_tid == Some(self.kill.pid);
        if is_trigger { 0 } else { self.case.machine.held_back_bytes(self.eater.threads()) }
    }

    /// Checks the best value against the kernel's own: they may differ by what the kernel's counter may be off by,
    /// and by the error that is admitted.
    fn best(&self, checks: &mut Checks) {
        let (best, kernel) = (&self.victim.rss, &self.victim.rss_kernel);
        let counter = self.case.machine.counter_error_bytes(self.eater.threads());
        let bound = counter + best.error_bytes.unwrap_or(0) / 3;
        let pairs = [
            ("anon_bytes", best.anon_bytes, kernel.anon_bytes, 1),
            ("file_bytes", best.file_bytes, kernel.file_bytes, 1),
            ("shmem_bytes", best.shmem_bytes, kernel.shmem_bytes, 1),
            ("total_bytes", best.total_bytes, kernel.total_bytes, 3),
        ];
        for (field, best, kernel, counters) in pairs {
            checks.within(&self.what(&format!("rss.{field}")), best, kernel, counters * bound, "rss_kernel");
        }
        for (name, rss) in [("rss", best), ("rss_kernel", kernel)] {
            checks.equal(
                &self.what(&format!("{name}.total_bytes")),
                rss.total_bytes,
                sum(rss),
                "the sum of its parts",
            );
        }
    }

    /// Checks the score against `oom_badness` (`mm/oom_kill.c`), recomputed from the log alone:
    /// rss + swap + page tables + adj × (capacity / 1000), all in pages, the division first.
    ///
    /// The kernel scores before the task table is printed, the tracepoint tier sees figures of the mark, and the
    /// line comes last; see [`Self::flushed_bytes`] for what may happen in between. So the score is one that the
    /// table or the line gives, or lies between the two: they are equal unless something moved.
    fn score(&self, checks: &mut Checks, line_kb: u64) {
        let page = self.case.machine.page_bytes;
        let row = self.case.logged.task(self.kill.pid);
        let swap = row.map(|row| row.swap_pages * page);
        let apart = self.case.swap_error_bytes();
        checks.within(&self.what("swap_bytes"), self.victim.swap_bytes, swap, apart, "the task table");
        let share =
            self.case.capacity_bytes().and_then(|capacity| i64::try_from(capacity / page / 1000).ok());
        let badness = row.zip(share).and_then(|(row, share)| {
            let score = |used: u64| Some(i64::try_from(used).ok()? + self.kill.oom_score_adj * share);
            let by_table = score(row.rss_pages + row.swap_pages + row.pgtables_bytes / page)?;
            let by_line = score((line_kb + self.kill.pgtables_kb) * KIB / page + row.swap_pages)?;
            let moving = i64::try_from(self.case.expected.moving_bytes / page).ok()?;
            Some(by_table.min(by_line) - moving..=by_table.max(by_line) + moving)
        });
        let points = self.victim.points;
        checks.that(
            badness.as_ref().zip(points).is_some_and(|(badness, points)| badness.contains(&points)),
            || format!("{}: points are {points:?}, recomputed {badness:?}", self.eater.label()),
        );
    }

    /// A field's name in messages.
    fn what(&self, field: &str) -> String {
        format!("{}: {field}", self.eater.label())
    }
}

/// The sum of the parts.
fn sum(rss: &Rss) -> Option<u64> {
    Some(rss.anon_bytes? + rss.file_bytes? + rss.shmem_bytes?)
}

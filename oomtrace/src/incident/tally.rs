//! How many kills the kernel must have counted, by what was seen of it.
//!
//! `__oom_kill_process()` counts (`oom_kill` in /proc/vmstat), marks, and logs, once each, in this order. Marks are fewer
//! than counts where a group is killed as a whole: mem_cgroup_scan_tasks() comes to the one that was chosen once more,
//! unless it has given up its memory by then; that one is marked already, as any other member may be that was exiting
//! before. So the log's messages are as many as the counts; without the log, the calls of __oom_kill_process() are the most
//! that can be; and with tracepoints alone, all that is known of a group is that it counts for at most twice its victims.
//! Whatever is not known for sure is taken to be accounted for.

use super::log::Log;

/// Kills, as seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// For certain: marks of tasks that were killed.
    pub seen: u64,
    /// As many as can be, beyond these.
    pub slack: u64,
}

impl Tally {
    /// Of one run: victims that were killed, whether they are of a group, and the calls of `__oom_kill_process()` where a
    /// hook shows them.
    pub fn of(killed: usize, group: bool, calls: Option<u32>) -> Self {
        let seen = u64::try_from(killed).unwrap_or(u64::MAX);
        let most = match calls {
            Some(calls) => u64::from(calls).max(seen),
            None if group => seen.saturating_mul(2),
            None => seen,
        };
        Self { seen, slack: most - seen }
    }

    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self { seen: self.seen.saturating_add(other.seen), slack: self.slack.saturating_add(other.slack) }
    }

    /// Kills that are accounted for, at the most.
    pub fn accounted(self, log: &Log) -> u64 {
        // Messages that nobody has read yet make them fewer than what was seen.
        let whole = !log.overwritten && log.told > 0 && log.told >= self.seen;
        if whole { log.told } else { self.seen.saturating_add(self.slack).max(log.told) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards against false alarms: each way to count is at least what the kernel counted.
    #[test]
    fn a_group_counts_for_more_than_its_victims() {
        let log = |told| {
            let mut log = Log::default();
            log.told = told;
            log
        };
        let group = Tally::of(4, true, None);
        assert!(group.accounted(&log(0)) >= 5);
        assert_eq!(group.accounted(&log(5)), 5, "the log knows");
        assert!(group.accounted(&log(3)) >= 5, "the log has not been read to its end");
        assert_eq!(Tally::of(4, true, Some(5)).accounted(&log(0)), 5);
        assert_eq!(Tally::of(1, false, None).and(Tally::of(0, false, Some(1))).accounted(&log(0)), 2);
    }
}

//! Holds what was seen against the kernel's own count of its kills: `oom_kill` in /proc/vmstat.
//!
//! A kill is counted, then marked, then logged. So a count that was read some time ago is held against what has been seen
//! since: a kill that was under way then has been reported by now. What still lacks after a second is lost. As long as
//! kills go on this errs on the safe side, and is made up for once they stop.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::time::Instant;

use super::alarm;
use crate::host::oom_kills;

/// After a report, before the count is read.
const QUIET: Duration = Duration::from_millis(100);
/// From there until what lacks is lost.
pub const PATIENCE: Duration = Duration::from_secs(1);

/// See the module.
pub struct Reconcile {
    root: PathBuf,
    /// The count when tracing began.
    base: u64,
    /// Kills that were told to be lost.
    told: u64,
    /// When to look.
    due: Option<Instant>,
    /// The count by which something lacked at the last look.
    suspect: Option<u64>,
}

impl Reconcile {
    /// Begins now; `None` where the kernel tells no count. To be called once every kill is seen.
    pub fn begin(root: &Path) -> Option<Self> {
        let base = oom_kills(root)?;
        Some(Self { root: root.to_owned(), base, told: 0, due: None, suspect: None })
    }

    /// Something was reported or lost.
    pub fn stir(&mut self) {
        self.due.get_or_insert_with(|| Instant::now() + QUIET);
    }

    /// Whether something lacked at the last look.
    pub fn is_suspicious(&self) -> bool {
        self.suspect.is_some()
    }

    /// Looks, with the number of kills that are accounted for. Gives how many are lost.
    pub fn look(&mut self, accounted: u64) -> u64 {
        let now = oom_kills(&self.root);
        let (lost, suspicious) = self.judge(now, accounted);
        self.due = suspicious.then(|| Instant::now() + PATIENCE);
        lost
    }

    /// The kills that are lost, and whether to look again.
    fn judge(&mut self, now: Option<u64>, accounted: u64) -> (u64, bool) {
        let lacks = |count: u64, told: u64| {
            count.saturating_sub(self.base).saturating_sub(accounted).saturating_sub(told)
        };
        let lost = self.suspect.map_or(0, |count| lacks(count, self.told));
        self.suspect = now.filter(|count| lacks(*count, self.told + lost) > 0);
        self.told += lost;
        (lost, self.suspect.is_some())
    }
}

/// Waits until it is time to look; for ever, if there is nothing to be looked at.
pub async fn due(reconcile: Option<&Reconcile>) {
    alarm::at(reconcile.and_then(|reconcile| reconcile.due)).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reconcile() -> Reconcile {
        Reconcile { root: PathBuf::new(), base: 100, told: 0, due: None, suspect: None }
    }

    /// Guards against false alarms: a kill that is under way at each look is another one each time.
    #[test]
    fn what_is_under_way_is_not_lost() {
        let mut reconcile = reconcile();
        for kills in 1..50 {
            assert_eq!(reconcile.judge(Some(100 + kills), kills - 1), (0, true));
        }
        assert_eq!(reconcile.judge(Some(149), 49), (0, false));
    }

    /// Guards the count of losses: each is told once, at the second look.
    #[test]
    fn a_loss_is_told_once() {
        let mut reconcile = reconcile();
        assert_eq!(reconcile.judge(Some(103), 1), (0, true));
        assert_eq!(reconcile.judge(Some(103), 1), (2, false));
        assert_eq!(reconcile.judge(Some(103), 1), (0, false));
        assert_eq!(reconcile.judge(Some(105), 2), (0, true));
        assert_eq!(reconcile.judge(Some(105), 2), (1, false));
        assert_eq!(reconcile.judge(None, 2), (0, false), "unreadable");
    }

    /// Guards against what was accounted for too generously: nothing wraps around.
    #[test]
    fn more_than_counted_is_no_loss() {
        let mut reconcile = reconcile();
        assert_eq!(reconcile.judge(Some(101), 5), (0, false));
        assert_eq!(reconcile.judge(Some(90), 0), (0, false));
    }
}

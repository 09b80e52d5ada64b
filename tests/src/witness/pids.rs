//! How many tasks a cgroup may have, and the kernel's count of those that it was refused.

use anyhow::{Context, Result};

use crate::witness::cgroup::Cgroup;
use crate::witness::counters::keyed;

impl Cgroup {
    /// Limits the number of its tasks and its descendants'. None takes the limit away.
    pub fn set_task_limit(&self, tasks: Option<u64>) -> Result<()> {
        self.write("pids.max", &tasks.map_or_else(|| "max".to_owned(), |tasks| tasks.to_string()))
    }

    /// How many tasks it and its descendants may have; None: any number.
    pub fn task_limit(&self) -> Result<Option<u64>> {
        let text = self.read("pids.max")?;
        match text.trim() {
            "max" => Ok(None),
            number => number.parse().map(Some).context("pids.max is no number"),
        }
    }

    /// How many tasks it and its descendants have.
    pub fn tasks(&self) -> Result<u64> {
        self.read("pids.current")?.trim().parse().context("pids.current is no number")
    }

    /// How often a task was refused, by its pids.events: since 6.11 in version 2 by its own limit or a descendant's;
    /// before, and in version 1, how often its own tasks asked for one, whosever limit it was (`pids_event()`,
    /// kernel/cgroup/pids.c).
    pub fn tasks_refused(&self) -> Result<u64> {
        keyed(&self.read("pids.events")?, "max").context("pids.events has no max line")
    }
}

//! Forks and allocations that failed.

use std::collections::BTreeMap;

use super::{House, NAMES, words::word};
use crate::{
    incident::{AllocFailure, ForkFailure},
    profile::report::{AllocFailureCount, ForkFailureCount, Run, Whose},
};

/// See the module.
#[derive(Default)]
pub struct Failures {
    forks: BTreeMap<ForkKey, ForkFailureCount>,
    allocations: BTreeMap<AllocationKey, AllocFailureCount>,
    all_forks: u64,
}

/// Whose, of what name, for what, and with which error.
type ForkKey = (Whose, Option<String>, String, Option<&'static str>);
/// Whose, of what name, and what.
type AllocationKey = (Whose, Option<String>, String);

impl Failures {
    /// A fork failed, once or several times.
    pub fn fork(&mut self, at_ns: u64, failure: &ForkFailure, house: &House) {
        self.all_forks = self.all_forks.saturating_add(failure.count);
        // Of a fork that a cgroup refused its own count tells, and nobody's name: whose limit it is says whose it was.
        let place = failure.task.place.cgroup.as_deref().or(failure.limit_at.as_deref());
        let (whose, cause) = (house.whose(failure.task.of_run, place), word(failure.cause));
        let key = (whose, failure.task.comm.clone(), cause.clone(), failure.errno_name);
        let rest = (whose, None, cause, failure.errno_name);
        let row = row(&mut self.forks, key, rest, |(whose, comm, cause, errno)| ForkFailureCount {
            whose: *whose,
            comm: comm.clone(),
            cause: cause.clone(),
            errno_name: errno.map(str::to_owned),
            first_at_ns: at_ns.saturating_sub(failure.window_ns),
            ..ForkFailureCount::default()
        });
        row.count = row.count.saturating_add(failure.count);
        row.limit = failure.limit.or(failure.limit_bytes).or(row.limit);
        if failure.limit_at.is_some() {
            row.limit_at.clone_from(&failure.limit_at);
        }
        row.last_at_ns = row.last_at_ns.max(at_ns);
    }

    /// An allocation failed, once or several times.
    pub fn allocation(&mut self, failure: &AllocFailure, house: &House) {
        let whose = house.whose(failure.task.of_run, failure.task.place.cgroup.as_deref());
        let what = word(failure.what);
        let key = (whose, failure.task.comm.clone(), what.clone());
        let row = row(&mut self.allocations, key, (whose, None, what), |(whose, comm, what)| {
            AllocFailureCount { whose: *whose, comm: comm.clone(), what: what.clone(), count: 0 }
        });
        row.count = row.count.saturating_add(failure.count);
    }

    /// Forks that failed, all together.
    pub fn forks(&self) -> u64 {
        self.all_forks
    }

    /// Puts them into a run's report.
    pub fn tell(self, run: &mut Run) {
        run.fork_failures = self.forks.into_values().collect();
        run.fork_failures.sort_by_key(|row| (row.whose, std::cmp::Reverse(row.count)));
        run.alloc_failures = self.allocations.into_values().collect();
        run.alloc_failures.sort_by_key(|row| (row.whose, std::cmp::Reverse(row.count)));
    }
}

/// The row of a key, or once there are enough, the one of the rest: of these there are as many as causes.
fn row<K: Ord + Clone, V>(rows: &mut BTreeMap<K, V>, key: K, rest: K, new: impl FnOnce(&K) -> V) -> &mut V {
    let key = if rows.len() < NAMES || rows.contains_key(&key) { key } else { rest };
    rows.entry(key.clone()).or_insert_with(|| new(&key))
}

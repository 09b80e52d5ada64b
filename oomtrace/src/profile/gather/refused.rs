//! Forks that the command's own cgroup refused, by its own count.

use crate::profile::report::{ForkFailureCount, Run, Whose};

/// What refused, as in `oomtrace trace`.
const PIDS_MAX: &str = "pids_max";

/// Adds those that nobody saw fail: where no hook shows forks, the count of a cgroup that is soon gone may be read too late.
/// `limit`: how many processes it may have; `path`: its own.
pub fn complete(run: &mut Run, limit: u64, path: &str) {
    // Who looked after it was gone could not read it any more.
    for row in run.fork_failures.iter_mut().filter(|row| row.whose == Whose::Own && row.cause == PIDS_MAX) {
        if row.limit.is_none() && row.limit_at.as_deref().is_none_or(|at| at == path) {
            row.limit = Some(limit);
            row.limit_at = Some(path.to_owned());
        }
    }
    let counted = run.cgroup.as_ref().and_then(|cgroup| cgroup.events.get("pids.max")).copied();
    let is_its = |row: &&ForkFailureCount| row.whose == Whose::Own && row.cause == PIDS_MAX;
    let told = run.fork_failures.iter().filter(is_its).fold(0_u64, |sum, row| sum.saturating_add(row.count));
    let unseen = counted.unwrap_or(0).saturating_sub(told);
    if unseen == 0 {
        return;
    }
    let duration_ns = run.duration_ns;
    let known = run.fork_failures.iter_mut().find(|row| {
        row.whose == Whose::Own && row.cause == PIDS_MAX && row.comm.is_none() && row.limit == Some(limit)
    });
    if let Some(row) = known {
        row.count = row.count.saturating_add(unseen);
        row.last_at_ns = duration_ns;
        return;
    }
    run.fork_failures.push(ForkFailureCount {
        whose: Whose::Own,
        comm: None,
        cause: PIDS_MAX.to_owned(),
        errno_name: Some("EAGAIN".to_owned()),
        count: unseen,
        limit: Some(limit),
        limit_at: Some(path.to_owned()),
        first_at_ns: 0,
        last_at_ns: duration_ns,
    });
    run.fork_failures.sort_by_key(|row| (row.whose, std::cmp::Reverse(row.count)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::report::CgroupMemory;

    /// Guards the sum of what was seen and what was not: it is the cgroup's own count, whether or not any was seen.
    #[test]
    fn refusals_add_up_to_the_cgroups_count() {
        let seen = |count, limit| ForkFailureCount {
            whose: Whose::Own,
            cause: PIDS_MAX.to_owned(),
            count,
            limit,
            ..ForkFailureCount::default()
        };
        let rows = [vec![], vec![seen(5, Some(12))], vec![seen(5, None)], vec![seen(161, Some(12))]];
        for fork_failures in rows {
            let events = [("pids.max".to_owned(), 161)].into();
            let cgroup = Some(CgroupMemory { events, ..CgroupMemory::default() });
            let mut run = Run { fork_failures, cgroup, ..Run::default() };
            complete(&mut run, 12, "/t");
            assert_eq!(run.fork_failures.iter().map(|row| row.count).sum::<u64>(), 161);
            assert!(run.fork_failures.iter().all(|row| row.limit == Some(12)));
        }
        let mut run = Run::default();
        complete(&mut run, 12, "/t");
        assert!(run.fork_failures.is_empty());
    }
}

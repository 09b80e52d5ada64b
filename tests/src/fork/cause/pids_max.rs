//! `pids.max` of a cgroup.

use anyhow::{Error, Result, ensure};

use super::{CALLS, Case, Needs};
use crate::fork::call::Call;
use crate::fork::ground::Ground;
use crate::fork::truth::{Level, Truth};
use crate::witness::cgroup::{Cgroup, Version};

/// The limit of the forker's own cgroup.
pub const OWN: Case = Case {
    name: "pids_max/own",
    needs: Needs::Pids,
    hidden: &[],
    provoke: |ground, times| {
        let tree = ground.tasks()?;
        let group = tree.group("full")?;
        provoke(ground, times, &group, &group)
    },
};

/// The limit of an ancestor, two levels up, while the levels below have higher ones or none.
pub const ANCESTOR: Case = Case {
    name: "pids_max/ancestor",
    needs: Needs::Pids,
    hidden: &[],
    provoke: |ground, times| {
        let tree = ground.tasks()?;
        let inner = tree.group("outer/middle/inner")?;
        tree.base().child("outer").child("middle").set_task_limit(Some(LIMIT + 1))?;
        provoke(ground, times, &tree.base().child("outer"), &inner)
    },
};

/// How many tasks there may be.
const LIMIT: u64 = 5;

/// Has a forker in `inside` fill `limited`, and fail.
fn provoke(ground: &Ground<'_>, times: u64, limited: &Cgroup, inside: &Cgroup) -> Result<Vec<Truth>> {
    limited.set_task_limit(Some(LIMIT))?;
    let mut forker = ground.forker("pids-forker")?;
    forker.join(inside)?;
    forker.hold(Call::Fork, LIMIT - 1)?;
    let events = || Ok::<_, Error>((inside.tasks_refused()?, limited.tasks_refused()?));
    let before = events()?;
    let mut truths = Vec::new();
    for call in CALLS {
        let usage = limited.tasks()?;
        ensure!(usage == LIMIT, "{} has {usage} tasks, not {LIMIT}", limited.path);
        let tally = forker.fail(call, times, libc::EAGAIN)?;
        truths.push(Truth {
            cause: Some("pids_max"),
            cgroup: Some(inside.path.clone()),
            level: Level::Cgroup { path: limited.path.clone(), hierarchy: limited.hierarchy_id() },
            limit: Some(LIMIT),
            usage: Some(usage),
            proof: "the children before fitted below pids.max, and one more does when it is raised by one",
            ..Truth::of(&forker, call, libc::EAGAIN, &tally)?
        });
    }
    let after = events()?;
    let (rise, all) = ((after.0 - before.0, after.1 - before.1), times * CALLS.len() as u64);
    let counted =
        match (limited == inside, ground.machine.is_at_least(6, 11) && limited.version() == Version::V2) {
            (true, _) => (all, all),
            (false, true) => (0, all),
            (false, false) => (all, 0),
        };
    ensure!(rise == counted, "pids.events, here and at the limit, rose by {rise:?} and not by {counted:?}");
    limited.set_task_limit(Some(LIMIT + 1))?;
    forker.succeed(Call::Fork)?;
    Ok(truths)
}

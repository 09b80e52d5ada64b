//! `pids.max` of a cgroup.

use anyhow::{Context, Error, Result, ensure};

use super::{CALLS, Case, Needs};
use crate::fork::call::Call;
use crate::fork::forker::Forker;
use crate::fork::ground::Ground;
use crate::fork::order::{Order, Tally};
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

/// The limit of the forker's own cgroup, and it forks from a thread that is not its process's first.
pub const THREAD: Case = Case {
    name: "pids_max/thread",
    needs: Needs::Pids,
    hidden: &[],
    provoke: |ground, times| {
        let tree = ground.tasks()?;
        let group = tree.group("second")?;
        group.set_task_limit(Some(LIMIT))?;
        let mut forker = Forker::start_threaded("second-forker", ground.deadline)?;
        forker.join(&group)?;
        // Both threads are in it.
        forker.hold(Call::Fork, LIMIT - 2)?;
        let truths = [Call::Fork, Call::Thread { flags: 0 }].map(|call| {
            let tally = forker.fail(call, times, libc::EAGAIN)?;
            truth(&forker, call, &tally, (&group, &group))
        });
        group.set_task_limit(Some(LIMIT + 1))?;
        forker.succeed(Call::Fork)?;
        truths.into_iter().collect()
    },
};

/// The limit of a cgroup that the forker is not in, and that its child is to be in.
pub const INTO: Case = Case {
    name: "pids_max/into_cgroup",
    needs: Needs::UnifiedPids,
    hidden: &[],
    provoke: |ground, times| {
        let tree = ground.tasks()?;
        let (home, target) = (tree.group("home")?, tree.group("target")?);
        if ground.machine.unified() {
            // The forker's memory cgroup, which is told as its own, is to be this one and none above.
            home.chain()
                .skip(1)
                .collect::<Vec<_>>()
                .iter()
                .rev()
                .try_for_each(|above| above.delegate("memory"))?;
        }
        target.set_task_limit(Some(1))?;
        let mut forker = ground.forker("into-forker")?;
        forker.join(&home)?;
        let file = target.dir().context("a cgroup has no folder")?;
        forker.tell(&Order::Open { file, descriptor: DESCRIPTOR })?;
        let call = Call::Into { cgroup: DESCRIPTOR };
        forker.hold(call, 1)?;
        let tally = forker.fail(call, times, libc::EAGAIN)?;
        let truth =
            Truth { elsewhere: true, limit: Some(1), ..truth(&forker, call, &tally, (&target, &home))? };
        // In its own cgroup there is room.
        forker.succeed(Call::Fork)?;
        target.set_task_limit(Some(2))?;
        forker.succeed(call)?;
        Ok(vec![truth])
    },
};

/// The limit of the forker's own cgroup, run into as fast as it goes for a second, whatever `times` says.
pub const STORM: Case = Case {
    name: "pids_max/storm",
    needs: Needs::Pids,
    hidden: &[],
    provoke: |ground, _| {
        let tree = ground.tasks()?;
        let group = tree.group("storm")?;
        group.set_task_limit(Some(1))?;
        let mut forker = ground.forker("storm-forker")?;
        forker.join(&group)?;
        let before = group.tasks_refused()?;
        let tally = forker.tell(&Order::Storm { call: Call::Fork, millis: STORM_MILLIS })?;
        let rise = group.tasks_refused()? - before;
        ensure!(tally.successes == 0 && rise == tally.attempts, "pids.events rose by {rise}: {tally:?}");
        let truth = Truth { limit: Some(1), ..truth(&forker, Call::Fork, &tally, (&group, &group))? };
        group.set_task_limit(Some(2))?;
        forker.succeed(Call::Fork)?;
        Ok(vec![truth])
    },
};

/// How many tasks there may be.
const LIMIT: u64 = 5;
/// How long a storm lasts.
const STORM_MILLIS: u64 = 1000;
/// Under which number a cgroup's folder is open.
const DESCRIPTOR: i32 = 100;

/// The truth of failures in `inside` by the limit of `limited`.
fn truth(forker: &Forker, call: Call, tally: &Tally, (limited, inside): (&Cgroup, &Cgroup)) -> Result<Truth> {
    Ok(Truth {
        cause: Some("pids_max"),
        cgroup: Some(inside.path.clone()),
        level: Level::Cgroup { path: limited.path.clone(), hierarchy: limited.hierarchy_id() },
        limit: Some(LIMIT),
        usage: Some(limited.tasks()?),
        proof: "the children before fitted below pids.max, and one more does when it is raised by one",
        ..Truth::of(forker, call, libc::EAGAIN, tally)?
    })
}

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
        let tally = forker.fail(call, times, libc::EAGAIN)?;
        let truth = truth(&forker, call, &tally, (limited, inside))?;
        ensure!(truth.usage == Some(LIMIT), "{} has {:?} tasks, not {LIMIT}", limited.path, truth.usage);
        truths.push(truth);
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

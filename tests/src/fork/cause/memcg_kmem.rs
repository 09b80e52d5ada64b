//! The memory cgroup refuses the kernel's memory for a new task.
//!
//! The cgroup is full, and nobody in it may be killed: the kernel's own request fails then, and comes back from fork as
//! ENOMEM. The forker joins it for the time of its attempts alone: a pipe's pages are charged too, so that it could not
//! tell of them from within.

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::{Case, Needs};
use crate::deadline::Deadline;
use crate::eat::Eat;
use crate::eater::Eater;
use crate::fork::call::Call;
use crate::fork::forker::Forker;
use crate::fork::ground::Ground;
use crate::fork::order::Order;
use crate::fork::truth::{Level, Truth};
use crate::size::MIB;
use crate::witness::cgroup::{Cgroup, Version};

/// The limit of the forker's own cgroup.
pub const OWN: Case = Case {
    name: "memcg_kmem/own",
    needs: Needs::Unkillable,
    hidden: &[],
    provoke: |ground, times| {
        let tree = ground.memory()?;
        let group = tree.group("full")?;
        provoke(ground, times, (&group, &group, &group))
    },
};

/// The limit of an ancestor, two levels up.
pub const ANCESTOR: Case = Case {
    name: "memcg_kmem/ancestor",
    needs: Needs::Unkillable,
    hidden: &[],
    provoke: |ground, times| {
        let tree = ground.memory()?;
        let inner = tree.group("outer/middle/inner")?;
        let eaters = tree.group("outer/eaters")?;
        provoke(ground, times, (&tree.base().child("outer"), &eaters, &inner))
    },
};

/// What the eater eats.
const EATEN: u64 = 16 * MIB;
/// The adjustment of who is not to be killed.
const NEVER: i64 = -1000;
/// How far below that the limit is.
const BELOW: u64 = MIB;
/// How long the use of a cgroup must have stayed the same.
const SETTLED: Duration = Duration::from_millis(100);

fn provoke(
    ground: &Ground<'_>,
    times: u64,
    (limited, eaters, inside): (&Cgroup, &Cgroup, &Cgroup),
) -> Result<Vec<Truth>> {
    let (mut eater, limit) = fill(ground, limited, eaters, EATEN)?;
    let mut forker = ground.forker("kmem-forker")?;
    lead_into(&mut forker, inside)?;
    let mut truths = Vec::new();
    for call in [Call::Fork, Call::Clone3 { flags: 0 }, Call::Thread { flags: 0 }] {
        let usage = limited.memory()?;
        let orders = vec![Order::Attempt { call, times }];
        let tally = forker.tell(&Order::Within(orders))?;
        ensure!(tally.failed(libc::ENOMEM) == times, "all should have failed: {tally:?}");
        truths.push(Truth {
            cause: Some("memcg_kmem"),
            cgroup: Some(inside.path.clone()),
            level: Level::Cgroup { path: limited.path.clone(), hierarchy: limited.hierarchy_id() },
            limit: Some(limit),
            usage: Some(usage),
            unit: "bytes",
            proof: "the cgroup is at its limit and nobody in it can be killed; outside the forker forks",
            ..Truth::of(&forker, call, libc::ENOMEM, &tally)?
        });
        forker.succeed(call)?;
    }
    ensure!(eater.lives()?, "the eater was killed, and should not have been");
    Ok(truths)
}

/// Has a cgroup be at its limit by `bytes` that somebody in `eaters` has eaten, and nobody in it be killed for that, as long as the
/// eater is there. Gives the limit, too.
pub fn fill(ground: &Ground<'_>, limited: &Cgroup, eaters: &Cgroup, bytes: u64) -> Result<(Eater, u64)> {
    // Version 1 has a switch, version 2 takes everybody's adjustment.
    let adj = match limited.version() {
        Version::V1 => limited.disable_oom_killer().map(|()| None)?,
        Version::V2 => Some(NEVER),
    };
    let eat = Eat { anon: bytes, adj, ..Eat::default() };
    let mut eater = Eater::start("kmem-eater", &eat, Some(eaters), ground.deadline)?;
    eater.fill_and_hold(ground.deadline)?;
    let limit = fill_up(limited, bytes - BELOW, ground.deadline)?;
    Ok((eater, limit))
}

/// Has a forker go into a cgroup that is full, and back to the root, for its attempts within.
pub fn lead_into(forker: &mut Forker, inside: &Cgroup) -> Result<()> {
    if inside.version() == Version::V2 {
        forker.tell(&Order::Write { file: "/proc/self/oom_score_adj".into(), text: NEVER.to_string() })?;
    }
    // Its memory is its own from here on: no page needs to be copied, and charged, in there.
    forker.tell(&Order::Lock)?;
    let home = inside.chain().last().context("a cgroup has no root")?;
    forker.tell(&Order::Gate { there: inside.procs_file()?, back: home.procs_file()? }).map(drop)
}

/// Takes what is left from a cgroup, by a limit below what is used of it. Gives the limit that holds.
fn fill_up(limited: &Cgroup, limit: u64, deadline: Deadline) -> Result<u64> {
    // Version 2 has a limit below what is used already. Version 1 refuses that, but has by then told the processors to give
    // back what they keep in reserve.
    let lowered = limited.set_limit(limit);
    if limited.version() == Version::V2 {
        return lowered.map(|()| limit);
    }
    loop {
        deadline.left("a cgroup to be full")?;
        let used = limited.memory()?;
        sleep(SETTLED);
        if limited.memory()? == used && limited.set_limit(used).is_ok() {
            return Ok(used);
        }
    }
}

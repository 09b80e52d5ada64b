//! A small process asks, a big one that sleeps is killed.

use anyhow::Result;

use super::{Needs, Scenario};
use crate::compare::Expected;
use crate::eat::{Eat, word};
use crate::size::MIB;
use crate::stage::Stage;

/// The cgroup's limit in bytes.
const LIMIT: u64 = 48 * MIB;

/// Guards that nothing about the victim is taken from the task that happens to run: they differ in pid, comm, uid,
/// adjustment and memory. The victim sleeps, so its memory was measured by a walk of its page tables before.
pub const SCENARIO: Scenario = Scenario {
    name: "memcg_other",
    guards: "a small process reaches the limit and a big sleeping one is killed: trigger and victim are not mixed up",
    needs: Needs::Memcg,
    kills: 2,
    once: false,
    run,
};

fn run(stage: &mut Stage<'_>) -> Result<()> {
    let tree = stage.tree()?;
    let group = tree.group("shared")?;
    group.set_limit(LIMIT)?;
    let sleeper = Eat { anon: 28 * MIB, shmem: 2 * MIB, file: MIB, uid: Some(1001), ..Eat::default() };
    let asker = Eat { anon: 24 * MIB, uid: Some(1002), adj: Some(1), ..Eat::default() };
    let mut big = stage.eater("big-sleeper", &sleeper, Some(&group))?;
    let mut small = stage.eater("small-asker", &asker, Some(&group))?;
    big.fill_and_hold(stage.deadline)?;

    let watch = stage.watch(&[])?;
    small.order(word::FILL)?;
    big.killed(stage.deadline)?;
    let survived = small.survived(stage.deadline)?;
    let expected = Expected::kills(&big.facts, &small.facts, survived, &group, LIMIT);
    let seen = stage.finish(watch, &expected)?;

    stage.judge(&seen, &expected, &[&big.facts, &small.facts]);
    Ok(())
}

//! Two cgroups run out at the same time.

use anyhow::Result;

use super::{Needs, Scenario};
use crate::compare::Expected;
use crate::eat::{Eat, word};
use crate::size::MIB;
use crate::stage::Stage;

/// Guards that records of two incidents that happen at once, on two CPUs, are not mixed up.
pub const SCENARIO: Scenario = Scenario {
    name: "two_cgroups",
    guards: "two cgroups run out at once: two incidents, each with its own trigger, victim and path",
    needs: Needs::Memcg,
    kills: 2,
    once: false,
    run,
};

fn run(stage: &mut Stage<'_>) -> Result<()> {
    let tree = stage.tree()?;
    let (left, right) = (tree.group("left")?, tree.group("right")?);
    left.set_limit(32 * MIB)?;
    right.set_limit(40 * MIB)?;
    let eat = |uid| Eat { anon: 64 * MIB, uid: Some(uid), ..Eat::default() };
    let mut one = stage.eater("left-eater", &eat(2001), Some(&left))?;
    let mut other = stage.eater("right-eater", &eat(2002), Some(&right))?;

    let watch = stage.watch(&[])?;
    one.order(word::FILL)?;
    other.order(word::FILL)?;
    one.killed(stage.deadline)?;
    other.killed(stage.deadline)?;
    let expected =
        [Expected::kill(&one.facts, &one.facts, &left), Expected::kill(&other.facts, &other.facts, &right)];
    let seen = stage.finish(watch, &expected)?;

    stage.judge(&seen, &expected, &[&one.facts, &other.facts]);
    Ok(())
}

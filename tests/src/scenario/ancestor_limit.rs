//! The limit that is reached is not that of the victim's own cgroup but of one above it.

use anyhow::Result;

use super::{Needs, Scenario};
use crate::compare::Expected;
use crate::eat::{Eat, word};
use crate::size::MIB;
use crate::stage::Stage;

/// Guards the difference between the cgroup that ran out and the one that the victim was in, and the chain of limits
/// between them: the middle one of three levels is limited.
pub const SCENARIO: Scenario = Scenario {
    name: "ancestor_limit",
    guards: "a limit above the victim's cgroup is reached: the scope is the ancestor, the chain of limits is complete",
    needs: Needs::Memcg,
    kills: 1,
    once: false,
    run,
};

fn run(stage: &mut Stage<'_>) -> Result<()> {
    let tree = stage.tree()?;
    let limited = tree.group("limited")?;
    limited.set_limit(40 * MIB)?;
    let sibling = tree.group("limited/sibling")?;
    let leaf = tree.group("limited/middle/leaf")?;
    let mut bystander = stage.eater("bystander", &Eat { anon: 4 * MIB, ..Eat::default() }, Some(&sibling))?;
    let mut eater = stage.eater("leaf-eater", &Eat { anon: 64 * MIB, ..Eat::default() }, Some(&leaf))?;
    bystander.fill_and_hold(stage.deadline)?;

    let watch = stage.watch(&[])?;
    eater.order(word::FILL)?;
    eater.killed(stage.deadline)?;
    let expected = [Expected::kill(&eater.facts, &eater.facts, &limited)];
    let seen = stage.finish(watch, &expected)?;

    stage.judge(&seen, &expected, &[&eater.facts, &bystander.facts]);
    Ok(())
}

//! Of three limits, one within the other, the middle one is reached.

use anyhow::Result;

use super::{Needs, Scenario};
use crate::compare::Expected;
use crate::eat::{Eat, word};
use crate::size::MIB;
use crate::stage::Stage;

/// Guards the choice among several limits: that of the victim's own cgroup has room, that at the top has room, and the
/// one between them, which another cgroup of the same parent helped to fill, is what ran out.
pub const SCENARIO: Scenario = Scenario {
    name: "nested_limit",
    guards: "of three nested limits the middle one is reached: the scope is that one, and all three are listed with it",
    needs: Needs::Memcg,
    kills: 2,
    once: true,
    run,
};

/// The limits from the top down, in bytes.
const OUTER: u64 = 96 * MIB;
const MIDDLE: u64 = 48 * MIB;
const LEAF: u64 = 64 * MIB;

fn run(stage: &mut Stage<'_>) -> Result<()> {
    let tree = stage.tree()?;
    let outer = tree.group("outer")?;
    outer.set_limit(OUTER)?;
    let middle = tree.group("outer/middle")?;
    middle.set_limit(MIDDLE)?;
    let leaf = tree.group("outer/middle/leaf")?;
    let other = tree.group("outer/middle/other")?;
    // In version 1 a limit above the parent's is no more refused than in version 2.
    leaf.set_limit(LEAF)?;
    let sleeper = Eat { anon: 28 * MIB, ..Eat::default() };
    let asker = Eat { anon: 24 * MIB, adj: Some(1), ..Eat::default() };
    let mut big = stage.eater("leaf-sleeper", &sleeper, Some(&leaf))?;
    let mut small = stage.eater("other-asker", &asker, Some(&other))?;
    big.fill_and_hold(stage.deadline)?;

    let watch = stage.watch(&[])?;
    small.order(word::FILL)?;
    big.killed(stage.deadline)?;
    let survived = small.survived(stage.deadline)?;
    let expected = Expected::kills(&big.facts, &small.facts, survived, &middle, MIDDLE);
    let seen = stage.finish(watch, &expected)?;

    stage.judge(&seen, &expected, &[&big.facts, &small.facts]);
    let Some(incident) = seen.traced.as_ref().and_then(|traced| traced.incident_of(big.pid())) else {
        return Ok(());
    };
    // The charge that failed is not in the usage, and each CPU may have given back its stock since: since 6.16 it has one for each
    // of the two cgroups that share the limit (`NR_MEMCG_STOCK`, mm/memcontrol.c), before then one for either.
    let stocks = if stage.machine.is_at_least(6, 16) { 2 } else { 1 };
    let slack = stocks * stage.machine.charge_stock_bytes();
    for (cgroup, limit, full) in [(&leaf, LEAF, false), (&middle, MIDDLE, true), (&outer, OUTER, false)] {
        let ours = incident.fields.scope.limits.iter().find(|it| it.path.as_deref() == Some(&cgroup.path));
        let (usage, told) = (ours.and_then(|it| it.usage_bytes), ours.and_then(|it| it.limit_bytes));
        stage.checks.equal(&format!("limit of {}", cgroup.path), told, Some(limit), "the scenario");
        stage.checks.that(usage.is_some_and(|usage| (usage + slack >= limit) == full), || {
            let is = if full { "is" } else { "is not" };
            format!("{} {is} what ran out, and its usage is {usage:?} of {limit}", cgroup.path)
        });
    }
    Ok(())
}

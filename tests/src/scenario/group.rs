//! All members of a cgroup are killed together.

use anyhow::Result;

use super::{Needs, Scenario};
use crate::compare::Expected;
use crate::eat::{Eat, word};
use crate::size::MIB;
use crate::stage::Stage;

/// Guards memory.oom.group: one incident with every member as a victim, told apart from the chosen one. The kernel
/// counts and logs the first of them twice.
pub const SCENARIO: Scenario = Scenario {
    name: "group",
    guards: "memory.oom.group kills four members at once: one incident with four victims and their verdicts",
    needs: Needs::Unified,
    kills: 1,
    once: false,
    run,
};

fn run(stage: &mut Stage<'_>) -> Result<()> {
    let tree = stage.tree()?;
    let group = tree.group("together")?;
    group.set_limit(48 * MIB)?;
    group.set_oom_group()?;
    let mut members = Vec::new();
    for (name, megabytes) in [("member-one", 3), ("member-two", 4), ("member-three", 5)] {
        let mut member = stage.eater(name, &Eat { anon: megabytes * MIB, ..Eat::default() }, Some(&group))?;
        member.fill_and_hold(stage.deadline)?;
        members.push(member);
    }
    let mut chosen = stage.eater("member-chosen", &Eat { anon: 64 * MIB, ..Eat::default() }, Some(&group))?;

    let watch = stage.watch(&[])?;
    chosen.order(word::FILL)?;
    chosen.killed(stage.deadline)?;
    for member in &mut members {
        member.killed(stage.deadline)?;
    }
    let victims: Vec<_> = std::iter::once(&chosen).chain(&members).map(|member| &member.facts).collect();
    let expected =
        [Expected { victims: victims.clone(), ..Expected::kill(&chosen.facts, &chosen.facts, &group) }];
    let seen = stage.finish(watch, &expected)?;

    stage.judge(&seen, &expected, &victims);
    stage.checks.note("oom_kill counted for four members", seen.oom_kills);
    Ok(())
}

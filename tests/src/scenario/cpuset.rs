//! The nodes run out that a cgroup's processes may take memory from.

use anyhow::Result;

use super::{Needs, Scenario};
use crate::compare::Expected;
use crate::eat::{Eat, word};
use crate::stage::Stage;

/// Guards the scope: neither the machine nor a limit of the cgroup, but the node that its cpuset leaves it. With
/// tracepoints only it looks like the machine's, as is documented.
pub const SCENARIO: Scenario = Scenario {
    name: "cpuset",
    guards: "the one NUMA node that a cpuset allows is full: the scope is the cpuset, its capacity that of the node",
    needs: Needs::Numa,
    kills: 1,
    once: false,
    run,
};

fn run(stage: &mut Stage<'_>) -> Result<()> {
    let tree = stage.tree()?;
    let group = tree.group("pinned")?;
    tree.base().delegate("cpuset")?;
    group.set_mems("1")?;
    let eat = Eat { anon: 2 * stage.machine.memory_bytes, ..Eat::default() };
    let mut eater = stage.eater("pinned-eater", &eat, Some(&group))?;

    let watch = stage.watch(&[])?;
    eater.order(word::FILL)?;
    eater.killed(stage.deadline)?;
    let expected = [Expected::machine_wide(&eater.facts, "allocation")];
    let seen = stage.finish(watch, &expected)?;

    stage.judge(&seen, &expected, &[&eater.facts]);
    let decision = seen.logged(eater.pid()).and_then(|oom| oom.decision.as_ref());
    let constraint = decision.map(|decision| decision.constraint.as_str());
    stage.checks.equal("the log's constraint", constraint, Some("CONSTRAINT_CPUSET"), "the scenario");
    Ok(())
}

//! The nodes run out that a process has bound itself to.

use anyhow::Result;

use super::{Needs, Scenario};
use crate::compare::Expected;
use crate::eat::{Eat, word};
use crate::stage::Stage;

/// Guards the scope: the node that a memory policy leaves the process (MPOL_BIND), while the other has room. With
/// tracepoints only it looks like the machine's, as is documented.
pub const SCENARIO: Scenario = Scenario {
    name: "mempolicy",
    guards: "the one NUMA node that a process is bound to is full: the scope is its policy, its capacity that of the node",
    needs: Needs::Numa,
    kills: 1,
    once: false,
    run,
};

fn run(stage: &mut Stage<'_>) -> Result<()> {
    let eat = Eat { anon: 2 * stage.machine.memory_bytes, node: Some(1), ..Eat::default() };
    let mut eater = stage.eater("bound-eater", &eat, None)?;

    let watch = stage.watch(&[])?;
    eater.order(word::FILL)?;
    eater.killed(stage.deadline)?;
    let expected = [Expected::machine_wide(&eater.facts, "allocation")];
    let seen = stage.finish(watch, &expected)?;

    stage.judge(&seen, &expected, &[&eater.facts]);
    let decision = seen.logged(eater.pid()).and_then(|oom| oom.decision.as_ref());
    let constraint = decision.map(|decision| decision.constraint.as_str());
    stage.checks.equal("the log's constraint", constraint, Some("CONSTRAINT_MEMORY_POLICY"), "the scenario");
    Ok(())
}

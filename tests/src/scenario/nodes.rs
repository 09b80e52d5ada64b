//! One node of two runs out, while the other has room.

use anyhow::Result;

use crate::compare::Expected;
use crate::eat::word;
use crate::eater::Eater;
use crate::stage::Stage;

/// Has an eater fill the one node that it may take memory from, and checks that the kernel calls that `constraint`.
pub fn fill(stage: &mut Stage<'_>, mut eater: Eater, constraint: &str) -> Result<()> {
    let watch = stage.watch(&[])?;
    eater.order(word::FILL)?;
    eater.killed(stage.deadline)?;
    let expected = [Expected::machine_wide(&eater.facts, "allocation")];
    let seen = stage.finish(watch, &expected)?;

    stage.judge(&seen, &expected, &[&eater.facts]);
    let decision = seen.logged(eater.pid()).and_then(|oom| oom.decision.as_ref());
    let logged = decision.map(|decision| decision.constraint.as_str());
    stage.checks.equal("the log's constraint", logged, Some(constraint), "the scenario");
    Ok(())
}

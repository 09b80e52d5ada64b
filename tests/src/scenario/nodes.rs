//! One node of two, the second, runs out, while the other has room.

use anyhow::Result;
use serde_json::json;

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
    stage.judge_findings(&seen, &eater.facts, &["confined"]);
    let decision = seen.logged(eater.pid()).and_then(|oom| oom.decision.as_ref());
    let logged = decision.map(|decision| decision.constraint.as_str());
    stage.checks.equal("the log's constraint", logged, Some(constraint), "the scenario");
    if let Some(incident) = seen.traced.as_ref().and_then(|traced| traced.incident_of(eater.pid())) {
        let nodes = incident.json.pointer("/scope/nodes").cloned();
        stage.checks.equal("scope.nodes", nodes, Some(json!([1])), "the scenario");
    }
    Ok(())
}

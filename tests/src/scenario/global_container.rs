//! A container without a limit takes all of the machine's memory.

use anyhow::{Context, Result};

use super::{Needs, Scenario};
use crate::compare::Expected;
use crate::eat::{Eat, word};
use crate::incident::found;
use crate::stage::Stage;

/// Guards the finding about a limit that is not there, by a cgroup that is named as a container's, without a runtime; and that a
/// limit somewhere above it, which was not reached, says otherwise.
pub const SCENARIO: Scenario = Scenario {
    name: "global_container",
    guards: "a container without a limit takes the machine's memory: that is found, and with a limit above it is not",
    needs: Needs::Tools,
    kills: 2,
    once: true,
    run,
};

const CONTAINER: &str = "docker/4e9bf3a17c0258d1a6b0c3f4e5d60718293a4b5c6d7e8f90a1b2c3d4e5f60718";

fn run(stage: &mut Stage<'_>) -> Result<()> {
    for limited in [false, true] {
        let tree = stage.tree()?;
        let group = tree.group(CONTAINER)?;
        let memory = stage.machine.memory_bytes;
        let everything = 2 * (memory + stage.machine.swap_bytes);
        // So much that the machine runs out before its limit is reached, and it is the one that dies.
        let beside = Eat { anon: memory / 10 * 4, adj: Some(-800), ..Eat::default() };
        let mut beside = stage.eater("beside", &beside, None)?;
        if limited {
            tree.base().set_limit(memory / 10 * 8)?;
            beside.fill_and_hold(stage.deadline)?;
        }
        let eat = Eat { anon: everything, ..Eat::default() };
        let mut eater = stage.eater("container-eater", &eat, Some(&group))?;
        let watch = stage.watch(&[])?;
        eater.order(word::FILL)?;
        eater.killed(stage.deadline)?;
        let expected = [Expected::machine_wide(&eater.facts, "allocation")];
        let seen = stage.finish(watch, &expected)?;
        // Its figures are compared where the same happens without a container.
        let Some(traced) = &seen.traced else { continue };
        stage.judge_course(traced);
        let incident = traced.incident_of(eater.pid()).context("oomtrace does not report the kill")?;
        let told = found(&incident.json).iter().any(|id| id == "container-unlimited");
        stage.checks.equal("container-unlimited is found", Some(told), Some(!limited), "the scenario");
    }
    Ok(())
}

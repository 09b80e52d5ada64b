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
        let everything = 2 * (stage.machine.memory_bytes + stage.machine.swap_bytes);
        if limited {
            tree.base().set_limit(everything)?;
        }
        let eat = Eat { anon: everything, ..Eat::default() };
        let mut eater = stage.eater("container-eater", &eat, Some(&group))?;
        let watch = stage.watch(&[])?;
        eater.order(word::FILL)?;
        eater.killed(stage.deadline)?;
        let expected = [Expected::machine_wide(&eater.facts, "allocation")];
        let seen = stage.finish(watch, &expected)?;
        stage.judge(&seen, &expected, &[&eater.facts]);
        let Some(traced) = &seen.traced else { continue };
        let incident = traced.incident_of(eater.pid()).context("oomtrace does not report the kill")?;
        let told = found(&incident.json).iter().any(|id| id == "container-unlimited");
        stage.checks.equal("container-unlimited is found", Some(told), Some(!limited), "the scenario");
    }
    Ok(())
}

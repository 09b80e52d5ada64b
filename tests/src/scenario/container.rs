//! A victim in a container of a Kubernetes pod, by what its cgroup is called.

use anyhow::Result;
use serde_json::json;

use super::{Needs, Scenario};
use crate::compare::Expected;
use crate::eat::{Eat, word};
use crate::size::MIB;
use crate::stage::Stage;

/// Guards the way from a cgroup's name, as long as containers' are, to whose it is. The runtimes' own are not needed for
/// it: the name is all that oomtrace goes by.
pub const SCENARIO: Scenario = Scenario {
    name: "container",
    guards: "a victim's container and pod are those that its cgroup is named after, and it can be filtered by",
    needs: Needs::Memcg,
    kills: 1,
    once: true,
    run,
};

const CONTAINER: &str = "4e9bf3a17c0258d1a6b0c3f4e5d60718293a4b5c6d7e8f90a1b2c3d4e5f60718";
const POD: &str = "7a3c1f2e-0b1d-4c5e-9f60-718293a4b5c6";

fn run(stage: &mut Stage<'_>) -> Result<()> {
    let tree = stage.tree()?;
    let slice = format!("kubepods-burstable-pod{}.slice", POD.replace('-', "_"));
    let scope = format!("cri-containerd-{CONTAINER}.scope");
    let group = tree.group(&format!("kubepods.slice/kubepods-burstable.slice/{slice}/{scope}"))?;
    group.set_limit(32 * MIB)?;
    let eat = Eat { anon: 48 * MIB, ..Eat::default() };
    let mut eater = stage.eater("contained-eater", &eat, Some(&group))?;

    let watch = stage.watch(&["--container", &CONTAINER[..12]])?;
    eater.order(word::FILL)?;
    eater.killed(stage.deadline)?;
    let expected = [Expected::kill(&eater.facts, &eater.facts, &group)];
    let seen = stage.finish(watch, &expected)?;
    stage.judge(&seen, &expected, &[&eater.facts]);

    let Some(traced) = &seen.traced else { return Ok(()) };
    let incident = traced.incident_of(eater.pid()).map(|incident| &incident.json);
    for field in ["/victims/0/container", "/trigger/container"] {
        let told = incident.and_then(|incident| incident.pointer(field)).cloned();
        let named = json!({"runtime": "containerd", "id": CONTAINER, "pod_uid": POD});
        stage.checks.equal(field, told, Some(named), "the cgroup's name");
    }
    Ok(())
}

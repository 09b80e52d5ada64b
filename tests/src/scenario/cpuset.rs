//! The nodes run out that a cgroup's processes may take memory from.

use anyhow::Result;

use super::{Needs, Scenario, nodes};
use crate::eat::Eat;
use crate::stage::Stage;

/// Guards the scope: neither the machine nor a limit of the cgroup, but the node that its cpuset leaves it. With
/// tracepoints only the kernel log tells it from the machine's, as is documented.
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
    let eater = stage.eater("pinned-eater", &eat, Some(&group))?;
    nodes::fill(stage, eater, "CONSTRAINT_CPUSET")
}

//! The nodes run out that a process has bound itself to.

use anyhow::Result;

use super::{Needs, Scenario, nodes};
use crate::eat::Eat;
use crate::stage::Stage;

/// Guards the scope: the node that a memory policy leaves the process (MPOL_BIND), while the other has room. With
/// tracepoints only the kernel log tells it from the machine's, as is documented.
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
    let eater = stage.eater("bound-eater", &eat, None)?;
    nodes::fill(stage, eater, "CONSTRAINT_MEMORY_POLICY")
}

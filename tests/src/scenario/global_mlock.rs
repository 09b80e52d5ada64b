//! Locked memory fills the machine.

use anyhow::Result;

use super::exhaust::exhaust;
use super::{Needs, Scenario};
use crate::eat::Eat;
use crate::stage::Stage;

/// Guards a machine that is full of memory which must not be reclaimed (mlock), and whose holder is not the victim.
pub const SCENARIO: Scenario = Scenario {
    name: "global_mlock",
    guards: "locked memory fills the machine: who has the higher score dies, and the log has what is locked",
    needs: Needs::SmallDisposable,
    kills: 1,
    once: true,
    run,
};

fn run(stage: &mut Stage<'_>) -> Result<()> {
    let exhausted = exhaust(stage, |bytes| Eat { locked: bytes, ..Eat::default() })?;
    exhausted.check_zones(stage, "mlocked");
    Ok(())
}

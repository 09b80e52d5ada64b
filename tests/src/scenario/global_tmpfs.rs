//! A file in tmpfs fills the machine.

use anyhow::Result;

use super::exhaust::exhaust;
use super::{Needs, Scenario};
use crate::eat::Eat;
use crate::stage::Stage;

/// Guards a machine that is full of shared memory which is in no process: the victim has little to do with it, and what it
/// gives back is not what was taken.
pub const SCENARIO: Scenario = Scenario {
    name: "global_tmpfs",
    guards: "a file in tmpfs fills the machine: the victim is an innocent sleeper, and the log has the shared memory",
    needs: Needs::SmallDisposable,
    kills: 1,
    once: true,
    run,
};

fn run(stage: &mut Stage<'_>) -> Result<()> {
    let exhausted = exhaust(stage, |bytes| Eat { written: bytes, ..Eat::default() })?;
    exhausted.check_pages(stage, "shmem");
    Ok(())
}

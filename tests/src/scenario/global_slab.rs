//! The kernel itself has taken the memory: slabs that cannot be reclaimed.

use anyhow::Result;

use super::exhaust::exhaust;
use super::{Needs, Scenario};
use crate::eat::Eat;
use crate::stage::Stage;

/// Guards a machine that is full of unreclaimable slabs. Where these prevail the kernel lists the greatest
/// (`dump_unreclaimable_slab`, mm/slab_common.c).
pub const SCENARIO: Scenario = Scenario {
    name: "global_slab",
    guards: "messages that nobody receives fill the machine with slabs: the victim is an innocent sleeper, and the log has the slabs",
    needs: Needs::SmallDisposable,
    kills: 1,
    once: true,
    run,
};

fn run(stage: &mut Stage<'_>) -> Result<()> {
    let exhausted = exhaust(stage, |bytes| Eat { messages: bytes, ..Eat::default() })?;
    exhausted.check_pages(stage, "slab_unreclaimable");
    let listed = exhausted.seen.log_text.iter().any(|line| line.starts_with("Unreclaimable slab info:"));
    // It does where they are more than all that is on the LRU lists, which the files of the guest's root are too.
    stage.checks.note("the log lists the slabs", listed);
    Ok(())
}

//! There is memory, and none of it in one piece.

use std::fs;

use anyhow::{Context, Result};

use super::{Needs, Scenario};
use crate::compare::Expected;
use crate::eat::{Eat, word};
use crate::eater::Eater;
use crate::fork::setting::Setting;
use crate::machine::available_bytes;
use crate::size::MIB;
use crate::stage::Stage;

/// Guards the order: the machine runs out of four pages in a row while megabytes are free in single pages. Locked
/// memory, every second page of which was given back, is what keeps them apart; the kernel may not compact it here. Nor may
/// it move the sleeper's to the single pages, which would leave as much in one piece: 7.2 does so beforehand (kcompactd), and
/// 5.10 does not.
pub const SCENARIO: Scenario = Scenario {
    name: "order2",
    guards: "free memory is shredded and somebody needs four pages in a row: a global OOM of order 2",
    needs: Needs::SmallDisposable,
    kills: 1,
    once: true,
    run,
};

/// What the sleeper holds, whose end gives back memory in one piece; and what is left whole, in bytes.
const SLEEPER: u64 = 64 * MIB;
const WHOLE: u64 = 12 * MIB;
/// Pipes of four pages each, 48 MiB: more than what is left whole and the kernel can make whole by moving what is not locked
/// (some 20 MiB of programs and of the filesystem that they are in), and less than the sleeper's.
const PIPES: usize = 3072;
/// Whether compaction may move locked pages, and what sets it off.
pub(super) const COMPACT_LOCKED: &str = "vm/compact_unevictable_allowed";
const COMPACT_NOW: &str = "/proc/sys/vm/compact_memory";

fn run(stage: &mut Stage<'_>) -> Result<()> {
    let unmoved = Setting::keep(COMPACT_LOCKED)?;
    unmoved.set(0)?;
    let watch = stage.watch(&[])?;
    let Shredded { mut sleeper, mut shredder } = shred(stage)?;

    shredder.order(word::HOARD)?;
    sleeper.killed(stage.deadline)?;
    shredder.full(stage.deadline).context("the one that asked was to get its memory")?;
    let expected = [Expected::machine_wide(&sleeper.facts, "allocation")];
    let seen = stage.finish(watch, &expected)?;

    stage.judge(&seen, &expected, &[&sleeper.facts, &shredder.facts]);
    let order = seen.logged(sleeper.pid()).and_then(|oom| Some(oom.invoked.as_ref()?.order));
    stage.checks.equal("the log's order", order, Some(2), "the scenario");
    Ok(())
}

/// A machine whose free memory is in pieces.
pub(super) struct Shredded {
    /// Who is to die if that is too little for somebody.
    pub sleeper: Eater,
    /// Who has shredded it, and asks for pages in a row when told to hoard.
    pub shredder: Eater,
}

/// Shreds the free memory, but for what is left whole.
pub(super) fn shred(stage: &Stage<'_>) -> Result<Shredded> {
    // What earlier scenarios left in pieces.
    fs::write(COMPACT_NOW, "1").with_context(|| format!("cannot write {COMPACT_NOW}"))?;
    let sleeping = Eat { adj: Some(1000), ..Eat::default() };
    let sleeper = if stage.machine.forgets_locked_memory() {
        let mut sleeper = stage.eater("order-sleeper", &Eat { anon: SLEEPER, ..sleeping }, None)?;
        sleeper.fill_and_hold(stage.deadline)?;
        sleeper
    } else {
        let mut sleeper = stage.eater("order-sleeper", &Eat { locked: SLEEPER, ..sleeping }, None)?;
        sleeper.hoard_and_hold(stage.deadline)?;
        sleeper
    };
    let shredding = Eat {
        shred: available_bytes()?.saturating_sub(WHOLE),
        pipes: PIPES,
        adj: Some(100),
        ..Eat::default()
    };
    let mut shredder = stage.eater("order-shredder", &shredding, None)?;
    shredder.order(word::FILL)?;
    shredder.full(stage.deadline)?;
    Ok(Shredded { sleeper, shredder })
}

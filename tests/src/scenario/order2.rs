//! There is memory, and none of it in one piece.

use std::fs;

use anyhow::{Context, Result};

use super::{Needs, Scenario};
use crate::compare::Expected;
use crate::eat::{Eat, word};
use crate::machine::meminfo_bytes;
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
const COMPACT_LOCKED: &str = "/proc/sys/vm/compact_unevictable_allowed";
const COMPACT_NOW: &str = "/proc/sys/vm/compact_memory";

fn run(stage: &mut Stage<'_>) -> Result<()> {
    // What earlier scenarios left in pieces.
    fs::write(COMPACT_NOW, "1").with_context(|| format!("cannot write {COMPACT_NOW}"))?;
    let _unmoved = Setting::change(COMPACT_LOCKED, "0")?;
    let sleeping = Eat { adj: Some(1000), ..Eat::default() };
    let sleeper = if stage.machine.forgets_locked_memory() {
        let mut sleeper = stage.eater("order-sleeper", &Eat { anon: SLEEPER, ..sleeping }, None)?;
        sleeper.fill_and_hold(stage.deadline).map(|()| sleeper)
    } else {
        let mut sleeper = stage.eater("order-sleeper", &Eat { locked: SLEEPER, ..sleeping }, None)?;
        sleeper.hoard_and_hold(stage.deadline).map(|()| sleeper)
    };
    let mut sleeper = sleeper?;
    let watch = stage.watch(&[])?;
    let meminfo = fs::read_to_string("/proc/meminfo").context("cannot read /proc/meminfo")?;
    let available = meminfo_bytes(&meminfo, "MemAvailable:").context("/proc/meminfo has no MemAvailable")?;
    let shredding =
        Eat { shred: available.saturating_sub(WHOLE), pipes: PIPES, adj: Some(100), ..Eat::default() };
    let mut shredder = stage.eater("order-shredder", &shredding, None)?;
    shredder.order(word::FILL)?;
    shredder.full(stage.deadline)?;

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

/// A setting that is put back when this is dropped.
struct Setting {
    file: &'static str,
    before: String,
}

impl Setting {
    fn change(file: &'static str, value: &str) -> Result<Self> {
        let before = fs::read_to_string(file).with_context(|| format!("cannot read {file}"))?;
        fs::write(file, value).with_context(|| format!("cannot write {file}"))?;
        Ok(Self { file, before })
    }
}

impl Drop for Setting {
    fn drop(&mut self) {
        if let Err(error) = fs::write(self.file, self.before.trim()) {
            eprintln!("cannot put {} back: {error}", self.file);
        }
    }
}

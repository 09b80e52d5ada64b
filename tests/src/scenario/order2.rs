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
/// memory, every second page of which was given back, is what keeps them apart; the kernel may not compact it here.
pub const SCENARIO: Scenario = Scenario {
    name: "order2",
    guards: "free memory is shredded and somebody needs four pages in a row: a global OOM of order 2",
    needs: Needs::Shreddable,
    kills: 1,
    once: true,
    run,
};

/// What the sleeper holds, whose end gives back memory in one piece; and what is left whole, in bytes.
const SLEEPER: u64 = 24 * MIB;
const WHOLE: u64 = 12 * MIB;
/// Pipes of four pages each, at the least: more than what is left whole, and less than that and the sleeper's.
const PIPES: usize = 1400;
/// Whether compaction may move locked pages.
const COMPACT: &str = "/proc/sys/vm/compact_unevictable_allowed";

fn run(stage: &mut Stage<'_>) -> Result<()> {
    let _compact = Setting::change(COMPACT, "0")?;
    let sleeping = Eat { anon: SLEEPER, adj: Some(1000), ..Eat::default() };
    let mut sleeper = stage.eater("order-sleeper", &sleeping, None)?;
    sleeper.fill_and_hold(stage.deadline)?;
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

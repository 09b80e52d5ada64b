//! The whole machine runs out of memory.

use anyhow::Result;

use super::{Needs, Scenario};
use crate::compare::Expected;
use crate::eat::{Eat, word};
use crate::stage::Stage;

/// Guards the global scope: no memcg, and a capacity that is the machine's. Who asks when the last page is gone may
/// be any process, so the trigger is compared with the log alone.
pub const SCENARIO: Scenario = Scenario {
    name: "global",
    guards: "a machine that runs out of memory as a whole: global scope, and its capacity is all memory and swap",
    needs: Needs::SmallDisposable,
    kills: 1,
    once: false,
    run,
};

fn run(stage: &mut Stage<'_>) -> Result<()> {
    let everything = 2 * (stage.machine.memory_bytes + stage.machine.swap_bytes);
    let eat = Eat { anon: everything, uid: Some(1234), ..Eat::default() };
    let mut eater = stage.eater("global-eater", &eat, None)?;

    let watch = stage.watch(&[])?;
    eater.order(word::FILL)?;
    eater.killed(stage.deadline)?;
    let expected = [Expected::machine_wide(&eater.facts, "allocation")];
    let seen = stage.finish(watch, &expected)?;

    stage.judge(&seen, &expected, &[&eater.facts]);
    let totals = seen.logged(eater.pid()).map(|oom| oom.totals);
    let pages = totals.and_then(|totals| totals.pages?.checked_sub(totals.reserved_pages?));
    let logged = pages.map(|pages| pages * stage.machine.page_bytes);
    stage.checks.equal("the log's memory", logged, Some(stage.machine.memory_bytes), "/proc/meminfo");
    Ok(())
}

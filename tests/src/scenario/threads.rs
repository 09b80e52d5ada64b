//! A victim with many threads, all of which fault in memory while it is chosen.

use anyhow::Result;

use super::{Needs, Scenario};
use crate::compare::Expected;
use crate::eat::{Eat, word};
use crate::size::MIB;
use crate::stage::Stage;

/// The victim's threads.
const THREADS: u64 = 8;

/// Guards that a multi-threaded victim is one victim, and measures how far its figures and the log's are apart.
///
/// They may be: the log's line is printed after the mark, while the other threads run until they see the signal.
/// What they move in that time is limited by what each counter holds back and by the charged pages that each CPU has
/// in stock. Beyond the sum of these, a difference is a failure.
pub const SCENARIO: Scenario = Scenario {
    name: "threads",
    guards: "a victim with 8 busy threads is one victim, and its figures differ from the log's by no more than they can",
    needs: Needs::Memcg,
    kills: 1,
    once: true,
    run,
};

fn run(stage: &mut Stage<'_>) -> Result<()> {
    let tree = stage.tree()?;
    let group = tree.group("threads")?;
    group.set_limit(48 * MIB)?;
    let eat = Eat { anon: 96 * MIB, threads: 8, ..Eat::default() };
    let mut eater = stage.eater("eight-threads", &eat, Some(&group))?;
    stage.checks.equal("threads of the eater", Some(eater.facts.threads()), Some(THREADS), "the scenario");

    let watch = stage.watch(&[])?;
    eater.order(word::FILL)?;
    eater.killed(stage.deadline)?;
    let machine = stage.machine;
    let moving_bytes = machine.counter_error_bytes(THREADS) + machine.charge_stock_bytes();
    stage.checks.note("explained difference", moving_bytes);
    let expected = [Expected { moving_bytes, ..Expected::kill(&eater.facts, &eater.facts, &group) }];
    let seen = stage.finish(watch, &expected)?;

    stage.judge(&seen, &expected, &[&eater.facts]);
    Ok(())
}

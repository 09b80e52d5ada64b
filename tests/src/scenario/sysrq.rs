//! Somebody asks for a kill by hand.

use std::fs;

use anyhow::{Context, Result};

use super::{Needs, Scenario};
use crate::compare::Expected;
use crate::eat::Eat;
use crate::size::MIB;
use crate::stage::Stage;

/// Guards the cause: nothing has run out, a kernel worker is the trigger, and the order is -1.
pub const SCENARIO: Scenario = Scenario {
    name: "sysrq",
    guards: "a kill asked for by sysrq-f is told apart from one for want of memory",
    needs: Needs::Disposable,
    kills: 1,
    once: false,
    run,
};

fn run(stage: &mut Stage<'_>) -> Result<()> {
    let eat = Eat { anon: 64 * MIB, adj: Some(500), ..Eat::default() };
    let mut eater = stage.eater("sysrq-victim", &eat, None)?;
    eater.fill_and_hold(stage.deadline)?;

    let watch = stage.watch(&[])?;
    fs::write("/proc/sysrq-trigger", "f").context("cannot write /proc/sysrq-trigger")?;
    eater.killed(stage.deadline)?;
    let expected = [Expected::machine_wide(&eater.facts, "sysrq")];
    let seen = stage.finish(watch, &expected)?;

    stage.judge(&seen, &expected, &[&eater.facts]);
    let order = seen.logged(eater.pid()).and_then(|oom| Some(oom.invoked.as_ref()?.order));
    stage.checks.equal("the log's order", order, Some(-1), "the scenario");
    Ok(())
}

//! Somebody lowers a limit below what is used.

use anyhow::Result;

use super::{Needs, Scenario};
use crate::compare::Expected;
use crate::eat::Eat;
use crate::size::MIB;
use crate::stage::Stage;

/// Guards the cause, and a trigger that is not in the cgroup at all: whoever writes memory.max becomes it, here this
/// very process. The kernel enters the OOM killer up to thousands of times over it, and kills once. (In version 1 the
/// write is refused instead.)
pub const SCENARIO: Scenario = Scenario {
    name: "limit_lowered",
    guards: "memory.max is written below the usage: one kill, triggered by the writer, and the cause is told",
    needs: Needs::Unified,
    kills: 3,
    once: false,
    run,
};

fn run(stage: &mut Stage<'_>) -> Result<()> {
    let tree = stage.tree()?;
    let group = tree.group("lowered")?;
    group.set_limit(48 * MIB)?;
    let mut eater = stage.eater("held-eater", &Eat { anon: 32 * MIB, ..Eat::default() }, Some(&group))?;
    eater.fill_and_hold(stage.deadline)?;

    let watch = stage.watch(&[])?;
    group.set_limit(16 * MIB)?;
    eater.killed(stage.deadline)?;
    let expected = [Expected {
        trigger: None,
        cause: "limit_lowered",
        ..Expected::kill(&eater.facts, &eater.facts, &group)
    }];
    let seen = stage.finish(watch, &expected)?;

    stage.judge(&seen, &expected, &[&eater.facts]);
    let own = u64::from(std::process::id());
    let logged = seen.logged(eater.pid()).and_then(|oom| oom.trigger_tid);
    stage.checks.equal("the log's trigger", logged, Some(own), "the scenario");
    if let Some(traced) = &seen.traced {
        let pid = traced.incident_of(eater.pid()).and_then(|incident| incident.fields.trigger.pid);
        stage.checks.equal("trigger.pid", pid, Some(own), "the scenario");
    }
    Ok(())
}

//! Nobody in a cgroup at its limit may be killed.

use anyhow::Result;

use super::{Needs, Scenario};
use crate::eat::{Eat, word};
use crate::size::MIB;
use crate::stage::Stage;

/// Guards the end of a run without a victim: an adjustment of -1000 protects everybody, the charge fails, and the
/// system call with it (ENOMEM). It is no page fault, which the kernel would only try again and again.
pub const SCENARIO: Scenario = Scenario {
    name: "all_unkillable",
    guards: "everybody in a cgroup is at -1000: a write fails, nobody is killed, and no victim is reported",
    needs: Needs::Disposable,
    kills: 1,
    once: false,
    run,
};

fn run(stage: &mut Stage<'_>) -> Result<()> {
    let tree = stage.tree()?;
    let group = tree.group("protected")?;
    group.set_limit(24 * MIB)?;
    let protected = Eat { adj: Some(-1000), anon: 4 * MIB, ..Eat::default() };
    let mut sleeper = stage.eater("unkillable", &protected, Some(&group))?;
    sleeper.fill_and_hold(stage.deadline)?;
    let hoarder = Eat { adj: Some(-1000), written: 40 * MIB, ..Eat::default() };
    let mut hoarder = stage.eater("hoarder", &hoarder, Some(&group))?;

    let watch = stage.watch(&[])?;
    hoarder.order(word::HOARD)?;
    hoarder.refused(stage.deadline)?;
    let seen = stage.finish(watch, &[])?;

    stage.judge(&seen, &[], &[&sleeper.facts, &hoarder.facts]);
    let checks = &mut stage.checks;
    for eater in [&mut sleeper, &mut hoarder] {
        checks.that(eater.lives()?, || format!("{} has ended", eater.facts.label()));
    }
    let vain: Vec<_> = seen.log.iter().filter(|oom| oom.nobody).collect();
    checks.that(!vain.is_empty(), || "the kernel log does not say that there was nobody to kill".to_owned());
    checks.note("runs without a victim in the log", vain.len());
    checks.equal("oom_kill of the machine", Some(seen.oom_kills), Some(0), "the scenario");
    checks.equal("oom_kill of the cgroup", group.oom_kills().ok(), Some(0), "the scenario");
    let trigger = vain.first().and_then(|oom| oom.trigger_tid);
    checks.equal("the log's trigger", trigger, Some(hoarder.pid()), "the scenario");
    let invented =
        seen.traced.iter().flat_map(|traced| &traced.incidents).filter(|it| !it.fields.victims.is_empty());
    let invented: Vec<_> = invented.map(|incident| &incident.json).collect();
    checks.that(invented.is_empty(), || format!("victims are reported, and there was none: {invented:?}"));
    Ok(())
}

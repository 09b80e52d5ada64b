//! Nobody in a cgroup at its limit may be killed.

use std::time::Duration;

use anyhow::Result;
use serde_json::Value;

use super::{Needs, Scenario};
use crate::eat::{Eat, word};
use crate::incident::{Incident, found, kind, object};
use crate::size::MIB;
use crate::stage::Stage;
use crate::watch::{Watch, read};

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

/// How long the report may take.
const DELIVERY: Duration = Duration::from_secs(10);

fn run(stage: &mut Stage<'_>) -> Result<()> {
    let tree = stage.tree()?;
    let group = tree.group("protected")?;
    group.set_limit(24 * MIB)?;
    let protected = Eat { adj: Some(-1000), anon: 4 * MIB, ..Eat::default() };
    let mut sleeper = stage.eater("unkillable", &protected, Some(&group))?;
    sleeper.fill_and_hold(stage.deadline)?;
    let hoarder = Eat { adj: Some(-1000), written: 40 * MIB, ..Eat::default() };
    let mut hoarder = stage.eater("hoarder", &hoarder, Some(&group))?;

    // By itself: there is no victim in the log to wait for.
    let oomtrace = stage.tracer(&["--json"])?;

    let watch = Watch::begin(None, &[], stage.deadline)?;
    hoarder.order(word::HOARD)?;
    hoarder.refused(stage.deadline)?;
    let mut seen = stage.finish(watch, &[])?;
    let mut by_log = false;
    if let Some(mut oomtrace) = oomtrace {
        let enough = |lines: &[Vec<u8>]| {
            let is_oom = |line: &Vec<u8>| object(line).is_ok_and(|object| kind(&object) == "oom");
            lines.iter().any(is_oom)
        };
        let _absent_is_found_by_the_comparison =
            oomtrace.until(stage.deadline.or_after(DELIVERY), "the report", enough);
        let output = oomtrace.stop(stage.deadline)?;
        stage.keep_output("oomtrace", &output)?;
        let traced = read(output)?;
        // No tracepoint tells of a run that found nobody; the log does.
        let tier = traced.objects.first().and_then(|status| status.get("tier")).and_then(Value::as_str);
        by_log = tier == Some("tracepoint");
        seen.traced = Some(traced);
    }

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
    let Some(traced) = &seen.traced else { return Ok(()) };
    let in_vain = |it: &&Incident| it.fields.outcome.as_deref() == Some("no_victim");
    let in_vain: Vec<_> = traced.incidents.iter().filter(in_vain).collect();
    let runs = seen.log.iter().filter(|oom| oom.nobody).count();
    checks.that((1..=runs).contains(&in_vain.len()), || {
        format!("{} incidents without a victim are told, and the log has {runs}", in_vain.len())
    });
    for incident in in_vain {
        let fields = &incident.fields;
        let pid = if by_log { fields.trigger.tid } else { fields.trigger.pid };
        checks.equal("trigger.pid", pid, Some(hoarder.pid()), "the scenario");
        let source = if by_log { "kmsg" } else { "ebpf" };
        checks.equal("source", fields.source.as_deref(), Some(source), "the tier");
        let path = fields.scope.memcg.as_ref().and_then(|memcg| memcg.path.as_deref());
        checks.equal("scope.memcg.path", path, Some(group.path.as_str()), "the scenario");
        if !by_log {
            let ids = Some(vec!["all-shielded".to_owned()]);
            checks.equal("findings", Some(found(&incident.json)), ids, "the scenario");
        }
    }
    Ok(())
}

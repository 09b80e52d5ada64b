//! The first process of a PID namespace is the victim.

use anyhow::Result;
use serde_json::Value;

use super::{Needs, Scenario};
use crate::compare::Expected;
use crate::eat::{Eat, word};
use crate::eater::Eater;
use crate::size::MIB;
use crate::stage::Stage;
use crate::witness::procfs;

/// Guards the end of a container: its first process is killed, and the kernel ends all others of its PID namespace
/// (`zap_pid_ns_processes`, by the very signal that OOM victims get). None of them is a victim, and none shares memory.
pub const SCENARIO: Scenario = Scenario {
    name: "pidns",
    guards: "the init of a PID namespace is the victim: its three children end with it and are not taken for victims",
    needs: Needs::Memcg,
    kills: 1,
    once: false,
    run,
};

/// How many others there are in the namespace.
const CHILDREN: usize = 3;

fn run(stage: &mut Stage<'_>) -> Result<()> {
    let tree = stage.tree()?;
    let group = tree.group("container")?;
    group.set_limit(32 * MIB)?;
    let eat = Eat { anon: 48 * MIB, children: CHILDREN, ..Eat::default() };
    let mut init = Eater::start_first("ns-init", &eat, Some(&group), stage.deadline)?;
    let children = procfs::children(init.pid())?;
    stage.checks.equal("children", Some(children.len()), Some(CHILDREN), "the scenario");
    stage.checks.equal(
        "pid in its namespace",
        procfs::innermost_pid(init.pid()).ok(),
        Some(1),
        "the scenario",
    );

    let watch = stage.watch(&[])?;
    init.order(word::FILL)?;
    init.killed(stage.deadline)?;
    let kill = Expected::kill(&init.facts, &init.facts, &group);
    let expected = [Expected { along: children.clone(), ..kill }];
    let seen = stage.finish(watch, &expected)?;

    stage.judge(&seen, &expected, &[&init.facts]);
    stage.judge_findings(&seen, &init.facts, &["memcg-limit", "pidns-init"]);
    stage.checks.equal("oom_kill of the machine", Some(seen.oom_kills), Some(1), "the scenario");
    if let Some(incident) = seen.traced.as_ref().and_then(|traced| traced.incident_of(init.pid())) {
        let ns_pid = incident.json.pointer("/victims/0/ns_pid").and_then(Value::as_u64);
        stage.checks.equal("victims[0].ns_pid", ns_pid, Some(1), "the scenario");
    }
    for child in children {
        // It ends after the init, by when the incident may have been told.
        if let Some(traced) = &seen.traced {
            let verdict = traced.verdict_of(child);
            stage.checks.equal("verdict of a child", verdict, Some("pidns_collateral"), "the scenario");
            let cgroup = traced.died(child).and_then(|died| died["cgroup"].as_str());
            stage.checks.equal("cgroup of a child", cgroup, Some(group.path.as_str()), "the scenario");
        }
        stage.checks.that(seen.logged(child).is_none(), || format!("the log has {child} killed"));
        stage.checks.that(!procfs::lives(child), || format!("{child} outlives its namespace"));
    }
    Ok(())
}

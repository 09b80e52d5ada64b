//! The cgroup is gone before oomtrace looks.

use anyhow::Result;

use super::{Needs, Scenario, storm};
use crate::eat::{Eat, word};
use crate::size::MIB;
use crate::stage::Stage;
use crate::storm::group::remove;
use crate::watch::Clocks;
use crate::witness::kmsg::KernelLog;

/// The cgroup's limit in bytes.
const LIMIT: u64 = 16 * MIB;

/// Guards the names of cgroups: they are taken in the kernel at the decision, since afterwards there may be nothing
/// left to look up, and another cgroup of that name in its place.
pub const SCENARIO: Scenario = Scenario {
    name: "cgroup_removed",
    guards: "a cgroup is removed with its killed process, and another made in its place, before oomtrace reads",
    needs: Needs::Memcg,
    kills: 1,
    once: true,
    run,
};

fn run(stage: &mut Stage<'_>) -> Result<()> {
    let tree = stage.tree()?;
    let group = tree.group("pod/short-lived")?;
    group.set_limit(LIMIT)?;
    let id = group.id()?;
    let eat = Eat { anon: 2 * LIMIT, ..Eat::default() };
    let mut eater = stage.eater("short-lived", &eat, Some(&group))?;

    let oomtrace = storm::start(stage, &[])?;
    let (mut log, began) = (KernelLog::mark()?, Clocks::now());
    if let Some(oomtrace) = &oomtrace {
        oomtrace.hold()?;
    }
    eater.order(word::FILL)?;
    eater.killed(stage.deadline)?;
    remove(&group, stage.deadline)?;
    let successor = tree.group("pod/short-lived")?;
    successor.set_limit(2 * LIMIT)?;
    stage
        .checks
        .that(successor.id()? != id, || "the cgroup that was made anew has the old one's id".to_owned());
    stage.checks.that(log.read()?.ooms().iter().any(|oom| oom.killed(eater.pid()).is_some()), || {
        "the kernel log does not have the kill".to_owned()
    });
    let Some(mut oomtrace) = oomtrace else { return Ok(()) };
    oomtrace.listen();
    oomtrace.go_on()?;
    oomtrace.wait_for_lines(2, stage.deadline);
    let traced = storm::finish(stage, "oomtrace", oomtrace.stop(stage.deadline)?)?;

    stage.judge_course(&traced);
    let Some(incident) = traced.incident_of(eater.pid()) else {
        stage.checks.fail("oomtrace does not report the kill");
        return Ok(());
    };
    let (fields, checks) = (&incident.fields, &mut stage.checks);
    let path = Some(group.path.as_str());
    let memcg = fields.scope.memcg.clone().unwrap_or_default();
    let victim = fields.victims.first().cloned().unwrap_or_default();
    let lowest = fields.scope.limits.first().cloned().unwrap_or_default();
    checks.equal("scope.memcg.path", memcg.path.as_deref(), path, "the scenario");
    checks.equal("scope.memcg.id", memcg.id, Some(id), "the removed cgroup's inode");
    checks.equal(
        "scope.capacity_bytes",
        fields.scope.capacity_bytes,
        Some(LIMIT),
        "the removed cgroup's limit",
    );
    checks.equal("scope.limits[0].path", lowest.path.as_deref(), path, "the scenario");
    checks.equal(
        "scope.limits[0].limit_bytes",
        lowest.limit_bytes,
        Some(LIMIT),
        "the removed cgroup's limit",
    );
    checks.equal("victims[0].cgroup", victim.cgroup.as_deref(), path, "the scenario");
    checks.equal("victims[0].ppid", victim.ppid, Some(eater.facts.before.ppid), "/proc");
    checks.equal("trigger.cgroup", fields.trigger.cgroup.as_deref(), path, "the scenario");
    checks.that(fields.boot_ns.is_some_and(|at| at >= began.boot_ns), || {
        format!("boot_ns {:?} is before the kill", fields.boot_ns)
    });
    if let Some(tool) = stage.tool {
        tool.floor.check(&mut stage.checks, incident);
    }
    Ok(())
}

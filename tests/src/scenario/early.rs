//! Kills while oomtrace starts.

use anyhow::Result;
use serde_json::Value;

use super::{Needs, Scenario};
use crate::checks::Checks;
use crate::compare::{Expected, counts};
use crate::eat::{Eat, word};
use crate::eater::{Eater, Facts};
use crate::floor::{excused, is_excused};
use crate::incident::Incident;
use crate::refusal::run::{Installed, Start};
use crate::size::{KIB, MIB};
use crate::stage::{Stage, Tool};
use crate::watch::{Seen, Watch, read};
use crate::witness::cgroup::Cgroup;
use crate::witness::comm::same_name;
use crate::witness::line::Killed;

/// How many are killed, one after the other as far as two CPUs go.
const KILLS: u32 = 6;
/// Each one's limit, in bytes.
const LIMIT: u64 = 8 * MIB;

/// Guards the promise that oomtrace makes before all its hooks are in place: from "armed" on each kill is reported,
/// once, with the right victim, though it may lack what the last hooks tell.
pub const SCENARIO: Scenario = Scenario {
    name: "early",
    guards: "kills between \"armed\" and \"complete\" are reported once each, with the right victim and figures",
    needs: Needs::Memcg,
    kills: KILLS as usize,
    once: false,
    run,
};

fn run(stage: &mut Stage<'_>) -> Result<()> {
    let tree = stage.tree()?;
    let mut killed: Vec<(Eater, Cgroup)> = Vec::new();
    for number in 0..KILLS {
        let group = tree.group(&format!("early-{number}"))?;
        group.set_limit(LIMIT)?;
        let eat = Eat { anon: used(number), more: 2 * LIMIT, uid: Some(3000 + number), ..Eat::default() };
        let mut eater = stage.eater(format!("early-{number}"), &eat, Some(&group))?;
        eater.fill_and_hold(stage.deadline)?;
        killed.push((eater, group));
    }
    let watch = Watch::begin(None, &[], stage.deadline)?;
    let installed = stage.tool.map(|tool| Installed::new(&tool.program, stage.name)).transpose()?;
    let mut oomtrace = installed.as_ref().map(|it| it.trace(&Start::default(), &["--json"])).transpose()?;
    if let Some(oomtrace) = &mut oomtrace {
        oomtrace.hear("armed in", stage.deadline)?;
    }
    for (eater, _) in &mut killed {
        eater.order(word::MORE)?;
    }
    for (eater, _) in &mut killed {
        eater.killed(stage.deadline)?;
    }
    let expected: Vec<_> = killed.iter().map(|(eater, group)| kill(&eater.facts, group)).collect();
    let eaters: Vec<_> = killed.iter().map(|(eater, _)| &eater.facts).collect();
    let mut seen = stage.finish(watch, &expected)?;
    let (Some(mut oomtrace), Some(tool)) = (oomtrace, stage.tool) else {
        stage.judge(&seen, &expected, &eaters);
        return Ok(());
    };
    oomtrace.reported(&eaters.iter().map(|eater| eater.pid()).collect::<Vec<_>>(), stage.deadline);
    let output = oomtrace.stop(stage.deadline)?;
    stage.keep_output("oomtrace", &output)?;
    seen.traced = Some(read(output)?);
    judge(stage, tool, (&seen, &expected, &eaters));
    Ok(())
}

/// A kill that oomtrace may have seen before all its hooks were in place.
fn kill<'a>(eater: &'a Facts, group: &'a Cgroup) -> Expected<'a> {
    Expected { starting: true, ..Expected::kill(eater, eater, group) }
}

/// What one has used before, in bytes: the first half of them reach their limits at once, and the others later.
fn used(number: u32) -> u64 {
    if number < KILLS / 2 { LIMIT * 3 / 4 } else { 0 }
}

/// Judges the incidents whose decision was seen like any others, and the rest by what a mark tells.
fn judge(stage: &mut Stage<'_>, tool: &Tool, (seen, expected, eaters): (&Seen, &[Expected<'_>], &[&Facts])) {
    let Some(traced) = &seen.traced else { return };
    counts(&mut stage.checks, seen, eaters);
    stage.judge_course(traced);
    let (mut undecided, mut others) = (0, 0);
    for (kill, victim) in expected.iter().zip(eaters) {
        let found = seen.logged(victim.pid()).zip(traced.incident_of(victim.pid()));
        let Some((logged, incident)) = found else {
            stage.checks.fail(format!("the kill of {} is not in both accounts", victim.label()));
            continue;
        };
        kill.check_provoked(&mut stage.checks, logged, stage.machine);
        let without_decision = incident.fields.tier.as_deref() != Some("tracepoint")
            && incident.fields.trigger.gfp_mask.is_none();
        if without_decision {
            undecided += 1;
            if let Some(line) = logged.killed(victim.pid()) {
                by_its_mark(&mut stage.checks, incident, line, victim);
            }
            excuses(&mut stage.checks, tool, incident);
        } else {
            others += 1;
            let tier = (stage.machine, tool.program.tier.as_deref());
            kill.check_reported(&mut stage.checks, incident, logged, seen, tier);
            // The hooks at the scores come after the one at the decision.
            if incident.fields.candidates.is_empty() {
                excuses(&mut stage.checks, tool, incident);
            } else {
                tool.floor.check(&mut stage.checks, incident);
            }
        }
    }
    println!("    kills before the hook at the decision was in place: {undecided}, after: {others}");
    stage.checks.note("kills before the hook at the decision was in place", undecided);
}

/// Checks an incident by what a mark tells: who died, how large, where.
fn by_its_mark(checks: &mut Checks, incident: &Incident, line: &Killed, eater: &Facts) {
    let victims = &incident.fields.victims;
    checks.equal("number of victims", Some(victims.len()), Some(1), "the scenario");
    let Some(victim) = victims.first() else { return };
    let what = |field: &str| format!("{}: {field}", eater.label());
    checks.equal(&what("verdict"), victim.verdict.as_deref(), Some("killed"), "the log");
    checks.that(victim.comm.as_deref().is_some_and(|comm| same_name(comm, &line.comm)), || {
        format!("{} is {:?}", what("comm"), victim.comm)
    });
    let cgroup = eater.cgroup.as_ref().map(|cgroup| cgroup.path.as_str());
    checks.equal(&what("cgroup"), victim.cgroup.as_deref(), cgroup, "the scenario");
    let (rss, total) = (&victim.rss_kernel, line.anon_rss_kb + line.file_rss_kb + line.shmem_rss_kb);
    for (field, ours, logged) in [
        ("pid", victim.pid, line.pid),
        ("uid", victim.uid, line.uid),
        ("total_vm_bytes", victim.total_vm_bytes, line.total_vm_kb * KIB),
        ("pgtables_bytes", victim.pgtables_bytes, line.pgtables_kb * KIB),
        ("rss_kernel.anon_bytes", rss.anon_bytes, line.anon_rss_kb * KIB),
        ("rss_kernel.file_bytes", rss.file_bytes, line.file_rss_kb * KIB),
        ("rss_kernel.shmem_bytes", rss.shmem_bytes, line.shmem_rss_kb * KIB),
        ("rss_kernel.total_bytes", rss.total_bytes, total * KIB),
    ] {
        checks.equal(&what(field), ours, Some(logged), "the log");
    }
    // What the decision would have told is inferred: right, or absent.
    let scope = &incident.fields.scope;
    let path = scope.memcg.as_ref().and_then(|memcg| memcg.path.as_deref());
    checks.equal_if_given(&what("scope.memcg.path"), path, cgroup, "the scenario");
    checks.equal_if_given(&what("scope.kind"), scope.kind.as_deref(), Some("memcg"), "the scenario");
    checks.equal_if_given(&what("scope.cause"), scope.cause.as_deref(), Some("allocation"), "the scenario");
    checks.equal_if_given(&what("scope.capacity_bytes"), scope.capacity_bytes, Some(LIMIT), "the scenario");
    checks.equal_if_given(&what("trigger.pid"), incident.fields.trigger.pid, Some(line.pid), "the scenario");
}

/// Checks that all which a complete incident of its scope has is there, or absent for a reason.
fn excuses(checks: &mut Checks, tool: &Tool, incident: &Incident) {
    let mut marked = incident.clone();
    // By the mark alone: what the lowest tier owes is owed here too.
    marked.fields.tier = Some("tracepoint".to_owned());
    tool.floor.check(checks, &marked);
    let excused = excused(&incident.fields.missing);
    for field in ["scope.kind", "scope.cause", "scope.memcg", "scope.capacity_bytes"] {
        let there = incident
            .json
            .pointer(&format!("/{}", field.replace('.', "/")))
            .is_some_and(|it| *it != Value::Null);
        checks.that(there || is_excused(field, &excused), || {
            format!("{field} is absent, and `missing` gives no reason")
        });
    }
}

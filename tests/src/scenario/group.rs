//! All members of a cgroup are killed together.

use anyhow::Result;

use super::{Needs, Scenario};
use crate::compare::Expected;
use crate::eat::{Eat, word};
use crate::eater::Eater;
use crate::size::MIB;
use crate::stage::Stage;

/// Guards memory.oom.group: one incident with every member as a victim, told apart from the chosen one, and without
/// the one that must never be killed. The kernel counts and logs the first of them twice.
pub const SCENARIO: Scenario = Scenario {
    name: "group",
    guards: "memory.oom.group kills eight members at once and spares one at -1000: one incident with eight victims",
    needs: Needs::Unified,
    kills: 1,
    once: false,
    run,
};

/// The members that die, the chosen one included.
const MEMBERS: usize = 8;

fn run(stage: &mut Stage<'_>) -> Result<()> {
    let tree = stage.tree()?;
    let group = tree.group("together")?;
    group.set_limit(48 * MIB)?;
    group.set_oom_group()?;
    let mut members = Vec::new();
    for number in 1..MEMBERS {
        let eat = Eat { anon: (1 + number as u64 / 3) * MIB, ..Eat::default() };
        let mut member = stage.eater(format!("member-{number}"), &eat, Some(&group))?;
        member.fill_and_hold(stage.deadline)?;
        members.push(member);
    }
    // `oom_kill_memcg_member` (mm/oom_kill.c) leaves out OOM_SCORE_ADJ_MIN, which takes CAP_SYS_RESOURCE to set.
    let sparing = Eat { anon: 2 * MIB, adj: Some(-1000), ..Eat::default() };
    let mut spared = if stage.machine.disposable {
        let mut spared = stage.eater("member-spared", &sparing, Some(&group))?;
        spared.fill_and_hold(stage.deadline)?;
        Some(spared)
    } else {
        stage.checks.note("nobody is spared", "an adjustment of -1000 may not be had here");
        None
    };
    let mut chosen = stage.eater("member-chosen", &Eat { anon: 64 * MIB, ..Eat::default() }, Some(&group))?;

    let watch = stage.watch(&[])?;
    chosen.order(word::FILL)?;
    chosen.killed(stage.deadline)?;
    for member in &mut members {
        member.killed(stage.deadline)?;
    }
    let victims: Vec<_> = std::iter::once(&chosen).chain(&members).map(|member| &member.facts).collect();
    let expected =
        [Expected { victims: victims.clone(), ..Expected::kill(&chosen.facts, &chosen.facts, &group) }];
    let seen = stage.finish(watch, &expected)?;

    stage.judge(&seen, &expected, &victims);
    stage.judge_findings(&seen, &chosen.facts, &["memcg-limit", "group-kill"]);
    // The chosen one is killed by itself, and once more among the members (`oom_kill_process`): it asked for memory
    // and is in the kernel, so it still has its own then.
    let counted = Some(MEMBERS as u64 + 1);
    stage.checks.equal(
        "oom_kill of the machine",
        Some(seen.oom_kills),
        counted,
        "eight members and one twice",
    );
    stage.checks.equal(
        "oom_kill of the cgroup",
        group.oom_kills().ok(),
        counted,
        "eight members and one twice",
    );
    // 5.17 and later count the group's end, once.
    if let Some(groups) = group.event("oom_group_kill")? {
        stage.checks.equal("oom_group_kill", Some(groups), Some(1), "the scenario");
    }
    let twice =
        seen.logged(chosen.pid()).map(|oom| oom.kills.iter().filter(|it| it.pid == chosen.pid()).count());
    stage.checks.equal("lines of the chosen one in the log", twice, Some(2), "the kernel's two calls");
    if let Some(spared) = &mut spared {
        lives(stage, spared, &seen)?;
    }
    Ok(())
}

/// Checks that the member at -1000 lives, and that nobody says otherwise.
fn lives(stage: &mut Stage<'_>, spared: &mut Eater, seen: &crate::watch::Seen) -> Result<()> {
    let pid = spared.pid();
    stage.checks.that(spared.lives()?, || "the member at -1000 has ended".to_owned());
    stage.checks.that(seen.logged(pid).is_none(), || "the log has the member at -1000 killed".to_owned());
    let reported = seen.traced.as_ref().and_then(|traced| traced.incident_of(pid));
    stage.checks.that(reported.is_none(), || "oomtrace reports the member at -1000 as a victim".to_owned());
    Ok(())
}

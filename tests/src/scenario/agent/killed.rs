//! An agent that is killed again and again while others are.

use std::collections::BTreeMap;
use std::thread::{scope, sleep};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use super::super::{Needs, Scenario};
use super::{Home, Size, on_its_own};
use crate::deadline::Deadline;
use crate::eat::{Eat, word};
use crate::eater::Eater;
use crate::incident::kind;
use crate::random::Random;
use crate::size::MIB;
use crate::stage::{Stage, argument};
use crate::tracer::Program;
use crate::witness::cgroup::Cgroup;

/// Guards the history: whatever an agent had committed when it was killed is there, what happened while none ran is recovered from
/// the kernel's log, and nothing is there twice.
pub const SCENARIO: Scenario = Scenario {
    name: "agent_killed",
    guards: "the agent is killed at random points while the kernel kills: its history has each incident once, and none is missing",
    needs: Needs::Memcg,
    kills: 10,
    once: true,
    run,
};

/// In the suite, and where it has the time.
const SIZES: [Size; 2] = [Size { kills: 36, deaths: 8 }, Size { kills: 500, deaths: 100 }];
/// An agent lives no longer than this, ms.
const LIFE_MS: u64 = 500;
/// How long it may take to look through the log.
const RECOVERY: Duration = Duration::from_mins(1);

fn run(stage: &mut Stage<'_>) -> Result<()> {
    let Some(tool) = stage.tool else { return Ok(()) };
    on_its_own(stage);
    let size = Size::of(&SIZES);
    let home = Home::new(
        stage.name,
        "[stdout]\nform = \"none\"\n[history]\npath = \"HOME/history.db\"\n[metrics]\nenabled = false\n[flight]\nenabled = false\n",
    )?;
    let tree = stage.tree()?;
    let group = tree.group("killed-often")?;
    group.set_limit(16 * MIB)?;
    let (program, deadline) = (&tool.program, stage.deadline);
    let seed = u64::from(std::process::id());
    stage.checks.note("seed", usize::try_from(seed).unwrap_or_default());
    let (killed, told) = scope(|scope| {
        let killer = scope.spawn(|| kills(&group, size.kills, deadline));
        let told = deaths(program, &home, &mut Random::new(seed), size.deaths, || killer.is_finished());
        (killer.join(), told)
    });
    let killed = killed.ok().context("the thread that provokes kills panicked")??;
    let told = told?;
    // The last one lives, and finds what the others missed.
    let mut agent = home.agent(program, deadline)?;
    agent.must_hear("recovered", deadline.or_after(RECOVERY))?;
    let output = agent.stop(deadline)?;
    stage.keep_output("agent", &output)?;
    let history = home.history(program, &[], deadline)?;
    let counted = group.oom_kills()?;
    stage.checks.equal(
        "kills that were provoked",
        Some(killed.len() as u64),
        Some(counted),
        "the group's count",
    );
    stage.checks.note("agents that were killed", told);
    let mut times: BTreeMap<u64, usize> = BTreeMap::new();
    for victim in history.iter().filter(|object| kind(object) == "oom").flat_map(victims) {
        *times.entry(victim).or_default() += 1;
    }
    let missing: Vec<_> = killed.iter().filter(|pid| !times.contains_key(pid)).collect();
    let twice: Vec<_> = killed.iter().filter(|pid| times.get(pid).is_some_and(|times| *times > 1)).collect();
    stage.checks.that(missing.is_empty(), || {
        format!("{} of {} kills are not in the history: {missing:?}", missing.len(), killed.len())
    });
    stage.checks.that(twice.is_empty(), || {
        format!("{} of {} kills are in the history more than once: {twice:?}", twice.len(), killed.len())
    });
    let of = |source: &str| {
        history.iter().filter(|object| object.get("source").is_some_and(|value| value == source)).count()
    };
    stage.checks.note("seen live", of("ebpf") + of("kmsg"));
    stage.checks.note("recovered from the log", of("import"));
    Ok(())
}

fn victims(incident: &Value) -> Vec<u64> {
    let victims = incident.get("victims").and_then(Value::as_array).into_iter().flatten();
    victims.filter_map(|victim| victim.get("pid")?.as_u64()).collect()
}

/// Provokes kills, one after the other. Gives whom.
fn kills(group: &Cgroup, count: usize, deadline: Deadline) -> Result<Vec<u64>> {
    (0..count)
        .map(|number| {
            let eat = Eat { anon: 32 * MIB, ..Eat::default() };
            let mut eater = Eater::start(format!("often-{number:03}"), &eat, Some(group), deadline)?;
            eater.order(word::FILL)?;
            eater.killed(deadline)?;
            Ok(eater.pid())
        })
        .collect()
}

/// Starts agents and kills them at any time. Gives how many.
fn deaths(
    program: &Program,
    home: &Home,
    random: &mut Random,
    count: usize,
    is_over: impl Fn() -> bool,
) -> Result<usize> {
    let settings = home.file("oomtrace.toml");
    for number in 0..count {
        if is_over() {
            return Ok(number);
        }
        let agent = program.begin(&["agent", "--config", argument(&settings)?])?;
        sleep(Duration::from_millis(random.below(LIFE_MS)));
        // Without a warning, and whatever it does.
        drop(agent);
    }
    Ok(count)
}

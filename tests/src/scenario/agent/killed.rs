//! An agent that is killed again and again while others are.

use std::collections::BTreeMap;
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

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
const SIZES: [Size; 2] = [Size { kills: 30, deaths: 6 }, Size { kills: 500, deaths: 100 }];
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
    // How long this machine takes to start one. Those that are killed live as long on average, and so half of them come to see kills.
    let started = Instant::now();
    drop(home.agent(program, deadline)?);
    let start = started.elapsed();
    // Over the time in which they live and die.
    let pace = start.mul_f64(ratio(size.deaths, size.kills));
    let (killed, died) = scope(|scope| {
        let killer = scope.spawn(|| kills(&group, size.kills, pace, deadline));
        let died = deaths(program, &home, &mut Random::new(seed), size.deaths, 2 * start);
        (killer.join(), died)
    });
    let killed = killed.ok().context("the thread that provokes kills panicked")??;
    died?;
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
    stage.checks.note("agents that were killed", size.deaths);
    stage.checks.note("milliseconds that a start takes", u64::try_from(start.as_millis())?);
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
    let (live, recovered) = (of("ebpf") + of("kmsg"), of("import"));
    stage.checks.note("seen live", live);
    stage.checks.note("recovered from the log", recovered);
    // Of few it is chance.
    stage.checks.that(size.deaths < 50 || (live > 0 && recovered > 0), || {
        format!("{live} were seen live, {recovered} recovered: that shows one thing only")
    });
    Ok(())
}

fn victims(incident: &Value) -> Vec<u64> {
    let victims = incident.get("victims").and_then(Value::as_array).into_iter().flatten();
    victims.filter_map(|victim| victim.get("pid")?.as_u64()).collect()
}

#[expect(clippy::cast_precision_loss, reason = "there are some hundreds of either")]
fn ratio(some: usize, others: usize) -> f64 {
    some as f64 / others as f64
}

/// Provokes kills, one after the other, no faster than one in `pace`. Gives whom.
fn kills(group: &Cgroup, count: usize, pace: Duration, deadline: Deadline) -> Result<Vec<u64>> {
    let mut next = Instant::now();
    (0..count)
        .map(|number| {
            sleep(next.saturating_duration_since(Instant::now()));
            next += pace;
            let eat = Eat { anon: 32 * MIB, ..Eat::default() };
            let mut eater = Eater::start(format!("often-{number:03}"), &eat, Some(group), deadline)?;
            eater.order(word::FILL)?;
            eater.killed(deadline)?;
            Ok(eater.pid())
        })
        .collect()
}

/// Starts agents, one after the other, and kills each at any time of its life.
fn deaths(program: &Program, home: &Home, random: &mut Random, count: usize, life: Duration) -> Result<()> {
    let settings = home.file("oomtrace.toml");
    let life_ms = u64::try_from(life.as_millis()).unwrap_or(u64::MAX).max(1);
    for _ in 0..count {
        let agent = program.begin(&["agent", "--config", argument(&settings)?])?;
        sleep(Duration::from_millis(random.below(life_ms)));
        // Without a warning, and whatever it does.
        drop(agent);
    }
    Ok(())
}

//! What led to a kill, as an agent remembers it.

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use serde_json::Value;

use super::super::{Needs, Scenario};
use super::{Home, kills_of, on_its_own};
use crate::eat::{Eat, word};
use crate::eater::Eater;
use crate::size::MIB;
use crate::stage::Stage;
use crate::witness::cgroup::Cgroup;
use crate::witness::tree::Tree;

/// Guards the flight recorder: who grew is told, at the rate at which it grew, whether it was killed or another one for it; and with
/// the recorder off nothing of that is there.
pub const SCENARIO: Scenario = Scenario {
    name: "flight",
    guards: "a process grows at a known rate until its group is full: the agent tells who grew, how fast, and that the victim did or did not",
    needs: Needs::Memcg,
    kills: 4,
    once: true,
    run,
};

/// The limit of the group.
const LIMIT: u64 = 24 * MIB;
/// What stands still in it.
const STILL: u64 = 6 * MIB;
/// How fast the other one grows, bytes a second.
const PACE: u64 = 2 * MIB;
/// From one sample to the next.
const INTERVAL: u64 = 1;
/// How far the eater itself may be off, and the counters of memory with it, per cent: under emulation it gets its turns late.
const OFF: u64 = 15;

fn run(stage: &mut Stage<'_>) -> Result<()> {
    let Some(tool) = stage.tool else { return Ok(()) };
    on_its_own(stage);
    let tree = stage.tree()?;
    let mut pairs = [("dies", 0), ("spared", 900)].map(|(name, adj)| Pair::new(stage, &tree, name, adj));
    let settings = "[stdout]\nform = \"json\"\n[history]\nenabled = false\n[metrics]\nenabled = false\n";
    let on = format!("{settings}[flight]\ninterval = \"{INTERVAL}s\"\nkeep = \"1m\"\n");
    let home = Home::new(stage.name, &on)?;
    let mut agent = home.agent(&tool.program, stage.deadline)?;
    // Some samples in which nothing happens.
    sleep(Duration::from_secs(3 * INTERVAL));
    for pair in &mut pairs {
        pair.as_mut().map_err(|error| anyhow!("{error:#}"))?.grower.order(word::FILL)?;
    }
    let mut ended = Vec::new();
    for pair in pairs {
        ended.push(pair?.end(stage)?);
    }
    let victims: Vec<_> = ended.iter().map(|ended| ended.victim).collect();
    stage
        .checks
        .that(agent.reported(&victims, stage.deadline), || "the agent does not tell the kills".to_owned());
    let output = agent.stop(stage.deadline)?;
    stage.keep_output("agent", &output)?;
    // The kernels of the matrix have the iterator, but for an agent that has no programs in them.
    let by_proc = output.said().contains("The flight recorder reads /proc");
    let without = tool.program.tier.as_deref() == Some("kmsg");
    stage
        .checks
        .that(!by_proc || without, || format!("the kernel's own list is not used: {}", output.said()));
    let told = super::objects(&output)?;
    tool.schema.check(&mut stage.checks, &told);
    for ended in &ended {
        let incident = kills_of(&told, ended.victim).first().copied().context("a kill was not told")?;
        judge(stage, incident, ended);
    }
    is_off(stage, &home, &format!("{settings}[flight]\nenabled = false\n"), &tree)
}

/// Has an agent without a recorder tell a kill.
fn is_off(stage: &mut Stage<'_>, home: &Home, settings: &str, tree: &Tree) -> Result<()> {
    let Some(tool) = stage.tool else { return Ok(()) };
    home.set(settings)?;
    let group = tree.group("unrecorded")?;
    group.set_limit(LIMIT)?;
    let mut eater = stage.eater("unrecorded", &Eat { anon: 2 * LIMIT, ..Eat::default() }, Some(&group))?;
    let mut agent = home.agent(&tool.program, stage.deadline)?;
    eater.order(word::FILL)?;
    eater.killed(stage.deadline)?;
    agent.reported(&[eater.pid()], stage.deadline);
    let told = super::objects(&agent.stop(stage.deadline)?)?;
    let incident = kills_of(&told, eater.pid()).first().copied().context("a kill was not told")?;
    let before = |object: &Value| object.get("before").is_some();
    stage
        .checks
        .that(!before(incident) && !before(&incident["missing"]) && finding(incident).is_none(), || {
            format!("what came before is told without a recorder: {incident}")
        });
    Ok(())
}

/// One that grows beside one that stands still, in a group of their own.
struct Pair {
    group: Cgroup,
    still: Eater,
    grower: Eater,
    /// Whether it is the one that stands still that is to be killed.
    spared: bool,
}

/// What came of a pair.
struct Ended {
    cgroup: String,
    grower: u64,
    victim: u64,
}

impl Pair {
    /// Starts both. The adjustment of the one that stands still decides who dies.
    fn new(stage: &Stage<'_>, tree: &Tree, name: &str, adj: i64) -> Result<Self> {
        let group = tree.group(name)?;
        group.set_limit(LIMIT)?;
        let still = Eat { anon: STILL, adj: Some(adj), ..Eat::default() };
        let mut still = stage.eater(format!("still-{name}"), &still, Some(&group))?;
        still.fill_and_hold(stage.deadline)?;
        let eat = Eat { anon: 2 * LIMIT, pace: PACE, ..Eat::default() };
        let grower = stage.eater(format!("grows-{name}"), &eat, Some(&group))?;
        Ok(Self { group, still, grower, spared: adj > 0 })
    }

    /// Waits until one of them has been killed.
    fn end(mut self, stage: &Stage<'_>) -> Result<Ended> {
        let victim = if self.spared { &mut self.still } else { &mut self.grower };
        victim.killed(stage.deadline)?;
        let victim = victim.pid();
        // Who was spared goes on, and is killed as it is dropped.
        Ok(Ended { cgroup: self.group.path.clone(), grower: self.grower.pid(), victim })
    }
}

fn judge(stage: &mut Stage<'_>, incident: &Value, ended: &Ended) {
    let pid = ended.grower;
    let dies = ended.victim == pid;
    let what = |text: &str| format!("{text}, {}", if dies { "grower killed" } else { "grower spared" });
    let checks = &mut stage.checks;
    let Some(before) = incident.get("before") else {
        return checks.fail(what(&format!("what came before is not told: {}", incident["missing"])));
    };
    let growers = before["growers"].as_array().into_iter().flatten();
    let processes = || growers.clone().filter(|one| one["kind"] == "process");
    let Some(first) = processes().next() else {
        return checks.fail(what(&format!("nobody is told to have grown: {before}")));
    };
    checks.equal(&what("who grew most"), first["pid"].as_u64(), Some(pid), "the eater");
    checks.equal(&what("whether it died"), first["victim"].as_bool(), Some(dies), "the eater");
    checks.equal(&what("processes that grew"), Some(processes().count()), Some(1), "the eaters");
    let (rate, over_ns) = (first["rate_bytes_per_second"].as_u64(), first["over_ns"].as_u64());
    let seconds = over_ns.unwrap_or_default() / 1_000_000_000;
    checks.note(&what("rate of growth"), rate);
    checks.note(&what("seconds of growth"), seconds);
    checks.that(seconds >= 3, || what(&format!("the growth is told of {seconds} s")));
    // By one interval it may be told too long, and so too slow; and who was late by as much, and made up for it, grew faster.
    let seconds = seconds.max(1);
    let least = PACE * seconds / (seconds + INTERVAL) * (100 - OFF) / 100;
    let most = PACE * (seconds + INTERVAL) / seconds * (100 + OFF) / 100;
    checks.that(rate.is_some_and(|rate| (least..=most).contains(&rate)), || {
        what(&format!("the rate is {rate:?}, not between {least} and {most}"))
    });
    let course = || before["course"].as_array().into_iter().flatten();
    let usage: Vec<_> = course().filter_map(|point| point["usage_bytes"].as_u64()).collect();
    let rises = usage.len() > 3 && usage.first() < usage.last();
    checks.that(rises, || what(&format!("the course of the group's usage is {usage:?}")));
    checks.that(usage.last().is_some_and(|usage| *usage <= LIMIT && *usage >= LIMIT / 2), || {
        what(&format!("at last {usage:?} were in use of {LIMIT}"))
    });
    let Some(found) = finding(incident) else {
        return checks.fail(what(&format!("who grew is not found: {}", incident["findings"])));
    };
    let evidence = &found["evidence"];
    checks.equal(&what("pid of the finding"), evidence["pid"].as_u64(), Some(pid), "the eater");
    checks.equal(&what("victim of the finding"), evidence["victim_grew"].as_bool(), Some(dies), "the eater");
    checks.equal(
        &what("cgroup of the finding"),
        evidence["cgroup"].as_str(),
        Some(&*ended.cgroup),
        "the eater",
    );
}

fn finding(incident: &Value) -> Option<&Value> {
    incident["findings"].as_array()?.iter().find(|finding| finding["id"] == "who-grew")
}

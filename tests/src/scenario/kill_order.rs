//! Who is killed first, by what `oomtrace check` says before and by what the kernel does then.

use std::fs;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::{Needs, Scenario};
use crate::eat::{Eat, word};
use crate::eater::Eater;
use crate::random::Random;
use crate::size::MIB;
use crate::stage::Stage;
use crate::tracer::Program;
use crate::witness::cgroup::Cgroup;
use crate::witness::kmsg::KernelLog;
use crate::witness::line;

/// Guards the order: the kernel's arithmetic on what /proc says of each process, for a group by its limit and for the machine.
pub const SCENARIO: Scenario = Scenario {
    name: "kill_order",
    guards: "random sets of processes are killed in the order in which `oomtrace check` has them, in a group and on the machine",
    needs: Needs::Memcg,
    kills: 0,
    once: true,
    run,
};

/// Sets of processes: on this machine in a group each, and fewer under emulation, half of them on the whole machine.
const SETS: u64 = 20;
const EMULATED_SETS: u64 = 4;
/// Processes of a set.
const PROCESSES: usize = 4;
/// So much less than what it would take to have the last of them killed, too, fills a group.
const MARGIN: u64 = 2 * MIB;
/// What it may still have before the first dies.
const ROOM: u64 = 8 * MIB;

/// A process of a set: how much it takes and how its score is adjusted.
#[derive(Clone, Copy, Debug)]
struct Member {
    bytes: u64,
    adj: i64,
}

fn run(stage: &mut Stage<'_>) -> Result<()> {
    let Some(tool) = stage.tool else { return Ok(()) };
    let (sets, machine_wide) = if stage.machine.disposable { (EMULATED_SETS, true) } else { (SETS, false) };
    // Another row on each machine and boot, which the notes tell.
    let seed =
        stage.machine.boot_id.bytes().fold(0, |seed: u64, byte| seed.wrapping_mul(131) + u64::from(byte));
    stage.checks.note("seed", seed);
    let mut random = Random::new(seed);
    // To lower a score takes a right that not every root has.
    let lowers = stage.machine.disposable;
    let mut judged = 0;
    // Sets in which chance decides are drawn anew.
    for _ in 0..4 * sets {
        let told = if machine_wide && judged % 2 == 1 {
            on_the_machine(stage, &tool.program, &draw(&mut random, false))?
        } else {
            in_a_group(stage, &tool.program, &draw(&mut random, lowers))?
        };
        judged += u64::from(told);
        if judged == sets {
            return Ok(());
        }
    }
    bail!("of {} sets only {judged} had scores that lie apart", 4 * sets)
}

/// A set, of different sizes. On a whole machine a lowered score would be below that of everything else.
fn draw(random: &mut Random, lowers: bool) -> Vec<Member> {
    const RAISED: [i64; 5] = [0, 0, 50, 100, 200];
    const LOWERED: [i64; 5] = [0, -50, -100, 50, 200];
    let adjs = if lowers { LOWERED } else { RAISED };
    let mut members: Vec<Member> = Vec::new();
    while members.len() < PROCESSES {
        let bytes = (4 + 2 * random.below(9)) * MIB;
        let adj = random.one(&adjs).unwrap_or(0);
        if members.iter().all(|other| other.bytes != bytes) {
            members.push(Member { bytes, adj });
        }
    }
    members
}

/// What `check` says of who dies first.
struct Foretold {
    pids: Vec<u64>,
    points: Vec<i64>,
}

fn foretold(program: &Program, stage: &Stage<'_>, group: Option<&Cgroup>) -> Result<Foretold> {
    let mut arguments = vec!["check", "--json"];
    if let Some(group) = group {
        arguments.extend(["--cgroup", &group.path]);
    }
    let output = program.run(&arguments, stage.deadline)?;
    ensure!(output.status.success(), "`check` ended with {}: {}", output.status, output.said());
    let check: Value = serde_json::from_slice(&output.stdout.join(&b'\n')).context("no JSON")?;
    let first = check.pointer("/kill_order/first").and_then(Value::as_array).context("no order")?;
    let numbers = |key: &str| first.iter().filter_map(|one| one.get(key)?.as_i64()).collect::<Vec<_>>();
    let pids = numbers("pid").into_iter().filter_map(|pid| u64::try_from(pid).ok()).collect();
    Ok(Foretold { pids, points: numbers("points") })
}

/// Whether two neighbours among the first are so close that the figures' own error decides.
fn is_close(foretold: &Foretold, stage: &Stage<'_>) -> bool {
    let error = stage.machine.counter_error_bytes(1) / stage.machine.page_bytes + 64;
    let first = foretold.points.iter().take(PROCESSES).copied().collect::<Vec<_>>();
    first.windows(2).any(|pair| pair[0].abs_diff(pair[1]) <= error)
}

/// Starts a set, which then sleeps.
fn set(stage: &Stage<'_>, members: &[Member], group: Option<&Cgroup>) -> Result<Vec<Eater>> {
    let start = |member: &Member| {
        let eat = Eat { anon: member.bytes, adj: Some(member.adj), ..Eat::default() };
        let mut eater = stage.eater("ordered", &eat, group)?;
        eater.fill_and_hold(stage.deadline)?;
        Ok(eater)
    };
    members.iter().map(start).collect()
}

/// One after the other is killed in a group, since something smaller than any of them fills it with files in memory. Whether the set could be judged.
fn in_a_group(stage: &mut Stage<'_>, program: &Program, members: &[Member]) -> Result<bool> {
    let tree = stage.tree()?;
    let group = tree.group("set")?;
    // A limit so that there is an order, with room for all.
    group.set_limit(512 * MIB)?;
    let mut eaters = set(stage, members, Some(&group))?;
    let total: u64 = members.iter().map(|member| member.bytes).sum();
    let adj = stage.machine.disposable.then_some(-1000);
    let fill = Eat { written: ROOM + total - MARGIN, adj, ..Eat::default() };
    let mut filler = stage.eater("filler", &fill, Some(&group))?;
    group.set_limit(group.memory()? + ROOM)?;
    let order = foretold(program, stage, Some(&group))?;
    if is_close(&order, stage) {
        return Ok(false);
    }
    let mut log = KernelLog::mark()?;
    filler.order(word::HOARD)?;
    let expected = PROCESSES - 1;
    let dead = wait_for(stage, &mut log, &mut eaters, expected)?;
    filler.kill()?;
    judge(stage, &order, &dead, members);
    Ok(true)
}

/// One after the other is killed since the operator asks for it. Whether the set could be judged.
fn on_the_machine(stage: &mut Stage<'_>, program: &Program, members: &[Member]) -> Result<bool> {
    let mut eaters = set(stage, members, None)?;
    let order = foretold(program, stage, None)?;
    // Whatever runs the scenarios must not be among them.
    let ours: Vec<_> = eaters.iter().map(Eater::pid).collect();
    if is_close(&order, stage) || !order.pids.iter().take(PROCESSES).all(|pid| ours.contains(pid)) {
        return Ok(false);
    }
    let mut dead = Vec::new();
    for _ in 0..PROCESSES {
        let mut log = KernelLog::mark()?;
        fs::write("/proc/sysrq-trigger", "f").context("cannot write /proc/sysrq-trigger")?;
        dead.extend(wait_for(stage, &mut log, &mut eaters, 1)?);
    }
    judge(stage, &order, &dead, members);
    Ok(true)
}

/// Waits until so many kills are logged, and those processes are gone. Who died, in the log's order.
fn wait_for(stage: &Stage<'_>, log: &mut KernelLog, eaters: &mut [Eater], kills: usize) -> Result<Vec<u64>> {
    let dead = loop {
        log.read()?;
        let dead: Vec<u64> = log.text().iter().filter_map(|text| Some(line::killed(text)?.pid)).collect();
        if dead.len() >= kills {
            break dead;
        }
        log.wait(stage.deadline, "the kernel to log a kill")?;
    };
    for eater in eaters.iter_mut().filter(|eater| dead.contains(&eater.pid())) {
        eater.killed(stage.deadline)?;
    }
    Ok(dead)
}

fn judge(stage: &mut Stage<'_>, order: &Foretold, dead: &[u64], members: &[Member]) {
    let foretold: Vec<_> = order.pids.iter().take(dead.len()).copied().collect();
    let scores: Vec<_> = order.points.iter().take(dead.len()).collect();
    stage.checks.that(foretold == dead, || {
        format!("of {members:?} died {dead:?}, and foretold was {foretold:?} with scores of {scores:?}")
    });
}

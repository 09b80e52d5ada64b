//! Others who are hit by a command, or hit it.

use std::fs;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use super::super::{Needs, Scenario};
use super::on_its_own;
use super::profile::{Profiler, is, number, rows, sum};
use super::witness::{Counted, witnessed};
use crate::eat::{Eat, word};
use crate::eater::Eater;
use crate::machine::available_bytes;
use crate::size::MIB;
use crate::stage::{Stage, argument};
use crate::witness::cgroup::Cgroup;
use crate::witness::counters::machine_oom_kills;

/// Guards the distinction between the command's own processes and others, of victims and of triggers, on both sides.
pub const SCENARIO: Scenario = Scenario {
    name: "run_bystander",
    guards: "a command that has a bystander killed, in a shared cgroup and where the whole machine runs out, and a bystander that has \
             the command killed: each is told for what it is",
    needs: Needs::StressNg,
    kills: 6,
    once: true,
    run,
};

/// What the shared cgroup may have, and what the bystander has of it.
const LIMIT: u64 = 48 * MIB;
const HELD: u64 = 32 * MIB;
/// A bystander is to be the victim although stress-ng offers its own.
const FIRST: i64 = 1000;

fn run(stage: &mut Stage<'_>) -> Result<()> {
    let Some(profiler) = Profiler::of(stage)? else { return Ok(()) };
    on_its_own(stage);
    let tree = stage.tree()?;
    victim(stage, &profiler, &tree.group("shared")?)?;
    trigger(stage, &profiler, &tree.group("asked")?)?;
    if Needs::SmallDisposable.unmet(stage.machine).is_none() {
        whole(stage, &profiler)?;
    }
    Ok(())
}

/// The command takes what a bystander has, and then more.
fn victim(stage: &mut Stage<'_>, profiler: &Profiler<'_>, group: &Cgroup) -> Result<()> {
    group.set_limit(LIMIT)?;
    let mut bystander = holding(stage, "bystander", group, HELD, Some(FIRST))?;
    let procs = group.procs_file()?;
    let stress = ["stress-ng", "--vm", "1", "--vm-bytes", "64M", "--vm-keep", "--oomable", "--timeout", "20"];
    let ran = profiler.run(stage, "victim", &[], &within(argument(&procs)?, &stress))?;
    bystander.killed(stage.deadline)?;
    let run = ran.first()?;
    let checks = &mut stage.checks;
    let row = row_of(run, bystander.pid());
    checks.that(row.is_some_and(|row| is(row, "whose", "bystander")), || {
        format!("the bystander is told as {row:?}")
    });
    checks.that(row.is_some_and(|row| is(row, "trigger_whose", "own")), || {
        format!("who asked is told as {row:?}")
    });
    checks.that(rows(run, "/victims").next() == row, || "the bystander is not the first".to_owned());
    let kills = group.oom_kills()?;
    checks.equal("kills of bystanders", number(run, "/incidents/bystander_kills"), Some(1), "the scenario");
    checks.equal(
        "kills of the command's own",
        number(run, "/incidents/own_kills"),
        Some(kills - 1),
        "the cgroup",
    );
    checks.that(kills > 1, || "the command's own was not killed".to_owned());
    Ok(())
}

/// A bystander takes what the command has, which is the command's own first process.
fn trigger(stage: &mut Stage<'_>, profiler: &Profiler<'_>, group: &Cgroup) -> Result<()> {
    group.set_limit(LIMIT)?;
    // Once the command's are gone there is enough for it.
    let mut bystander = stage.eater("asks", &Eat { anon: HELD / 4 * 3, ..Eat::default() }, Some(group))?;
    let (orders, file) = (profiler.file("orders"), profiler.file("trigger.json"));
    let (procs, scenarios) = (group.procs_file()?, std::env::current_exe().context("who am I?")?);
    let script =
        "mkfifo \"$1\" && exec \"$2\" eat --name own --adj 1000 --anon 30M --cgroup-procs \"$3\" <>\"$1\"";
    let command = ["sh", "-c", script, "sh", argument(&orders)?, argument(&scenarios)?, argument(&procs)?];
    let tracer = profiler.begin(&["--json", argument(&file)?], &command)?;
    until(stage, "the command's order", || Ok(orders.exists() && !group.members()?.is_empty()))?;
    fs::write(&orders, format!("{}\n", word::FILL)).context("cannot order the command about")?;
    until(stage, "the command's memory", || Ok(group.memory()? > 30 * MIB))?;
    bystander.order(word::FILL)?;
    let output = tracer.finish(stage.deadline)?;
    let ran = profiler.ended(stage, "trigger", output)?;
    bystander.full(stage.deadline)?;
    let run = ran.first()?;
    let checks = &mut stage.checks;
    checks.equal("exit status", ran.output.status.code(), Some(128 + 9), "the signal");
    checks.equal("that it was killed", run.pointer("/end/oom_killed"), Some(&true.into()), "the scenario");
    checks.equal("kills of the command's own", number(run, "/incidents/own_kills"), Some(1), "the scenario");
    checks.equal("kills of bystanders", number(run, "/incidents/bystander_kills"), Some(0), "the scenario");
    let row = rows(run, "/victims").next();
    let told = |row: &Value| {
        is(row, "comm", "own") && is(row, "whose", "own") && is(row, "trigger_whose", "bystander")
    };
    checks.that(row.is_some_and(told), || format!("the victim is told as {row:?}"));
    Ok(())
}

/// The whole machine runs out.
fn whole(stage: &mut Stage<'_>, profiler: &Profiler<'_>) -> Result<()> {
    // More than the command has when nothing is left.
    let held = available_bytes()? / 5 * 3;
    let eat = Eat { anon: held, adj: Some(FIRST), ..Eat::default() };
    let mut bystander = stage.eater("bystander", &eat, None)?;
    bystander.fill_and_hold(stage.deadline)?;
    // No mapping may be larger than the machine (`__vm_enough_memory()`, mm/util.c).
    let bytes = format!("{}M", stage.machine.memory_bytes / MIB / 10 * 9);
    let command = witnessed(&[
        "stress-ng",
        "--vm",
        "1",
        "--vm-bytes",
        &bytes,
        "--vm-keep",
        "--oomable",
        "--timeout",
        "30",
    ])?;
    let words: Vec<&str> = command.iter().map(String::as_str).collect();
    let before = machine_oom_kills()?;
    let ran = profiler.run(stage, "whole", &[], &words)?;
    let kills = machine_oom_kills()? - before;
    bystander.killed(stage.deadline)?;
    let (run, counted) = (ran.first()?, Counted::of(&ran)?);
    let checks = &mut stage.checks;
    checks.equal("kills", number(run, "/incidents/kills"), Some(kills), "vmstat");
    let row = row_of(run, bystander.pid());
    checks.that(row.is_some_and(|row| is(row, "whose", "bystander") && is(row, "scope", "global")), || {
        format!("the bystander is told as {row:?}")
    });
    checks.that(number(run, "/incidents/own_kills") > Some(0), || {
        "the command's own was not killed".to_owned()
    });
    // try_to_free_pages() counts a stall for each turn that it makes, and the trace has one for all (mm/vmscan.c).
    let told = sum(run, "/pressure", "count", |row| is(row, "kind", "direct_reclaim"));
    let stalls: u64 = ["allocstall_dma", "allocstall_dma32", "allocstall_normal", "allocstall_movable"]
        .iter()
        .filter_map(|name| number(run, &format!("/counters/{name}")).or_else(|| counted.vmstat(name)))
        .sum();
    checks.note("rounds of direct reclaim", told);
    checks.note("allocstall", stalls);
    checks.that(told > 0 && stalls > 0, || format!("{told} rounds of direct reclaim, {stalls} stalls"));
    Ok(())
}

/// An eater that has its memory.
fn holding(stage: &Stage<'_>, name: &str, group: &Cgroup, bytes: u64, adj: Option<i64>) -> Result<Eater> {
    let mut eater = stage.eater(name, &Eat { anon: bytes, adj, ..Eat::default() }, Some(group))?;
    eater.fill_and_hold(stage.deadline)?;
    Ok(eater)
}

/// A command that runs in a cgroup that it joins by itself.
fn within<'c>(procs: &'c str, command: &[&'c str]) -> Vec<&'c str> {
    const JOIN: &str = "echo $$ >\"$1\"; shift; exec \"$@\"";
    [&["sh", "-c", JOIN, "sh", procs], command].concat()
}

/// The row of a process among the victims.
fn row_of(run: &Value, pid: u64) -> Option<&Value> {
    rows(run, "/victims").find(|row| number(row, "/pid") == Some(pid))
}

/// Waits until something holds.
fn until(stage: &Stage<'_>, what: &str, holds: impl Fn() -> Result<bool>) -> Result<()> {
    while !holds()? {
        stage.deadline.left(what)?;
        sleep(Duration::from_millis(20));
    }
    Ok(())
}

//! What becomes of the command itself, and of whom it leaves behind.

use std::fs;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use super::super::{Needs, Scenario};
use super::on_its_own;
use super::profile::{Profiler, Ran, is, number, rows};
use crate::stage::{Stage, argument};
use crate::witness::procfs::lives;

/// Guards that a command runs under oomtrace as it does without: its exit status comes through, signals reach it, and whom it leaves
/// behind is still its own.
pub const SCENARIO: Scenario = Scenario {
    name: "run_child",
    guards: "exit status and signals pass between a command and who started oomtrace, also where the command itself is OOM-killed; \
             daemons and orphans are its own",
    needs: Needs::StressNg,
    kills: 4,
    once: true,
    run,
};

/// Takes 128 MiB at once: more than [`LIMIT`].
const HOG: &str = "dd if=/dev/zero of=/dev/null bs=128M count=1 2>/dev/null";
const LIMIT: [&str; 2] = ["--cgroup-limit", "32M"];

fn run(stage: &mut Stage<'_>) -> Result<()> {
    let Some(profiler) = Profiler::of(stage)? else { return Ok(()) };
    on_its_own(stage);
    for (name, script, status) in [
        ("success", "echo once; exit 0", 0),
        ("failure", "echo once; exit 3", 3),
        ("sigkill", "echo once; kill -9 $$", 128 + 9),
        ("sigterm", "echo once; kill -15 $$", 128 + 15),
    ] {
        let ran = profiler.run(stage, name, &[], &["sh", "-c", script])?;
        ended(stage, name, &ran, status)?;
        // What finds out whether it can be started runs none of it.
        let times = ran.lines().filter(|line| line == "once").count();
        stage.checks.equal(&format!("{name}: how often it ran"), Some(times), Some(1), "the scenario");
    }
    killed(stage, &profiler)?;
    orphan(stage, &profiler)?;
    daemon(stage, &profiler)?;
    signalled(stage, &profiler)
}

/// Checks how a command ended, by oomtrace's own exit status and by its report.
fn ended(stage: &mut Stage<'_>, name: &str, ran: &Ran, status: i32) -> Result<()> {
    let run = ran.first()?;
    let signal = u64::try_from(status - 128).ok();
    let checks = &mut stage.checks;
    checks.equal(&format!("{name}: exit status"), ran.output.status.code(), Some(status), "the command");
    let told = (number(run, "/end/exit_status"), number(run, "/end/signal"));
    let own = if signal.is_some() { (None, signal) } else { (u64::try_from(status).ok(), None) };
    checks.equal(&format!("{name}: its end in the report"), Some(told), Some(own), "the command");
    Ok(())
}

/// The command itself is OOM-killed.
fn killed(stage: &mut Stage<'_>, profiler: &Profiler<'_>) -> Result<()> {
    let script = format!("exec {HOG}");
    let ran = profiler.run(stage, "killed", &LIMIT, &["sh", "-c", &script])?;
    ended(stage, "killed", &ran, 128 + 9)?;
    let run = ran.first()?;
    stage.checks.equal(
        "that it was OOM-killed",
        run.pointer("/end/oom_killed"),
        Some(&true.into()),
        "the scenario",
    );
    let counted = number(run, "/cgroup/events/oom_kill");
    stage.checks.equal("killed: what its cgroup counted", counted, Some(1), "the scenario");
    one_own_kill(stage, "killed", run, "dd");
    light(stage, profiler, &script)
}

/// The same at less expense: the kill is told all the same, by hooks alone.
fn light(stage: &mut Stage<'_>, profiler: &Profiler<'_>, script: &str) -> Result<()> {
    let options = [LIMIT.as_slice(), &["--light"]].concat();
    let ran = profiler.run(stage, "light", &options, &["sh", "-c", script])?;
    ended(stage, "light", &ran, 128 + 9)?;
    let run = ran.first()?;
    one_own_kill(stage, "light", run, "dd");
    let hooks = ran.report.as_ref().and_then(|report| report.pointer("/tracing/hooks"));
    let checks = &mut stage.checks;
    checks.that(hooks.is_some_and(|hooks| hooks.get("kmsg").is_none()), || {
        format!("--light, and the kernel's log is read: {hooks:?}")
    });
    let samples = rows(run, "/course/points").count();
    checks.equal("light: samples", Some(samples), Some(0), "--light");
    Ok(())
}

/// A process that has lost its parent is OOM-killed: it is below oomtrace then.
fn orphan(stage: &mut Stage<'_>, profiler: &Profiler<'_>) -> Result<()> {
    // The one in between ends before the last begins to take memory.
    let script = format!("(sh -c 'sleep 0.5; {HOG}; :' &) ; sleep 2; exit 5");
    let ran = profiler.run(stage, "orphan", &LIMIT, &["sh", "-c", &script])?;
    ended(stage, "orphan", &ran, 5)?;
    let run = ran.first()?;
    stage.checks.equal(
        "that it was OOM-killed",
        run.pointer("/end/oom_killed"),
        Some(&false.into()),
        "the scenario",
    );
    one_own_kill(stage, "orphan", run, "dd");
    Ok(())
}

fn one_own_kill(stage: &mut Stage<'_>, name: &str, run: &Value, comm: &str) {
    let alone = stage.machine.disposable;
    let checks = &mut stage.checks;
    checks.equal(&format!("{name}: own kills"), number(run, "/incidents/own_kills"), Some(1), "the scenario");
    // On a machine that others use somebody else may be killed meanwhile.
    if alone {
        let others = number(run, "/incidents/bystander_kills");
        checks.equal(&format!("{name}: others"), others, Some(0), "the scenario");
    }
    let row = rows(run, "/victims").find(|row| !is(row, "whose", "bystander"));
    let told =
        |row: &Value| is(row, "comm", comm) && is(row, "whose", "own") && is(row, "trigger_whose", "own");
    checks.that(row.is_some_and(told), || format!("{name}: the victim is told as {row:?}"));
}

/// A process in a session of its own outlives the command.
fn daemon(stage: &mut Stage<'_>, profiler: &Profiler<'_>) -> Result<()> {
    let file = profiler.file("daemon");
    let script = "setsid sh -c 'echo $$ >\"$1\"; exec sleep 300' sh \"$1\" >/dev/null 2>&1 & \
                  while [ ! -s \"$1\" ]; do sleep 0.1; done; exit 6";
    let ran = profiler.run(stage, "daemon", &LIMIT, &["sh", "-c", script, "sh", argument(&file)?])?;
    ended(stage, "daemon", &ran, 6)?;
    let left = number(ran.first()?, "/end/left_behind");
    stage.checks.equal("processes left behind", left, Some(1), "the scenario");
    let text = fs::read_to_string(&file).context("the daemon did not tell its pid")?;
    let pid: u64 = text.trim().parse().context("the daemon's pid is no number")?;
    // Its cgroup goes with the run, and so does it.
    stage.checks.that(!lives(pid), || format!("the daemon {pid} still lives"));
    Ok(())
}

/// A signal to oomtrace is the command's.
fn signalled(stage: &mut Stage<'_>, profiler: &Profiler<'_>) -> Result<()> {
    let (ready, report) = (profiler.file("ready"), profiler.file("signalled.json"));
    let script = "trap 'echo caught; exit 7' TERM; : >\"$1\"; while :; do sleep 0.1; done";
    let command = ["sh", "-c", script, "sh", argument(&ready)?];
    let tracer = profiler.begin(&["--json", argument(&report)?], &command)?;
    while !ready.exists() {
        stage.deadline.left("the command's start")?;
        sleep(Duration::from_millis(20));
    }
    let output = tracer.stop(stage.deadline)?;
    let ran = profiler.ended(stage, "signalled", output)?;
    ended(stage, "signalled", &ran, 7)?;
    stage.checks.that(ran.lines().any(|line| line == "caught"), || "the command was not told".to_owned());
    Ok(())
}

//! A victim that cannot end.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{Needs, Scenario};
use crate::compare::Expected;
use crate::eat::{Eat, word};
use crate::ftrace::{Event, Trace};
use crate::fuse::Silence;
use crate::incident::{found, kind};
use crate::size::MIB;
use crate::stage::Stage;
use crate::watch::{Watch, read};
use crate::witness::kmsg::KernelLog;

/// Guards the relief of a victim that sleeps uninterruptibly: it does not end, and 2 s after the kill the OOM reaper
/// takes its memory (`OOM_REAPER_DELAY`, mm/oom_kill.c). It ends when what it waits for is over.
pub const SCENARIO: Scenario = Scenario {
    name: "stuck",
    guards: "a victim waits for a file system that never answers: the OOM reaper takes its memory after 2 s, and that is told",
    needs: Needs::Disposable,
    kills: 1,
    once: true,
    run,
};

/// Where the file system is mounted.
const FOLDER: &str = "/run/oomtrace-tests-silence";
/// What is traced.
const MARK: &str = "mark_victim";
const REAPED: &str = "finish_task_reaping";
/// The reaper's patience in ns, less the jiffy in which the kill may have come.
const PATIENCE_NS: u64 = 1_980_000_000;
/// How long it may take from the log to the tracepoint, in ns.
const LOGGED_NS: u64 = 200_000_000;
/// How far the times may be apart, in ns: both sources look at the clock one after the other, and processors are
/// emulated.
const APART_NS: u64 = 20_000_000;

fn run(stage: &mut Stage<'_>) -> Result<()> {
    let mut silence = match Silence::mount(Path::new(FOLDER)) {
        Ok(silence) => silence,
        Err(error) => {
            stage.skipped = Some(format!("nothing to be stuck in: {error:#}"));
            return Ok(());
        }
    };
    let trace = Trace::record(&["oom/mark_victim", "oom/finish_task_reaping"])?;
    let tree = stage.tree()?;
    let group = tree.group("stuck")?;
    group.set_limit(32 * MIB)?;
    let eat = Eat { anon: 48 * MIB, asks_about: Some(silence.path()), ..Eat::default() };
    let mut eater = stage.eater("stuck-eater", &eat, Some(&group))?;
    silence.await_asker(stage.deadline)?;
    let mut oomtrace = stage.tracer(&["--json"])?;

    let watch = Watch::begin(None, &[], stage.deadline)?;
    let mut log = KernelLog::mark()?;
    eater.order(word::FILL)?;
    let reaped = format!("oom_reaper: reaped process {} (stuck-eater)", eater.pid());
    while !log.text().iter().any(|line| line.starts_with(&reaped)) {
        log.wait(stage.deadline, "the OOM reaper")?;
        log.read()?;
    }
    stage.checks.that(eater.lives()?, || "the victim ended, so it was not stuck".to_owned());
    let shown = run_look(&look(eater.pid()))?;
    let at_a_loss = shown.contains("D (disk sleep)") && shown.contains("request_wait_answer");
    stage.checks.that(at_a_loss, || format!("what it waits for is not shown: {shown}"));
    silence.end();
    eater.killed(stage.deadline)?;
    let expected = [Expected::kill(&eater.facts, &eater.facts, &group)];
    let mut seen = watch.finish(&[eater.pid()], stage.deadline)?;
    if let Some(mut oomtrace) = oomtrace.take() {
        let _absent_is_found_by_the_comparison = oomtrace.until(stage.deadline, "the relief", |lines| {
            crate::incident::relieved_pids(lines).contains(&eater.pid())
        });
        let output = oomtrace.stop(stage.deadline)?;
        stage.keep_output("oomtrace", &output)?;
        seen.traced = Some(read(output)?);
    }
    let text = trace.text()?;
    stage.keep_text("trace", &text)?;

    stage.judge(&seen, &expected, &[&eater.facts]);
    let actual_ns = reaped_after(&text, eater.pid()).context("the kernel's trace has no reaping")?;
    stage.checks.note("reaped after, ns", actual_ns);
    stage.checks.that(actual_ns >= PATIENCE_NS, || format!("the reaper came after {actual_ns} ns"));
    let Some(traced) = &seen.traced else { return Ok(()) };
    let reliefs = traced.objects.iter().filter(|object| kind(object) == "relief");
    let told: Vec<_> = reliefs.filter_map(|relief| relief.get("victims")?.as_array()).flatten().collect();
    stage.checks.equal("victims relieved", Some(told.len()), Some(1), "the scenario");
    let told = told.first().context("no relief is told")?;
    let relief =
        traced.objects.iter().find(|object| kind(object) == "relief").context("no relief is told")?;
    stage.checks.equal(
        "findings",
        Some(found(relief)),
        Some(vec!["stuck-victim".to_owned()]),
        "the scenario",
    );
    let proposed = relief.pointer("/findings/0/fix/0/command").and_then(Value::as_str);
    stage.checks.equal("what to look at", proposed, Some(&*look(eater.pid())), "what was looked at in time");
    let checks = &mut stage.checks;
    checks.equal("reaped", told.get("reaped").and_then(Value::as_bool), Some(true), "the kernel log");
    let figure = |name| told.get(name).and_then(Value::as_u64);
    let reaped_ns = figure("reaped_ns");
    checks.within("reaped_ns", reaped_ns, Some(actual_ns), APART_NS, "the kernel's trace");
    for name in ["exited_ns", "freed_ns"] {
        // It is let go once the log has it, which the reaper writes before it passes its tracepoint (oom_reap_task_mm(),
        // mm/oom_kill.c), and may be preempted between.
        let late_ns = figure(name).map(|figure| figure + LOGGED_NS);
        checks.that(late_ns >= reaped_ns && reaped_ns.is_some(), || {
            format!("{name} is {:?}, and the victim was let go after {reaped_ns:?} ns", figure(name))
        });
    }
    Ok(())
}

/// What is proposed to look at, once the victim is gone: it is looked at while it is there.
fn look(pid: u64) -> String {
    format!("grep -e ^State -e +0x /proc/{pid}/task/*/status /proc/{pid}/task/*/stack")
}

/// Runs such a command, and gives what it shows.
fn run_look(command: &str) -> Result<String> {
    let output = Command::new("sh").args(["-c", command]).output().context("a shell cannot be started")?;
    ensure!(output.status.success(), "{command} ended with {}", output.status);
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// How long after its mark the reaper had taken the memory of process `pid`, in ns.
fn reaped_after(trace: &str, pid: u64) -> Option<u64> {
    let events: Vec<_> = trace.lines().filter_map(|line| Event::read(line, &[MARK, REAPED])).collect();
    let at = |name| {
        let event = events.iter().find(|event| event.name == name && event.number("pid") == Some(pid));
        event.map(|event| event.at_ns)
    };
    at(REAPED)?.checked_sub(at(MARK)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the witness: the reaping of that very process.
    #[test]
    fn finds_the_reaping() {
        let trace = "  stuck-eater-9  [000] .....  1.000000: mark_victim: pid=9 comm=stuck-eater total-vm=1kB\n  \
                     oom_reaper-30  [000] .....  3.000000: finish_task_reaping: pid=8\n  \
                     oom_reaper-30  [000] .....  3.500000: finish_task_reaping: pid=9\n";
        assert_eq!(reaped_after(trace, 9), Some(2_500_000_000));
        assert_eq!(reaped_after(trace, 8), None);
    }
}

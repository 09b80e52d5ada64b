//! Forks that fail, for each cause that can be brought about here.

use std::collections::BTreeSet;
use std::thread::sleep;
use std::time::Duration;

use anyhow::Result;

use super::{Needs, Scenario};
use crate::fork::cause::{CASES, Needs as CauseNeeds};
use crate::fork::compare::{Judge, failures, text, tier};
use crate::fork::ground::Ground;
use crate::fork::truth::{Level, Truth};
use crate::stage::Stage;
use crate::storm::loss::Losses;
use crate::watch::{Traced, read};
use crate::witness::kmsg::KernelLog;

/// Guards each cause: its name, error, limit, usage and level, and the count to the last one; that a fork which wants nothing
/// is told by nobody; and that what hooks can prove is proved.
pub const SCENARIO: Scenario = Scenario {
    name: "forks",
    guards: "forks fail for each cause that can be brought about, and are told with it, every one of them; others are not",
    needs: Needs::Memcg,
    kills: 0,
    once: true,
    run,
};

/// How often each call fails.
const TIMES: u64 = 10;
/// The same where each takes a process of its own with thousands of mappings.
const TIMES_LARGE: u64 = 4;
/// After this, what was counted and not told is told.
pub const SETTLED: Duration = Duration::from_millis(2600);

fn run(stage: &mut Stage<'_>) -> Result<()> {
    // Taken only where nothing better is to be had.
    let oomtrace = stage.tracer(&["--json", "--fork-syscalls"])?;
    let alone = stage.tier().map_or(!stage.machine.disposable, |tier| tier == "tracepoint");
    let by_log = if alone { stage.tracer(&["--json"])? } else { None };
    let mut log = KernelLog::mark()?;
    let mut truths = Vec::new();
    for case in CASES {
        if case.needs.unmet(stage.machine)?.is_some() {
            continue;
        }
        let ground = Ground { machine: stage.machine, deadline: stage.deadline };
        let times = if case.name == "fatal_signal" { TIMES_LARGE } else { TIMES };
        match (case.provoke)(&ground, times) {
            Ok(more) => truths.extend(more),
            Err(error) => stage.checks.fail(format!("{} could not be brought about: {error:#}", case.name)),
        }
    }
    let causes: BTreeSet<_> = truths.iter().filter_map(|truth| truth.cause).collect();
    stage.checks.note("causes", causes.into_iter().collect::<Vec<_>>());
    stage.checks.that(!truths.is_empty(), || "no cause could be brought about here".to_owned());
    let Some(oomtrace) = oomtrace else { return Ok(()) };
    sleep(SETTLED);
    let output = oomtrace.stop(stage.deadline)?;
    stage.keep_output("oomtrace", &output)?;
    let traced = read(output)?;
    stage.judge_course(&traced);
    let tier = tier(&traced).unwrap_or_default();
    let (checks, machine) = (&mut stage.checks, stage.machine);
    let unseen = Losses::of(&traced.objects).count("programs", "fork");
    Judge { checks, machine, tier, lenient: false, left_out: 0, unseen }.compare(&truths, failures(&traced));
    if let Some(by_log) = by_log {
        let traced = read(by_log.stop(stage.deadline)?)?;
        stage.judge_course(&traced);
        log.read()?;
        let said =
            log.text().iter().filter_map(|line| Some(line.rsplit_once(REFUSED)?.1.trim_end().to_owned()));
        logged(stage, &truths, &traced, &said.collect::<Vec<_>>())?;
    }
    Ok(())
}

/// What the kernel says once for each cgroup (kernel/cgroup/pids.c), before its path.
const REFUSED: &str = "cgroup: fork rejected by pids controller in ";

/// Without any hook the log tells of the first fork that a cgroup refused: `said` has their paths.
fn logged(stage: &mut Stage<'_>, truths: &[Truth], traced: &Traced, said: &[String]) -> Result<()> {
    if CauseNeeds::Pids.unmet(stage.machine)?.is_some() {
        return Ok(());
    }
    let refused: BTreeSet<_> = truths
        .iter()
        .filter(|truth| truth.cause == Some("pids_max"))
        .filter_map(|truth| match &truth.level {
            // The log has the cgroup that the child was to be in.
            Level::Cgroup { path, .. } if truth.elsewhere => Some(path.clone()),
            _ => truth.cgroup.clone(),
        })
        .collect();
    for cgroup in refused {
        let lines: Vec<_> =
            failures(traced).filter(|line| text(line, "/task/cgroup") == Some(&cgroup)).collect();
        let expected = said.iter().filter(|path| **path == cgroup).count();
        stage.checks.that(expected > 0, || format!("the kernel log does not have {cgroup}"));
        stage.checks.equal(
            &format!("lines of {cgroup}"),
            Some(lines.len()),
            Some(expected),
            "the kernel log",
        );
        for line in lines {
            let said = (text(line, "/cause"), text(line, "/proof"), text(line, "/source"));
            stage.checks.equal(
                "cause by the log",
                Some(said),
                Some((Some("pids_max"), Some("log"), Some("kmsg"))),
                "the tier",
            );
        }
    }
    Ok(())
}

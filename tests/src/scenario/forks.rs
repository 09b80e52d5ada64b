//! Forks that fail, for each cause that can be brought about here.

use std::collections::BTreeSet;
use std::thread::sleep;
use std::time::Duration;

use anyhow::Result;

use super::{Needs, Scenario};
use crate::fork::cause::CASES;
use crate::fork::compare::{Judge, failures, tier};
use crate::fork::ground::Ground;
use crate::stage::Stage;
use crate::storm::loss::Losses;
use crate::watch::read;

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
    Ok(())
}

//! Many cgroups run out at once, over and over.

use std::sync::OnceLock;
use std::time::Duration;

use anyhow::Result;

use super::{Needs, Scenario};
use crate::stage::Stage;
use crate::storm::loss::Losses;
use crate::storm::watch::{AT_ONCE, Storm};
use crate::storm::{Mix, Size, account};
use crate::tracer::{Output, Tracer};
use crate::watch::{Traced, read};

/// The size that the command line asks for, in place of [`USUAL`].
pub static SIZE: OnceLock<Size> = OnceLock::new();
/// A storm of some seconds, also under emulation.
const USUAL: Size = Size { kills: 120, cgroups: 50 };
/// How long the last reports may take once the storm is over.
const DELIVERY: Duration = Duration::from_secs(30);

/// At most one in so many incidents may leave out what ran out.
const FEW: usize = 20;

/// Guards that under load each kill is one victim in one incident, with its own trigger, cgroup and limit:
/// none is lost, merged, split or mixed up, though cgroups come and go and processes live for milliseconds.
pub const SCENARIO: Scenario = Scenario {
    name: "storm",
    guards: "50 cgroups run out over and over, 20 and more at once: as many incidents as kills, each \
             about its own cgroup",
    needs: Needs::Memcg,
    kills: 0,
    once: true,
    run,
};

fn run(stage: &mut Stage<'_>) -> Result<()> {
    let size = SIZE.get().copied().unwrap_or(USUAL);
    let tree = stage.tree()?;
    let mut oomtrace = start(stage, &[])?;
    if let Some(oomtrace) = &mut oomtrace {
        oomtrace.listen();
    }
    let storm = Storm::make(&tree, size, Mix::Everything, stage.machine, stage.deadline)?;
    note(stage, &storm);
    keep_log(stage, "kernel", &storm)?;
    account::witnesses(&mut stage.checks, &storm);
    let at_limit = storm.waves.iter().min().copied().unwrap_or_default();
    stage.checks.that(at_limit >= usize::from(AT_ONCE.min(size.cgroups)), || {
        format!("only {at_limit} cgroups were at their limits at the same time")
    });
    let Some(mut oomtrace) = oomtrace else { return Ok(()) };
    // The armed line, and one for each kill; more come with tasks that were marked without a kill.
    let lines = usize::try_from(storm.oom_kills)?.saturating_add(1);
    oomtrace.wait_for_lines(lines, stage.deadline.or_after(DELIVERY));
    let traced = finish(stage, "oomtrace", oomtrace.stop(stage.deadline)?)?;
    stage.judge_course(&traced);
    let losses = Losses::of(&traced.objects);
    stage.checks.equal("lost_records at the end", losses.ended, Some(0), "the contract");
    let matched = judge(stage, &storm, &traced);
    matched.check_complete(&mut stage.checks);
    let scopeless = traced.incidents.iter().filter(|incident| account::leaves_scope_out(incident)).count();
    stage.checks.note("incidents without a scope, for a reason", scopeless);
    stage.checks.that(scopeless * FEW <= traced.incidents.len(), || {
        format!("{scopeless} of {} incidents leave out what ran out", traced.incidents.len())
    });
    Ok(())
}

/// Starts an oomtrace that writes JSON and is not read from yet; None when only the witnesses are tried out.
pub fn start(stage: &Stage<'_>, options: &[&str]) -> Result<Option<Tracer>> {
    let options = [&["--json"], options].concat();
    stage.tool.map(|tool| tool.program.trace_unread(&options, stage.deadline)).transpose()
}

/// Reads what an oomtrace said, and keeps it under `name` if things are to be kept.
pub fn finish(stage: &Stage<'_>, name: &str, output: Output) -> Result<Traced> {
    stage.keep_output(name, &output)?;
    read(output)
}

/// Judges the incidents by themselves, and matches them with the log. What may be missing is for the caller
/// to say.
pub fn judge(stage: &mut Stage<'_>, storm: &Storm, traced: &Traced) -> account::Matched {
    account::incidents(&mut stage.checks, &traced.incidents, &storm.roster);
    let matched = account::matched(&storm.log, &traced.incidents);
    for (key, figure) in [
        ("victims reported as killed", matched.reported),
        ("kills not reported", matched.missing.len() as u64),
        ("victims reported as exiting already", matched.exiting),
    ] {
        stage.checks.note(key, figure);
    }
    matched
}

/// Notes how large the storm was.
pub fn note(stage: &mut Stage<'_>, storm: &Storm) {
    let removed = storm.counted.iter().filter(|counted| counted.removed).count();
    let millis = u64::try_from(storm.took.as_millis()).unwrap_or(u64::MAX);
    for (key, figure) in [
        ("kills counted by the kernel", storm.oom_kills),
        ("processes killed", storm.roster.killed().count() as u64),
        ("processes started", storm.roster.len() as u64),
        ("cgroups removed after their last process", removed as u64),
        ("waves", storm.waves.len() as u64),
        (
            "fewest cgroups at their limits at once",
            storm.waves.iter().min().copied().unwrap_or_default() as u64,
        ),
        ("milliseconds of the storm", millis),
    ] {
        stage.checks.note(key, figure);
    }
}

/// Keeps the kernel log under `name`, if things are to be kept.
pub fn keep_log(stage: &Stage<'_>, name: &str, storm: &Storm) -> Result<()> {
    let stdout = storm.log_text.iter().map(|line| line.clone().into_bytes()).collect();
    let log = Output { stdout, stderr: Vec::new(), status: std::process::ExitStatus::default() };
    stage.keep_output(name, &log)
}

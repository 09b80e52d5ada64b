//! Forks that fail as fast as they can, on every processor of a small machine.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::Value;

use super::{Needs, Scenario};
use crate::bench::usage::activity;
use crate::fork::compare::{failures, text};
use crate::fork::ground::Ground;
use crate::fork::storm::{FORKERS, STORMS, Storm};
use crate::stage::Stage;
use crate::storm::loss::Losses;
use crate::tracer::Tracer;
use crate::watch::{Traced, read};

/// Guards the counts: exact to the last one, however fast they come, by some lines a second, at a price that does not grow
/// with them.
pub const SCENARIO: Scenario = Scenario {
    name: "fork_storm",
    guards: "forks fail on every processor, for seconds by each cause that can be: all are counted, in a line a second, and oomtrace itself hardly runs",
    needs: Needs::Memcg,
    kills: 0,
    once: true,
    run,
};

/// What oomtrace may take of one processor, in percent.
const SHARE: f64 = 10.0;
/// The same where a storm is short: what is done once for each counts more.
const SHORT_SHARE: f64 = 15.0;
/// How long the first storm lasts at the least, in seconds.
const FIRST: u64 = 4;
/// The same of the others.
pub const SECONDS: u64 = 1;
/// What the command line asks for in place of that.
pub static CHOICE: OnceLock<u64> = OnceLock::new();

/// A storm that is over.
struct Past {
    storm: &'static Storm,
    seconds: u64,
    failures: u64,
}

fn run(stage: &mut Stage<'_>) -> Result<()> {
    let ground = Ground { machine: stage.machine, deadline: stage.deadline };
    let Some(oomtrace) = stage.tracer(&["--json", "--kind", "fork", "--fork-syscalls"])? else {
        return Ok(());
    };
    ground.fail_first()?;
    let mut past = Vec::new();
    for storm in &STORMS {
        if storm.needs.unmet(stage.machine)?.is_none() {
            let seconds = CHOICE.get().copied().unwrap_or(SECONDS);
            let seconds = if past.is_empty() { seconds.max(FIRST) } else { seconds };
            past.push(rage(stage, &ground, &oomtrace, (storm, seconds))?);
        }
    }
    std::thread::sleep(super::forks::SETTLED);
    let output = oomtrace.stop(stage.deadline)?;
    stage.keep_output("oomtrace", &output)?;
    let traced = read(output)?;
    let losses = Losses::of(&traced.objects);
    let in_ring: u64 =
        losses.counts.iter().filter(|((place, _), _)| place == "ring").map(|(_, count)| count).sum();
    stage.checks.equal("records that found no room", Some(in_ring), Some(0), "the ring");
    // Where a program is preempted by a fork on the same processor, that one goes by unseen, and is told as such.
    let unseen = losses.count("programs", "fork");
    stage.checks.note("forks that went by unseen", unseen);
    for past in &past {
        judge(stage, &traced, past, unseen);
    }
    Ok(())
}

/// Lets a storm of so many seconds rage, and looks at what oomtrace takes meanwhile.
fn rage(
    stage: &mut Stage<'_>,
    ground: &Ground<'_>,
    oomtrace: &Tracer,
    (storm, seconds): (&'static Storm, u64),
) -> Result<Past> {
    let mut gathered = storm.gather(ground)?;
    let before = (activity(oomtrace.pid())?, Instant::now());
    let failures = gathered.rage(seconds)?;
    let (after, elapsed) = (activity(oomtrace.pid())?, before.1.elapsed());
    drop(gathered);
    let took = Duration::from_nanos(after.cpu_ns - before.0.cpu_ns);
    let share = 100.0 * took.as_secs_f64() / elapsed.as_secs_f64();
    let cause = storm.cause;
    let allowed = if seconds < FIRST { SHORT_SHARE } else { SHARE };
    stage.checks.that(share < allowed, || {
        format!("oomtrace took {share:.1} % of a processor in the storm {cause}, {allowed} % are allowed")
    });
    stage.checks.note(&format!("failures by {cause}"), failures);
    stage.checks.note(&format!("oomtrace's share of a processor in {cause}, in percent"), share);
    Ok(Past { storm, seconds, failures })
}

/// Compares what was told of a storm with what its forkers counted, of which so many may have gone by unseen.
fn judge(stage: &mut Stage<'_>, traced: &Traced, past: &Past, unseen: u64) {
    let Past { storm: Storm { cause, name, .. }, seconds, failures: failed } = *past;
    let lines: Vec<&Value> =
        failures(traced).filter(|line| text(line, "/task/comm") == Some(*name)).collect();
    let causes: Vec<_> = lines.iter().filter_map(|line| text(line, "/cause")).collect();
    stage
        .checks
        .that(causes.iter().all(|each| each == cause), || format!("causes of {cause} are {causes:?}"));
    let told: u64 = lines.iter().filter_map(|line| line["count"].as_u64()).sum();
    stage.checks.that(told <= failed && failed - told <= unseen, || {
        format!("{told} failures by {cause} are told and {unseen} forks went by unseen, of {failed}")
    });
    // The first at once, then one a second for each of the two, and what was left.
    let most = 2 * FORKERS as u64 + (FORKERS as u64 + 1) * (seconds + 2);
    stage
        .checks
        .that(lines.len() as u64 <= most, || format!("{} lines tell of the storm {cause}", lines.len()));
}

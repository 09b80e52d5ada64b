//! A command that runs for long, and one of which very many are killed.

use std::fs;
use std::path::Path;
use std::sync::OnceLock;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use serde_json::Value;

use super::super::{Needs, Scenario};
use super::on_its_own;
use super::profile::{Profiler, Ran, is, number, rows, sum};
use crate::bench::usage;
use crate::size::MIB;
use crate::stage::{Stage, argument};

/// How long, and how many.
#[derive(Debug, Clone, Copy, Args)]
pub struct Length {
    /// Minutes that stress-ng runs.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(0..=10_000))]
    pub minutes: u64,
    /// How many are killed, in another run.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(0..=1_000_000))]
    pub kills: u64,
}

/// Set by the command line.
pub static LENGTH: OnceLock<Length> = OnceLock::new();

/// Guards bounds: neither what oomtrace holds nor what it writes grows with the time or with the kills. Not among all scenarios: it
/// has a command of its own.
pub const SCENARIO: Scenario = Scenario {
    name: "run_long",
    guards: "a run of half an hour and one with ten thousand kills: reports and pages under 2 MB that add up, and memory that does not \
             grow",
    needs: Needs::StressNg,
    kills: 10,
    once: true,
    run,
};

/// The most that a report or a page may have, bytes.
const MOST: u64 = 2_000_000;
/// The most that oomtrace may hold, and by how much more in the last quarter than in the second.
const MOST_RESIDENT: u64 = 24 * MIB;
const GROWTH: u64 = 2 * MIB;
/// How often it is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// Victims that a report has one by one (`Run::victims`).
const ROWS: usize = 200;

fn run(stage: &mut Stage<'_>) -> Result<()> {
    let Some(profiler) = Profiler::of(stage)? else { return Ok(()) };
    on_its_own(stage);
    let length = LENGTH.get().copied().unwrap_or(Length { minutes: 1, kills: 100 });
    if length.kills > 0 {
        kills(stage, &profiler, length.kills)?;
    }
    if length.minutes > 0 {
        minutes(stage, &profiler, length.minutes)?;
    }
    Ok(())
}

/// Very many are killed, one after the other.
fn kills(stage: &mut Stage<'_>, profiler: &Profiler<'_>, wanted: u64) -> Result<()> {
    const SCRIPT: &str = "n=0; while [ $n -lt $1 ]; do n=$((n + 1)); dd if=/dev/zero of=/dev/null bs=32M count=1 2>/dev/null; done; \
                          exit 0";
    let command = ["sh", "-c", SCRIPT, "sh", &wanted.to_string()];
    let ran = watched(stage, profiler, "kills", &["--cgroup-limit", "8M"], &command)?;
    let run = ran.first()?;
    let checks = &mut stage.checks;
    let dd = |row: &Value| is(row, "comm", "dd") && is(row, "whose", "own");
    for (what, told) in [
        ("kills", number(run, "/incidents/kills")),
        ("own kills", number(run, "/incidents/own_kills")),
        ("kills by name", Some(sum(run, "/victims_by_name", "kills", dd))),
        ("marks of own kills", Some(sum(run, "/course/marks", "count", |mark| is(mark, "kind", "own_kill")))),
        ("reliefs", number(run, "/relief/count")),
    ] {
        checks.equal(what, told, Some(wanted), "the scenario");
    }
    let listed = rows(run, "/victims").count();
    checks.that(listed == ROWS.min(usize::try_from(wanted)?), || format!("{listed} victims are listed"));
    checks.equal("records lost", number(run, "/cost/lost/ring").or(Some(0)), Some(0), "nothing");
    Ok(())
}

/// stress-ng, for long.
fn minutes(stage: &mut Stage<'_>, profiler: &Profiler<'_>, minutes: u64) -> Result<()> {
    let seconds = (minutes * 60).to_string();
    let command = [
        "stress-ng",
        "--vm",
        "1",
        "--vm-bytes",
        "200M",
        "--bigheap",
        "1",
        "--fork",
        "1",
        "--clone",
        "1",
        "--mmap",
        "1",
        "--mmap-bytes",
        "64M",
        "--timeout",
        &seconds,
    ];
    let ran =
        watched(stage, profiler, "minutes", &["--cgroup-limit", "128M", "--pids-limit", "300"], &command)?;
    let run = ran.first()?;
    let checks = &mut stage.checks;
    let took = number(run, "/duration_ns").unwrap_or(0);
    checks.that(took >= minutes * 60_000_000_000, || format!("it took {took} ns"));
    let points = rows(run, "/course/points").count();
    checks.that((60..=720).contains(&points), || format!("there are {points} samples"));
    let kills = number(run, "/incidents/kills");
    checks.equal("kills", kills, number(run, "/cgroup/events/oom_kill"), "its cgroup");
    checks.note("kills in that time", kills);
    Ok(())
}

/// Runs it, and looks at how much oomtrace holds.
fn watched(
    stage: &mut Stage<'_>,
    profiler: &Profiler<'_>,
    name: &str,
    options: &[&str],
    command: &[&str],
) -> Result<Ran> {
    let (json, page) = (profiler.file(&format!("{name}.json")), profiler.file(&format!("{name}.html")));
    let options = [options, &["--json", argument(&json)?, "--html", argument(&page)?]].concat();
    let mut tracer = profiler.begin(&options, command)?;
    tracer.listen();
    let mut held = Vec::new();
    while tracer.runs()? {
        stage.deadline.left("the command to end")?;
        sleep(LOOK);
        held.extend(usage::memory(tracer.pid()).ok().map(|memory| memory.resident * 1024));
    }
    let output = tracer.finish(stage.deadline)?;
    let ran = profiler.ended(stage, name, output)?;
    let checks = &mut stage.checks;
    checks.equal(&format!("{name}: exit status"), ran.output.status.code(), Some(0), "the command");
    for file in [&json, &page] {
        let length = length_of(file)?;
        checks.note(&format!("{name}: bytes of {}", file.display()), length);
        checks.that(length < MOST, || format!("{name}: {} has {length} bytes", file.display()));
    }
    let quarter = held.len() / 4;
    let most = |from: usize, to: usize| held.get(from..to).and_then(|part| part.iter().max()).copied();
    let (second, last) = (most(quarter, 2 * quarter), most(3 * quarter, held.len()));
    checks.note(&format!("{name}: resident in the second quarter, and in the last"), vec![second, last]);
    checks
        .that(last.is_some_and(|last| last <= MOST_RESIDENT), || format!("{name}: it holds {last:?} bytes"));
    let grown = last.unwrap_or(0).saturating_sub(second.unwrap_or(0));
    checks.that(grown <= GROWTH, || format!("{name}: it grew by {grown} bytes"));
    Ok(ran)
}

fn length_of(file: &Path) -> Result<u64> {
    Ok(fs::metadata(file).with_context(|| format!("cannot look at {}", file.display()))?.len())
}

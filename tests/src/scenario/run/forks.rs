//! stress-ng at a limit of processes.

use anyhow::Result;

use super::super::{Needs, Scenario};
use super::on_its_own;
use super::profile::{Profiler, is, number, rows, sum};
use super::witness::{Counted, witnessed};
use crate::stage::Stage;

/// Guards the count of forks that fail, which is the kernel's own, and whose they were.
pub const SCENARIO: Scenario = Scenario {
    name: "run_forks",
    guards: "stress-ng's forks at --pids-limit: as many are told to have failed as pids.events counts, all of them the command's own",
    needs: Needs::StressNg,
    kills: 0,
    once: true,
    run,
};

/// stress-ng itself needs three, and the shell one.
const LIMIT: &str = "12";
const LIMIT_TASKS: u64 = 12;

fn run(stage: &mut Stage<'_>) -> Result<()> {
    let Some(profiler) = Profiler::of(stage)? else { return Ok(()) };
    on_its_own(stage);
    let command =
        witnessed(&["stress-ng", "--fork", "1", "--fork-max", "16", "--fork-ops", "200", "--timeout", "10"])?;
    let command: Vec<&str> = command.iter().map(String::as_str).collect();
    let ran = profiler.run(stage, "forks", &["--pids-limit", LIMIT], &command)?;
    let (counted, run) = (Counted::of(&ran)?, ran.first()?);
    let checks = &mut stage.checks;
    let failures = |holds: &dyn Fn(&serde_json::Value) -> bool| sum(run, "/fork_failures", "count", holds);
    let all = failures(&|_| true);
    checks.note("forks that failed", all);
    checks.that(all > 0, || format!("no fork failed; oomtrace said: {}", ran.output.said()));
    checks.equal("forks that failed", Some(all), counted.tasks_refused(), "pids.events");
    checks.equal(
        "the same in the report",
        number(run, "/cgroup/events/pids.max"),
        counted.tasks_refused(),
        "pids.events",
    );
    let (own, by_limit) =
        (failures(&|row| is(row, "whose", "own")), failures(&|row| is(row, "cause", "pids_max")));
    checks.equal("failures of the command's own", Some(own), Some(all), "all");
    checks.equal("failures for the limit", Some(by_limit), Some(all), "all");
    for row in rows(run, "/fork_failures") {
        checks.equal("the limit", number(row, "/limit"), Some(LIMIT_TASKS), "the option");
        checks.that(is(row, "errno_name", "EAGAIN"), || format!("the error is another: {row}"));
    }
    checks.equal("kills", number(run, "/incidents/kills"), Some(0), "the scenario");
    Ok(())
}

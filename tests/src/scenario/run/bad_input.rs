//! What is wrong is said before anything runs.

use std::fs;

use anyhow::{Context, Result};

use super::super::{Needs, Scenario};
use super::on_its_own;
use super::profile::Profiler;
use crate::stage::{Stage, argument};

/// Guards a test of an hour against a mistake that is found out at its end.
pub const SCENARIO: Scenario = Scenario {
    name: "run_bad_input",
    guards: "a command that is not there, a report that cannot be written, a condition that makes no sense, a limit that is too low: a \
             sentence each, and nothing was run",
    needs: Needs::StressNg,
    kills: 0,
    once: true,
    run,
};

/// Options, the command if it is not the usual one, the exit status, and what has to be said.
type Case<'c> = (&'c [&'c str], &'c [&'c str], i32, &'c [&'c str]);

fn run(stage: &mut Stage<'_>) -> Result<()> {
    let Some(profiler) = Profiler::of(stage)? else { return Ok(()) };
    on_its_own(stage);
    let (marker, text) = (profiler.file("marker"), profiler.file("text"));
    fs::write(&text, "no program").context("cannot write a file")?;
    let (marker_word, text) = (argument(&marker)?, argument(&text)?);
    let usual = ["sh", "-c", ": >\"$1\"", "sh", marker_word];
    let cases: [Case<'_>; 10] = [
        (&[], &["no-such-command"], 127, &["no-such-command"]),
        (&[], &["/no/such/command"], 127, &["/no/such/command"]),
        (&[], &[text], 126, &[text]),
        (&[], &["/tmp"], 126, &["/tmp"]),
        (&["--json", "/no/such/folder/report.json"], &[], 1, &["/no/such/folder/report.json"]),
        (&["--html", "/proc/report.html"], &[], 1, &["/proc/report.html"]),
        (&["--fail-if", "kills"], &[], 2, &["kills"]),
        (&["--fail-if", "no_such_measure>0"], &[], 2, &["no_such_measure"]),
        (&["--cgroup-limit", "16K"], &[], 2, &["limit"]),
        (&["--repeat", "0"], &[], 2, &["--repeat"]),
    ];
    // A shell is killed as it is loaded, before its first instruction, which is tried out before. Busybox in a guest is loaded in so little.
    let too_little: Case<'_> =
        (&["--cgroup-limit", "64K"], &[], 2, &["cannot be started in a cgroup of 64 KiB"]);
    let too_little = (!stage.machine.disposable).then_some(too_little);
    for (options, command, status, words) in cases.into_iter().chain(too_little) {
        let command = if command.is_empty() { &usual } else { command };
        let output = profiler.begin(options, command)?.finish(stage.deadline)?;
        let (said, what) = (output.said(), format!("{options:?} {}", command.first().unwrap_or(&"")));
        let checks = &mut stage.checks;
        checks.equal(&format!("{what}: exit status"), output.status.code(), Some(status), "the scenario");
        for word in words {
            checks.that(said.contains(word), || format!("{what}: it does not say {word:?}, but: {said}"));
        }
        checks.that(!said.contains("panicked"), || format!("{what}: {said}"));
        checks.that(!marker.exists(), || format!("{what}: the command was run"));
    }
    // The usual command does what shows that it was run: otherwise none of the above would prove anything.
    profiler.begin(&[], &usual)?.finish(stage.deadline)?;
    stage.checks.that(marker.exists(), || "the usual command does not run".to_owned());
    Ok(())
}

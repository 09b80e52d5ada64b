//! Forks that fail, and what their findings propose: each command is pasted as it stands, and the same fork comes about.

use std::cell::Cell;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::{Needs, Scenario};
use crate::fork::compare::{failures, text};
use crate::fork::cure::{CURES, Cure};
use crate::fork::ground::Ground;
use crate::incident::{kind, object};
use crate::shell::Shell;
use crate::stage::Stage;
use crate::tracer::Tracer;
use crate::watch::read;

/// Guards whoever does what a finding says: the one rule of each cause holds and no other, its command lifts the limit that refused,
/// so that the very same process forks and nothing more is told of it; and where there is advice alone, there is no command.
pub const SCENARIO: Scenario = Scenario {
    name: "fork_cures",
    guards: "the command that a finding about a failed fork proposes, as it stands in the JSON, lets the same process fork",
    needs: Needs::Repairable,
    kills: 0,
    once: true,
    run,
};

/// So many milliseconds are between two failures: ten of a second are explained.
const APART: Duration = Duration::from_millis(120);
/// How long a failure may take to be told.
const TOLD: Duration = Duration::from_secs(20);

fn run(stage: &mut Stage<'_>) -> Result<()> {
    let Some(mut oomtrace) = stage.tracer(&["--json", "--kind", "fork", "--fork-syscalls"])? else {
        return Ok(());
    };
    oomtrace.listen();
    stage.untraced = Some("forks that fail are to be told, and no runs of the OOM killer");
    let ground = Ground { machine: stage.machine, deadline: stage.deadline };
    // Before anything keeps it from being started.
    let mut shell = Shell::open(stage.deadline)?;
    let (mut pasted, mut names) = (Vec::new(), Vec::new());
    for cure in CURES.iter().filter(|cure| cure.is_for(stage.machine)) {
        let mut remedy = |comm: &str, within: Option<u64>| {
            names.push(comm.to_owned());
            sleep(APART);
            let line = told(&mut oomtrace, comm, stage)?;
            let command = proposed(&line, cure)?;
            match (&command, within) {
                (Some(command), None) => shell.paste(command)?,
                (Some(command), Some(process)) => {
                    Shell::open_within(process, stage.deadline)?.paste(command)?;
                }
                (None, _) => {}
            }
            pasted.push(json!({ "of": cure.name, "finding": cure.rule, "command": command }));
            Ok(())
        };
        if let Err(error) = (cure.run)(&ground, &mut remedy) {
            stage.checks.fail(format!("{}: {error:#}", cure.name));
        }
    }
    stage.checks.note("cures", pasted);
    let traced = read(oomtrace.stop(stage.deadline)?)?;
    stage.keep_output("oomtrace", &traced.output)?;
    stage.judge_course(&traced);
    for name in names {
        let lines: Vec<_> =
            failures(&traced).filter(|line| text(line, "/task/comm") == Some(&name)).collect();
        let count: u64 = lines.iter().filter_map(|line| line["count"].as_u64()).sum();
        stage.checks.equal(&format!("failures of {name}"), Some(count), Some(1), "the set-up");
    }
    Ok(())
}

/// The line about the failure of a forker.
fn told(oomtrace: &mut Tracer, comm: &str, stage: &Stage<'_>) -> Result<Value> {
    let is_its = |line: &Vec<u8>| {
        object(line)
            .is_ok_and(|object| kind(&object) == "fork_failure" && text(&object, "/task/comm") == Some(comm))
    };
    let line = Cell::new(None);
    let what = format!("the failure of {comm}");
    oomtrace.until(stage.deadline.or_after(TOLD), &what, |lines| {
        lines.iter().find(|line| is_its(line)).is_some_and(|found| {
            line.set(Some(found.clone()));
            true
        })
    })?;
    object(&line.into_inner().context("oomtrace has ended")?)
}

/// The command that the finding proposes, as it stands; `None` where there is advice alone, as there is to be.
fn proposed(line: &Value, cure: &Cure) -> Result<Option<String>> {
    let found = line["findings"].as_array().context("it has no findings")?;
    let ids: Vec<_> = found.iter().filter_map(|finding| text(finding, "/id")).collect();
    ensure!(ids == [cure.rule], "the findings are {ids:?}, not {} alone: {line}", cure.rule);
    let fixes = found[0]["fix"].as_array().context("nothing is proposed")?;
    let changes = fixes.iter().filter(|fix| text(fix, "/kind").is_none_or(|kind| kind == "change"));
    let commands: Vec<_> = changes.filter_map(|fix| text(fix, "/command")).collect();
    ensure!(commands.len() == usize::from(cure.by_command), "these commands are proposed: {commands:?}");
    Ok(commands.first().map(ToString::to_string))
}

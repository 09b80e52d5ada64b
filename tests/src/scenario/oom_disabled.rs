//! A memory cgroup of version 1 whose OOM killer is disabled.

use std::time::Duration;

use anyhow::Result;
use serde_json::Value;

use super::alloc_failure::{ALLOC_FAILURE, told, unseen};
use super::{Needs, Scenario};
use crate::eat::{Eat, word};
use crate::incident::{kind, object};
use crate::legacy::Legacy;
use crate::size::MIB;
use crate::stage::{Scratch, Stage};
use crate::watch::read;
use crate::witness::cgroup::Cgroup;
use crate::witness::tree::Tree;

/// Guards what looks like a hang: no kill, no line in the kernel's log.
pub const SCENARIO: Scenario = Scenario {
    name: "oom_disabled",
    guards: "a task at the limit of a cgroup whose OOM killer is disabled (version 1) is told of, once",
    needs: Needs::LegacyMemcg,
    kills: 0,
    once: true,
    run,
};

fn run(stage: &mut Stage<'_>) -> Result<()> {
    if stage.tool.is_some_and(|tool| tool.program.tier.as_deref() == Some("tracepoint")) {
        return unseen(stage);
    }
    let folder = Scratch::new(stage.name)?;
    let mount = folder.file("memory");
    let legacy = match Legacy::take_over(c"memory", &mount) {
        Ok(legacy) => legacy,
        Err(error) => {
            stage.skipped = Some(format!("the controller cannot be had in version 1: {error:#}"));
            return Ok(());
        }
    };
    let tree = Tree::new(&legacy.hierarchy()?, stage.name)?;
    let group = tree.group("waits")?;
    let seen = hang(stage, &group);
    drop(tree);
    legacy.give_back(stage.deadline.or_after(Duration::from_secs(20)))?;
    seen
}

fn hang(stage: &mut Stage<'_>, group: &Cgroup) -> Result<()> {
    group.set_limit(16 * MIB)?;
    group.disable_oom_killer()?;
    let oomtrace = stage.tracer(&["--json"])?;
    let mut eater = stage.eater("waiter", &Eat { anon: 32 * MIB, ..Eat::default() }, Some(group))?;
    eater.order(word::FILL)?;
    let Some(mut oomtrace) = oomtrace else { return Ok(()) };
    let is_one = |line: &Vec<u8>| object(line).is_ok_and(|object| kind(&object) == ALLOC_FAILURE);
    let _absent_is_found_below =
        oomtrace.until(stage.deadline.or_after(Duration::from_secs(30)), "a line", |lines| {
            lines.iter().any(is_one)
        });
    let traced = read(oomtrace.stop(stage.deadline)?)?;
    stage.keep_output("oomtrace", &traced.output)?;
    stage.judge_course(&traced);
    let line = told(&traced, "memcg_oom_disabled", eater.pid(), &group.path, &mut stage.checks);
    let memcg = line.and_then(|line| line.pointer("/memcg/path").and_then(Value::as_str));
    stage.checks.equal("memcg.path", memcg, Some(group.path.as_str()), "the scenario");
    Ok(())
}

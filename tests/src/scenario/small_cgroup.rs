//! oomtrace lives in a small cgroup.

use std::fs;

use anyhow::{Context, Result};

use super::{Needs, Scenario};
use crate::compare::Expected;
use crate::eat::{Eat, word};
use crate::refusal::conditions::Conditions;
use crate::refusal::run::{Installed, Start};
use crate::size::MIB;
use crate::stage::Stage;
use crate::watch::{Watch, read};
use crate::witness::cgroup::{Cgroup, Version};

/// The memory that oomtrace may use, what the kernel needs for its programs included, in bytes. Twice the
/// smallest power of two in which it starts everywhere: it uses 8 MiB at its most on 6.1, and 17 MiB on 7.2.
const LIMIT: u64 = 64 * MIB;

/// Guards oomtrace's own memory: agents live in small cgroups, and one that dies there has nothing to report.
pub const SCENARIO: Scenario = Scenario {
    name: "small_cgroup",
    guards: "oomtrace in a cgroup of 64 MiB starts, reports a kill in another, and is not killed itself",
    needs: Needs::Memcg,
    kills: 1,
    once: true,
    run,
};

fn run(stage: &mut Stage<'_>) -> Result<()> {
    let tree = stage.tree()?;
    let (own, other) = (tree.group("oomtrace")?, tree.group("other")?);
    own.set_limit(LIMIT)?;
    other.set_limit(32 * MIB)?;
    let mut eater = stage.eater("not-oomtrace", &Eat { anon: 64 * MIB, ..Eat::default() }, Some(&other))?;

    let installed = stage.tool.map(|tool| Installed::new(&tool.program, stage.name)).transpose()?;
    let start = Start { conditions: Conditions::default().within(&own)?, ..Start::default() };
    let mut oomtrace = installed.as_ref().map(|it| it.trace(&start, &["--json"])).transpose()?;
    if let Some(oomtrace) = &mut oomtrace {
        let attached = oomtrace.attached(stage.deadline)?;
        stage.checks.that(attached, || "oomtrace does not start".to_owned());
        note(stage, &own, "to start")?;
    }
    let watch = Watch::begin(None, &[], stage.deadline)?;
    eater.order(word::FILL)?;
    eater.killed(stage.deadline)?;
    let expected = [Expected::kill(&eater.facts, &eater.facts, &other)];
    let mut seen = stage.finish(watch, &expected)?;
    if let Some(mut oomtrace) = oomtrace {
        oomtrace.reported(&[eater.pid()], stage.deadline);
        note(stage, &own, "to report")?;
        let output = oomtrace.stop(stage.deadline)?;
        stage.keep_output("oomtrace", &output)?;
        seen.traced = Some(read(output)?);
    }
    stage.judge(&seen, &expected, &[&eater.facts]);
    stage.checks.equal("kills in oomtrace's cgroup", own.oom_kills().ok(), Some(0), "the promise");
    Ok(())
}

/// Notes what the cgroup used at its most so far. Version 2 tells since 5.19.
fn note(stage: &mut Stage<'_>, cgroup: &Cgroup, what: &str) -> Result<()> {
    let (now, peak) = match cgroup.version() {
        Version::V1 => ("memory.usage_in_bytes", "memory.max_usage_in_bytes"),
        Version::V2 => ("memory.current", "memory.peak"),
    };
    let folder = cgroup.dir().context("oomtrace's cgroup is not in the mounted part")?;
    for file in [now, peak].map(|file| folder.join(file)).iter().filter(|file| file.exists()) {
        let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        let bytes: u64 = text.trim().parse().with_context(|| format!("{} is no number", file.display()))?;
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        println!("    {name} {what}: {} KiB", bytes / 1024);
        stage.checks.note(&format!("{name} {what}"), bytes);
    }
    Ok(())
}

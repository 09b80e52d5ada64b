//! Each filter lets through what matches it, and nothing else.

use anyhow::Result;

use super::{Needs, Scenario};
use crate::compare::Expected;
use crate::eat::{Eat, word};
use crate::eater::Eater;
use crate::size::MIB;
use crate::stage::Stage;
use crate::tracer::Tracer;
use crate::watch::read;
use crate::witness::procfs::walk;

/// The limit of the cgroup whose process matches, in bytes.
const LARGE: u64 = 40 * MIB;
/// That of the other, in bytes.
const SMALL: u64 = 16 * MIB;

/// Guards `--comm`, `--pid`, `--cgroup` and `--min-rss`: one oomtrace with each runs beside one without, while two
/// processes are killed of which only the first matches. The one without knows when there is no more to come.
pub const SCENARIO: Scenario = Scenario {
    name: "filters",
    guards: "each filter lets the matching one of two kills through, and not the other",
    needs: Needs::Memcg,
    kills: 2,
    once: true,
    run,
};

fn run(stage: &mut Stage<'_>) -> Result<()> {
    let tree = stage.tree()?;
    let (wanted, other) = (tree.group("wanted")?, tree.group("other")?);
    wanted.set_limit(LARGE)?;
    other.set_limit(SMALL)?;
    let eat = Eat { anon: 64 * MIB, ..Eat::default() };
    let mut matching = stage.eater("filter-match", &eat, Some(&wanted))?;
    let mut differing = stage.eater("filter-other", &eat, Some(&other))?;

    // What an eater has before it eats is its binary, which is charged elsewhere.
    let between = walk(matching.pid())?.rss_bytes + u64::midpoint(SMALL, LARGE);
    let (pid, between) = (matching.pid().to_string(), between.to_string());
    let glob = format!("{}/wan*", tree.base().path);
    let filters = [("--comm", "filter-match"), ("--pid", &pid), ("--cgroup", &glob), ("--min-rss", &between)];
    let mut filtered = Vec::new();
    for (option, value) in filters {
        filtered.push((option, stage.tracer(&["--json", option, value])?));
    }
    let watch = stage.watch(&[])?;
    for eater in [&mut matching, &mut differing] {
        eater.order(word::FILL)?;
        eater.killed(stage.deadline)?;
    }
    let expected = [
        Expected::kill(&matching.facts, &matching.facts, &wanted),
        Expected::kill(&differing.facts, &differing.facts, &other),
    ];
    let seen = stage.finish(watch, &expected)?;

    stage.judge(&seen, &expected, &[&matching.facts, &differing.facts]);
    for (option, tracer) in filtered {
        if let Some(tracer) = tracer {
            check_filtered(stage, option, tracer, &matching)?;
        }
    }
    Ok(())
}

/// Ends a filtered run and checks that it has the matching kill alone. It had both before the unfiltered one
/// reported them, and delivers what it has before it ends.
fn check_filtered(stage: &mut Stage<'_>, option: &str, filtered: Tracer, matching: &Eater) -> Result<()> {
    let output = filtered.stop(stage.deadline)?;
    stage.keep_output(&format!("filter{option}"), &output)?;
    let traced = read(output)?;
    stage.judge_course(&traced);
    let victims = traced.incidents.iter().map(|incident| &incident.fields.victims);
    let pids: Vec<_> =
        victims.map(|victims| victims.iter().map(|victim| victim.pid).collect::<Vec<_>>()).collect();
    let what = format!("the victims that {option} lets through");
    stage.checks.equal(&what, Some(pids), Some(vec![vec![Some(matching.pid())]]), "the scenario");
    Ok(())
}

//! Storms into a ring of one page.

use anyhow::Result;

use super::{Needs, Scenario, storm};
use crate::incident::Incident;
use crate::stage::Stage;
use crate::storm::loss::Losses;
use crate::storm::watch::Storm;
use crate::storm::{Mix, Size, account};

/// Each record of it is far larger than what a page has room for.
const SIZE: Size = Size { kills: 100, cgroups: 25 };

/// Guards the count of what finds no room: every kill is reported or counted as lost, in JSON and in words,
/// and what is reported beside the losses is right. Once oomtrace is stopped, so that nearly all is lost;
/// once it runs, so that any part of an incident may be.
pub const SCENARIO: Scenario = Scenario {
    name: "ring_overflow",
    guards: "100 kills into a ring of one page, while oomtrace is stopped and while it runs: each is \
             reported or counted as lost",
    needs: Needs::Memcg,
    kills: 0,
    once: true,
    run,
};

fn run(stage: &mut Stage<'_>) -> Result<()> {
    stage.untraced = Some("the ring has no room for them, and the log is not read");
    overflow(stage, true)?;
    overflow(stage, false)
}

/// One storm, with an oomtrace that stands still meanwhile or does not.
fn overflow(stage: &mut Stage<'_>, stopped: bool) -> Result<()> {
    let what = if stopped { "stopped" } else { "running" };
    let tree = stage.tree()?;
    // The log would tell of what the ring has no room for.
    let mut oomtrace = storm::start(stage, &["--ring-size", "4K", "--no-kmsg"])?;
    if let Some(oomtrace) = &mut oomtrace {
        oomtrace.listen();
        if stopped {
            oomtrace.hold()?;
        }
    }
    let storm = Storm::make(&tree, SIZE, Mix::Plain, stage.machine, stage.deadline)?;
    storm::note(stage, &storm);
    storm::keep_log(stage, &format!("{what}-kernel"), &storm)?;
    account::witnesses(&mut stage.checks, &storm);
    let Some(mut oomtrace) = oomtrace else { return Ok(()) };
    if stopped {
        oomtrace.go_on()?;
        oomtrace.must_hear("no room", stage.deadline)?;
    }
    let traced = storm::finish(stage, &format!("{what}-oomtrace"), oomtrace.stop(stage.deadline)?)?;

    let losses = Losses::of(&traced.objects);
    let matched = storm::judge(stage, &storm, &traced);
    let checks = &mut stage.checks;
    matched.check_no_inventions(checks);
    let marks = losses.count("ring", "mark");
    checks.note(&format!("{what}: victims reported as killed"), matched.reported);
    checks.note(&format!("{what}: marks lost"), marks);
    checks.note(&format!("{what}: records lost"), losses.total());
    // Such a victim is known by its decision alone, and is among those whose mark was lost.
    let by_decision = |incident: &&Incident| incident.fields.missing.contains_key("victims[0].rss");
    let by_decision = traced.incidents.iter().filter(by_decision).count() as u64;
    checks.note(&format!("{what}: victims known by their decision alone"), by_decision);
    checks.that(marks > 0 || !stopped, || "no mark was lost, which proves nothing".to_owned());
    checks.equal(
        &format!("{what}: victims reported and marks lost"),
        (matched.reported + marks).checked_sub(by_decision),
        Some(storm.oom_kills),
        "/proc/vmstat",
    );
    checks.equal("lost_records at the end", losses.ended, Some(losses.total()), "the sum of the loss lines");
    let said = traced.output.said();
    let words = format!("{} records lost", losses.total());
    checks.that(losses.total() == 0 || said.contains(&words), || {
        format!("the summary does not have {words:?}, but: {said}")
    });
    checks.that(traced.output.status.success(), || format!("oomtrace ended with {}", traced.output.status));
    if let Some(tool) = stage.tool {
        tool.schema.check(&mut stage.checks, &traced.objects);
    }
    Ok(())
}

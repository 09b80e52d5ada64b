//! Nobody reads oomtrace's output while a storm goes on.

use anyhow::Result;

use super::{Needs, Scenario, storm};
use crate::stage::Stage;
use crate::storm::loss::Losses;
use crate::storm::watch::Storm;
use crate::storm::{Mix, Size, account};

/// Fewer than the queue has room for: nothing may be lost.
const FITS: Size = Size { kills: 150, cgroups: 25 };
/// More than the queue and a pipe have room for. Too slow for an emulated machine.
const FLOODS: Size = Size { kills: 1200, cgroups: 50 };

/// Guards the queue in front of the output: what it has room for survives a reader that stands still, and the rest is
/// counted as lost and said to be.
pub const SCENARIO: Scenario = Scenario {
    name: "reader_stopped",
    guards: "the reader of the output stands still during a storm: nothing is lost but what is said to be",
    needs: Needs::Memcg,
    kills: 0,
    once: true,
    run,
};

fn run(stage: &mut Stage<'_>) -> Result<()> {
    stage.untraced = Some("there is no room for all that nobody reads");
    silence(stage, FITS)?;
    if stage.machine.disposable { Ok(()) } else { silence(stage, FLOODS) }
}

/// A storm of that size in which nothing is read before it is over.
fn silence(stage: &mut Stage<'_>, size: Size) -> Result<()> {
    let tree = stage.tree()?;
    let oomtrace = storm::start(stage, &[])?;
    let storm = Storm::make(&tree, size, Mix::Everything, stage.machine, stage.deadline)?;
    storm::note(stage, &storm);
    storm::keep_log(stage, &format!("{}-kernel", size.kills), &storm)?;
    account::witnesses(&mut stage.checks, &storm);
    let Some(mut oomtrace) = oomtrace else { return Ok(()) };
    oomtrace.listen();
    let traced = storm::finish(stage, &format!("{}-oomtrace", size.kills), oomtrace.stop(stage.deadline)?)?;

    let losses = Losses::of(&traced.objects);
    let matched = storm::judge(stage, &storm, &traced);
    let checks = &mut stage.checks;
    matched.check_no_inventions(checks);
    let (missing, lost) = (matched.missing.len() as u64, losses.count("output", "message"));
    checks.note(&format!("{} kills unread: not reported", storm.oom_kills), missing);
    checks.note(&format!("{} kills unread: messages lost", storm.oom_kills), lost);
    checks.that(missing <= lost, || {
        format!("{missing} kills were not reported, and only {lost} messages are said to be lost: {losses:?}")
    });
    checks.equal("lost_records at the end", losses.ended, Some(losses.total()), "the sum of the loss lines");
    checks.equal("other losses", Some(losses.total() - lost), Some(0), "the scenario");
    checks.that(size.kills > FITS.kills || lost == 0, || {
        format!("{lost} messages were lost, though the queue has room for {} kills", storm.oom_kills)
    });
    checks.that(size.kills == FITS.kills || lost > 0, || {
        format!("nothing was lost in {} kills, which proves nothing", storm.oom_kills)
    });
    let said = traced.output.said();
    checks.that(lost == 0 || said.contains("too slow"), || {
        format!("that messages were lost is not said in words, but: {said}")
    });
    checks.that(traced.output.status.success(), || format!("oomtrace ended with {}", traced.output.status));
    if let Some(tool) = stage.tool {
        tool.schema.check(&mut stage.checks, &traced.objects);
    }
    Ok(())
}

//! The OOM killer chooses somebody who is ending already.

use std::time::Duration;

use anyhow::{Context, Result};

use super::{Needs, Scenario};
use crate::compare::Expected;
use crate::eat::{Eat, word};
use crate::floor::{excused, is_excused};
use crate::freezer::Freezer;
use crate::incident::{Victim, kind, object};
use crate::size::MIB;
use crate::stage::Stage;
use crate::watch::{Watch, read};

/// Guards the mark that is no kill (`task_will_free_mem` in `oom_kill_process`): the chosen one was killed by somebody
/// else and still has its memory. The kernel marks it, sends nothing, counts nothing and logs nothing.
///
/// That state lasts for microseconds. Here the victim is frozen before it is killed: the signal waits for it, and the
/// mark itself thaws it (`mark_oom_victim`).
pub const SCENARIO: Scenario = Scenario {
    name: "exiting",
    guards: "a process that was killed before is chosen: marked, not killed, nowhere logged, and reported as such",
    needs: Needs::Memcg,
    kills: 0,
    once: false,
    run,
};

/// How long the report of the mark may take.
const DELIVERY: Duration = Duration::from_secs(10);
/// The cgroup's limit in bytes.
const LIMIT: u64 = 48 * MIB;

fn run(stage: &mut Stage<'_>) -> Result<()> {
    let freezer = match Freezer::new() {
        Ok(freezer) => freezer,
        Err(error) => {
            stage.skipped = Some(format!("a dying process cannot be held: {error:#}"));
            return Ok(());
        }
    };
    let tree = stage.tree()?;
    let group = tree.group("dying")?;
    group.set_limit(LIMIT)?;
    let mut big = stage.eater("already-dying", &Eat { anon: 28 * MIB, ..Eat::default() }, Some(&group))?;
    let asker = Eat { anon: 24 * MIB, adj: Some(1), ..Eat::default() };
    let mut small = stage.eater("dying-asker", &asker, Some(&group))?;
    big.fill_and_hold(stage.deadline)?;
    // By itself: there is nothing in the log to wait for.
    let mut oomtrace = stage.tracer(&["--json"])?;

    let watch = Watch::begin(None, &[], stage.deadline)?;
    freezer.freeze(big.pid(), stage.deadline)?;
    big.kill()?;
    stage.checks.that(big.lives()?, || "the frozen process has ended before it was chosen".to_owned());
    small.order(word::FILL)?;
    big.killed(stage.deadline)?;
    // It may not have waited for the memory of the first, as in `Expected::kills`.
    let survived = small.survived(stage.deadline)?;
    let second = Expected { draining_bytes: LIMIT, ..Expected::kill(&small.facts, &small.facts, &group) };
    let expected: Vec<_> = (!survived).then_some(second).into_iter().collect();
    let killed: Vec<_> = expected.iter().map(|_| small.pid()).collect();
    let mut seen = watch.finish(&killed, stage.deadline)?;
    if let Some(mut oomtrace) = oomtrace.take() {
        let incidents = 1 + expected.len();
        let enough = |lines: &[Vec<u8>]| {
            let is_oom = |line: &&Vec<u8>| object(line).is_ok_and(|object| kind(&object) == "oom");
            lines.iter().filter(is_oom).count() >= incidents
        };
        let _absent_is_found_by_the_comparison =
            oomtrace.until(stage.deadline.or_after(DELIVERY), "the reports", enough);
        let output = oomtrace.stop(stage.deadline)?;
        stage.keep_output("oomtrace", &output)?;
        seen.traced = Some(read(output)?);
    }

    stage.judge(&seen, &expected, &[&big.facts, &small.facts]);
    let checks = &mut stage.checks;
    let kills = expected.len() as u64;
    checks.note("kills after the mark", kills);
    checks.equal("oom_kill of the machine", Some(seen.oom_kills), Some(kills), "the scenario");
    checks.that(seen.logged(big.pid()).is_none(), || format!("the log tells of it: {:?}", seen.log));
    let Some(traced) = &seen.traced else { return Ok(()) };
    checks.equal("incidents", Some(traced.incidents.len()), Some(1 + expected.len()), "the scenario");
    // A kernel whose tracepoint passes a thread id alone tells no more with tracepoints only: no signal comes before.
    let has = |victim: &Victim| victim.tid == Some(big.pid());
    let incident = traced.incidents.iter().find(|incident| incident.fields.victims.iter().any(has));
    let incident = incident.context("oomtrace does not report the mark")?;
    let fields = &incident.fields;
    let victims: Vec<_> = fields.victims.iter().map(|it| (it.tid, it.verdict.as_deref())).collect();
    let alone = vec![(Some(big.pid()), Some("already_exiting"))];
    checks.equal("victims", Some(victims), Some(alone), "the scenario");
    let path = fields.scope.memcg.as_ref().and_then(|memcg| memcg.path.as_deref());
    let comm = fields.victims.first().and_then(|victim| victim.comm.as_deref());
    let excused = excused(&fields.missing);
    for (field, ours, expected) in [
        ("scope.kind", fields.scope.kind.as_deref(), "memcg"),
        ("scope.memcg", path, group.path.as_str()),
        ("victims[].comm", comm, "already-dying"),
    ] {
        checks.equal_if_given(field, ours, Some(expected), "the scenario");
        let unseen = is_excused(field, &excused) && fields.tier.as_deref() == Some("tracepoint");
        checks.that(ours.is_some() || unseen, || format!("{field} is absent"));
    }
    checks.equal("trigger.tid", fields.trigger.tid, Some(small.pid()), "the scenario");
    checks.equal("outcome", fields.outcome.as_deref(), Some("already_exiting"), "the scenario");
    Ok(())
}

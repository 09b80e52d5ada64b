//! The smaller process dies, for its `oom_score_adj`.

use anyhow::Result;

use super::{Needs, Scenario};
use crate::compare::Expected;
use crate::eat::{Eat, word};
use crate::size::MIB;
use crate::stage::Stage;

/// The cgroup's limit in bytes.
const LIMIT: u64 = 50 * MIB;

/// Guards the score and the adjustment: here they decide against the size. The adjustment's share of the score is
/// adj × (capacity / 1000) pages, the division first: of 12,800 pages that is 800 × 12, where 800 × 12.8 would be
/// 640 pages more.
pub const SCENARIO: Scenario = Scenario {
    name: "adj_decides",
    guards: "a smaller process with a raised oom_score_adj is killed instead of a bigger one: points and adj agree",
    needs: Needs::Memcg,
    kills: 2,
    once: true,
    run,
};

fn run(stage: &mut Stage<'_>) -> Result<()> {
    let tree = stage.tree()?;
    let group = tree.group("adjusted")?;
    group.set_limit(LIMIT)?;
    let bigger = Eat { anon: 24 * MIB, more: 22 * MIB, ..Eat::default() };
    let smaller = Eat { anon: 8 * MIB, adj: Some(800), ..Eat::default() };
    let mut big = stage.eater("big-adj-0", &bigger, Some(&group))?;
    let mut small = stage.eater("small-adj-800", &smaller, Some(&group))?;
    big.fill_and_hold(stage.deadline)?;
    small.fill_and_hold(stage.deadline)?;

    let watch = stage.watch(&[])?;
    big.order(word::MORE)?;
    small.killed(stage.deadline)?;
    let survived = big.survived(stage.deadline)?;
    let expected = Expected::kills(&small.facts, &big.facts, survived, &group, LIMIT);
    let seen = stage.finish(watch, &expected)?;

    stage.judge(&seen, &expected, &[&big.facts, &small.facts]);
    let rows = seen.logged(small.pid()).map(|oom| (oom.task(big.pid()), oom.task(small.pid())));
    let smaller = rows.and_then(|(big, small)| Some(small?.rss_pages < big?.rss_pages));
    stage.checks.equal("the victim is the smaller one", smaller, Some(true), "the task table");
    Ok(())
}

//! A process alone in its cgroup exceeds the limit by itself.

use anyhow::Result;

use super::{Needs, Scenario};
use crate::compare::Expected;
use crate::eat::{Eat, word};
use crate::size::MIB;
use crate::stage::Stage;

/// Guards the plainest kill, and every figure of its victim: anonymous, file and shared memory all differ and none
/// is zero, and the uid is not root's.
pub const SCENARIO: Scenario = Scenario {
    name: "memcg_self",
    guards: "a process alone in its cgroup exceeds the limit: it is both trigger and victim, and all its figures agree",
    needs: Needs::Memcg,
    kills: 1,
    once: false,
    run,
};

fn run(stage: &mut Stage<'_>) -> Result<()> {
    let tree = stage.tree()?;
    let group = tree.group("self")?;
    group.set_limit(32 * MIB)?;
    let eat = Eat { file: 3 * MIB, shmem: 2 * MIB, anon: 64 * MIB, uid: Some(1234), ..Eat::default() };
    let mut eater = stage.eater("memcg-self", &eat, Some(&group))?;

    let watch = stage.watch(&[])?;
    eater.order(word::FILL)?;
    eater.killed(stage.deadline)?;
    let expected = [Expected::kill(&eater.facts, &eater.facts, &group)];
    let seen = stage.finish(watch, &expected)?;

    stage.judge(&seen, &expected, &[&eater.facts]);
    let logged = seen.logged(eater.pid()).and_then(|oom| oom.killed(eater.pid()));
    let least = logged
        .map(|kill| (kill.file_rss_kb.min(3 * 1024), kill.shmem_rss_kb.min(2 * 1024), kill.anon_rss_kb > 0));
    stage.checks.equal("the log's kinds of memory", least, Some((3 * 1024, 2 * 1024, true)), "the scenario");
    Ok(())
}

//! A process alone in its cgroup exceeds the limit by itself.

use anyhow::Result;

use super::{Needs, Scenario};
use crate::compare::Expected;
use crate::eat::{Eat, word};
use crate::size::{KIB, MIB};
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
    // The kernel's own figures leave out what processors, or threads, hold back.
    let held_back_kb = stage.machine.counter_error_bytes(1) / KIB;
    let has = |kb: u64, mib: u64| kb + held_back_kb >= mib * 1024;
    let all = logged.map(|kill| (has(kill.file_rss_kb, 3), has(kill.shmem_rss_kb, 2), kill.anon_rss_kb > 0));
    stage.checks.equal("the log has all kinds of memory", all, Some((true, true, true)), "the scenario");
    Ok(())
}

//! A process that shares the victim's memory dies with it.

use anyhow::Result;

use super::{Needs, Scenario};
use crate::compare::Expected;
use crate::eat::{Eat, word};
use crate::ftrace::{Event, Trace};
use crate::size::MIB;
use crate::stage::Stage;
use crate::witness::procfs;

/// Guards the difference between the victim and those who die because its memory is theirs too (CLONE_VM without
/// CLONE_THREAD): the kernel sends these SIGKILL, and neither marks, counts nor logs them. They are in no cgroup of
/// ours, so that it is certain who is chosen.
pub const SCENARIO: Scenario = Scenario {
    name: "mm_shared",
    guards: "two processes that share the victim's memory are killed with it, unlogged: they are no victims of their own",
    needs: Needs::Memcg,
    kills: 1,
    once: false,
    run,
};

/// How many share the memory.
const SHARERS: usize = 2;
/// What the kernel's trace is asked for.
const SIGNAL: &str = "signal_generate";

fn run(stage: &mut Stage<'_>) -> Result<()> {
    let trace = match Trace::record(&["signal/signal_generate"]) {
        Ok(trace) => trace,
        Err(error) => {
            stage.skipped = Some(format!("the kernel's trace of signals cannot be had: {error:#}"));
            return Ok(());
        }
    };
    let tree = stage.tree()?;
    let group = tree.group("sharing")?;
    group.set_limit(32 * MIB)?;
    let eat = Eat { anon: 48 * MIB, sharers: SHARERS, ..Eat::default() };
    let mut owner = stage.eater("mm-owner", &eat, Some(&group))?;
    let sharers = procfs::children(owner.pid())?;
    stage.checks.equal("sharers", Some(sharers.len()), Some(SHARERS), "the scenario");

    let watch = stage.watch(&[])?;
    owner.order(word::FILL)?;
    owner.killed(stage.deadline)?;
    let kill = Expected::kill(&owner.facts, &owner.facts, &group);
    let expected = [Expected { along: sharers.clone(), ..kill }];
    let seen = stage.finish(watch, &expected)?;
    let text = trace.text()?;
    stage.keep_text("trace", &text)?;

    stage.judge(&seen, &expected, &[&owner.facts]);
    stage.judge_findings(&seen, &owner.facts, &["memcg-limit", "collateral"]);
    stage.checks.equal("oom_kill of the machine", Some(seen.oom_kills), Some(1), "the scenario");
    for sharer in sharers {
        if let Some(traced) = &seen.traced {
            let verdict = traced.verdict_of(sharer);
            stage.checks.equal("verdict of a sharer", verdict, Some("mm_shared"), "the scenario");
        }
        let killed = killed_by_kernel(&text, owner.pid(), sharer);
        stage
            .checks
            .that(killed, || format!("the kernel's trace does not have {sharer} killed with its memory"));
        stage.checks.that(seen.logged(sharer).is_none(), || format!("the log has {sharer} killed"));
        stage.checks.that(!procfs::lives(sharer), || format!("{sharer} lives without its memory"));
    }
    Ok(())
}

/// Whether a trace has thread `by` send process `to` SIGKILL on the kernel's behalf (`SEND_SIG_PRIV`, shown as code
/// 128). The signal that it is sent when its maker is gone has the code 0.
fn killed_by_kernel(trace: &str, by: u64, to: u64) -> bool {
    let mut signals = trace.lines().filter_map(|line| Event::read(line, &[SIGNAL]));
    let number = |event: &Event<'_>, name| event.number(name);
    signals.any(|event| {
        event.tid == by
            && number(&event, "sig") == Some(9)
            && number(&event, "code") == Some(128)
            && number(&event, "pid") == Some(to)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the witness: who sent what to whom, and in whose name.
    #[test]
    fn tells_the_kernels_signal_from_others() {
        let line = |code| {
            format!(
                "  mm-owner-7  [000] d..1.  1.000001: signal_generate: sig=9 errno=0 code={code} comm=mm-owner pid=8 grp=1 res=0"
            )
        };
        assert!(killed_by_kernel(&line(128), 7, 8));
        assert!(!killed_by_kernel(&line(0), 7, 8));
        assert!(!killed_by_kernel(&line(128), 7, 9) && !killed_by_kernel(&line(128), 8, 8));
    }
}

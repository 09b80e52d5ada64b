//! oomtrace is killed while it traces.

use std::collections::BTreeSet;
use std::fs;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result};

use super::{Needs, Scenario, storm};
use crate::compare::Expected;
use crate::deadline::Deadline;
use crate::eat::{Eat, word};
use crate::size::MIB;
use crate::stage::Stage;

/// What the kernel may take to free programs whose last user is gone: an RCU grace period or two, under emulation.
const FREEING: Duration = Duration::from_secs(30);

/// Guards the kernel against what a tracer that could not clean up may leave behind, and the next tracer against it.
pub const SCENARIO: Scenario = Scenario {
    name: "killed_9",
    guards: "oomtrace dies by SIGKILL: its programs leave the kernel, and the next one traces as ever",
    needs: Needs::Memcg,
    kills: 1,
    once: true,
    run,
};

fn run(stage: &mut Stage<'_>) -> Result<()> {
    let before = programs()?;
    if let Some(tracer) = storm::start(stage, &[])? {
        let own: BTreeSet<_> = programs()?.difference(&before).cloned().collect();
        stage.checks.note("programs in the kernel", own.len());
        stage.checks.that(!own.is_empty(), || {
            "the kernel lists none of oomtrace's programs in /proc/kallsyms, so nothing would prove that they go; \
             set the sysctls net.core.bpf_jit_enable and net.core.bpf_jit_kallsyms to 1"
                .to_owned()
        });
        tracer.kill(stage.deadline)?;
        let left = left_behind(&own, stage.deadline.or_after(FREEING))?;
        stage.checks.that(left.is_empty(), || format!("these programs stayed in the kernel: {left:?}"));
    }

    let tree = stage.tree()?;
    let group = tree.group("after")?;
    group.set_limit(32 * MIB)?;
    let mut eater = stage.eater("after-kill", &Eat { anon: 64 * MIB, ..Eat::default() }, Some(&group))?;
    let watch = stage.watch(&[])?;
    eater.order(word::FILL)?;
    eater.killed(stage.deadline)?;
    let expected = [Expected::kill(&eater.facts, &eater.facts, &group)];
    let seen = stage.finish(watch, &expected)?;
    stage.judge(&seen, &expected, &[&eater.facts]);
    Ok(())
}

/// Waits until none of `own` is in the kernel any more, or until the deadline. Gives those that are. Another tracer's
/// that came meanwhile may be among them until it ends.
fn left_behind(own: &BTreeSet<String>, deadline: Deadline) -> Result<Vec<String>> {
    loop {
        let left: Vec<_> = own.intersection(&programs()?).cloned().collect();
        if left.is_empty() || deadline.left("programs to leave the kernel").is_err() {
            return Ok(left);
        }
        sleep(Duration::from_millis(100));
    }
}

/// The BPF programs in the kernel, by address, tag and name.
fn programs() -> Result<BTreeSet<String>> {
    let symbols = fs::read_to_string("/proc/kallsyms").context("cannot read /proc/kallsyms; mount /proc")?;
    Ok(bpf_programs(&symbols))
}

/// The lines of BPF programs, `ADDRESS t bpf_prog_TAG_NAME\t[bpf]`, in /proc/kallsyms (`bpf_get_prog_name`,
/// kernel/bpf/core.c, 4.12 and later). Their trampolines and dispatchers have other names.
fn bpf_programs(symbols: &str) -> BTreeSet<String> {
    let programs = symbols.lines().filter(|line| line.contains(" bpf_prog_") && line.ends_with("[bpf]"));
    programs.map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the list of programs: the kernel's own functions with such names are not among them.
    #[test]
    fn programs_are_told_from_functions() {
        let symbols = "ffffffff81000000 T bpf_prog_alloc\n\
                       ffffffffc0010000 t bpf_prog_1d2f3a4b5c6d7e8f_victim_raw_tp\t[bpf]\n\
                       ffffffffc0020000 t bpf_trampoline_6442491234\t[bpf]\n\
                       ffffffffc0030000 t bpf_prog_thing\t[a_module]\n";
        let found = bpf_programs(symbols);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found.iter().all(|line| line.contains("victim_raw_tp")));
    }
}

//! oomtrace where it cannot, must not or need not go on.

use anyhow::Result;

use super::{Needs, Scenario};
use crate::refusal::run::Installed;
use crate::refusal::{disk, one_kill, readers, replays, types, usage};
use crate::stage::Stage;

/// Guards what oomtrace says where it cannot do what it is asked to: a sentence that helps, the exit status that the
/// README documents, and no crash; and that it does what it can all the same.
pub const SCENARIO: Scenario = Scenario {
    name: "refusals",
    guards: "without rights, type information, readers, room on the disk or sense in its arguments, oomtrace says so \
             with the documented exit status, or does without",
    needs: Needs::Memcg,
    kills: 5,
    once: true,
    run,
};

fn run(stage: &mut Stage<'_>) -> Result<()> {
    let Some(tool) = stage.tool else { return Ok(()) };
    let oomtrace = Installed::new(&tool.program, stage.name)?;
    // What rights are needed depends on the hooks; the rest does not, and is tried with the best.
    one_kill::cases(stage, tool, &oomtrace)?;
    if !matches!(tool.program.tier.as_deref(), Some("kprobe" | "tracepoint")) {
        types::cases(stage, &oomtrace)?;
        let recording = disk::cases(stage, &oomtrace)?;
        // Arguments and record files are the same to every kernel, and each of these many runs takes long under emulation.
        if !stage.machine.disposable {
            usage::cases(stage, &oomtrace)?;
            replays::cases(stage, &oomtrace, &recording)?;
        }
        readers::cases(stage, &oomtrace, &recording)?;
    }
    let left = oomtrace.left_running()?;
    stage.checks.that(left.is_empty(), || format!("these still run: {}", left.join(", ")));
    Ok(())
}

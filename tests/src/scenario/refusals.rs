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
    stage.untraced = Some("most of those that see them have less than oomtrace needs");
    let oomtrace = Installed::new(&tool.program, stage.name)?;
    // What rights are needed depends on the hooks.
    one_kill::cases(stage, tool, &oomtrace)?;
    // To these no kernel makes a difference, and each of the many runs takes long under emulation.
    if !stage.machine.disposable {
        usage::cases(stage, &oomtrace)?;
        types::cases(stage, &oomtrace)?;
        let recording = disk::cases(stage, &oomtrace)?;
        replays::cases(stage, &oomtrace, &recording)?;
        readers::cases(stage, &oomtrace, &recording)?;
    }
    let left = oomtrace.left_running()?;
    stage.checks.that(left.is_empty(), || format!("these still run: {}", left.join(", ")));
    Ok(())
}

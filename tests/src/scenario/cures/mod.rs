//! What findings propose, done: each incident is provoked, what it comes to is read, the commands are run as they stand,
//! and the very same is provoked again.

mod disk;
pub mod ground;
mod group;
mod looks;
mod machine;
pub mod units;

use anyhow::Result;

use super::{Needs, Scenario};
use crate::fork::setting::Setting;
use crate::stage::{Stage, argument};
use crate::watch::read;
use ground::Ground;

/// Guards the findings of machines and groups that are set up badly, as the exact set of each; that what they propose
/// as a command makes the same not happen again, or not be found again; and that what they propose to look at shows who
/// it was. No header of the kernel's is needed: those are compared elsewhere.
pub const SCENARIO: Scenario = Scenario {
    name: "cures",
    guards: "machines and groups set up badly run out of memory: exactly that is found, and once its commands were run, the same happens no more",
    needs: Needs::Tools,
    kills: 0,
    once: true,
    run,
};

/// Each provokes an incident, does what is proposed, and provokes the same again.
type Case = fn(&mut Ground<'_, '_>) -> Result<()>;

const CASES: [(&str, Case); 21] = [
    ("limit", group::limit),
    ("ancestor", group::ancestor),
    ("lowered", group::lowered),
    ("swap forbidden", group::swap_forbidden),
    ("stalled", group::stalled),
    ("repeated", group::repeated),
    ("one of a container", group::contained),
    ("panic", group::panic),
    ("no swap", machine::no_swap),
    ("swap full", machine::swap_full),
    ("much kept free", machine::min_free_oversized),
    ("little kept free", machine::min_free_tiny),
    ("huge pages", machine::huge_pages),
    ("whoever asks dies", machine::allocating_task),
    ("spared", machine::spared),
    ("promised", machine::promised),
    ("promised all", machine::promised_all),
    ("shielded", looks::shielded),
    ("tmpfs", looks::tmpfs),
    ("locked", looks::locked),
    ("slabs", looks::slabs),
];

fn run(stage: &mut Stage<'_>) -> Result<()> {
    each(stage, &CASES, &[])
}

/// Goes through cases with one oomtrace, whose stream is recorded where things are kept.
fn each(stage: &mut Stage<'_>, cases: &[(&str, Case)], cured_elsewhere: &[&str]) -> Result<()> {
    let recording = stage.kept("stream.oomtrace")?;
    let mut options = vec!["--json"];
    if let Some(recording) = &recording {
        options.extend(["--record", argument(recording)?]);
    }
    let Some(oomtrace) = stage.tracer(&options)? else { return Ok(()) };
    // The processors' own lists hold an eighth of memory else, which is neither free nor used (zone_highsize(), mm/page_alloc.c).
    let lists = Setting::keep("vm/percpu_pagelist_high_fraction")?;
    lists.set(1000)?;
    let mut ground = Ground::new(stage, oomtrace)?;
    for (name, case) in cases {
        if let Err(error) = case(&mut ground) {
            ground.stage.checks.fail(format!("{name}: {error:#}"));
        }
    }
    let output = ground.end(cured_elsewhere)?;
    stage.keep_output("oomtrace", &output)?;
    stage.judge_course(&read(output)?);
    Ok(())
}

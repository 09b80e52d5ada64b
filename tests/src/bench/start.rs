//! The time from exec until a kill would be reported.

use std::process::Stdio;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::{Bench, sample, tool};

/// How long the kernel gets to settle after a tool has ended.
const SETTLE: Duration = Duration::from_millis(500);

/// Starts each tool in turn, as often as asked for. The first turn warms up and does not count.
///
/// The clock starts before the fork. It stops for oomtrace when it has said that it is armed, and once more, in a run
/// of its own, when all its hooks are in place; for the others when their kprobe is in the kernel's list, which is a
/// little before their program is attached.
pub fn measure(bench: &Bench) -> Result<()> {
    let mut tools = vec![
        ("start", tool::oomtrace(&bench.oomtrace, &[]).reporting()),
        ("start, all hooks", tool::oomtrace(&bench.oomtrace, &[])),
    ];
    if !bench.alone {
        tools.extend(tool::peers().into_iter().map(|tool| ("start", tool)));
    }
    for run in 0..=bench.runs {
        for (figure, tool) in &tools {
            // What the one before has left behind is being taken apart by the kernel for a while.
            sleep(SETTLE);
            let began = Instant::now();
            let armed = tool.start(Stdio::null())?;
            let took = began.elapsed();
            armed.stop()?;
            if run > 0 {
                sample(figure, tool.name, "ms", Some(took.as_secs_f64() * 1e3))?;
            }
        }
    }
    Ok(())
}

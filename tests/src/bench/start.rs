//! The time from exec until a kill would be reported.

use std::process::Stdio;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

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
    take_turns_at_once()?;
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

/// Has this thread, and not the tools that it starts, run as soon as it is woken. Otherwise it waits for the next tick of
/// the kernel's clock, 4 ms, or for the tool to wait for something, and what is measured is which comes first.
fn take_turns_at_once() -> Result<()> {
    let priority = libc::sched_param { sched_priority: 1 };
    // SAFETY: the pointer is to a structure of ours.
    let result = unsafe {
        libc::sched_setscheduler(0, libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK, &raw const priority)
    };
    if result == 0 {
        return Ok(());
    }
    Err(std::io::Error::last_os_error()).context("cannot run at once when woken (root may)")
}

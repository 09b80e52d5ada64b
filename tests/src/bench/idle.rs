//! What the tools use while nothing happens, and after one kill.

use std::process::Stdio;
use std::thread::sleep;
use std::time::Duration;

use anyhow::Result;

use super::child::Killer;
use super::tool::{self, Armed, Tool};
use super::usage::{activity, memory};
use super::{Bench, sample, value};

/// How long the tools are left alone before they count as idle.
const SETTLE: Duration = Duration::from_secs(10);
/// How long the tools get to report the kill.
const REPORT: Duration = Duration::from_secs(2);

/// Runs the tools side by side, since idle ones do not disturb each other: once armed, after ten idle seconds, over
/// some seconds more, and after one kill.
pub fn measure(bench: &Bench, seconds: u64) -> Result<()> {
    let mut tools = vec![tool::oomtrace(&bench.oomtrace, &[])];
    if !bench.alone {
        tools.extend(tool::peers());
    }
    let killer = Killer::new()?;
    for _ in 0..bench.runs {
        let mut running: Vec<(&Tool, Armed)> = Vec::new();
        for tool in &tools {
            let armed = tool.start(Stdio::null())?;
            memory_of(tool, &armed, "armed")?;
            running.push((tool, armed));
        }
        sleep(SETTLE);
        let mut before = Vec::new();
        for (tool, armed) in &running {
            memory_of(tool, armed, "idle")?;
            before.push(activity(armed.pid())?);
        }
        sleep(Duration::from_secs(seconds));
        for ((tool, armed), before) in running.iter().zip(before) {
            let after = activity(armed.pid())?;
            let (cpu, sleeps) = (after.cpu_ns - before.cpu_ns, after.sleeps - before.sleeps);
            sample("idle CPU time", tool.name, "us", Some(value(cpu) / 1e3))?;
            sample("idle wake-ups", tool.name, "", Some(value(sleeps)))?;
        }
        killer.kill()?;
        sleep(REPORT);
        for (tool, armed) in running {
            memory_of(tool, &armed, "after a kill")?;
            armed.stop()?;
        }
    }
    Ok(())
}

fn memory_of(tool: &Tool, armed: &Armed, when: &str) -> Result<()> {
    let memory = memory(armed.pid())?;
    for (what, kib) in [("VmRSS", memory.resident), ("RssAnon", memory.anonymous), ("VmHWM", memory.peak)] {
        sample(&format!("{what} {when}"), tool.name, "KiB", Some(value(kib)))?;
    }
    Ok(())
}

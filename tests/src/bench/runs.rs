//! How often the programs run in [`super::paths`], and for how long, exactly. A thread, a fork or an exec itself varies by
//! more than that from one to the next. The way to a program and back, which counts as part of none, is the same in all
//! of them: what is added to a signal, where one runs once, has it.

use std::collections::BTreeSet;
use std::ffi::CString;
use std::fs;

use anyhow::{Context, Result};
use rustix::process::{Signal, getpid, kill_process};

use super::child::Killer;
use super::paths::{ask_parent, forked, handled, spawned, threaded};
use super::tool::Armed;
use super::{sample, value};

/// Measures each path in turn, with the programs of `armed` in place.
pub fn measure(armed: &Armed, tier: &str, tiny: &CString, killer: &Killer) -> Result<()> {
    let _counting = Counting::on()?;
    let count = |name: &str, work: &dyn Fn() -> Result<()>| count(armed, tier, name, work);
    count("getppid", &|| {
        ask_parent();
        Ok(())
    })?;
    count("signal", &|| Ok(kill_process(getpid(), Signal::URG)?))?;
    count("signal, handled", &handled)?;
    count("thread", &threaded)?;
    count("fork, exit, wait", &forked)?;
    count("spawn, exit, wait", &|| spawned(tiny))?;
    kills(armed, tier, killer)
}

/// Measures forks alone.
pub fn of_forks(armed: &Armed, tool: &str) -> Result<()> {
    let _counting = Counting::on()?;
    count(armed, tool, "fork, exit, wait", &forked)
}

fn count(armed: &Armed, tool: &str, name: &str, work: &dyn Fn() -> Result<()>) -> Result<()> {
    const TIMES: u32 = 100;
    let before = Runs::of(armed.pid())?;
    for _ in 0..TIMES {
        work()?;
    }
    let after = Runs::of(armed.pid())?;
    let each = |after: u64, before: u64| Some(value(after - before) / f64::from(TIMES));
    sample(&format!("program runs in {name}"), tool, "", each(after.count, before.count))?;
    sample(&format!("in programs in {name}"), tool, "instructions", each(after.took_ns, before.took_ns))
}

/// Measures kills: with nobody but the victim to choose from, and with many more.
fn kills(armed: &Armed, tier: &str, killer: &Killer) -> Result<()> {
    const TIMES: u32 = 5;
    const MORE: u32 = 100;
    let kill = || -> Result<[f64; 2]> {
        let before = Runs::of(armed.pid())?;
        for _ in 0..TIMES {
            killer.kill()?;
        }
        let after = Runs::of(armed.pid())?;
        Ok([after.count - before.count, after.took_ns - before.took_ns]
            .map(|all| value(all) / f64::from(TIMES)))
    };
    let alone = kill()?;
    let crowd = killer.crowd(MORE)?;
    let among = kill()?;
    drop(crowd);
    for (name, unit, alone, among) in
        [("program runs", "", alone[0], among[0]), ("in programs", "instructions", alone[1], among[1])]
    {
        sample(&format!("{name} in a kill"), tier, unit, Some(alone))?;
        let each = (among - alone) / f64::from(MORE);
        sample(&format!("{name} for each further candidate"), tier, unit, Some(each))?;
    }
    Ok(())
}

/// The kernel's counting of runs, while it lives: off otherwise, since it costs something at each.
struct Counting;

impl Counting {
    const SWITCH: &str = "/proc/sys/kernel/bpf_stats_enabled";

    fn on() -> Result<Self> {
        fs::write(Self::SWITCH, "1").with_context(|| format!("cannot write to {}", Self::SWITCH))?;
        Ok(Self)
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        let _stays_on_at_worst = fs::write(Self::SWITCH, "0");
    }
}

/// All runs of the eBPF programs that a process holds (`bpf_prog_show_fdinfo()`, kernel/bpf/syscall.c).
#[derive(Default)]
struct Runs {
    count: u64,
    /// Time in them, ns, with one look at the clock each.
    took_ns: u64,
}

impl Runs {
    fn of(pid: u32) -> Result<Self> {
        let folder = format!("/proc/{pid}/fdinfo");
        let mut runs = Self::default();
        // One program may be held by several descriptors.
        let mut counted = BTreeSet::new();
        for entry in fs::read_dir(&folder).with_context(|| format!("cannot list {folder}"))? {
            let text = fs::read_to_string(entry?.path()).unwrap_or_default();
            let number = |key: &str| {
                text.lines().find_map(|line| line.strip_prefix(key)?.trim().parse::<u64>().ok()).unwrap_or(0)
            };
            let id = number("prog_id:");
            if id == 0 || !counted.insert(id) {
                continue;
            }
            runs.count += number("run_cnt:");
            runs.took_ns += number("run_time_ns:");
        }
        Ok(runs)
    }
}

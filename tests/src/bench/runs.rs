//! How often the programs run in [`super::paths`], exactly: what they add is that often what they add to a
//! signal, where one runs once. A fork or an exec itself varies by more than that.

use std::ffi::CString;
use std::fs;

use anyhow::{Context, Result};
use rustix::process::{Signal, getpid, kill_process};

use super::paths::{ask_parent, forked, spawned, threaded};
use super::tool::Armed;
use super::{sample, value};

/// Measures each path in turn, with the programs of `armed` in place.
pub fn measure(armed: &Armed, tier: &str, tiny: &CString) -> Result<()> {
    const TIMES: u32 = 100;
    let _counting = Counting::on()?;
    let count = |name: &str, work: &dyn Fn() -> Result<()>| -> Result<()> {
        let before = program_runs(armed.pid())?;
        for _ in 0..TIMES {
            work()?;
        }
        let runs = value(program_runs(armed.pid())? - before) / f64::from(TIMES);
        sample(&format!("program runs in {name}"), tier, "", Some(runs))
    };
    count("getppid", &|| {
        ask_parent();
        Ok(())
    })?;
    count("signal", &|| Ok(kill_process(getpid(), Signal::URG)?))?;
    count("thread", &threaded)?;
    count("fork, exit, wait", &forked)?;
    count("spawn, exit, wait", &|| spawned(tiny))
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

/// How often all eBPF programs that a process holds have run (`bpf_prog_show_fdinfo()`,
/// kernel/bpf/syscall.c).
fn program_runs(pid: u32) -> Result<u64> {
    let folder = format!("/proc/{pid}/fdinfo");
    let mut runs = 0;
    for entry in fs::read_dir(&folder).with_context(|| format!("cannot list {folder}"))? {
        let text = fs::read_to_string(entry?.path()).unwrap_or_default();
        runs += text
            .lines()
            .find_map(|line| line.strip_prefix("run_cnt:")?.trim().parse::<u64>().ok())
            .unwrap_or(0);
    }
    Ok(runs)
}

//! SIGKILL comes while a process forks: the kernel gives up, and nobody gets to know the error.

use std::fs;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{Signal, kill_process};

use super::{Case, Needs};
use crate::fork::call::Call;
use crate::fork::forker::Forker;
use crate::fork::ground::Ground;
use crate::fork::order::{Order, Tally};
use crate::fork::truth::Truth;

/// Forkers with so many mappings that they copy them nearly all the time. Each of the truths may have come about or not: the
/// signal may come between two forks.
pub const COPYING: Case = Case {
    name: "fatal_signal",
    needs: Needs::Root,
    hidden: &[libc::ENOMEM, libc::EINTR],
    provoke: |ground, times| {
        let mut truths = Vec::new();
        for nth in 0..times {
            let mut forker = ground.forker("dying-forker")?;
            forker.tell(&Order::Map { bytes: PAGE, pieces: MAPPINGS, touch: true })?;
            truths.push(doomed(&forker)?);
            forker.send(&Order::Flood { call: Call::Fork, millis: FOR_LONG })?;
            sleep(Duration::from_millis(BEGUN_MILLIS + nth * APART_MILLIS));
            kill_process(forker.process()?, Signal::KILL)?;
        }
        Ok(truths)
    },
};

/// Forkers that wait in the kernel, with all memory copied, until they are killed. Each of the truths has come about.
pub const WAITING: Case = Case {
    name: "fatal_signal/waiting",
    needs: Needs::FaultsByUser,
    hidden: &[libc::EINTR],
    provoke: |ground, times| {
        let mut truths = Vec::new();
        for _ in 0..times {
            let mut forker = ground.forker("doomed-forker")?;
            forker.tell(&Order::Trap)?;
            truths.push(doomed(&forker)?);
            forker.send(&Order::Attempt { call: Call::Fork, times: 1 })?;
            await_sleep(&forker, ground)?;
            kill_process(forker.process()?, Signal::KILL)?;
        }
        Ok(truths)
    },
};

/// How many mappings a forker has; a process may have 65,530 (`vm.max_map_count`).
const MAPPINGS: u64 = 20_000;
const PAGE: u64 = 4096;
/// Longer than it will live.
const FOR_LONG: u64 = 60_000;
/// When the signal comes after it has begun: at different moments of a fork.
const BEGUN_MILLIS: u64 = 100;
const APART_MILLIS: u64 = 7;
/// How often is looked whether it sleeps.
const LOOK: Duration = Duration::from_millis(5);

/// The truth of the fork over which this forker will be killed.
fn doomed(forker: &Forker) -> Result<Truth> {
    Ok(Truth {
        cause: Some("fatal_signal"),
        errno: None,
        count: 1,
        proof: "nothing else can fail",
        ..Truth::of(forker, Call::Fork, 0, &Tally::default())?
    })
}

/// Waits until the forker sleeps so that only SIGKILL wakes it, which it does nowhere else.
fn await_sleep(forker: &Forker, ground: &Ground<'_>) -> Result<()> {
    let file = format!("/proc/{}/stat", forker.who.pid);
    loop {
        let stat = fs::read_to_string(&file).with_context(|| format!("cannot read {file}"))?;
        if stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('D')) {
            return Ok(());
        }
        ground.deadline.left("a fork to wait")?;
        sleep(LOOK);
    }
}

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
use crate::machine::Machine;

/// Forkers with so many mappings that they copy them all the time but for a moment.
pub const COPYING: Case = Case {
    name: "fatal_signal",
    needs: Needs::Root,
    hidden: &[],
    provoke: |ground, times| {
        let mut truths = Vec::new();
        for nth in 0..times {
            let mut forker = ground.forker("dying-forker")?;
            forker.tell(&Order::Map { bytes: PAGE, pieces: MAPPINGS, touch: true })?;
            // A forker that has no turn is mostly where it comes back from a fork.
            truths.push(Truth { may_escape: true, ..doomed(&forker, while_copying(ground.machine))? });
            forker.send(&Order::Flood { call: Call::Fork, millis: FOR_LONG })?;
            sleep(Duration::from_millis(BEGUN_MILLIS + nth * APART_MILLIS));
            kill_process(forker.process()?, Signal::KILL)?;
        }
        Ok(truths)
    },
};

/// Forkers that wait in the kernel, with all memory copied, until they are killed.
pub const WAITING: Case = Case {
    name: "fatal_signal/waiting",
    needs: Needs::FaultsByUser,
    hidden: &[],
    provoke: |ground, times| {
        let mut truths = Vec::new();
        for _ in 0..times {
            let mut forker = ground.forker("doomed-forker")?;
            forker.tell(&Order::Trap)?;
            truths.push(doomed(&forker, &[libc::EINTR])?);
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

/// What comes of a fork that a signal ends while it copies memory: up to 6.12 `dup_mm()` makes one error of all
/// (kernel/fork.c), and 7.2 passes them on. The signal may also come once all is copied.
fn while_copying(machine: &Machine) -> &'static [i32] {
    if machine.is_at_least(7, 2) { &[libc::EINTR] } else { &[libc::ENOMEM, libc::EINTR] }
}

/// The truth of the fork over which this forker will be killed.
fn doomed(forker: &Forker, hidden: &'static [i32]) -> Result<Truth> {
    Ok(Truth {
        cause: Some("fatal_signal"),
        errno: None,
        hidden,
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

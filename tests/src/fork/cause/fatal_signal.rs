//! SIGKILL comes while a process forks: the kernel gives up, and nobody gets to know the error.

use std::thread::sleep;
use std::time::Duration;

use rustix::process::{Signal, kill_process};

use super::{Case, Needs};
use crate::fork::call::Call;
use crate::fork::order::{Order, Tally};
use crate::fork::truth::Truth;

/// Forkers with so many mappings that they spend most of their time copying them. Each of the truths may have come about or
/// not.
pub const CASE: Case = Case {
    name: "fatal_signal",
    needs: Needs::Root,
    hidden: &[libc::ENOMEM, libc::EINTR],
    provoke: |ground, times| {
        let mut truths = Vec::new();
        for nth in 0..times {
            let mut forker = ground.forker("dying-forker")?;
            forker.tell(&Order::Map { bytes: PAGE, pieces: MAPPINGS, touch: true })?;
            let call = Call::Fork;
            truths.push(Truth {
                cause: Some("fatal_signal"),
                errno: None,
                count: 1,
                proof: "nothing else can fail",
                ..Truth::of(&forker, call, 0, &Tally::default())?
            });
            forker.send(&Order::Storm { call, millis: FOR_LONG })?;
            sleep(Duration::from_millis(BEGUN_MILLIS + nth * APART_MILLIS));
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

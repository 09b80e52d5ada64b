//! `kernel.threads-max`.

use std::fs;

use anyhow::{Context, Result, ensure};

use super::{CALLS, Case, Needs};
use crate::fork::call::Call;
use crate::fork::setting::Setting;
use crate::fork::truth::{Level, Truth};

/// The machine has more threads than it may.
pub const CASE: Case = Case {
    name: "threads_max",
    needs: Needs::Disposable,
    hidden: &[],
    provoke: |ground, times| {
        let mut forker = ground.forker("thread-forker")?;
        let setting = Setting::keep("kernel/threads-max")?;
        // Below what there is: the kernel's own threads come and go.
        let limit = threads_of_machine()?.saturating_sub(SPARE);
        ensure!(limit > LEAST, "the machine has too few threads to limit them");
        let mut truths = Vec::new();
        setting.set(limit)?;
        for call in CALLS {
            let before = threads_of_machine()?;
            let tally = forker.fail(call, times, libc::EAGAIN);
            let after = threads_of_machine()?;
            let tally = tally?;
            truths.push(Truth {
                cause: Some("threads_max"),
                level: Level::Machine,
                limit: Some(limit),
                usage: (before == after).then_some(after),
                unit: "threads",
                proof: "there are more threads than threads-max, and children can be made once it is set back",
                ..Truth::of(&forker, call, libc::EAGAIN, &tally)?
            });
        }
        setting.restore()?;
        forker.succeed(Call::Fork)?;
        Ok(truths)
    },
};

/// How many threads more than allowed there are.
const SPARE: u64 = 5;
/// The setting's least value (`MIN_THREADS`, kernel/fork.c).
const LEAST: u64 = 20;

/// How many threads the machine has (`nr_threads`, in the fourth field of /proc/loadavg).
pub fn threads_of_machine() -> Result<u64> {
    let text = fs::read_to_string("/proc/loadavg").context("cannot read /proc/loadavg")?;
    let field = text.split(' ').nth(3).and_then(|field| field.split_once('/'));
    field.and_then(|(_, threads)| threads.parse().ok()).context("/proc/loadavg does not have its known form")
}

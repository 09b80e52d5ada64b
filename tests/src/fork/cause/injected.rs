//! The kernel has no memory for its own part of a new task; and an error whose reason nothing tells.
//!
//! A small allocation of the kernel's fails only for who is being killed, and else is waited for for ever: so the module that
//! allocates a task's security state is made to fail.

use anyhow::Result;

use super::{CALLS, Case, Needs};
use crate::fork::forker::Forker;
use crate::fork::ground::Ground;
use crate::fork::truth::Truth;
use crate::inject::Injection;

/// ENOMEM, while no limit is near.
pub const MEMORY: Case = Case {
    name: "memory",
    needs: Needs::Disposable,
    hidden: &[],
    provoke: |ground, times| provoke(ground, times, ("memory", "poor-forker", libc::ENOMEM)),
};

/// EAGAIN, while no limit is near.
pub const OTHER: Case = Case {
    name: "other",
    needs: Needs::Disposable,
    hidden: &[],
    provoke: |ground, times| provoke(ground, times, ("other", "odd-forker", libc::EAGAIN)),
};

/// Called by `copy_process()` (kernel/fork.c) with every task, before ids and cgroups are looked at.
const FUNCTION: &str = "security_task_alloc";

/// Has all forks of a forker fail by this error, until what is given is dropped.
pub fn fail_task_alloc(forker: &Forker, errno: i32) -> Result<Injection> {
    Injection::begin(FUNCTION, forker.who.pid, errno)
}

fn provoke(
    ground: &Ground<'_>,
    times: u64,
    (cause, name, errno): (&'static str, &str, i32),
) -> Result<Vec<Truth>> {
    let mut forker = ground.forker(name)?;
    let injection = fail_task_alloc(&forker, errno)?;
    let mut truths = Vec::new();
    for call in CALLS {
        let tally = forker.fail(call, times, errno)?;
        truths.push(Truth {
            cause: Some(cause),
            proof: "security_task_alloc() was made to return the error to it, and it forks once that is over",
            ..Truth::of(&forker, call, errno, &tally)?
        });
    }
    drop(injection);
    for call in CALLS {
        forker.succeed(call)?;
    }
    Ok(truths)
}

//! Another thread of the process is within execve(2): what they share of the file system cannot be shared with more.

use super::{Case, Needs};
use crate::fork::call::Call;
use crate::fork::order::Order;
use crate::fork::truth::Truth;

/// The forker's other thread waits within an execve that will fail.
pub const CASE: Case = Case {
    name: "exec_in_progress",
    needs: Needs::Root,
    hidden: &[],
    provoke: |ground, times| {
        let mut forker = ground.forker("exec-forker")?;
        forker.tell(&Order::Execute)?;
        // It shares nothing.
        forker.succeed(Call::Fork)?;
        let mut truths = Vec::new();
        let share = libc::CLONE_FS as u64;
        for call in [Call::Clone { flags: share }, Call::Clone3 { flags: share }, Call::Thread { flags: 0 }] {
            let tally = forker.fail(call, times, libc::EAGAIN)?;
            truths.push(Truth {
                cause: Some("exec_in_progress"),
                proof: "a thread is within execve, others are made that do not share the file system's state, and this one is \
                        made once the execve has failed",
                ..Truth::of(&forker, call, libc::EAGAIN, &tally)?
            });
        }
        forker.tell(&Order::ExecuteNoMore)?;
        forker.succeed(Call::Clone { flags: share })?;
        Ok(truths)
    },
};

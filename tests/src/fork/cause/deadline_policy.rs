//! A task under `SCHED_DEADLINE`, whose share of time no child can have.

use super::{CALLS, Case, Needs};
use crate::fork::call::Call;
use crate::fork::order::Order;
use crate::fork::state::Policy;
use crate::fork::truth::Truth;

/// The forker runs under it, and has not asked for children to be reset.
pub const CASE: Case = Case {
    name: "deadline_policy",
    needs: Needs::Root,
    hidden: &[],
    provoke: |ground, times| {
        let mut forker = ground.forker("dl-forker")?;
        forker.tell(&Order::Schedule(Policy::DEADLINE))?;
        let mut truths = Vec::new();
        for call in CALLS {
            let tally = forker.fail(call, times, libc::EAGAIN)?;
            truths.push(Truth {
                cause: Some("deadline_policy"),
                proof: "it runs under SCHED_DEADLINE, and forks once children are reset",
                ..Truth::of(&forker, call, libc::EAGAIN, &tally)?
            });
        }
        forker.tell(&Order::Schedule(Policy::DeadlineReset))?;
        forker.succeed(Call::Fork)?;
        Ok(truths)
    },
};

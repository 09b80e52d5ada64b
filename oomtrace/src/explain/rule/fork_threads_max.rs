//! The machine may hold no more threads.

use super::{
    super::{
        finding::{Conclusion, Fix, Lasts},
        fork,
        node::{nearly, nearly_reached},
    },
    Rule,
};
use crate::{host::node::Node, incident::ForkCause};

const MEMORY: &str = "every thread takes some 20 KiB of the kernel's memory, which cannot be swapped; to keep it, put it in /etc/sysctl.d";
/// The most that the setting takes (`MAX_THREADS`, which is `FUTEX_TID_MASK`; kernel/fork.c).
const MOST: u64 = 0x3fff_ffff;

pub const RULE: Rule = Rule {
    node: Some(|node| of_node(node).into_iter().collect()),
    fork: Some(|failure, _| {
        let told = fork::about(failure, ForkCause::ThreadsMax, || {
            "the machine has as many processes and threads as it may have at all (kernel.threads-max)"
                .to_owned()
        })?;
        let fix = failure.limit.map_or_else(
            || Fix::advice("raise kernel.threads-max", MEMORY),
            |limit| raise(limit, failure.usage),
        );
        Some(told.fix(fix).fix(fork::find_leak()))
    }),
    ..Rule::new("fork-threads-max", include_str!("../../../docs/findings/fork-threads-max.md"))
};

fn raise(limit: u64, usage: Option<u64>) -> Fix {
    let more = fork::doubled(Some(limit), usage).unwrap_or(MOST).min(MOST);
    Fix::command(
        "raise kernel.threads-max; once it is reached only in a shell that is open, since no other can be started",
        fork::set_without_fork("kernel/threads-max", more),
        MEMORY,
    ).lasting(Lasts::UntilBoot)
}

fn of_node(node: &Node) -> Option<Conclusion> {
    let (usage, limit) = (node.threads?, node.settings.threads_max?);
    nearly_reached(usage, limit).then(|| {
        nearly(usage, limit, format!("the machine has {usage} of the {limit} processes and threads that it may have (kernel.threads-max)"))
            .fix(raise(limit, Some(usage)))
    })
}

#[cfg(test)]
mod tests {
    use super::super::super::tests::{fork_failure, fork_ids, of_fork_failure};
    use super::*;

    /// Guards the cause against all others, and what is proposed.
    #[test]
    fn it_is_found_and_no_other() {
        assert_eq!(fork_ids(&fork_failure(ForkCause::ThreadsMax)), ["fork-threads-max"]);
        let mut failure = fork_failure(ForkCause::ThreadsMax);
        for (limit, usage, command) in [
            (500, 500, "echo 1000 > /proc/sys/kernel/threads-max"),
            (500, 900, "echo 1800 > /proc/sys/kernel/threads-max"),
            (u64::MAX, 1, "echo 1073741823 > /proc/sys/kernel/threads-max"),
        ] {
            (failure.limit, failure.usage) = (Some(limit), Some(usage));
            assert_eq!(of_fork_failure(&failure).fix[0].command.as_deref(), Some(command));
        }
        failure.limit = None;
        assert_eq!(of_fork_failure(&failure).fix[0].command, None);
    }
}

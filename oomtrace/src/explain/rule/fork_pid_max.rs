//! No id is left for a process.

use super::{
    super::{
        finding::{Conclusion, Fix},
        fork,
        node::{nearly, nearly_reached},
    },
    Rule,
};
use crate::{host::node::Node, incident::ForkCause};

pub const RULE: Rule = Rule {
    node: Some(|node| of_node(node).into_iter().collect()),
    fork: Some(|failure, _| {
        let told = fork::about(failure, ForkCause::PidMax, || {
            "every id that a process can have is in use (kernel.pid_max)".to_owned()
        })?;
        Some(told.fix(raise(failure.limit)).fix(fork::find_leak()))
    }),
    ..Rule::new("fork-pid-max", include_str!("../../../docs/findings/fork-pid-max.md"))
};

/// `PID_MAX_LIMIT` (include/linux/threads.h).
const MOST: u64 = 4_194_304;

fn raise(limit: Option<u64>) -> Fix {
    let more = limit.map_or(MOST, |limit| fork::doubled(limit).min(MOST));
    Fix::command(
        "raise kernel.pid_max (from Linux 6.14 on, within the container whose limit it is)",
        format!("sysctl kernel.pid_max={more}"),
        "none on 64-bit machines, up to 4194304; to keep it, put it in /etc/sysctl.d",
    )
}

fn of_node(node: &Node) -> Option<Conclusion> {
    let (usage, limit) = (node.threads?, node.settings.pid_max?);
    nearly_reached(usage, limit).then(|| {
        nearly(
            usage,
            limit,
            format!("{usage} of {limit} ids that processes and threads can have are in use (kernel.pid_max)"),
        )
        .fix(raise(Some(limit)))
    })
}

#[cfg(test)]
mod tests {
    use super::super::super::tests::{fork_failure, fork_ids, of_fork_failure};
    use super::*;

    /// Guards the cause against all others, and what is proposed.
    #[test]
    fn it_is_found_and_no_other() {
        assert_eq!(fork_ids(&fork_failure(ForkCause::PidMax)), ["fork-pid-max"]);
        let mut failure = fork_failure(ForkCause::PidMax);
        failure.limit = Some(32_768);
        assert_eq!(of_fork_failure(&failure).fix[0].command.as_deref(), Some("sysctl kernel.pid_max=65536"));
    }
}

//! No id is left for a process.

use super::{
    super::{
        finding::{Conclusion, Fix, Lasts},
        fork,
        node::{nearly, nearly_reached},
    },
    Rule,
};
use crate::{
    host::node::Node,
    incident::{ForkCause, ForkFailure},
};

pub const RULE: Rule = Rule {
    node: Some(|node| of_node(node).into_iter().collect()),
    fork: Some(|failure, _| {
        let told = fork::about(failure, ForkCause::PidMax, || {
            "every id that a process can have is in use (kernel.pid_max)".to_owned()
        })?;
        Some(more(failure).into_iter().fold(told, Conclusion::fix).fix(fork::find_leak()))
    }),
    ..Rule::new("fork-pid-max", include_str!("../../../docs/findings/fork-pid-max.md"))
};

/// `PID_MAX_LIMIT` (include/linux/threads.h).
const MOST: u64 = 4_194_304;
/// `PROC_PID_INIT_INO` (include/linux/proc_ns.h): the namespace that a shell of root's is in.
const INITIAL: &str = "PID namespace 4026531836";

/// How there can be more ids, if there can.
fn more(failure: &ForkFailure) -> Option<Fix> {
    if failure.limit_at.as_deref().is_some_and(|at| at != INITIAL) {
        // Since 6.14. The setting is that of whoever writes it (kernel/pid.c), and whoever enters needs an id there first.
        return Some(Fix::advice(
            "start the container anew with a higher kernel.pid_max: nobody can enter it to raise that while no id is left in it",
            "what runs in it ends",
        ));
    }
    raise(failure.limit?, "raise kernel.pid_max, in a shell that is open: no other can be started")
}

fn raise(limit: u64, what: &'static str) -> Option<Fix> {
    const RISK: &str = "none on 64-bit machines, up to 4194304; to keep it, put it in /etc/sysctl.d";
    let more = limit.max(1).saturating_mul(2).min(MOST);
    (limit < MOST).then(|| {
        Fix::command(what, fork::set_without_fork("kernel/pid_max", more), RISK).lasting(Lasts::UntilBoot)
    })
}

fn of_node(node: &Node) -> Option<Conclusion> {
    let (usage, limit) = (node.threads?, node.settings.pid_max?);
    nearly_reached(usage, limit).then(|| {
        let summary =
            format!("{usage} of {limit} ids that processes and threads can have are in use (kernel.pid_max)");
        raise(limit, "raise kernel.pid_max").into_iter().fold(nearly(usage, limit, summary), Conclusion::fix)
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
        let command = |failure: &ForkFailure| of_fork_failure(failure).fix[0].command.clone();
        for at in [None, Some(INITIAL)] {
            failure.limit_at = at.map(str::to_owned);
            assert_eq!(command(&failure).as_deref(), Some("echo 65536 > /proc/sys/kernel/pid_max"));
            assert_eq!(of_fork_failure(&failure).fix[0].lasts, Some(Lasts::UntilBoot));
        }
        failure.limit = Some(MOST);
        assert_eq!(command(&failure), None);
        failure.limit_at = Some("PID namespace 4026532300".to_owned());
        assert_eq!(command(&failure), None);
        assert!(of_fork_failure(&failure).fix[0].what.contains("start the container anew"));
    }
}

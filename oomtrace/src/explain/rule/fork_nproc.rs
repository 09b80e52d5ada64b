//! A user may have no more processes.

use super::{
    super::{
        finding::{Conclusion, Fix, Lasts},
        fork,
        node::nearly_reached,
    },
    Rule,
};
use crate::{
    host::node::Node,
    incident::{ForkCause, ForkFailure},
};

pub const RULE: Rule = Rule {
    node: Some(of_node),
    fork: Some(|failure, _| {
        let told = fork::about(failure, ForkCause::RlimitNproc, || {
            "the user has as many processes and threads as it may have (RLIMIT_NPROC, which `ulimit -u` shows)".to_owned()
        })?;
        Some(
            now(failure)
                .into_iter()
                .fold(told, Conclusion::fix)
                .fix(for_good(failure))
                .fix(fork::find_leak()),
        )
    }),
    ..Rule::new("fork-nproc", include_str!("../../../docs/findings/fork-nproc.md"))
};

/// Users whose processes are nearly as many as one of them may have.
fn of_node(node: &Node) -> Vec<Conclusion> {
    let told = node.users.iter().filter_map(|user| {
        let limit = user.limit.filter(|limit| nearly_reached(user.threads, *limit))?;
        let summary = format!(
            "user {} has {} processes and threads, where its process {} may start another only up to {limit} (RLIMIT_NPROC)",
            user.uid,
            user.threads,
            user.limited_pid?
        );
        let told = Conclusion::warning(summary).with("usage", user.threads).with("limit", limit).with("uid", user.uid).with_known("pid", user.limited_pid);
        Some(told.fix(raise()))
    });
    told.collect()
}

const RISK: &str =
    "it counts all of that user's processes on the machine, in containers too: one can starve the others";

/// How the process that runs can have more, where it is its own limit that was reached.
fn now(failure: &ForkFailure) -> Option<Fix> {
    let own = failure.limit_depth == Some(0);
    let (pid, more) = failure.task.pid.filter(|_| own).zip(fork::doubled(failure.limit, failure.usage))?;
    // Up to the hard limit the soft one alone is raised; beyond it both must be (prlimit(2)).
    let set = format!("prlimit --pid {pid} --nproc={more}");
    Some(
        Fix::command(
            "raise the limit of the process that runs, and of what it starts from now on",
            format!("{set}: 2>/dev/null || {set}"),
            RISK,
        )
        .lasting(Lasts::WithProcess),
    )
}

/// How all that are started later have more.
fn for_good(failure: &ForkFailure) -> Fix {
    if failure.limit_depth.is_some_and(|depth| depth > 0) {
        return Fix::advice(
            "raise the limit of what makes the container before it does: the user namespace keeps the one that held then",
            RISK,
        );
    }
    raise()
}

fn raise() -> Fix {
    Fix::advice(
        "raise the user's limit: LimitNPROC= in the unit and a restart, or nproc in /etc/security/limits.conf and a new login",
        RISK,
    )
}

#[cfg(test)]
mod tests {
    use super::super::super::tests::{fork_failure, fork_ids, of_fork_failure};
    use super::*;

    /// Guards the cause against all others, and what is proposed.
    #[test]
    fn it_is_found_and_no_other() {
        assert_eq!(fork_ids(&fork_failure(ForkCause::RlimitNproc)), ["fork-nproc"]);
        let told = of_fork_failure(&fork_failure(ForkCause::RlimitNproc));
        assert!(told.fix[0].what.contains("LimitNPROC="));
    }

    /// Guards the command: it is about the process that was refused, and there is none where the limit is a user namespace's, which
    /// no limit of the process's lifts.
    #[test]
    fn the_process_that_was_refused_may_have_more() {
        let mut failure = fork_failure(ForkCause::RlimitNproc);
        (failure.limit, failure.task.pid, failure.limit_depth) = (Some(100), Some(7), Some(0));
        assert_eq!(
            of_fork_failure(&failure).fix[0].command.as_deref(),
            Some("prlimit --pid 7 --nproc=200: 2>/dev/null || prlimit --pid 7 --nproc=200")
        );
        failure.limit_depth = Some(1);
        let told = of_fork_failure(&failure);
        assert!(told.fix.iter().all(|fix| fix.command.is_none()));
        assert!(told.fix[0].what.contains("makes the container"));
    }
}

//! A user may have no more processes.

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
    node: Some(of_node),
    fork: Some(|failure, _| {
        let told = fork::about(failure, ForkCause::RlimitNproc, || {
            "the user has as many processes and threads as it may have (RLIMIT_NPROC, which `ulimit -u` shows)".to_owned()
        })?;
        Some(told.fix(raise()).fix(fork::find_leak()))
    }),
    ..Rule::new("fork-nproc", include_str!("../../../docs/findings/fork-nproc.md"))
};

fn raise() -> Fix {
    Fix::advice(
        "raise the user's limit: LimitNPROC= in the unit, or nproc in /etc/security/limits.conf and a new login",
        "it counts all of that user's processes on the machine, in containers too: one can starve the others",
    )
}

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
        Some(nearly(user.threads, limit, summary).with("uid", user.uid).with_known("pid", user.limited_pid).fix(raise()))
    });
    told.collect()
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
}

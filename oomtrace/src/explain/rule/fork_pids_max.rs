//! A cgroup may hold no more processes.

use super::{
    super::{
        finding::Conclusion,
        fork::{self, FullGroup},
        node::nearly_reached,
    },
    Rule,
};
use crate::{host::node::Node, incident::ForkCause, text::printable};

pub const RULE: Rule = Rule {
    node: Some(of_node),
    fork: Some(|failure, _| {
        let told = fork::about(failure, ForkCause::PidsMax, || {
            "the group is full: it may hold no more processes and threads (pids.max)".to_owned()
        })?;
        Some(
            told.fix(fork::raise_pids_max(FullGroup {
                path: failure.limit_at.as_deref(),
                hierarchy: failure.limit_hierarchy,
                limit: failure.limit,
                usage: failure.usage,
            }))
            .fix(fork::find_leak()),
        )
    }),
    ..Rule::new("fork-pids-max", include_str!("../../../docs/findings/fork-pids-max.md"))
};

/// Groups that are nearly full.
fn of_node(node: &Node) -> Vec<Conclusion> {
    let told = node.groups.iter().filter_map(|group| {
        let room = group.pids?;
        // Who may have one process is meant to have no more.
        let limit = room.limit.filter(|limit| *limit > 1 && nearly_reached(room.usage, *limit))?;
        let path = group.path.as_str();
        let refused = match group.forks_refused {
            0 => String::new(),
            times => format!("; {times} forks have failed for it"),
        };
        let summary = format!(
            "{} holds {} of the {limit} processes and threads that it may hold (pids.max){refused}",
            printable(path),
            room.usage
        );
        let told = Conclusion::warning(summary)
            .with("usage", room.usage)
            .with("limit", limit)
            .with("limit_at", path)
            .with("refused", group.forks_refused);
        let full = FullGroup {
            path: Some(path),
            hierarchy: Some(group.pids_legacy.into()),
            limit: Some(limit),
            usage: Some(room.usage),
        };
        Some(told.fix(fork::raise_pids_max(full)))
    });
    told.collect()
}

#[cfg(test)]
mod tests {
    use super::super::super::tests::{fork_failure, fork_ids, of_fork_failure};
    use super::*;

    /// Guards the command: it raises the limit that refused, where whoever set it is asked.
    #[test]
    fn the_limit_that_refused_is_raised() {
        for (at, hierarchy, command) in [
            (
                "/system.slice/web.service",
                Some(0),
                Some("systemctl set-property -- web.service TasksMax=200"),
            ),
            ("/system.slice", None, Some("systemctl set-property -- system.slice TasksMax=200")),
            ("/a;b", Some(0), Some("echo 200 > '/sys/fs/cgroup/a;b/pids.max'")),
            ("/a", Some(8), Some("echo 200 > /sys/fs/cgroup/pids/a/pids.max")),
            ("/a", None, None),
            // What is gone with its command cannot be changed.
            ("/a/oomtrace-run-7", Some(0), None),
            ("/docker/4e9bf3a17c024e9bf3a17c024e9bf3a17c024e9bf3a17c024e9bf3a17c024e9b", Some(0), None),
            ("/kubepods/burstable/pod7a3c1f2e-0b1d-4c5e-9f60-718293a4b5c6", Some(0), None),
        ] {
            let mut failure = fork_failure(ForkCause::PidsMax);
            (failure.limit, failure.limit_at) = (Some(100), Some(at.to_owned()));
            failure.limit_hierarchy = hierarchy;
            assert_eq!(of_fork_failure(&failure).fix[0].command.as_deref(), command, "{at}");
            assert_eq!(fork_ids(&failure), ["fork-pids-max"]);
        }
        let nowhere = of_fork_failure(&fork_failure(ForkCause::PidsMax));
        assert_eq!(nowhere.fix[0].command, None);
    }

    /// Guards a limit that was set below what there is: twice the limit would not be enough.
    #[test]
    fn the_limit_is_raised_beyond_what_there_is() {
        let mut failure = fork_failure(ForkCause::PidsMax);
        (failure.limit, failure.usage, failure.limit_hierarchy) = (Some(10), Some(500), Some(0));
        failure.limit_at = Some("/a".to_owned());
        let command = of_fork_failure(&failure).fix[0].command.clone();
        assert_eq!(command.as_deref(), Some("echo 1000 > /sys/fs/cgroup/a/pids.max"));
    }
}

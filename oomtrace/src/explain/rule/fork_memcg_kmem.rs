//! A memory limit leaves nothing for the kernel's part of a process.

use super::{
    super::{
        finding::Fix,
        fork,
        place::{Swap, raise},
    },
    Rule,
};
use crate::incident::{Cgroup, ForkCause};

pub const RULE: Rule = Rule {
    fork: Some(|failure, _| {
        let told = fork::about(failure, ForkCause::MemcgKmem, || {
            "the group is at its memory limit, and the kernel's own part of a new process counts there, too"
                .to_owned()
        })?;
        let hierarchy = failure.limit_hierarchy;
        let swap = failure.limit_level.as_ref().map_or(Swap::Unknown, Swap::of);
        let fix = match failure.limit_at.clone().zip(failure.limit_bytes) {
            Some((path, limit)) => raise(&Cgroup { path: Some(path), id: None, hierarchy }, limit, swap),
            None => Fix::advice("raise that memory limit", "others on the machine have that much less"),
        };
        Some(told.fix(fix))
    }),
    ..Rule::new("fork-memcg-kmem", include_str!("../../../docs/findings/fork-memcg-kmem.md"))
};

#[cfg(test)]
mod tests {
    use super::super::super::tests::{fork_failure, fork_ids, of_fork_failure};
    use super::*;
    use crate::incident::Limit;

    /// Guards the cause against all others, and what is proposed.
    #[test]
    fn it_is_found_and_no_other() {
        assert_eq!(fork_ids(&fork_failure(ForkCause::MemcgKmem)), ["fork-memcg-kmem"]);
        let mut failure = fork_failure(ForkCause::MemcgKmem);
        (failure.limit_at, failure.limit_bytes) = (Some("/a.slice".to_owned()), Some(64 << 20));
        assert_eq!(
            of_fork_failure(&failure).fix[0].command.as_deref(),
            Some("systemctl set-property -- a.slice MemoryMax=96M")
        );
    }

    /// Guards a container's swap: it stays what it is, and where that is not known there is no command.
    #[test]
    fn a_container_keeps_its_swap() {
        let mut failure = fork_failure(ForkCause::MemcgKmem);
        let id = "4e9bf3a17c02".repeat(5) + "4e9b";
        (failure.limit_at, failure.limit_bytes) = (Some(format!("/docker/{id}")), Some(64 << 20));
        assert_eq!(of_fork_failure(&failure).fix[0].command, None);
        failure.limit_level =
            Some(Limit { swap_usage_bytes: Some(0), swap_limit_bytes: Some(8 << 20), ..Limit::default() });
        assert_eq!(
            of_fork_failure(&failure).fix[0].command.as_deref(),
            Some("docker update --memory 96m --memory-swap 104m 4e9bf3a17c02")
        );
    }
}

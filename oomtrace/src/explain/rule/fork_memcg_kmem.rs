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
        let fix = match failure.limit_at.clone().zip(failure.limit_bytes) {
            Some((path, limit)) => {
                raise(&Cgroup { path: Some(path), id: None, hierarchy }, limit, Swap::Unknown)
            }
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
}

//! No memory for the kernel's part of a process.

use super::{
    super::{finding::Fix, fork},
    Rule,
};
use crate::incident::ForkCause;

pub const RULE: Rule = Rule {
    fork: Some(|failure, _| {
        let told = fork::about(failure, ForkCause::Memory, || {
            "the kernel found no memory for its own part of a new process".to_owned()
        })?;
        Some(told.fix(Fix::advice(
            "free memory: see what oomtrace shows of kills and failed allocations at the same time",
            "none",
        )))
    }),
    ..Rule::new("fork-memory", include_str!("../../../docs/findings/fork-memory.md"))
};

#[cfg(test)]
mod tests {
    use super::super::super::tests::{fork_failure, fork_ids, of_fork_failure};
    use super::*;

    /// Guards the cause against all others, and what is proposed.
    #[test]
    fn it_is_found_and_no_other() {
        assert_eq!(fork_ids(&fork_failure(ForkCause::Memory)), ["fork-memory"]);
        let told = of_fork_failure(&fork_failure(ForkCause::Memory));
        assert!(told.fix[0].what.contains("free memory"));
    }
}

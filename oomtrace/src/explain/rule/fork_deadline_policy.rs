//! A deadline task cannot fork.

use super::{
    super::{finding::Fix, fork},
    Rule,
};
use crate::incident::ForkCause;

pub const RULE: Rule = Rule {
    fork: Some(|failure, _| {
        let told = fork::about(failure, ForkCause::DeadlinePolicy, || {
            "it is scheduled by deadlines (SCHED_DEADLINE), which children cannot inherit".to_owned()
        })?;
        Some(told.fix(Fix::advice(
            "set SCHED_FLAG_RESET_ON_FORK for the task (`chrt --deadline --reset-on-fork`)",
            "its children are scheduled like any other process",
        )))
    }),
    ..Rule::new("fork-deadline-policy", include_str!("../../../docs/findings/fork-deadline-policy.md"))
};

#[cfg(test)]
mod tests {
    use super::super::super::tests::{fork_failure, fork_ids, of_fork_failure};
    use super::*;

    /// Guards the cause against all others, and what is proposed.
    #[test]
    fn it_is_found_and_no_other() {
        assert_eq!(fork_ids(&fork_failure(ForkCause::DeadlinePolicy)), ["fork-deadline-policy"]);
        let told = of_fork_failure(&fork_failure(ForkCause::DeadlinePolicy));
        assert!(told.fix[0].what.contains("RESET_ON_FORK"));
    }
}

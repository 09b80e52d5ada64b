//! Another task was in the middle of an exec.

use super::{
    super::{finding::Fix, fork},
    Rule,
};
use crate::incident::ForkCause;

pub const RULE: Rule = Rule {
    fork: Some(|failure, _| {
        let told = fork::about(failure, ForkCause::ExecInProgress, || {
            "another task that shares its root and working directory was starting a program at that moment"
                .to_owned()
        })?;
        Some(told.fix(Fix::advice("have the program try again: that is over in no time", "none")))
    }),
    ..Rule::new("fork-exec-in-progress", include_str!("../../../docs/findings/fork-exec-in-progress.md"))
};

#[cfg(test)]
mod tests {
    use super::super::super::tests::{fork_failure, fork_ids, of_fork_failure};
    use super::*;

    /// Guards the cause against all others, and what is proposed.
    #[test]
    fn it_is_found_and_no_other() {
        assert_eq!(fork_ids(&fork_failure(ForkCause::ExecInProgress)), ["fork-exec-in-progress"]);
        let told = of_fork_failure(&fork_failure(ForkCause::ExecInProgress));
        assert!(told.fix[0].what.contains("try again"));
    }
}

//! The container has ended.

use super::{
    super::{finding::Fix, fork},
    Rule,
};
use crate::incident::ForkCause;

pub const RULE: Rule = Rule {
    fork: Some(|failure, _| {
        let told = fork::about(failure, ForkCause::PidnsDead, || {
            "the first process of its container has ended, and nobody can join the container any more"
                .to_owned()
        })?;
        Some(told.fix(Fix::advice(
            "start the container anew, and find out why its first process ended: a PID namespace does not outlive it",
            "none",
        )))
    }),
    ..Rule::new("fork-pidns-dead", include_str!("../../../docs/findings/fork-pidns-dead.md"))
};

#[cfg(test)]
mod tests {
    use super::super::super::tests::{fork_failure, fork_ids, of_fork_failure};
    use super::*;

    /// Guards the cause against all others, and what is proposed.
    #[test]
    fn it_is_found_and_no_other() {
        assert_eq!(fork_ids(&fork_failure(ForkCause::PidnsDead)), ["fork-pidns-dead"]);
        let told = of_fork_failure(&fork_failure(ForkCause::PidnsDead));
        assert!(told.fix[0].what.contains("start the container anew"));
    }
}

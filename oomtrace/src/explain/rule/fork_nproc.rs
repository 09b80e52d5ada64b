//! A user may have no more processes.

use super::{
    super::{finding::Fix, fork},
    Rule,
};
use crate::incident::ForkCause;

pub const RULE: Rule = Rule {
    fork: Some(|failure, _| {
        let told = fork::about(failure, ForkCause::RlimitNproc, || {
            "the user has as many processes and threads as it may have (RLIMIT_NPROC, which `ulimit -u` shows)".to_owned()
        })?;
        Some(
            told.fix(Fix::advice(
                "raise the user's limit: LimitNPROC= in the unit, or nproc in /etc/security/limits.conf and a new login",
                "it counts all of that user's processes on the machine, in containers too: one can starve the others",
            ))
            .fix(fork::find_leak()),
        )
    }),
    ..Rule::new("fork-nproc", include_str!("../../../docs/findings/fork-nproc.md"))
};

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

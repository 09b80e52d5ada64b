//! The task was killed as it forked.

use super::{super::fork, Rule};
use crate::incident::ForkCause;

pub const RULE: Rule = Rule {
    fork: Some(|failure, _| {
        fork::about(failure, ForkCause::FatalSignal, || {
            "nothing was lacking: it was killed while it forked".to_owned()
        })
    }),
    ..Rule::new("fork-fatal-signal", include_str!("../../../docs/findings/fork-fatal-signal.md"))
};

#[cfg(test)]
mod tests {
    use super::super::super::tests::{fork_failure, fork_ids, of_fork_failure};
    use super::*;

    /// Guards the cause against all others, and what is proposed.
    #[test]
    fn it_is_found_and_no_other() {
        assert_eq!(fork_ids(&fork_failure(ForkCause::FatalSignal)), ["fork-fatal-signal"]);
        assert!(of_fork_failure(&fork_failure(ForkCause::FatalSignal)).fix.is_empty());
    }
}

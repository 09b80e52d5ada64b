//! No file descriptor is left.

use super::{
    super::{finding::Fix, fork},
    Rule,
};
use crate::incident::ForkCause;

pub const RULE: Rule = Rule {
    fork: Some(|failure, _| {
        let told = fork::about(failure, ForkCause::FdLimit, || {
            "no file descriptor is left for it, or for a copy of those that it has".to_owned()
        })?;
        Some(told.fix(Fix::advice(
            "raise the limit of open files (LimitNOFILE= in the unit, ulimit -n, fs.nr_open), or find what does not close them \
             (`ls -l /proc/PID/fd`)",
            "a leak takes longer to be noticed",
        )))
    }),
    ..Rule::new("fork-fd-limit", include_str!("../../../docs/findings/fork-fd-limit.md"))
};

#[cfg(test)]
mod tests {
    use super::super::super::tests::{fork_failure, fork_ids, of_fork_failure};
    use super::*;

    /// Guards the cause against all others, and what is proposed.
    #[test]
    fn it_is_found_and_no_other() {
        assert_eq!(fork_ids(&fork_failure(ForkCause::FdLimit)), ["fork-fd-limit"]);
        let told = of_fork_failure(&fork_failure(ForkCause::FdLimit));
        assert!(told.fix[0].what.contains("LimitNOFILE="));
    }
}

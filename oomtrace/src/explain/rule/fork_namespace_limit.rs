//! No more namespaces may be made.

use super::{
    super::{finding::Fix, fork},
    Rule,
};
use crate::incident::ForkCause;

pub const RULE: Rule = Rule {
    fork: Some(|failure, _| {
        let told = fork::about(failure, ForkCause::NamespaceLimit, || {
            "as many namespaces, of which containers are made, exist as may, or they are nested as deep as may be".to_owned()
        })?;
        Some(told.fix(Fix::advice(
            "raise user.max_*_namespaces (`sysctl -a | grep user.max`), nest fewer, or find who does not let go of them (`lsns`)",
            "namespaces take memory of the kernel's",
        )))
    }),
    ..Rule::new("fork-namespace-limit", include_str!("../../../docs/findings/fork-namespace-limit.md"))
};

#[cfg(test)]
mod tests {
    use super::super::super::tests::{fork_failure, fork_ids, of_fork_failure};
    use super::*;

    /// Guards the cause against all others, and what is proposed.
    #[test]
    fn it_is_found_and_no_other() {
        assert_eq!(fork_ids(&fork_failure(ForkCause::NamespaceLimit)), ["fork-namespace-limit"]);
        let told = of_fork_failure(&fork_failure(ForkCause::NamespaceLimit));
        assert!(told.fix[0].what.contains("user.max_"));
    }
}

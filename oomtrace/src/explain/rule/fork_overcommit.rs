//! A copy of the memory may not be promised.

use super::{
    super::{finding::Fix, fork},
    Rule,
};
use crate::incident::ForkCause;

pub const RULE: Rule = Rule {
    fork: Some(|failure, settings| {
        let told = fork::about(failure, ForkCause::Overcommit, || {
            "a copy of the process could come to need more memory than may be promised (vm.overcommit_memory=2)".to_owned()
        })?;
        let ratio = settings.and_then(|settings| settings.overcommit_ratio).unwrap_or(50);
        let more = ratio.saturating_add(20);
        Some(
            told.with_known("overcommit_ratio_percent", settings.and_then(|settings| settings.overcommit_ratio))
                .fix(Fix::command(
                    "promise more: raise vm.overcommit_ratio (or vm.overcommit_kbytes, if that is set), or add swap",
                    format!("sysctl vm.overcommit_ratio={more}"),
                    "what is promised beyond what there is may end in the OOM killer, which mode 2 is to prevent",
                ))
                .fix(Fix::advice(
                    "have the program start others by vfork() or posix_spawn(), which copy nothing",
                    "none",
                )),
        )
    }),
    ..Rule::new("fork-overcommit", include_str!("../../../docs/findings/fork-overcommit.md"))
};

#[cfg(test)]
mod tests {
    use super::super::super::tests::{fork_failure, fork_ids, of_fork_failure};
    use super::*;

    /// Guards the cause against all others, and what is proposed.
    #[test]
    fn it_is_found_and_no_other() {
        assert_eq!(fork_ids(&fork_failure(ForkCause::Overcommit)), ["fork-overcommit"]);
        let mut failure = fork_failure(ForkCause::Overcommit);
        failure.limit_bytes = Some(5);
        assert_eq!(
            of_fork_failure(&failure).fix[0].command.as_deref(),
            Some("sysctl vm.overcommit_ratio=70")
        );
    }
}

//! The machine may hold no more threads.

use super::{
    super::{finding::Fix, fork},
    Rule,
};
use crate::incident::ForkCause;

const MEMORY: &str = "every thread takes some 20 KiB of the kernel's memory, which cannot be swapped";

pub const RULE: Rule = Rule {
    fork: Some(|failure, _| {
        let told = fork::about(failure, ForkCause::ThreadsMax, || {
            "the machine has as many processes and threads as it may have at all (kernel.threads-max)"
                .to_owned()
        })?;
        let fix = match fork::doubled(failure) {
            Some(more) => {
                Fix::command("raise kernel.threads-max", format!("sysctl kernel.threads-max={more}"), MEMORY)
            }
            None => Fix::advice("raise kernel.threads-max", MEMORY),
        };
        Some(told.fix(fix).fix(fork::find_leak()))
    }),
    ..Rule::new("fork-threads-max", include_str!("../../../docs/findings/fork-threads-max.md"))
};

#[cfg(test)]
mod tests {
    use super::super::super::tests::{fork_failure, fork_ids, of_fork_failure};
    use super::*;

    /// Guards the cause against all others, and what is proposed.
    #[test]
    fn it_is_found_and_no_other() {
        assert_eq!(fork_ids(&fork_failure(ForkCause::ThreadsMax)), ["fork-threads-max"]);
        let mut failure = fork_failure(ForkCause::ThreadsMax);
        failure.limit = Some(500);
        assert_eq!(
            of_fork_failure(&failure).fix[0].command.as_deref(),
            Some("sysctl kernel.threads-max=1000")
        );
    }
}

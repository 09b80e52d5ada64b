//! No more namespaces may be made.

use super::{
    super::{
        finding::{Fix, Lasts},
        fork,
    },
    Rule,
};
use crate::incident::{ForkCause, ForkFailure, NamespaceKind};

/// `PROC_USER_INIT_INO` (include/linux/proc_ns.h): where a shell of root's is.
const INITIAL: &str = " in user namespace 4026531837";

/// The most that these settings take (`INT_MAX`; kernel/ucount.c).
const MOST: u64 = 0x7fff_ffff;

/// What goes before a command for it to run in the user namespace whose limit it is: that sets how many its users may make. `None`:
/// nothing leads there.
fn there(failure: &ForkFailure) -> Option<String> {
    if failure.limit_at.as_deref()?.ends_with(INITIAL) {
        return Some(String::new());
    }
    let own = failure.limit_depth == Some(0);
    failure.task.pid.filter(|_| own).map(|pid| format!("nsenter --target {pid} --user "))
}

const RISK: &str = "namespaces take memory of the kernel's";

pub const RULE: Rule = Rule {
    fork: Some(|failure, _| {
        let kind = failure.namespace.map(NamespaceKind::name);
        let nested = failure.nested == Some(true);
        let told = fork::about(failure, ForkCause::NamespaceLimit, || {
            match kind {
            Some(kind) if nested => format!("{kind} namespaces, of which containers are made, are nested as deep as may be"),
            Some(kind) => format!("the user has as many {kind} namespaces, of which containers are made, as may be"),
            None => "as many namespaces, of which containers are made, exist as may, or they are nested as deep as may be".to_owned(),
        }
        })?;
        let fix = match (kind, fork::doubled(failure.limit, failure.usage)) {
            _ if nested => Fix::advice("nest fewer: no setting raises this limit", "none"),
            (Some(kind), Some(more)) if let Some(there) = there(failure) => {
                let fix = Fix::command(
                    format!("raise user.max_{kind}_namespaces or find what leaks them (`lsns -t {kind}`)"),
                    format!("{there}sysctl user.max_{kind}_namespaces={}", more.min(MOST)),
                    RISK,
                );
                // Another namespace's is gone with that.
                if there.is_empty() { fix.lasting(Lasts::UntilBoot) } else { fix }
            }
            (Some(kind), _) => Fix::advice(
                format!(
                    "raise user.max_{kind}_namespaces in that user namespace, or find what leaks them (`lsns -t {kind}`)"
                ),
                RISK,
            ),
            (None, _) => Fix::advice(
                "raise user.max_*_namespaces (`sysctl -a | grep user.max`), nest fewer, or find who does not let go of them (`lsns`)",
                RISK,
            ),
        };
        Some(told.with_known("namespace", kind).fix(fix))
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

    /// Guards the setting that is named: that of the kind, in the user namespace whose limit it is; none where depth is the limit, and
    /// no command where nothing leads to that namespace.
    #[test]
    fn the_kind_is_named() {
        let mut failure = fork_failure(ForkCause::NamespaceLimit);
        (failure.namespace, failure.limit) = (Some(NamespaceKind::Uts), Some(4));
        failure.limit_at = Some("uid 1000 in user namespace 4026531837".to_owned());
        let command = |failure: &ForkFailure| of_fork_failure(failure).fix[0].command.clone();
        assert_eq!(command(&failure).as_deref(), Some("sysctl user.max_uts_namespaces=8"));
        failure.limit_at = Some("uid 1000 in user namespace 4026532241".to_owned());
        assert_eq!(command(&failure), None);
        assert!(of_fork_failure(&failure).fix[0].what.contains("user.max_uts_namespaces"));
        (failure.task.pid, failure.limit_depth) = (Some(7), Some(0));
        assert_eq!(
            command(&failure).as_deref(),
            Some("nsenter --target 7 --user sysctl user.max_uts_namespaces=8")
        );
        failure.limit_depth = Some(1);
        assert_eq!(command(&failure), None, "the process is not in that one");
        failure.nested = Some(true);
        assert!(of_fork_failure(&failure).fix[0].what.contains("no setting"));
    }
}

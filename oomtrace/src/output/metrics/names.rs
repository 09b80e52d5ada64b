//! The values of labels that are known beforehand. Each has its series from the start, at 0: a series that begins with 1 is a
//! first event that `increase()` does not see.

use oomtrace_ebpf::DAEMONS;

use crate::incident::{FailureKind, ForkCause, Outcome, ScopeKind, Verdict};

/// What could not be had.
pub const UNKNOWN: &str = "unknown";
/// What is not among those known beforehand.
pub const OTHER: &str = "other";

/// What ran out.
pub const SCOPES: [&str; 5] = ["global", "memcg", "cpuset", "mempolicy", UNKNOWN];

/// See [`SCOPES`].
#[must_use]
pub fn scope(kind: Option<ScopeKind>) -> &'static str {
    match kind {
        Some(ScopeKind::Global) => "global",
        Some(ScopeKind::Memcg) => "memcg",
        Some(ScopeKind::Cpuset) => "cpuset",
        Some(ScopeKind::Mempolicy) => "mempolicy",
        None => UNKNOWN,
    }
}

/// How an incident ended.
pub const OUTCOMES: [&str; 5] = ["killed", "already_exiting", "no_victim", "panic", UNKNOWN];

/// See [`OUTCOMES`].
#[must_use]
pub fn outcome(outcome: Option<Outcome>) -> &'static str {
    match outcome {
        Some(Outcome::Killed) => "killed",
        Some(Outcome::AlreadyExiting) => "already_exiting",
        Some(Outcome::NoVictim) => "no_victim",
        Some(Outcome::Panic) => "panic",
        None => UNKNOWN,
    }
}

/// Why somebody was killed.
pub const VERDICTS: [&str; 5] = ["killed", "group_killed", "mm_shared", "pidns_collateral", UNKNOWN];

/// See [`VERDICTS`]. Who was exiting anyway was not killed.
#[must_use]
pub fn verdict(verdict: Option<Verdict>) -> Option<&'static str> {
    match verdict {
        Some(Verdict::Killed) => Some("killed"),
        Some(Verdict::GroupKilled) => Some("group_killed"),
        Some(Verdict::MmShared) => Some("mm_shared"),
        Some(Verdict::PidnsCollateral) => Some("pidns_collateral"),
        Some(Verdict::AlreadyExiting) => None,
        None => Some(UNKNOWN),
    }
}

/// What refused a fork.
pub const FORK_CAUSES: [&str; 14] = [
    "pids_max",
    "pid_max",
    "threads_max",
    "rlimit_nproc",
    "pidns_dead",
    "overcommit",
    "memory",
    "memcg_kmem",
    "namespace_limit",
    "fatal_signal",
    "fd_limit",
    "deadline_policy",
    "exec_in_progress",
    OTHER,
];

/// See [`FORK_CAUSES`].
#[must_use]
pub fn fork_cause(cause: ForkCause) -> &'static str {
    match cause {
        ForkCause::PidsMax => "pids_max",
        ForkCause::PidMax => "pid_max",
        ForkCause::ThreadsMax => "threads_max",
        ForkCause::RlimitNproc => "rlimit_nproc",
        ForkCause::PidnsDead => "pidns_dead",
        ForkCause::Overcommit => "overcommit",
        ForkCause::Memory => "memory",
        ForkCause::MemcgKmem => "memcg_kmem",
        ForkCause::NamespaceLimit => "namespace_limit",
        ForkCause::FatalSignal => "fatal_signal",
        ForkCause::FdLimit => "fd_limit",
        ForkCause::DeadlinePolicy => "deadline_policy",
        ForkCause::ExecInProgress => "exec_in_progress",
        ForkCause::Other => OTHER,
    }
}

/// Which allocation failed.
pub const FAILURES: [&str; 5] = ["page_fault", "memcg_oom_disabled", "hugetlb", "page_allocation", "vmalloc"];

/// See [`FAILURES`].
#[must_use]
pub fn failure(kind: FailureKind) -> &'static str {
    match kind {
        FailureKind::PageFault => "page_fault",
        FailureKind::MemcgOomDisabled => "memcg_oom_disabled",
        FailureKind::Hugetlb => "hugetlb",
        FailureKind::PageAllocation => "page_allocation",
        FailureKind::Vmalloc => "vmalloc",
    }
}

/// Where something can be lost before it reaches any output. What is lost in front of an output is that output's.
pub const PLACES: [&str; 6] = ["ring", "decode", "kmsg", "programs", "vmstat", OTHER];

/// See [`PLACES`].
#[must_use]
pub fn place(place: &str) -> Option<&'static str> {
    let known = PLACES.into_iter().find(|known| *known == place);
    (place != "output").then(|| known.unwrap_or(OTHER))
}

/// The daemons that are known to kill, by name.
pub fn killers() -> impl Iterator<Item = &'static str> {
    DAEMONS.into_iter().chain([OTHER])
}

/// See [`killers`].
#[must_use]
pub fn killer(comm: Option<&str>) -> &'static str {
    DAEMONS.into_iter().find(|name| Some(*name) == comm).unwrap_or(OTHER)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use schemars::{JsonSchema, schema_for};
    use serde_json::Value;

    use super::*;

    /// The values that an enumeration has in the output, by its schema.
    fn values<T: JsonSchema>() -> BTreeSet<String> {
        fn collect(schema: &Value, to: &mut BTreeSet<String>) {
            match schema {
                Value::Object(object) => {
                    let listed = object.get("enum").and_then(Value::as_array).into_iter().flatten();
                    to.extend(
                        object
                            .get("const")
                            .into_iter()
                            .chain(listed)
                            .filter_map(Value::as_str)
                            .map(str::to_owned),
                    );
                    object.values().for_each(|value| collect(value, to));
                }
                Value::Array(array) => array.iter().for_each(|value| collect(value, to)),
                _ => {}
            }
        }
        let mut found = BTreeSet::new();
        collect(schema_for!(T).as_value(), &mut found);
        found
    }

    fn set(names: &[&str], without: &[&str]) -> BTreeSet<String> {
        names.iter().filter(|name| !without.contains(name)).map(ToString::to_string).collect()
    }

    /// Guards that each value has its series from the start, by the name that the output gives it.
    #[test]
    fn labels_have_the_names_of_the_output() {
        assert_eq!(set(&SCOPES, &[UNKNOWN]), values::<ScopeKind>());
        assert_eq!(set(&OUTCOMES, &[UNKNOWN]), values::<Outcome>());
        let mut verdicts = values::<Verdict>();
        assert!(verdicts.remove("already_exiting"), "it is no kill");
        assert_eq!(set(&VERDICTS, &[UNKNOWN]), verdicts);
        assert_eq!(set(&FORK_CAUSES, &[]), values::<ForkCause>());
        assert_eq!(set(&FAILURES, &[]), values::<FailureKind>());
    }

    /// Guards the closed sets against what processes call themselves, and against places of losses yet to come.
    #[test]
    fn what_is_not_known_is_other() {
        assert_eq!(killer(Some("earlyoom")), "earlyoom");
        assert_eq!(killer(Some("earlyoom\n")), OTHER);
        assert_eq!(killer(None), OTHER);
        assert_eq!(place("ring"), Some("ring"));
        assert_eq!(place("somewhere"), Some(OTHER));
        assert_eq!(place("output"), None);
    }
}

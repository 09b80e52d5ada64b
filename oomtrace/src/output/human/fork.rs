//! Forks that failed.

use oomtrace_ebpf::MAX_CHILDREN;

use super::words::{grouped, size};
use crate::{
    incident::{ForkCause, ForkFailure, ForkingTask, Making, NamespaceKind},
    text::printable,
};

/// What refused, in the words of what an operator sets.
pub(super) fn refused(failure: &ForkFailure) -> String {
    let number = |number: u64| grouped(i64::try_from(number).unwrap_or(i64::MAX));
    let at = || failure.limit_at.as_deref().map(printable);
    let of = |what: &str| match (failure.limit, at()) {
        (Some(limit), Some(at)) => format!("{what} {} of {at} reached", number(limit)),
        (Some(limit), None) => format!("{what} {} reached", number(limit)),
        (None, Some(at)) => format!("{what} of {at} reached"),
        (None, None) => format!("{what} reached"),
    };
    let text = match failure.cause {
        ForkCause::PidsMax => of("pids.max"),
        ForkCause::PidMax => of("pid_max"),
        ForkCause::ThreadsMax => of("threads-max"),
        ForkCause::RlimitNproc => of("RLIMIT_NPROC (ulimit -u)"),
        ForkCause::PidnsDead => "the first process of its PID namespace has ended".to_owned(),
        ForkCause::Overcommit => match (failure.usage_bytes, failure.limit_bytes) {
            (Some(usage), Some(limit)) => {
                format!("{} of {} may be promised (vm.overcommit_memory=2)", size(usage), size(limit))
            }
            _ => "no more memory may be promised (vm.overcommit_memory=2)".to_owned(),
        },
        ForkCause::Memory => "no memory for the kernel's part of it".to_owned(),
        ForkCause::MemcgKmem => match (failure.limit_bytes, at()) {
            (Some(limit), Some(at)) => format!("limit {} of {at} reached", size(limit)),
            _ => "a memory cgroup's limit reached".to_owned(),
        },
        ForkCause::NamespaceLimit => match failure.namespace {
            Some(kind) if failure.nested == Some(true) => {
                let limit = failure.limit.map(|limit| format!(" than {}", number(limit)));
                format!(
                    "no more{} {} namespaces may be within each other",
                    limit.unwrap_or_default(),
                    kind.name()
                )
            }
            Some(kind) => of(&setting(kind)),
            None => "as many namespaces as may be".to_owned(),
        },
        ForkCause::FdLimit => "no file descriptor is left".to_owned(),
        ForkCause::FatalSignal => "it was killed while it forked".to_owned(),
        ForkCause::DeadlinePolicy => "SCHED_DEADLINE cannot be inherited".to_owned(),
        ForkCause::ExecInProgress => "another task that shares its root folder is in an exec".to_owned(),
        ForkCause::Other => "why is not known".to_owned(),
    };
    let made = match failure.making {
        Some(Making::Thread) => "no thread: ",
        Some(Making::KernelThread) => "no kernel thread: ",
        Some(Making::Process) | None => "",
    };
    match failure.errno_name {
        Some(name) => format!("{made}{text} ({name})"),
        None => format!("{made}{text}"),
    }
}

/// What limits how many namespaces of a kind a user may make.
fn setting(kind: NamespaceKind) -> String {
    format!("user.max_{}_namespaces", kind.name())
}

/// How many the task has already.
pub(super) fn family(task: &ForkingTask) -> Option<String> {
    let children = task.children.map(|children| match children {
        1 => "1 child".to_owned(),
        MAX_CHILDREN.. => format!("{MAX_CHILDREN} children or more"),
        _ => format!("{children} children"),
    });
    let threads = task.threads.filter(|threads| *threads > 1).map(|threads| format!("{threads} threads"));
    let parts: Vec<_> = children.into_iter().chain(threads).collect();
    if parts.is_empty() { None } else { Some(parts.join(", ")) }
}

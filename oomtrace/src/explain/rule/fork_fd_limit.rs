//! No file descriptor is left.

use super::{
    super::{
        finding::{Conclusion, Fix, Lasts},
        fork,
    },
    Rule,
};
use crate::incident::{ForkCause, ForkFailure};

pub const RULE: Rule = Rule {
    fork: Some(|failure, _| {
        let told = fork::about(failure, ForkCause::FdLimit, || {
            "no file descriptor is left for it, or for a copy of those that it has".to_owned()
        })?;
        let told = now(failure).into_iter().fold(told, Conclusion::fix);
        Some(told.fix(Fix::advice(
            "raise the limit of open files for good (LimitNOFILE= in the unit, ulimit -n, fs.nr_open, fs.file-max), or find what does \
             not close them (`ls -l /proc/PID/fd`)",
            LATER,
        )))
    }),
    ..Rule::new("fork-fd-limit", include_str!("../../../docs/findings/fork-fd-limit.md"))
};

const LATER: &str = "a leak takes longer to be noticed";
/// `CLONE_PIDFD` (include/uapi/linux/sched.h): the one thing that a fork needs a new descriptor for.
const CLONE_PIDFD: u64 = 0x1000;
/// What `fs.nr_open` is by default (fs/file.c): with more, programs that go through all descriptors that they may have take for ever.
const NR_OPEN: u64 = 1_048_576;

/// How the process that runs can have more. Which limit refused is not told, but only one of these can have.
fn now(failure: &ForkFailure) -> Option<Fix> {
    let (pid, flags) = (failure.task.pid?, failure.clone_flags?);
    if failure.errno_name != Some("EMFILE") {
        return None;
    }
    Some(if flags & CLONE_PIDFD != 0 {
        let hard = format!("$(prlimit --pid {pid} --nofile --raw --noheadings --output HARD)");
        Fix::command(
            "let the process that runs have as many as its hard limit allows",
            format!("prlimit --pid {pid} --nofile={hard}:"),
            "programs that wait by select(2) cannot take descriptors above 1024",
        )
        .lasting(Lasts::WithProcess)
    } else {
        // dup_fd() makes no table as large as the one that there is (fs/file.c).
        Fix::command(
            "raise fs.nr_open, which was lowered below what the process has open",
            format!("sysctl fs.nr_open={NR_OPEN}"),
            LATER,
        )
        .lasting(Lasts::UntilBoot)
    })
}

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

    /// Guards the commands: a descriptor for the child is the process's own limit, a copy of all is the machine's, and where the
    /// machine has none left at all neither helps.
    #[test]
    fn the_limit_that_can_have_refused_is_raised() {
        let mut failure = fork_failure(ForkCause::FdLimit);
        failure.task.pid = Some(7);
        for (errno_name, flags, command) in [
            (
                "EMFILE",
                Some(CLONE_PIDFD),
                Some(
                    "prlimit --pid 7 --nofile=$(prlimit --pid 7 --nofile --raw --noheadings --output HARD):",
                ),
            ),
            ("EMFILE", Some(0), Some("sysctl fs.nr_open=1048576")),
            ("EMFILE", None, None),
            ("ENFILE", Some(CLONE_PIDFD), None),
        ] {
            (failure.errno_name, failure.clone_flags) = (Some(errno_name), flags);
            assert_eq!(of_fork_failure(&failure).fix[0].command.as_deref(), command);
        }
    }
}

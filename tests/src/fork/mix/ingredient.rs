//! What may be in a mixture, in the order in which the kernel comes to it.

use std::path::Path;

use serde::Serialize;

use crate::fork::call::Call;
use crate::machine::Machine;
use crate::witness::cgroup::Version;

/// A cause. The order is that of `copy_process()` (kernel/fork.c), the same from 5.10 to 7.2: of two that would refuse,
/// the first does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ingredient {
    /// A memory cgroup that is full (`dup_task_struct()`).
    MemoryCgroup,
    /// RLIMIT_NPROC.
    UserLimit,
    /// `kernel.threads-max`.
    Threads,
    /// `SCHED_DEADLINE` (`sched_fork()`).
    Deadline,
    /// `fs.nr_open` (`copy_files()`).
    Table,
    /// A thread within execve (`copy_fs()`).
    Execution,
    /// `vm.overcommit_memory` (`copy_mm()`).
    Overcommit,
    /// `user.max_uts_namespaces` (`copy_namespaces()`).
    Namespaces,
    /// `kernel.pid_max` of the PID namespace that the forker is in (`alloc_pid()`, from the inside out).
    NestedPidMax,
    /// That of the first one.
    FirstPidMax,
    /// A PID namespace whose first process has ended (`alloc_pid()`, once it has an id at every level).
    DeadNamespace,
    /// RLIMIT_NOFILE, for `CLONE_PIDFD`.
    Pidfd,
    /// `pids.max` of the forker's cgroup (`cgroup_can_fork()`, from the inside out).
    Tasks,
    /// That of the cgroup two levels up.
    OuterTasks,
}

/// How far an ingredient goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It refuses.
    Reached,
    /// It is just not enough to refuse.
    Near,
}

use Ingredient::{
    DeadNamespace, Deadline, Execution, FirstPidMax, MemoryCgroup, Namespaces, NestedPidMax, OuterTasks,
    Overcommit, Pidfd, Table, Tasks, Threads, UserLimit,
};

impl Ingredient {
    /// All of them, in the kernel's order.
    pub const ALL: [Self; 14] = [
        MemoryCgroup,
        UserLimit,
        Threads,
        Deadline,
        Table,
        Execution,
        Overcommit,
        Namespaces,
        NestedPidMax,
        FirstPidMax,
        DeadNamespace,
        Pidfd,
        Tasks,
        OuterTasks,
    ];

    /// The cause's name.
    #[must_use]
    pub fn cause(self) -> &'static str {
        match self {
            MemoryCgroup => "memcg_kmem",
            UserLimit => "rlimit_nproc",
            Threads => "threads_max",
            Deadline => "deadline_policy",
            Table | Pidfd => "fd_limit",
            Execution => "exec_in_progress",
            Overcommit => "overcommit",
            Namespaces => "namespace_limit",
            NestedPidMax | FirstPidMax => "pid_max",
            DeadNamespace => "pidns_dead",
            Tasks | OuterTasks => "pids_max",
        }
    }

    /// The error.
    #[must_use]
    pub fn errno(self) -> i32 {
        match self {
            MemoryCgroup | Overcommit | DeadNamespace => libc::ENOMEM,
            Table | Pidfd => libc::EMFILE,
            Namespaces => libc::ENOSPC,
            UserLimit | Threads | Deadline | Execution | NestedPidMax | FirstPidMax | Tasks | OuterTasks => {
                libc::EAGAIN
            }
        }
    }

    /// The function that returns the error to `copy_process()`, of those in [`Self::FUNCTIONS`].
    #[must_use]
    pub fn function(self) -> Option<&'static str> {
        match self {
            Deadline => Some("sched_fork"),
            Overcommit => Some("__vm_enough_memory"),
            Namespaces => Some("copy_namespaces"),
            NestedPidMax | FirstPidMax | DeadNamespace => Some("alloc_pid"),
            Tasks | OuterTasks => Some("pids_can_fork"),
            MemoryCgroup | UserLimit | Threads | Table | Execution | Pidfd => None,
        }
    }

    /// The functions that tell some of them apart.
    pub const FUNCTIONS: [&str; 5] =
        ["sched_fork", "__vm_enough_memory", "copy_namespaces", "alloc_pid", "pids_can_fork"];

    /// Whether it has to do with what a call asks for.
    #[must_use]
    pub fn concerns(self, call: Call) -> bool {
        let has = |flag: i32| call.flags() & u64::from(flag.cast_unsigned()) != 0;
        match self {
            Table => !has(libc::CLONE_FILES),
            Execution => has(libc::CLONE_FS),
            Overcommit => !has(libc::CLONE_VM),
            Namespaces => has(libc::CLONE_NEWUTS),
            Pidfd => has(libc::CLONE_PIDFD),
            _ => true,
        }
    }

    /// Whether it can be near.
    #[must_use]
    pub fn can_be_near(self) -> bool {
        !matches!(self, MemoryCgroup | FirstPidMax)
    }

    /// Whether this machine has it, and may be led to it.
    #[must_use]
    pub fn is_available(self, machine: &Machine) -> bool {
        let picks_ids = Path::new("/proc/sys/kernel/ns_last_pid").exists();
        let memory = machine.hierarchy.as_ref().map(|hierarchy| hierarchy.version);
        match self {
            MemoryCgroup => memory == Some(Version::V1) || (memory.is_some() && machine.disposable),
            Threads | Table | Overcommit => machine.disposable,
            FirstPidMax => machine.disposable && picks_ids,
            NestedPidMax => machine.is_at_least(6, 14) && picks_ids,
            _ => true,
        }
    }

    /// Whether the two can be brought about together.
    #[must_use]
    pub fn goes_with(self, other: Self) -> bool {
        // Both would be about the same ids.
        !matches!((self, other), (NestedPidMax, FirstPidMax) | (FirstPidMax, NestedPidMax)) && self != other
    }
}

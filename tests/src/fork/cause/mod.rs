//! The causes, one file each: how each is brought about, and what is true then.

mod deadline_policy;
mod exec_in_progress;
mod fatal_signal;
mod fd_limit;
mod injected;
mod memcg_kmem;
mod namespace_limit;
mod near_miss;
mod nproc;
mod overcommit;
mod pid_max;
mod pidns_dead;
mod pids_max;
mod threads_max;

use std::path::Path;

use anyhow::Result;

use crate::fork::call::Call;
use crate::fork::ground::Ground;
use crate::fork::truth::Truth;
use crate::machine::Machine;
use crate::witness::cgroup::{Hierarchy, Version};

pub use fd_limit::{DESCRIPTOR, TABLE_LIMIT};
pub use injected::fail_task_alloc;
pub use memcg_kmem::{fill, lead_into};
pub use overcommit::{MAPPED, MAPPING, Promises, promised_memory};
pub use threads_max::threads_of_machine;

/// One way to have forks fail, or not quite.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// Its name: the cause, a slash, and what is special.
    pub name: &'static str,
    /// Where it can be brought about.
    pub needs: Needs,
    /// Errors that no task gets to know, and that no truth tells: one of them must be seen to be returned by
    /// `copy_process()`, where that can be seen.
    pub hidden: &'static [i32],
    /// Brings it about, has each call fail so often, and takes everything back.
    pub provoke: fn(&Ground<'_>, u64) -> Result<Vec<Truth>>,
}

/// Where a cause can be brought about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Anywhere, as root.
    Root,
    /// Where there is a controller that counts tasks.
    Pids,
    /// Where it is in the version 2 hierarchy, of which a child can be made a member as it is made.
    UnifiedPids,
    /// Where user namespaces count their users' processes: since 5.14.
    CountingNamespaces,
    /// Where userfaultfd(2) can be had: it is up to how the kernel was built.
    FaultsByUser,
    /// On a machine made for it, since the whole of it is concerned.
    Disposable,
    /// Where each PID namespace has a pid_max of its own: since 6.14.
    NestedPidMax,
    /// Where there is a memory controller, in version 1 or on a machine made for it: elsewhere root may not have the
    /// right to forbid a process's death.
    Unkillable,
}

/// All of them.
pub static CASES: &[Case] = &[
    pids_max::OWN,
    pids_max::ANCESTOR,
    pids_max::THREAD,
    pids_max::INTO,
    pids_max::STORM,
    nproc::USER,
    nproc::NAMESPACE,
    nproc::OWNER,
    nproc::STORM,
    pidns_dead::CASE,
    deadline_policy::CASE,
    exec_in_progress::CASE,
    namespace_limit::OWN,
    namespace_limit::PID_DEPTH,
    namespace_limit::USER_DEPTH,
    fd_limit::PIDFD,
    memcg_kmem::OWN,
    memcg_kmem::ANCESTOR,
    pid_max::NESTED,
    pid_max::NESTED_FROM_DEEPER,
    near_miss::FLAGS,
    near_miss::RIGHTS,
    near_miss::ID,
    near_miss::FILTER,
    near_miss::STORM,
    near_miss::SIGNALS,
    fatal_signal::COPYING,
    fatal_signal::WAITING,
    injected::MEMORY,
    injected::OTHER,
    // What concerns the whole machine.
    namespace_limit::OUTER,
    fd_limit::TABLE,
    overcommit::CASE,
    threads_max::CASE,
    pid_max::FIRST,
    pid_max::FIRST_FROM_NESTED,
];

/// Each way to make a process or a thread.
pub const CALLS: [Call; 5] =
    [Call::Fork, Call::Vfork, Call::Clone { flags: 0 }, Call::Clone3 { flags: 0 }, Call::Thread { flags: 0 }];

impl Needs {
    /// What of it this machine does not have.
    pub fn unmet(self, machine: &Machine) -> Result<Option<&'static str>> {
        Ok(match self {
            Self::Root => None,
            Self::Pids => Hierarchy::of("pids")?.is_none().then_some("no hierarchy has the controller pids"),
            Self::UnifiedPids => Hierarchy::of("pids")?
                .is_none_or(|hierarchy| hierarchy.version == Version::V1)
                .then_some("the version 2 hierarchy does not have the controller pids"),
            Self::CountingNamespaces => {
                (!machine.is_at_least(5, 14)).then_some("before 5.14 user namespaces do not count processes")
            }
            Self::FaultsByUser => {
                let there = Path::new("/proc/sys/vm/unprivileged_userfaultfd").exists();
                (!there).then_some("the kernel was built without userfaultfd")
            }
            Self::Disposable => (!machine.disposable).then_some("the machine was not made for it"),
            Self::NestedPidMax => (!machine.is_at_least(6, 14))
                .then_some("before 6.14 there is one pid_max for all PID namespaces"),
            Self::Unkillable => match &machine.hierarchy {
                None => Some("no hierarchy has the controller memory"),
                Some(hierarchy) => (hierarchy.version == Version::V2 && !machine.disposable)
                    .then_some("the machine was not made for it"),
            },
        })
    }
}

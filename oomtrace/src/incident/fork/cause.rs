//! What refused a fork: from the function that returned the error where a hook shows it, else from limits and counts, in
//! the order in which `copy_process()` (kernel/fork.c) looks at them.

use super::{
    ForkCause, NamespaceKind, Proof,
    errno::{EAGAIN, EINTR, EMFILE, ENFILE, ENOMEM, ENOSPC},
};
use crate::{
    incident::{
        chain::{Chain, stock_pages},
        types::Limit,
    },
    record::{Ceiling, ForkFailure, ForkHost, Namespaces, PidsLevel, Site},
};

/// What is known as a fork fails.
pub(super) struct Evidence<'a> {
    pub failure: &'a ForkFailure,
    pub memory: Option<&'a Chain>,
    pub pids: &'a Chain<PidsLevel>,
    pub namespaces: Option<&'a Namespaces>,
    pub host: ForkHost,
    pub page_bytes: u32,
    pub cpus: u32,
}

/// What refused.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub cause: ForkCause,
    pub proof: Proof,
    pub limit: Option<u64>,
    pub usage: Option<u64>,
    pub limit_bytes: Option<u64>,
    pub usage_bytes: Option<u64>,
    /// Whose limit it is.
    pub at: Option<String>,
    /// Levels above the task's own.
    pub depth: Option<u32>,
    /// Of a cgroup: the hierarchy that it is of.
    pub hierarchy: Option<u32>,
    /// Of a memory cgroup: what it may have beside.
    pub level: Option<Limit>,
    /// Of promises: how much would have to be promised in all.
    pub needed_bytes: Option<u64>,
    /// Of namespaces: which kind, …
    pub namespace: Option<NamespaceKind>,
    /// … and whether they are too deep within each other.
    pub nested: Option<bool>,
    /// What is not known of these, and why.
    pub missing: Vec<(&'static str, String)>,
}

/// `CLONE_VM` (include/uapi/linux/sched.h): nothing is copied.
const CLONE_VM: u64 = 0x100;
/// `CLONE_FS`: what an exec of another task keeps from being shared.
const CLONE_FS: u64 = 0x200;
/// `CLONE_INTO_CGROUP`: the child's cgroup is another.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
/// Capabilities (include/uapi/linux/capability.h), a bit each.
const CAP_SYS_ADMIN: u64 = 1 << 21;
const CAP_SYS_RESOURCE: u64 = 1 << 24;
/// `PROC_USER_INIT_INO` (include/linux/proc_ns.h).
const INITIAL_USER_NAMESPACE: u32 = 0xEFFF_FFFD;
/// `RESERVED_PIDS` (include/linux/pid.h): low ids are not given out again.
const RESERVED_PIDS: u64 = 300;
/// Pages of a task's stack, which are charged as one (16 KiB on x86-64).
const STACK_PAGES: u64 = 4;

impl Found {
    pub fn new(cause: ForkCause, proof: Proof) -> Self {
        Self {
            cause,
            proof,
            limit: None,
            usage: None,
            limit_bytes: None,
            usage_bytes: None,
            at: None,
            depth: None,
            hierarchy: None,
            level: None,
            needed_bytes: None,
            namespace: None,
            nested: None,
            missing: Vec::new(),
        }
    }

    /// Without limit, usage and level.
    pub fn without(mut self, reason: &str) -> Self {
        for field in ["limit", "usage", "limit_at"] {
            self.missing.push((field, reason.to_owned()));
        }
        self
    }
}

impl Evidence<'_> {
    /// What refused.
    pub fn find(&self) -> Found {
        let failure = self.failure;
        match (failure.site, failure.errno) {
            (Site::PidsCanFork, EAGAIN) => {
                let found = Found::new(ForkCause::PidsMax, Proof::Hook);
                self.pids_max(found.clone()).unwrap_or_else(|| found.without(ERASED))
            }
            (Site::AllocPid, EAGAIN) => {
                let found = Found::new(ForkCause::PidMax, Proof::Hook);
                self.pid_max(found.clone()).unwrap_or_else(|| found.without(ERASED))
            }
            (Site::AllocPid, ENOMEM) if failure.namespace_dead => {
                Found::new(ForkCause::PidnsDead, Proof::Hook)
            }
            (Site::AllocPid, ENOMEM) => Found::new(ForkCause::Memory, Proof::Hook),
            (_, EAGAIN) => self.again(),
            // copy_process() itself, or dup_mmap() (up to 6.12 with ENOMEM).
            (_, EINTR | ENOMEM) if failure.fatal => Found::new(ForkCause::FatalSignal, Proof::State),
            (_, ENOMEM) => self.memory(),
            (_, EMFILE | ENFILE) => {
                Found::new(ForkCause::FdLimit, Proof::State).without("limits of descriptors are not read")
            }
            (_, ENOSPC) => self.namespace(),
            _ => Found::new(ForkCause::Other, Proof::State),
        }
    }

    /// EAGAIN of whatever no hook shows, in the kernel's order. Where there are hooks of what `copy_process()` calls, these may
    /// have been at work for another fork on the same processor (where programs are preempted: 7.x).
    fn again(&self) -> Found {
        let found = |cause| Found::new(cause, Proof::State);
        self.early()
            .or_else(|| self.pid_max(found(ForkCause::PidMax)))
            .or_else(|| self.pids_max_elsewhere())
            .or_else(|| self.pids_max(found(ForkCause::PidsMax)))
            .unwrap_or_else(|| found(ForkCause::Other))
    }

    /// At the end of a system call the cgroups that came are the task's own: where the child's is another, only that is known.
    fn pids_max_elsewhere(&self) -> Option<Found> {
        let elsewhere = self.failure.clone_flags.is_some_and(|flags| flags & CLONE_INTO_CGROUP != 0);
        (elsewhere && self.failure.site == Site::Syscall)
            .then(|| Found::new(ForkCause::PidsMax, Proof::State).without(ELSEWHERE))
    }

    /// What is looked at before an id is allocated.
    fn early(&self) -> Option<Found> {
        let failure = self.failure;
        if failure.crowded && !self.is_exempt() {
            return Some(self.nproc());
        }
        if let Some((threads, most)) =
            failure.threads.or_else(|| self.host.threads.zip(self.host.threads_max))
            && threads >= most
        {
            let mut found = Found::new(ForkCause::ThreadsMax, Proof::State);
            (found.limit, found.usage, found.at) = (Some(most), Some(threads), Some("host".to_owned()));
            return Some(found);
        }
        if failure.deadline {
            return Some(Found::new(ForkCause::DeadlinePolicy, Proof::State));
        }
        let shares = failure.clone_flags.is_none_or(|flags| flags & CLONE_FS != 0);
        (failure.in_exec && shares).then(|| Found::new(ForkCause::ExecInProgress, Proof::State))
    }

    /// Whether `RLIMIT_NPROC` does not bind the task: root, and whoever may use what is kept for it.
    fn is_exempt(&self) -> bool {
        self.failure.task.uid == Some(0) || self.may(CAP_SYS_ADMIN | CAP_SYS_RESOURCE)
    }

    /// Whether the task has one of these capabilities in the initial user namespace.
    fn may(&self, capabilities: u64) -> bool {
        let failure = self.failure;
        failure.user_namespace.is_none_or(|inum| inum == INITIAL_USER_NAMESPACE)
            && failure.capabilities.is_some_and(|has| has & capabilities != 0)
    }

    fn nproc(&self) -> Found {
        let failure = self.failure;
        let mut found = Found::new(ForkCause::RlimitNproc, Proof::State);
        if failure.users.is_empty() {
            // Up to 5.13 one count for all user namespaces.
            (found.limit, found.usage, found.depth) =
                (failure.nproc_limit, failure.user_processes.map(u64::from), Some(0));
            found.at = failure.task.uid.map(|uid| format!("uid {uid}"));
            return found;
        }
        let full = failure.users.iter().zip(0_u32..).find_map(|(user, depth)| {
            let limit = if depth == 0 { failure.nproc_limit } else { user.max }?;
            let count = user.count?;
            (count >= limit).then_some((user, depth, limit, count))
        });
        let Some((user, depth, limit, count)) = full else { return found.without(ERASED) };
        (found.limit, found.usage, found.depth) = (Some(limit), Some(count), Some(depth));
        found.at = Some(user_in(user.uid, user.inum));
        found
    }

    /// The PID namespace that has the fewest ids left, if it can be full at all. alloc_pid() (kernel/pid.c) begins with the
    /// innermost, and each id there takes one in all around it.
    fn pid_max(&self, mut found: Found) -> Option<Found> {
        let (namespace, depth, limit, usage) = self
            .failure
            .pid_namespaces
            .iter()
            .zip(0_u32..)
            .filter_map(|(namespace, depth)| {
                let limit =
                    namespace.pid_max.map(u64::from).or(self.failure.pid_max).or(self.host.pid_max)?;
                Some((namespace, depth, limit, u64::from(namespace.allocated?)))
            })
            .filter(|(.., limit, usage)| usage.saturating_add(RESERVED_PIDS) >= *limit)
            .min_by_key(|(.., limit, usage)| limit.saturating_sub(*usage))?;
        (found.limit, found.usage, found.depth) = (Some(limit), Some(usage), Some(depth));
        found.at = namespace.inum.map(|inum| format!("PID namespace {inum}"));
        Some(found)
    }

    /// The first cgroup that is full, as pids_try_charge() goes (kernel/cgroup/pids.c).
    fn pids_max(&self, mut found: Found) -> Option<Found> {
        let (level, depth) = self.pids.levels().iter().zip(0_usize..).find(|(level, _)| {
            level.usage.zip(level.limit.flatten()).is_some_and(|(usage, limit)| usage >= limit)
        })?;
        (found.limit, found.usage) = (level.limit.flatten(), level.usage);
        found.depth = u32::try_from(depth).ok();
        found.hierarchy = level.link.id.map(|id| id.hierarchy);
        match self.pids.path(depth) {
            Ok(path) => found.at = Some(path),
            Err(reason) => found.missing.push(("limit_at", reason)),
        }
        Some(found)
    }

    /// ENOMEM.
    fn memory(&self) -> Found {
        if let Some(found) = self.memcg() {
            return found;
        }
        if let Some(found) = self.overcommit() {
            return found;
        }
        // By state as above.
        if self.failure.namespace_dead {
            return Found::new(ForkCause::PidnsDead, Proof::State);
        }
        Found::new(ForkCause::Memory, Proof::State)
    }

    /// A copy of the task's memory that may not be promised (`__vm_enough_memory()`, mm/util.c).
    fn overcommit(&self) -> Option<Found> {
        let failure = self.failure;
        if failure.clone_flags.is_some_and(|flags| flags & CLONE_VM != 0) {
            return None;
        }
        let (limit, committed) = self.promised()?;
        let wanted = committed.saturating_add(self.bytes(failure.data_pages?));
        let needed = wanted.saturating_add(self.kept_for_others());
        if needed <= limit {
            return None;
        }
        let mut found = Found::new(ForkCause::Overcommit, Proof::State);
        found.needed_bytes = Some(needed);
        (found.limit_bytes, found.usage_bytes) = (Some(limit), Some(committed));
        found.at = Some("host".to_owned());
        Some(found)
    }

    /// How much memory may be promised, and how much is, bytes; `None` if that has no limit.
    fn promised(&self) -> Option<(u64, u64)> {
        let Some(promises) = &self.failure.promises else {
            return self.host.commit.filter(|_| self.host.overcommit_memory == Some(2));
        };
        if promises.mode != 2 {
            return None;
        }
        // vm_commit_limit(), in whole pages.
        let page = u64::from(self.page_bytes).max(1);
        let own = match promises.kbytes {
            0 => (self.host.memory_bytes? / page).saturating_mul(promises.ratio.into()) / 100,
            kbytes => kbytes.saturating_mul(1024) / page,
        };
        let limit = self.bytes(own.saturating_add(promises.swap_pages));
        Some((limit, self.bytes(promises.committed_pages)))
    }

    /// What the task may not be promised though it is free, bytes: it is for who can end it, and for the administrator.
    fn kept_for_others(&self) -> u64 {
        let Some(promises) = &self.failure.promises else { return 0 };
        let admin =
            if self.may(CAP_SYS_ADMIN) { 0 } else { promises.admin_reserve_kbytes.saturating_mul(1024) };
        let own = self.bytes(promises.total_vm_pages / 32);
        admin.saturating_add(own.min(promises.user_reserve_kbytes.saturating_mul(1024)))
    }

    fn bytes(&self, pages: u64) -> u64 {
        pages.saturating_mul(u64::from(self.page_bytes))
    }

    /// A memory cgroup that is full.
    fn memcg(&self) -> Option<Found> {
        let chain = self.memory?;
        let slack = stock_pages(self.cpus) + STACK_PAGES;
        let (level, depth) = chain.levels().iter().zip(0_usize..).find(|(level, _)| {
            let limit = level.limit.and_then(Ceiling::pages);
            level.usage_pages.zip(limit).is_some_and(|(usage, limit)| usage.saturating_add(slack) >= limit)
        })?;
        let bytes = |pages| self.bytes(pages);
        let mut found = Found::new(ForkCause::MemcgKmem, Proof::State);
        found.limit_bytes = level.limit.and_then(Ceiling::pages).map(bytes);
        found.usage_bytes = level.usage_pages.map(bytes);
        found.depth = u32::try_from(depth).ok();
        found.hierarchy = level.link.id.map(|id| id.hierarchy);
        found.level = chain.limits(self.page_bytes).ok().and_then(|limits| limits.into_iter().nth(depth));
        match chain.path(depth) {
            Ok(path) => found.at = Some(path),
            Err(reason) => found.missing.push(("limit_at", reason)),
        }
        Some(found)
    }
}

/// A user, as a user namespace counts what is the user's.
pub(super) fn user_in(uid: u32, namespace: Option<u32>) -> String {
    let namespace = namespace.map_or_else(String::new, |inum| format!(" in user namespace {inum}"));
    format!("uid {uid}{namespace}")
}

/// Why there is no level.
const ELSEWHERE: &str = "the child was to be in another cgroup, whose limits are not at hand in this tier";
pub(super) const ERASED: &str = "no level was full any more when it was looked at";

#[cfg(test)]
#[path = "cause_tests.rs"]
pub(super) mod tests;

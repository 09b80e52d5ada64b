//! Records about forks that failed: what they say, and how it stands in their bytes.

use oomtrace_ebpf::{self as abi, NAMESPACE_COUNTERS, fork, fork_host, forking, level, namespaces, site};

use super::{
    decode::{DecodeError, known, link, task},
    types::{CgroupId, Link, Task},
};

/// Which function returned the error first, as far as hooks tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Site {
    /// `copy_process()` itself, or what it calls and no hook shows.
    CopyProcess,
    /// `alloc_pid()`.
    AllocPid,
    /// `pids_can_fork()`.
    PidsCanFork,
    /// The system call: no hook shows more.
    Syscall,
}

/// A PID namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PidNamespace {
    /// Its number.
    pub inum: Option<u32>,
    /// Ids in use.
    pub allocated: Option<u32>,
    /// No id is as high (since 6.14).
    pub pid_max: Option<u32>,
}

/// A user namespace that counts a user's processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserLevel {
    /// Its number.
    pub inum: Option<u32>,
    /// The user, in the initial user namespace.
    pub uid: u32,
    /// Processes.
    pub count: Option<u64>,
    /// How many may be; `None` for the first: there the task's own limit counts.
    pub max: Option<u64>,
}

/// A fork failed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own, and any of them may hold beside any other"
)]
pub struct ForkFailure {
    /// The task that forked.
    pub task: Task,
    /// The error, positive.
    pub errno: u32,
    /// Who returned it.
    pub site: Site,
    /// The task is to die.
    pub fatal: bool,
    /// The first process of the child's PID namespace has ended.
    pub namespace_dead: bool,
    /// The task is scheduled by deadlines, and its children would be.
    pub deadline: bool,
    /// Another task that shares its file system information is in an exec.
    pub in_exec: bool,
    /// Its user has as many processes as may be.
    pub crowded: bool,
    /// What it asked for (`CLONE_*`).
    pub clone_flags: Option<u64>,
    /// What it may do, a bit each.
    pub capabilities: Option<u64>,
    /// Its `RLIMIT_NPROC`; `u64::MAX`: none.
    pub nproc_limit: Option<u64>,
    /// Processes of its user (before 5.14).
    pub user_processes: Option<u32>,
    /// The number of its user namespace.
    pub user_namespace: Option<u32>,
    /// Private memory that a copy of its address space would be charged for at the most, pages.
    pub data_pages: Option<u64>,
    /// Children of the thread, counted up to [`MAX_CHILDREN`](abi::MAX_CHILDREN).
    pub children: Option<u32>,
    /// Threads of all processes, and how many may be.
    pub threads: Option<(u64, u64)>,
    /// `kernel.pid_max` (before 6.14).
    pub pid_max: Option<u64>,
    /// How much memory may be promised.
    pub promises: Option<Promises>,
    /// The cgroup by which failures are told apart.
    pub cgroup_id: u64,
    /// When identical failures began, ns since boot.
    pub first_ns: u64,
    /// How many since then.
    pub total: u64,
    /// PID namespaces, from the child's outwards.
    pub pid_namespaces: Vec<PidNamespace>,
    /// User namespaces, from the task's outwards.
    pub users: Vec<UserLevel>,
    /// Whether this is no failure, but the count of those that were not told.
    pub remainder: bool,
}

/// A cgroup of the pids controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PidsLevel {
    /// Where it is in the chain of the child's, and its name.
    pub link: Link,
    /// Tasks in it.
    pub usage: Option<u64>,
    /// How many may be; `Some(None)`: any number.
    pub limit: Option<Option<u64>>,
}

/// How many namespaces there are and may be as a fork fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespaces {
    /// The task's effective user, in the initial user namespace.
    pub euid: Option<u32>,
    /// How many PID namespaces are around the one that the child was to be in.
    pub pid_depth: Option<u32>,
    /// User namespaces, from the task's own outwards.
    pub levels: Vec<NamespaceLevel>,
}

/// A user namespace that counts the namespaces that a user has made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NamespaceLevel {
    /// Its number.
    pub inum: Option<u32>,
    /// How many user namespaces are around it.
    pub depth: Option<u32>,
    /// The user, in the initial user namespace; in the first level the task's real one.
    pub uid: Option<u32>,
    /// How many there are of each kind, in the order of [`NAMESPACE_COUNTERS`].
    pub counts: [Option<u64>; NAMESPACE_COUNTERS.len()],
    /// How many there may be.
    pub max: [Option<u64>; NAMESPACE_COUNTERS.len()],
}

impl AsRef<Link> for PidsLevel {
    fn as_ref(&self) -> &Link {
        &self.link
    }
}

/// What the machine has of what forks take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ForkHost {
    /// Threads of all processes.
    pub threads: Option<u64>,
    /// `kernel.threads-max`.
    pub threads_max: Option<u64>,
    /// `kernel.pid_max`.
    pub pid_max: Option<u64>,
    /// `vm.overcommit_memory`.
    pub overcommit_memory: Option<u32>,
    /// How much memory may be promised, and how much is, bytes.
    pub commit: Option<(u64, u64)>,
    /// The machine's memory without huge pages, bytes.
    pub memory_bytes: Option<u64>,
}

/// What memory may be promised, and is, at the instant of a failure (mm/util.c).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Promises {
    /// `vm.overcommit_memory`: 2: there is a limit.
    pub mode: i32,
    /// `vm.overcommit_ratio`: how much of the machine's memory, percent.
    pub ratio: u32,
    /// `vm.overcommit_kbytes`: in place of that, unless 0.
    pub kbytes: u64,
    /// Swap comes on top, pages.
    pub swap_pages: u64,
    /// What is promised, pages.
    pub committed_pages: u64,
    /// `vm.user_reserve_kbytes`: a process is left room for others, this at the most.
    pub user_reserve_kbytes: u64,
    /// `vm.admin_reserve_kbytes`: for those alone who have `CAP_SYS_ADMIN`.
    pub admin_reserve_kbytes: u64,
    /// Size of the task's address space, pages.
    pub total_vm_pages: u64,
}

/// `PIDS_MAX` is `PID_MAX_LIMIT + 1` (kernel/cgroup/pids.c; include/linux/threads.h).
const PIDS_MAX: u64 = (4 << 20) + 1;

pub(super) fn failure(raw: &abi::ForkFailure) -> Result<ForkFailure, DecodeError> {
    let site = match raw.site {
        site::COPY_PROCESS => Site::CopyProcess,
        site::ALLOC_PID => Site::AllocPid,
        site::PIDS_CAN_FORK => Site::PidsCanFork,
        site::SYSCALL => Site::Syscall,
        what => return Err(DecodeError::UnknownEvent { what }),
    };
    let holds = |bit: u32| raw.state & bit != 0;
    let count = |number: i64| u64::try_from(number).unwrap_or(0);
    let small = |number: i32| u64::try_from(number).unwrap_or(0);
    let user = |user: &abi::UserLevel| UserLevel {
        inum: known(user.present, fork::INUM, user.inum),
        uid: user.uid,
        count: known(user.present, fork::COUNT, count(user.count)),
        max: known(user.present, fork::MAX, count(user.max)),
    };
    let namespace = |namespace: &abi::PidNamespace| PidNamespace {
        inum: known(namespace.present, fork::INUM, namespace.inum),
        allocated: known(namespace.present, fork::ALLOCATED, namespace.allocated),
        pid_max: known(namespace.present, fork::PID_MAX, namespace.pid_max),
    };
    Ok(ForkFailure {
        task: task(&raw.task),
        errno: raw.errno,
        site,
        fatal: holds(forking::FATAL),
        namespace_dead: holds(forking::NAMESPACE_DEAD),
        deadline: holds(forking::DEADLINE),
        in_exec: holds(forking::IN_EXEC),
        crowded: holds(forking::NPROC),
        clone_flags: known(raw.present, fork::FLAGS, raw.clone_flags),
        capabilities: known(raw.present, fork::CAPABILITIES, raw.cap_effective),
        nproc_limit: known(raw.present, fork::NPROC_LIMIT, raw.nproc_limit),
        user_processes: known(raw.present, fork::USER_PROCESSES, raw.user_processes),
        user_namespace: known(raw.present, fork::USER_NS, raw.user_ns_inum),
        data_pages: known(raw.present, fork::DATA_PAGES, raw.data_pages),
        children: known(raw.present, fork::CHILDREN, raw.children),
        threads: known(raw.present, fork::THREADS, (small(raw.threads), small(raw.threads_max))),
        pid_max: known(raw.present, fork::MACHINE_PID_MAX, small(raw.pid_max)),
        promises: known(raw.present, fork::PROMISES, promises(raw)),
        cgroup_id: raw.cgroup_id,
        first_ns: raw.first_ns,
        total: raw.total,
        // Above the initial one there is none to read.
        pid_namespaces: raw
            .pid_namespaces
            .iter()
            .filter(|one| one.present & fork::ALLOCATED != 0)
            .map(namespace)
            .collect(),
        users: raw.users.iter().filter(|one| one.present & fork::COUNT != 0).map(user).collect(),
        // Time since boot is never 0.
        remainder: raw.header.opened_ns == 0,
    })
}

fn promises(raw: &abi::ForkFailure) -> Promises {
    Promises {
        mode: raw.overcommit_memory,
        ratio: u32::try_from(raw.overcommit_ratio).unwrap_or(0),
        kbytes: raw.overcommit_kbytes,
        swap_pages: u64::try_from(raw.swap_pages).unwrap_or(0),
        // What CPUs hold back may be more than is promised.
        committed_pages: u64::try_from(raw.committed_pages).unwrap_or(0),
        user_reserve_kbytes: raw.user_reserve_kbytes,
        admin_reserve_kbytes: raw.admin_reserve_kbytes,
        total_vm_pages: raw.total_vm_pages,
    }
}

pub(super) fn namespaces(raw: &abi::Namespaces) -> Namespaces {
    Namespaces {
        euid: known(raw.present, namespaces::EUID, raw.euid),
        pid_depth: known(raw.present, namespaces::PID_NS_DEPTH, raw.pid_ns_depth),
        // Above the initial one there is none to read.
        levels: raw
            .levels
            .iter()
            .filter(|one| one.present & namespaces::INUM != 0)
            .map(namespace_level)
            .collect(),
    }
}

fn namespace_level(raw: &abi::NamespaceLevel) -> NamespaceLevel {
    let numbers = |first: u32, numbers: [i64; NAMESPACE_COUNTERS.len()]| {
        std::array::from_fn(|kind| {
            known(raw.present, first << kind, numbers[kind]).and_then(|number| u64::try_from(number).ok())
        })
    };
    NamespaceLevel {
        inum: known(raw.present, namespaces::INUM, raw.inum),
        depth: known(raw.present, namespaces::DEPTH, raw.depth),
        uid: known(raw.present, namespaces::UID, raw.uid),
        counts: numbers(namespaces::FIRST_COUNT, raw.counts),
        max: numbers(namespaces::FIRST_MAX, raw.max),
    }
}

pub(super) fn level(raw: &abi::PidsLevel) -> PidsLevel {
    let limit = u64::try_from(raw.limit).ok();
    PidsLevel {
        link: link(
            raw.present,
            raw.depth,
            CgroupId { hierarchy: raw.hierarchy, id: raw.id },
            raw.parent,
            (&raw.name, raw.name_len),
        ),
        usage: known(raw.present, level::USAGE, u64::try_from(raw.usage).unwrap_or(0)),
        limit: known(raw.present, level::LIMIT, limit.filter(|limit| *limit < PIDS_MAX)),
    }
}

pub(super) fn host(raw: &abi::ForkHost) -> ForkHost {
    ForkHost {
        threads: known(raw.present, fork_host::THREADS, raw.threads),
        threads_max: known(raw.present, fork_host::THREADS_MAX, raw.threads_max),
        pid_max: known(raw.present, fork_host::PID_MAX, raw.pid_max),
        overcommit_memory: known(raw.present, fork_host::OVERCOMMIT, raw.overcommit_memory),
        commit: known(raw.present, fork_host::COMMIT, (raw.commit_limit_bytes, raw.committed_bytes)),
        memory_bytes: known(raw.present, fork_host::MEMORY, raw.memory_bytes),
    }
}

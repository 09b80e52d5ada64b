//! Forks that failed: their lines, what refused, and how often each happened.

mod cause;
mod errno;
mod namespaces;

use std::collections::BTreeMap;

use oomtrace_ebpf::FORK_KINDS;
use schemars::JsonSchema;
use serde::Serialize;

pub use self::namespaces::NamespaceKind;
use self::{
    cause::{Evidence, Found},
    errno::EAGAIN,
};
use super::{
    chain::Chain,
    missing::{self, NO_CHAIN, UNREAD, lacking, note},
    repeats::{News, Repeats, Series},
    types::{Command, Common, Kinship, Limit, Place, SchemaName},
};
use crate::explain::Finding;
use crate::record::{self, ForkHost, PidsLevel, PidsRefused, Task};

/// Kinds of failures that are remembered, at most: as many as the kernel half's map holds.
const REMEMBERED: usize = FORK_KINDS as usize;

/// Marks a line as a fork that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub enum ForkFailureTag {
    /// `fork_failure`.
    #[serde(rename = "fork_failure")]
    ForkFailure,
}

/// `fork()`, `vfork()`, `clone()` or `clone3()` failed for want of something. Identical failures (of the same name, user, cgroup
/// and cause) are told once a second, with a count.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct ForkFailure {
    /// `oomtrace/1`.
    pub schema: SchemaName,
    /// `fork_failure`.
    pub r#type: ForkFailureTag,
    /// What every line tells.
    #[serde(flatten)]
    pub common: Common,
    /// The error that the call returned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub errno: Option<u32>,
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub errno_name: Option<&'static str>,
    /// What refused.
    pub cause: ForkCause,
    /// What the cause follows from.
    pub proof: Proof,
    /// What was to be made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub making: Option<Making>,
    /// What was asked for (`CLONE_*`), as the kernel encodes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clone_flags: Option<u64>,
    /// How many there may be, of what the cause counts: tasks, threads, ids, namespaces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// How many there are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<u64>,
    /// Of `overcommit` and `memcg_kmem`: the limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit_bytes: Option<u64>,
    /// Of these: what is promised, or charged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage_bytes: Option<u64>,
    /// Whose limit it is: the path of a cgroup, a PID or user namespace, or the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit_at: Option<String>,
    /// How many levels that is above the task's own cgroup or namespace; 0: its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit_depth: Option<u32>,
    /// The number of the hierarchy that the cgroup `limit_at` is of; 0: version 2. For the rules: where its files are depends on it.
    #[serde(skip)]
    pub limit_hierarchy: Option<u32>,
    /// Of `memcg_kmem`: what that cgroup may have beside, swap above all. For the rules.
    #[serde(skip)]
    pub limit_level: Option<Limit>,
    /// Of `overcommit`: how much would have to be promised in all for the fork to come about. For the rules.
    #[serde(skip)]
    pub needed_bytes: Option<u64>,
    /// Of `namespace_limit`: which kind of namespaces the limit is of. `user.max_<kind>_namespaces` of the user namespace sets
    /// it, unless they are `nested`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<NamespaceKind>,
    /// Of `namespace_limit`: whether the limit is how many of them may be within each other, which nothing sets, and not how
    /// many a user may make.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nested: Option<bool>,
    /// The task that forked.
    pub task: ForkingTask,
    /// How often this has happened since the line before about it. If more than once, the rest of the line is about the last
    /// one.
    pub count: u64,
    /// The time since the line before about it, ns; 0 in the first.
    pub window_ns: u64,
    /// What it comes to, and what to do. What happens again, and what comes after ten others in a second, is told without them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Finding>,
    /// Fields that could not be had, by path, with the reason.
    pub missing: BTreeMap<String, String>,
    /// Records of this failure that were lost on the way.
    pub lost_records: u64,
}

/// What keeps a task from forking.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ForkCause {
    /// `pids.max` of its cgroup, or of one above (`limit_at`).
    PidsMax,
    /// There are no more ids in a PID namespace: `kernel.pid_max`.
    PidMax,
    /// `kernel.threads-max`.
    ThreadsMax,
    /// `RLIMIT_NPROC`: the processes of its user, in its user namespace or one above.
    RlimitNproc,
    /// The first process of its PID namespace has ended, so that nobody can join any more.
    PidnsDead,
    /// `vm.overcommit_memory` is 2, and a copy of its memory may not be promised.
    Overcommit,
    /// Memory for the kernel's own part of a task, or for its page tables.
    Memory,
    /// The same, refused by a memory cgroup at its limit (`limit_at`).
    MemcgKmem,
    /// There are as many namespaces of a kind as may be, or as deep as they may be.
    NamespaceLimit,
    /// The task was killed while it forked: nothing was wanting.
    FatalSignal,
    /// No file descriptor is left for it, or for a copy of those that there are (EMFILE), or for anyone (ENFILE).
    FdLimit,
    /// It is scheduled by deadlines, which children cannot be.
    DeadlinePolicy,
    /// Another task that shares its file system information was in an exec.
    ExecInProgress,
    /// Something else: the error tells.
    Other,
}

/// What a cause follows from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Proof {
    /// From the function that returned the error.
    Hook,
    /// From what the limits and counts were as it failed.
    State,
    /// From the cgroup's own count of what it refused (`pids.events`).
    Count,
    /// From the kernel log.
    Log,
}

/// What was to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Making {
    /// A process.
    Process,
    /// A thread of the same process.
    Thread,
    /// A thread of the kernel's.
    KernelThread,
}

/// The task that forked.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct ForkingTask {
    /// Process id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// Thread id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tid: Option<u32>,
    /// Process id of its parent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ppid: Option<u32>,
    /// Name of the thread; bytes that are not UTF-8 as `\xNN`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comm: Option<String>,
    /// Real user id in the initial user namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// Threads of the process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threads: Option<u32>,
    /// Children of the thread that forked; counted up to 256.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub children: Option<u32>,
    /// Whether it is one of the command's own that `oomtrace run` runs. Absent outside of that, and where it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub of_run: Option<bool>,
    /// Who it is among others.
    #[serde(flatten)]
    pub kinship: Kinship,
    /// What it was started with.
    #[serde(flatten)]
    pub command: Command,
    /// Where it ran: its memory cgroup.
    #[serde(flatten)]
    pub place: Place,
}

/// What has been told, so that each failure is counted once.
#[derive(Debug, Default)]
pub(super) struct Forks {
    /// What the machine had of what forks take, when that was last read.
    pub host: Option<ForkHost>,
    /// Whether a hook has told of one: then the kernel log says nothing more.
    pub hooked: bool,
    told: Repeats<Name, Said, REMEMBERED>,
}

/// Names identical failures: what the kernel half counts together.
type Name = (u32, record::Site, [bool; 5], u64, Option<u32>, Option<u32>, Option<String>);

/// What a line said.
#[derive(Debug)]
struct Said {
    at_ns: u64,
    /// For one that comes later without the cgroups, as is the place.
    found: Found,
    place: Place,
}

/// What came with a failure.
pub(super) struct With<'a> {
    /// The memory cgroups of its task, if they came.
    pub memory: Option<&'a Chain>,
    /// Those of the pids controller.
    pub pids: &'a Chain<PidsLevel>,
    /// How many namespaces there are, if that came.
    pub namespaces: Option<&'a record::Namespaces>,
    pub command: Command,
    pub kinship: Kinship,
    pub page_bytes: u32,
    pub cpus: u32,
    pub missing: BTreeMap<String, String>,
}

impl Forks {
    /// The line of a failure; `None` if another one has counted it.
    pub fn line(
        &mut self,
        failure: &record::ForkFailure,
        with: With<'_>,
        common: Common,
    ) -> Option<ForkFailure> {
        self.hooked = true;
        let With { memory, pids, namespaces, command, kinship, page_bytes, cpus, mut missing } = with;
        let name = name(failure);
        let series = Series { first_ns: failure.first_ns, total: failure.total };
        let News { count, before, continued } = self.told.news(&name, series)?;
        // The first line of a series that has several is about the time since they began.
        let last_ns = before.as_ref().filter(|_| continued).map_or(failure.first_ns, |said| said.at_ns);
        let now_ns = common.clock_ns().unwrap_or(last_ns);
        let first = !continued && count == 1;
        let window_ns = if first { 0 } else { now_ns.saturating_sub(last_ns) };
        let (found, place) = if let Some(said) = before.filter(|_| failure.remainder) {
            (said.found, said.place)
        } else {
            let chain = memory.filter(|_| !failure.remainder);
            let path = cgroup(failure, chain, pids);
            note(&mut missing, "task.cgroup", &path);
            let host = self.host.unwrap_or_default();
            let evidence = Evidence { failure, memory: chain, pids, namespaces, host, page_bytes, cpus };
            (evidence.find(), Place::of(path.ok()))
        };
        missing.extend(found.missing.iter().map(|(field, reason)| ((*field).to_owned(), reason.clone())));
        let task = &failure.task;
        let unread = [
            ("task.pid", task.pid.is_none()),
            ("task.tid", task.tid.is_none()),
            ("task.ppid", task.ppid.is_none()),
            ("task.comm", task.comm.is_none()),
            ("task.uid", task.uid.is_none()),
            ("task.threads", task.threads.is_none()),
            ("task.children", failure.children.is_none()),
        ];
        missing::all(&mut missing, lacking(unread), UNREAD);
        let making = making(failure);
        if making.is_none() {
            missing::all(&mut missing, ["making", "clone_flags"], NO_ARGUMENTS);
        }
        let said = Said { at_ns: now_ns, found: found.clone(), place: place.clone() };
        self.told.keep(name, series, said);
        Some(ForkFailure {
            schema: SchemaName::V1,
            r#type: ForkFailureTag::ForkFailure,
            common,
            errno: Some(failure.errno),
            errno_name: errno::name(failure.errno),
            cause: found.cause,
            proof: found.proof,
            making,
            clone_flags: failure.clone_flags,
            limit: found.limit,
            usage: found.usage,
            limit_bytes: found.limit_bytes,
            usage_bytes: found.usage_bytes,
            limit_at: found.at,
            limit_depth: found.depth,
            limit_hierarchy: found.hierarchy,
            limit_level: found.level,
            needed_bytes: found.needed_bytes,
            namespace: found.namespace,
            nested: found.nested,
            task: ForkingTask {
                pid: task.pid,
                tid: task.tid,
                ppid: task.ppid,
                comm: task.comm.clone(),
                uid: task.uid,
                threads: task.threads,
                children: failure.children,
                of_run: task.of_run,
                kinship,
                command,
                place,
            },
            count,
            window_ns,
            findings: Vec::new(),
            missing,
            lost_records: 0,
        })
    }
}

/// What is told of forks that a cgroup refused where no hook shows them.
pub(super) fn refused(refused: &PidsRefused, common: Common) -> ForkFailure {
    const UNHOOKED: &str = "no hook shows forks in this tier, only how many a cgroup refuses";
    const UNCOUNTED: &str = "the kernel log has the first fork that a cgroup refuses, and nothing more of it";
    const OTHERS: &str = "the kernel counts by the limit, and not by who forks";
    const ROOM: &str = "no level was full any more when it was looked at";
    let reason = |counted: &'static str| if refused.counted { counted } else { UNCOUNTED };
    let mut missing = BTreeMap::new();
    let unhooked = [
        "making",
        "clone_flags",
        "task.pid",
        "task.tid",
        "task.ppid",
        "task.comm",
        "task.uid",
        "task.threads",
        "task.children",
        "task.ns_pid",
        "task.ancestors",
        "task.cmdline",
    ];
    missing::all(&mut missing, unhooked, UNHOOKED);
    let room = [
        ("limit", refused.limit.is_none()),
        ("usage", refused.usage.is_none()),
        ("limit_at", refused.limit_at.is_none()),
    ];
    missing::all(&mut missing, lacking(room), reason(ROOM));
    missing::all(&mut missing, lacking([("task.cgroup", refused.cgroup.is_none())]), reason(OTHERS));
    let depth = |above: &str, own: &str| {
        let below = own.strip_prefix(above)?;
        u32::try_from(below.matches('/').count()).ok()
    };
    ForkFailure {
        schema: SchemaName::V1,
        r#type: ForkFailureTag::ForkFailure,
        common,
        // pids_try_charge() (kernel/cgroup/pids.c) has no other.
        errno: Some(EAGAIN),
        errno_name: errno::name(EAGAIN),
        cause: ForkCause::PidsMax,
        proof: if refused.counted { Proof::Count } else { Proof::Log },
        making: None,
        clone_flags: None,
        limit: refused.limit,
        usage: refused.usage,
        limit_bytes: None,
        usage_bytes: None,
        limit_depth: refused
            .limit_at
            .as_deref()
            .zip(refused.cgroup.as_deref())
            .and_then(|(at, own)| depth(at, own)),
        limit_at: refused.limit_at.clone(),
        limit_hierarchy: None,
        limit_level: None,
        needed_bytes: None,
        namespace: None,
        nested: None,
        task: ForkingTask { place: Place::of(refused.cgroup.clone()), ..ForkingTask::default() },
        count: refused.count,
        window_ns: refused.window_ns,
        findings: Vec::new(),
        missing,
        lost_records: 0,
    }
}

const NO_ARGUMENTS: &str = "the arguments of the call are not at hand in this tier";

/// `CLONE_THREAD` and `CLONE_INTO_CGROUP` (include/uapi/linux/sched.h).
const CLONE_THREAD: u64 = 0x0001_0000;
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// The path of the task's cgroup: in version 2 both controllers are of one hierarchy, and either may reach further down.
fn cgroup(
    failure: &record::ForkFailure,
    memory: Option<&Chain>,
    pids: &Chain<PidsLevel>,
) -> Result<String, String> {
    let path = memory.map_or_else(|| Err(NO_CHAIN.to_owned()), |chain| chain.path(0))?;
    // The child's may be another.
    let own = failure.clone_flags.is_none_or(|flags| flags & CLONE_INTO_CGROUP == 0);
    let of_pids = pids.leaf().filter(|leaf| own && leaf.hierarchy == 0).and_then(|_| pids.path(0).ok());
    Ok(of_pids.filter(|lower| lower.starts_with(&path)).unwrap_or(path))
}

fn making(failure: &record::ForkFailure) -> Option<Making> {
    if failure.task.is_kernel_thread() {
        return Some(Making::KernelThread);
    }
    let thread = failure.clone_flags? & CLONE_THREAD != 0;
    Some(if thread { Making::Thread } else { Making::Process })
}

fn name(failure: &record::ForkFailure) -> Name {
    let Task { uid, comm, .. } = &failure.task;
    let state = [failure.fatal, failure.namespace_dead, failure.deadline, failure.in_exec, failure.crowded];
    let namespace = failure.pid_namespaces.first().and_then(|namespace| namespace.inum);
    (failure.errno, failure.site, state, failure.cgroup_id, *uid, namespace, comm.clone())
}

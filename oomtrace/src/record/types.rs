//! What a record says. `None`: the kernel half could not read it.

use std::collections::BTreeMap;

use oomtrace_ebpf::NODE_COUNTERS;

use super::fork::{ForkFailure, ForkHost, Namespaces, PidsLevel};
use crate::host::settings::Settings;

/// The run of the OOM killer that a record belongs to, and its place in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// The thread that runs the OOM killer.
    pub trigger_tid: u32,
    /// When the run was first seen, ns since boot.
    pub opened_ns: u64,
    /// When the record was made, ns since boot.
    pub boot_ns: u64,
    /// Number of the record within the run, from 0.
    pub index: u32,
    /// Records of the run that found no room before this one.
    pub lost: u32,
}

/// A cgroup, as the kernel names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CgroupId {
    /// Its hierarchy; 0 is the unified one (v2).
    pub hierarchy: u32,
    /// Inode number of its directory; unique within the hierarchy.
    pub id: u64,
}

/// A task.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Task {
    /// Process id.
    pub pid: Option<u32>,
    /// Thread id.
    pub tid: Option<u32>,
    /// Parent's process id.
    pub ppid: Option<u32>,
    /// Real user id.
    pub uid: Option<u32>,
    /// `PF_*` flags.
    pub flags: Option<u32>,
    /// Threads of the process.
    pub threads: Option<u32>,
    /// Of these, the ones that have not begun to end.
    pub live: Option<u32>,
    /// `oom_score_adj`.
    pub oom_score_adj: Option<i32>,
    /// Start of the process, ns since boot.
    pub start_boot_ns: Option<u64>,
    /// Its memory cgroup.
    pub memcg: Option<CgroupId>,
    /// Name; bytes that are not UTF-8 as `\xNN`.
    pub comm: Option<String>,
    /// Whether it is one of the command's own that `oomtrace run` runs.
    pub of_run: Option<bool>,
}

/// `PF_KTHREAD` (include/linux/sched.h).
const PF_KTHREAD: u32 = 0x0020_0000;

impl Task {
    /// Whether it is known to be a thread of the kernel's, which has no memory of its own.
    #[must_use]
    pub fn is_kernel_thread(&self) -> bool {
        self.flags.is_some_and(|flags| flags & PF_KTHREAD != 0)
    }
}

/// An address space.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mm {
    /// Size, pages.
    pub total_vm_pages: Option<u64>,
    /// Page tables, bytes.
    pub pgtables_bytes: Option<u64>,
    /// Counters by a plain read, pages, indexed by `oomtrace_ebpf::RSS_*`.
    pub rss_count: Option<[i64; 4]>,
    /// Counters with all CPUs' parts, pages.
    pub rss_sum: Option<[i64; 4]>,
}

/// The OOM killer chose.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// The task whose allocation failed.
    pub trigger: Task,
    /// The task that was chosen.
    pub chosen: Task,
    /// Allocation flags.
    pub gfp_mask: Option<u32>,
    /// Allocation order; -1 for sysrq.
    pub order: Option<i32>,
    /// `enum oom_constraint`.
    pub constraint: Option<u32>,
    /// Capacity of what ran out, pages.
    pub capacity_pages: Option<u64>,
    /// The chosen task's badness, pages.
    pub chosen_points: Option<i64>,
    /// The memory cgroup at its limit: `Some(None)` if none was.
    pub memcg: Option<Option<CgroupId>>,
    /// Whether a node's zones were to be allocated from.
    pub zonelist: Option<bool>,
}

/// A task that could have been chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its process id when it was scored.
    pub pid: u32,
    /// Its badness, pages.
    pub points: i64,
    /// The task at the decision; `None` if it had ended by then.
    pub task: Option<Task>,
    /// Its address space at the decision.
    pub mm: Mm,
    /// Tasks that were scored.
    pub examined: u32,
    /// Of these, what must not be killed.
    pub unkillable: u32,
    /// Whether the scores are computed as the kernel does, since no hook shows its own.
    pub computed: bool,
}

/// A zone at the decision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Zone {
    /// The node that it belongs to.
    pub node: Option<u32>,
    /// Its name.
    pub name: Option<String>,
    /// Free pages.
    pub free_pages: Option<u64>,
    /// The watermarks min, low and high, pages, without the boost.
    pub watermark_pages: Option<[u64; 3]>,
    /// What is added to each for a while, pages.
    pub boost_pages: Option<u64>,
    /// Pages that the page allocator manages.
    pub managed_pages: Option<u64>,
    /// Pages that are there.
    pub present_pages: Option<u64>,
    /// Pages that the request must leave beyond the watermark.
    pub reserve_pages: Option<u64>,
    /// Free blocks of 2^order pages, by order.
    pub blocks: Option<Vec<u64>>,
}

/// What the memory of a node is used for at the decision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// The node.
    pub node: Option<u32>,
    /// Its counters, see [`NODE_COUNTERS`]: pages; that of kernel stacks KiB.
    pub counters: [Option<u64>; NODE_COUNTERS.len()],
}

/// How long a trigger reclaimed before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stall {
    /// Time in the rounds, ns.
    pub spent_ns: u64,
    /// Rounds that ended.
    pub rounds: u32,
    /// Beginnings and ends of rounds that were missed: if any, the figures are too low.
    pub unseen: u32,
}

/// Whose chain of cgroups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// The victim's.
    Victim,
    /// The trigger's.
    Trigger,
}

/// A counter's limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ceiling {
    /// It has none ("max").
    Unlimited,
    /// So many pages.
    Pages(u64),
}

impl Ceiling {
    /// The limit in pages, if there is one.
    #[must_use]
    pub fn pages(self) -> Option<u64> {
        match self {
            Self::Unlimited => None,
            Self::Pages(pages) => Some(pages),
        }
    }
}

/// A cgroup as a link of a chain from a task's own up to the root, whatever the controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// 0 for the task's own cgroup, 1 for its parent, ….
    pub depth: u32,
    /// Its id.
    pub id: Option<CgroupId>,
    /// Name of its directory; empty for the root. Bytes that are not UTF-8 as `\xNN`.
    pub name: Option<String>,
    /// Whether the name goes on.
    pub name_truncated: bool,
    /// Whether it is the root.
    pub root: bool,
}

/// One memory cgroup of a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Level {
    /// Whose chain it is.
    pub whose: Whose,
    /// Id of the task's own cgroup, which names the chain.
    pub leaf_id: u64,
    /// Where in the chain it is, and its name.
    pub link: Link,
    /// Memory charged, pages.
    pub usage_pages: Option<u64>,
    /// Its limit.
    pub limit: Option<Ceiling>,
    /// v2: swap charged; v1: memory and swap charged. Pages.
    pub swap_usage_pages: Option<u64>,
    /// Its limit.
    pub swap_limit: Option<Ceiling>,
    /// Whether the group is killed as a whole.
    pub oom_group: Option<bool>,
}

impl AsRef<Link> for Level {
    fn as_ref(&self) -> &Link {
        &self.link
    }
}

/// What a task reclaimed last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reclaim {
    /// A node's memory.
    Direct,
    /// A memory cgroup's, by id where the kernel tells.
    Memcg(Option<u64>),
}

/// A victim was marked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The task in whose context it was.
    pub trigger: Task,
    /// The victim.
    pub victim: Task,
    /// The victim's address space.
    pub mm: Mm,
    /// Whether it was killed just before, and not merely exiting.
    pub killed: bool,
    /// What the trigger reclaimed last, if anything was seen.
    pub reclaim: Option<Reclaim>,
    /// How long the trigger reclaimed before, if it did.
    pub stall: Option<Stall>,
}

/// The run of the OOM killer ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Close {
    /// Calls of `__oom_kill_process()`.
    pub kills: u32,
    /// Tasks marked.
    pub marks: u32,
    /// What `out_of_memory()` returned.
    pub verdict: bool,
    /// Tasks that were scored.
    pub examined: u32,
    /// Of these, what must not be killed.
    pub unkillable: u32,
    /// Calls of `out_of_memory()` since tracing began that came to no decision; wraps around.
    pub undecided: u32,
    /// When it was entered, ns since boot. `None`: that is not hooked, and nothing was counted.
    pub entered_ns: Option<u64>,
}

/// Why a task dies with a victim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tie {
    /// It shares the victim's address space.
    Memory,
    /// The victim was the init of its PID namespace.
    Namespace,
}

/// The kernel killed a task with a victim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Struck {
    /// Why.
    pub tie: Tie,
    /// The victim's process id, and when it began, ns since boot.
    pub victim: (u32, Option<u64>),
    /// The task.
    pub task: Task,
    /// Its address space.
    pub mm: Mm,
}

/// A daemon in user space sent a process a signal that ends it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserKill {
    /// The daemon's first thread.
    pub killer: Task,
    /// Who gets it.
    pub victim: Task,
    /// Its address space.
    pub mm: Mm,
    /// The signal.
    pub signal: u32,
    /// Whether it does not say who sends it, as one by `cgroup.kill`.
    pub without_sender: bool,
}

/// What failed though nobody was killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Failing {
    /// A page fault.
    PageFault,
    /// A page of hugetlbfs.
    Hugetlb,
    /// Pages of the kernel's allocator.
    Pages,
    /// Memory of the kernel's that is mapped page by page.
    Vmalloc,
}

/// An allocation failed, and nobody was killed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllocFailure {
    /// What failed.
    pub what: Failing,
    /// The task in whose context it was.
    pub task: Task,
    /// Allocation flags.
    pub gfp_mask: Option<u32>,
    /// Allocation order.
    pub order: Option<u32>,
    /// The error, positive.
    pub errno: Option<u32>,
    /// When the process first failed so, or its failures began to be counted anew, ns since boot.
    pub first_ns: u64,
    /// How often since then.
    pub total: u64,
    /// The memory cgroup at whose limit the task is going to wait.
    pub waits: Option<CgroupId>,
    /// Whether this is no failure, but the count of those that were not told.
    pub remainder: bool,
}

/// The nodes whose memory a request could have been served from, where it was confined to some.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowed {
    /// Their numbers, lowest first.
    pub nodes: Option<Vec<u32>>,
}

/// What happens to a victim later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// Its last thread has ended.
    Exited,
    /// Its memory is free.
    Freed,
    /// The OOM reaper has taken its memory.
    Reaped,
}

/// Something happened to a victim after its mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Relief {
    /// What.
    pub what: After,
    /// The victim's process id; `None` where the OOM reaper acted.
    pub pid: Option<u32>,
    /// When the victim began, ns since boot.
    pub start_boot_ns: Option<u64>,
    /// The victim's thread id where the OOM reaper acted.
    pub tid: Option<u32>,
}

/// The command line of a trigger or a victim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cmdline {
    /// Its process id.
    pub pid: u32,
    /// When the process began, ns since boot.
    pub start_boot_ns: Option<u64>,
    /// Its arguments, each ended by NUL, any bytes.
    pub text: Vec<u8>,
    /// Whether it goes on.
    pub truncated: bool,
}

/// Of a victim's environment what tells how much memory it is set to use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Environment {
    /// Its process id.
    pub pid: u32,
    /// When the process began, ns since boot.
    pub start_boot_ns: Option<u64>,
    /// Variables, by name. None with another name is kept anywhere.
    pub variables: BTreeMap<String, String>,
    /// Whether it goes on behind what was read.
    pub truncated: bool,
}

/// A process from which another one descends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ancestor {
    /// Its process id.
    pub pid: u32,
    /// Name of its first thread; bytes that are not UTF-8 as `\xNN`.
    pub comm: Option<String>,
}

/// The ancestors of a trigger or a victim, and its id in its own PID namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kin {
    /// Its process id.
    pub pid: u32,
    /// When the process began, ns since boot.
    pub start_boot_ns: Option<u64>,
    /// Its process id in its own PID namespace.
    pub ns_pid: Option<u32>,
    /// From its parent upwards; `None` if not even the parent could be read. None above those that could.
    pub ancestors: Option<Vec<Ancestor>>,
}

/// A message of the OOM killer's in the kernel log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelLog {
    /// Number of the log's record since boot.
    pub seq: u64,
    /// When it was written, by printk's clock, µs.
    pub usec: u64,
    /// The message, any bytes. None: the log has been read to its end.
    pub text: Vec<u8>,
}

/// Forks that a cgroup of the pids controller refused, by its own count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PidsRefused {
    /// Path of the cgroup whose tasks forked, if that is known.
    pub cgroup: Option<String>,
    /// Path of the cgroup whose limit it was, if that is known.
    pub limit_at: Option<String>,
    /// That one's `pids.max`; `None` where it could not be read.
    pub limit: Option<u64>,
    /// Its `pids.current`.
    pub usage: Option<u64>,
    /// How many were refused since it was last told.
    pub count: u64,
    /// How long ago that was, ns; 0: never.
    pub window_ns: u64,
    /// Whether that is what the cgroup counted. Else it is one, of which the kernel log tells.
    pub counted: bool,
}

/// A record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// The OOM killer chose.
    Decision(Key, Box<Decision>),
    /// A cgroup of a chain.
    Level(Key, Box<Level>),
    /// A victim was marked.
    Mark(Key, Box<Mark>),
    /// The run ended.
    Close(Key, Close),
    /// A task could have been chosen.
    Candidate(Key, Box<Candidate>),
    /// A zone of the memory that was asked for.
    Zone(Key, Box<Zone>),
    /// The memory of a node.
    Node(Key, Box<Node>),
    /// The nodes that the request was confined to.
    Allowed(Key, Allowed),
    /// Something happened to a victim. Its key is no run's.
    Relief(Key, Relief),
    /// The command line of a process. Its key is no run's.
    Cmdline(Key, Box<Cmdline>),
    /// Of the environment of a victim. Its key is no run's.
    Environment(Key, Box<Environment>),
    /// A task was killed with a victim. Its key is no run's.
    Struck(Key, Box<Struck>),
    /// The ancestors of a process. Its key is no run's.
    Kin(Key, Box<Kin>),
    /// A message of the kernel log. Its key is no run's.
    KernelLog(Key, Box<KernelLog>),
    /// A fork failed. Its run is no run of the OOM killer's; a remainder's key is no run's.
    ForkFailure(Key, Box<ForkFailure>),
    /// A cgroup of the pids controller, in such a run.
    PidsLevel(Key, Box<PidsLevel>),
    /// How many namespaces there are and may be, in such a run.
    Namespaces(Key, Box<Namespaces>),
    /// What the machine has of what forks take. Its key is no run's.
    ForkHost(Key, Box<ForkHost>),
    /// Forks that a cgroup refused, by its count. Its key is no run's.
    PidsRefused(Key, Box<PidsRefused>),
    /// How the machine is set up. Its key is no run's.
    Settings(Key, Box<Settings>),
    /// An allocation failed. Its run is no run of the OOM killer's; a remainder's key is no run's.
    AllocFailure(Key, Box<AllocFailure>),
    /// A daemon in user space kills. Its run is no run of the OOM killer's.
    UserKill(Key, Box<UserKill>),
}

impl Record {
    /// The run that it belongs to.
    #[must_use]
    pub fn key(&self) -> Key {
        match self {
            Self::Decision(key, _)
            | Self::Level(key, _)
            | Self::Mark(key, _)
            | Self::Close(key, _)
            | Self::Candidate(key, _)
            | Self::Zone(key, _)
            | Self::Node(key, _)
            | Self::Allowed(key, _)
            | Self::ForkFailure(key, _)
            | Self::PidsLevel(key, _)
            | Self::Namespaces(key, _)
            | Self::ForkHost(key, _)
            | Self::PidsRefused(key, _)
            | Self::Relief(key, _)
            | Self::Cmdline(key, _)
            | Self::Environment(key, _)
            | Self::Struck(key, _)
            | Self::Kin(key, _)
            | Self::KernelLog(key, _)
            | Self::Settings(key, _)
            | Self::AllocFailure(key, _)
            | Self::UserKill(key, _) => *key,
        }
    }
}

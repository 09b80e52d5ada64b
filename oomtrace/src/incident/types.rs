//! The lines of output, as types. Their serialisation is the format `oomtrace/1`; the JSON Schema comes from them.
//!
//! A value that could not be had is left out, and [`Incident::missing`] says why. It is never 0 instead.

use std::{borrow::Cow, collections::BTreeMap};

use jiff::Timestamp;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize, Serializer};

use super::failure::AllocFailure;
use crate::{
    host::{
        container::{self, Container},
        unit,
    },
    kernel::hooks::Tier,
    session::Source,
};

/// The format's name and version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub enum SchemaName {
    /// This one.
    #[serde(rename = "oomtrace/1")]
    V1,
}

/// Marks a line as an incident.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub enum OomTag {
    /// `oom`.
    #[serde(rename = "oom")]
    Oom,
}

/// Marks a line as a relief.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub enum ReliefTag {
    /// `relief`.
    #[serde(rename = "relief")]
    Relief,
}

/// Marks a line as a loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub enum LossTag {
    /// `loss`.
    #[serde(rename = "loss")]
    Loss,
}

/// Marks a line as a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub enum StatusTag {
    /// `status`.
    #[serde(rename = "status")]
    Status,
}

/// One line of JSON.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(untagged)]
#[schemars(title = "oomtrace/1: one line of output")]
pub enum Line {
    /// An incident.
    Oom(Box<Incident>),
    /// What became of an incident's victims.
    Relief(Box<Relief>),
    /// An allocation failed, and nobody was killed.
    AllocFailure(Box<AllocFailure>),
    /// Something was lost.
    Loss(Loss),
    /// Tracing began or ended.
    Status(Status),
}

/// A moment, in RFC 3339 in UTC with nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WallTime(pub Timestamp);

impl WallTime {
    /// From nanoseconds since 1970.
    #[must_use]
    pub fn from_ns(ns: i128) -> Self {
        Self(Timestamp::from_nanosecond(ns).unwrap_or(Timestamp::UNIX_EPOCH))
    }

    /// From nanoseconds since boot, and how far the wall clock is ahead of these.
    pub(super) fn at(boot_ns: u64, wall_clock_offset_ns: i64) -> Self {
        Self::from_ns(i128::from(boot_ns) + i128::from(wall_clock_offset_ns))
    }
}

impl Serialize for WallTime {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&format_args!("{:.9}", self.0))
    }
}

impl JsonSchema for WallTime {
    fn schema_name() -> Cow<'static, str> {
        "WallTime".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "format": "date-time",
            "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z$",
            "description": "RFC 3339 in UTC with nanoseconds."
        })
    }
}

/// What every line tells.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Common {
    /// Number of the incident, failure or loss within this run of oomtrace, from 1. A status has that of the last one.
    pub seq: u64,
    /// When it happened, by the wall clock.
    pub time: WallTime,
    /// The same in nanoseconds since boot, suspended time included.
    pub boot_ns: u64,
    /// Host name.
    pub host: String,
    /// Id of this boot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boot_id: Option<String>,
    /// Kernel release.
    pub kernel: String,
    /// Hooks in use.
    pub tier: Tier,
    /// Where the line comes from.
    pub source: Source,
}

/// One run of the OOM killer that ended in a decision.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Incident {
    /// `oomtrace/1`.
    pub schema: SchemaName,
    /// `oom`.
    pub r#type: OomTag,
    /// Names the incident: opaque, the same in every record about it.
    pub id: String,
    /// What every line tells.
    #[serde(flatten)]
    pub common: Common,
    /// What ran out.
    pub scope: Scope,
    /// Whose allocation failed.
    pub trigger: Trigger,
    /// How it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// Who was chosen, in the order in which they were marked.
    pub victims: Vec<Victim>,
    /// Who could have been chosen: the highest scores, best first, at most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub candidates: Vec<Candidate>,
    /// The zones that the request could be served from, in the order in which it goes through them, at most 16; where a
    /// memory cgroup ran out, those of the node that the trigger ran on. At the decision.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub zones: Vec<Zone>,
    /// What the memory of these zones' nodes was used for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_memory: Option<HostMemory>,
    /// How long the trigger reclaimed before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stall: Option<Stall>,
    /// How many were looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ballot: Option<Ballot>,
    /// How long `out_of_memory()` took: to score, to kill, and to write its report to the log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision_ns: Option<u64>,
    /// How often `out_of_memory()` was called, by whomever, and came to nothing, since the incident before: a victim was
    /// still ending, or something else had freed memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calls_without_decision: Option<u64>,
    /// Fields that are from the kernel log, by path: no hook of this tier shows them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub from_log: Vec<&'static str>,
    /// Number of the kernel log's record "Killed process" of the first victim, since boot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kmsg_seq: Option<u64>,
    /// Fields that could not be had, by path, with the reason.
    pub missing: BTreeMap<String, String>,
    /// Records of this incident that were lost on the way.
    pub lost_records: u64,
}

/// What ran out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct Scope {
    /// Which kind of supply.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<ScopeKind>,
    /// How the OOM killer was entered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// The kernel's own name for the kind (`enum oom_constraint`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub constraint: Option<&'static str>,
    /// The memory cgroup at its limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memcg: Option<Cgroup>,
    /// Capacity of the scope with its swap: `oom_control.totalpages`. Never a process's size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capacity_bytes: Option<u64>,
    /// Every memory cgroup from the victim's own up to the root.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<Limit>,
}

/// A supply that can run out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ScopeKind {
    /// The whole machine.
    Global,
    /// A memory cgroup.
    Memcg,
    /// The nodes of a cpuset.
    Cpuset,
    /// The nodes of a memory policy.
    Mempolicy,
}

/// How the OOM killer was entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// An allocation failed.
    Allocation,
    /// Someone lowered the limit of a memory cgroup below its usage.
    LimitLowered,
    /// An operator asked for it (sysrq f).
    Sysrq,
    /// The multi-generational LRU's protection against thrashing (`min_ttl_ms`).
    Mglru,
    /// A page fault without an allocation of its own (before 5.16).
    PageFault,
}

/// A memory cgroup.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Cgroup {
    /// Path in its hierarchy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Inode number of its directory, unique within the hierarchy.
    pub id: u64,
    /// The hierarchy; 0 is the unified one (v2).
    pub hierarchy: u32,
}

/// A memory cgroup's usage and limits. The root has none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct Limit {
    /// Path in its hierarchy.
    pub path: String,
    /// Inode number of its directory: another cgroup may have the path by now.
    #[serde(skip)]
    pub id: Option<u64>,
    /// Memory charged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage_bytes: Option<u64>,
    /// Its limit. Left out: there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit_bytes: Option<u64>,
    /// v2: swap charged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swap_usage_bytes: Option<u64>,
    /// v2: its limit. Left out: there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swap_limit_bytes: Option<u64>,
    /// v1: memory and swap charged together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memsw_usage_bytes: Option<u64>,
    /// v1: the limit of both. Left out: there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memsw_limit_bytes: Option<u64>,
    /// Whether its tasks are killed together (`memory.oom.group`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oom_group: Option<bool>,
}

/// Where a task ran: its memory cgroup, and whose that is by what runtimes and systemd call theirs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Place {
    /// Path of its memory cgroup.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<String>,
    /// The container that it is in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<Container>,
    /// Its systemd unit: for a container, the one that the host knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// The slice of that unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slice: Option<String>,
}

impl Place {
    /// The place of a cgroup, if its path is known.
    #[must_use]
    pub fn of(cgroup: Option<String>) -> Self {
        let path = cgroup.as_deref().unwrap_or_default();
        let container = container::of(path);
        let (unit, slice) = unit::of(path).map(|found| (found.unit, found.slice)).unzip();
        Self { cgroup, container, unit, slice }
    }
}

/// What a process was started with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Command {
    /// Its arguments, the program first; what looks like a secret as `***`, bytes that are not UTF-8 as `\xNN`. As the
    /// process shows it: it may have written something else there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cmdline: Option<Vec<String>>,
    /// Whether it goes on: at most 4 KiB are told.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cmdline_truncated: bool,
}

/// A process from which another one descends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Ancestor {
    /// Process id.
    pub pid: u32,
    /// Name of its first thread; bytes that are not UTF-8 as `\xNN`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comm: Option<String>,
}

/// Who a process is among others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Kinship {
    /// Its process id in its own PID namespace, as its container shows it: the same as `pid` outside of containers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ns_pid: Option<u32>,
    /// From its parent upwards to the first process, at most 8. None where the kernel itself began it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ancestors: Option<Vec<Ancestor>>,
}

/// The task whose allocation failed: `current` of the OOM killer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct Trigger {
    /// Process id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// Thread id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tid: Option<u32>,
    /// Name of the thread; bytes that are not UTF-8 as `\xNN`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comm: Option<String>,
    /// Real user id in the initial user namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// Who it is among others.
    #[serde(flatten)]
    pub kinship: Kinship,
    /// What it was started with.
    #[serde(flatten)]
    pub command: Command,
    /// Where it ran.
    #[serde(flatten)]
    pub place: Place,
    /// Flags of the request, as the kernel encodes them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gfp_mask: Option<u32>,
    /// The same by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gfp_flags: Option<Vec<String>>,
    /// The request was for 2^order pages; -1: sysrq.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<i32>,
}

/// A task that the kernel scored: `oom_badness()`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct Candidate {
    /// Process id.
    pub pid: u32,
    /// Name of its first thread; bytes that are not UTF-8 as `\xNN`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comm: Option<String>,
    /// The kernel's badness, pages, as it computed it.
    pub points: i64,
    /// Resident memory as this kernel scores it, at the decision.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rss_bytes: Option<u64>,
    /// Memory in swap.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swap_bytes: Option<u64>,
    /// -1000 (never) to 1000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oom_score_adj: Option<i32>,
}

/// A zone of a node's memory (`struct zone`) at the decision.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Zone {
    /// The node that it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<u32>,
    /// `DMA`, `DMA32`, `Normal`, `Movable`, ….
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Free memory (`NR_FREE_PAGES`). It lacks what each CPU holds back of the count, at most 125 pages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub free_bytes: Option<u64>,
    /// The watermark below which only few requests are served, and reclaim is waited for; with its boost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_bytes: Option<u64>,
    /// The watermark below which kswapd begins to reclaim; with its boost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub low_bytes: Option<u64>,
    /// The watermark at which it ends; with its boost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub high_bytes: Option<u64>,
    /// What is in these three for a while, so that kswapd undoes fragmentation (`watermark_boost`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boost_bytes: Option<u64>,
    /// Memory that the page allocator manages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub managed_bytes: Option<u64>,
    /// Memory that is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub present_bytes: Option<u64>,
    /// What this request must leave beyond the watermark, since a higher zone could serve it (`lowmem_reserve`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lowmem_reserve_bytes: Option<u64>,
    /// Free blocks of 2^order pages, by order from 0. Pages that CPUs keep ready are in none of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub free_by_order: Option<Vec<u64>>,
}

/// What memory was used for at the decision: sums over `nodes`. Each CPU holds back a part of each node's count, at most
/// 125 pages, which is not in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct HostMemory {
    /// The nodes that are summed up: those of `zones`.
    pub nodes: Vec<u32>,
    /// All memory of the machine (`MemTotal`), when tracing began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mem_total_bytes: Option<u64>,
    /// Anonymous memory and tmpfs, not used of late (`NR_INACTIVE_ANON`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inactive_anon_bytes: Option<u64>,
    /// The same, used of late (`NR_ACTIVE_ANON`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub active_anon_bytes: Option<u64>,
    /// Memory of files, not used of late (`NR_INACTIVE_FILE`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inactive_file_bytes: Option<u64>,
    /// The same, used of late (`NR_ACTIVE_FILE`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub active_file_bytes: Option<u64>,
    /// Locked memory and the like (`NR_UNEVICTABLE`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unevictable_bytes: Option<u64>,
    /// The kernel's own that it can shrink (`NR_SLAB_RECLAIMABLE_B`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slab_reclaimable_bytes: Option<u64>,
    /// The kernel's own that it cannot (`NR_SLAB_UNRECLAIMABLE_B`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slab_unreclaimable_bytes: Option<u64>,
    /// Anonymous memory that is mapped (`NR_ANON_MAPPED`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub anon_mapped_bytes: Option<u64>,
    /// Memory of files that is mapped (`NR_FILE_MAPPED`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_mapped_bytes: Option<u64>,
    /// tmpfs and shared memory (`NR_SHMEM`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shmem_bytes: Option<u64>,
    /// To be written (`NR_FILE_DIRTY`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dirty_bytes: Option<u64>,
    /// Being written (`NR_WRITEBACK`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub writeback_bytes: Option<u64>,
    /// Stacks of threads in the kernel (`NR_KERNEL_STACK_KB`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel_stack_bytes: Option<u64>,
    /// Page tables (`NR_PAGETABLE`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pagetables_bytes: Option<u64>,
    /// Swap space (`SwapTotal`), read some milliseconds after the kill.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swap_total_bytes: Option<u64>,
    /// What of it was free then (`SwapFree`): some of the victim's may be back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swap_free_after_bytes: Option<u64>,
}

/// What the trigger went through before the OOM killer ran: rounds of reclaim, none more than 100 ms after the one
/// before (`mm_vmscan_direct_reclaim_begin` and `_end`, `mm_vmscan_memcg_reclaim_begin` and `_end`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Stall {
    /// How many.
    pub rounds: u32,
    /// Time in them.
    pub duration_ns: u64,
}

/// How many tasks the kernel scored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Ballot {
    /// Scored.
    pub examined: u32,
    /// Of these, what must not be killed: `oom_score_adj` is -1000, its memory has been reaped already, or it is in the
    /// middle of a vfork.
    pub unkillable: u32,
    /// Whether the scores are computed by the kernel's formula, since no hook shows its own (5.10). Then what is in the
    /// middle of a vfork, and what has been reaped, is scored, too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub computed: bool,
}

/// How an incident ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// A victim was killed, or was exiting already.
    Killed,
    /// Nobody died.
    NoVictim,
}

/// What became of a victim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It was chosen and killed.
    Killed,
    /// It was killed with its group (`memory.oom.group`).
    GroupKilled,
    /// It was killed because it shares a victim's memory. Such a process is not marked, and not counted by the kernel.
    MmShared,
    /// It was killed because a victim was the init of its PID namespace.
    PidnsCollateral,
    /// It was exiting by itself, and was marked only.
    AlreadyExiting,
}

/// A task that was chosen.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct Victim {
    /// Process id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// Id of the thread that was marked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tid: Option<u32>,
    /// Process id of the parent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ppid: Option<u32>,
    /// Name of the thread; bytes that are not UTF-8 as `\xNN`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comm: Option<String>,
    /// Real user id in the initial user namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// Threads of the process: before the kill in the trampoline and kprobe tiers; otherwise, and for the others of
    /// a group, when it was marked, by when some may have ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threads: Option<u32>,
    /// What became of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// -1000 (never) to 1000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oom_score_adj: Option<i32>,
    /// The kernel's badness, pages: rss, swap and page tables, and oom_score_adj × (capacity / 1000).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub points: Option<i64>,
    /// Size of the address space.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_vm_bytes: Option<u64>,
    /// Resident memory: the best value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rss: Option<Rss>,
    /// Resident memory as this kernel scored and logged it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rss_kernel: Option<RssKernel>,
    /// Memory in swap.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swap_bytes: Option<u64>,
    /// Page tables.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pgtables_bytes: Option<u64>,
    /// Who it is among others.
    #[serde(flatten)]
    pub kinship: Kinship,
    /// What it was started with.
    #[serde(flatten)]
    pub command: Command,
    /// Where it ran.
    #[serde(flatten)]
    pub place: Place,
    /// When the process began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_time: Option<WallTime>,
}

/// Resident memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Rss {
    /// Anonymous memory.
    pub anon_bytes: u64,
    /// Mapped files.
    pub file_bytes: u64,
    /// Shared memory and tmpfs.
    pub shmem_bytes: u64,
    /// The three together.
    pub total_bytes: u64,
    /// How far `total_bytes` may be off; each part by a third of it at most. 0: summed over all CPUs. Threads
    /// that still run change it meanwhile.
    pub error_bytes: u64,
}

/// Resident memory as the kernel's OOM killer reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct RssKernel {
    /// Anonymous memory: `anon-rss` of the log.
    pub anon_bytes: u64,
    /// Mapped files: `file-rss`.
    pub file_bytes: u64,
    /// Shared memory and tmpfs: `shmem-rss`.
    pub shmem_bytes: u64,
    /// The three together.
    pub total_bytes: u64,
}

/// What became of an incident's victims. Told once the memory of all is free, or 30 s after the last mark.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Relief {
    /// `oomtrace/1`.
    pub schema: SchemaName,
    /// `relief`.
    pub r#type: ReliefTag,
    /// The incident's.
    pub id: String,
    /// What every line tells. The number is the incident's, the time that of the last that happened.
    #[serde(flatten)]
    pub common: Common,
    /// In the order of the incident's.
    pub victims: Vec<Relieved>,
    /// Who was killed with them after the incident was told.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub collateral: Vec<Victim>,
    /// Fields that could not be had, by path, with the reason.
    pub missing: BTreeMap<String, String>,
}

/// What became of a victim. Times are from its mark.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Relieved {
    /// Process id.
    pub pid: u32,
    /// Name of the thread that was marked; bytes that are not UTF-8 as `\xNN`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comm: Option<String>,
    /// What it was started with, where that came too late for the incident's own line.
    #[serde(flatten)]
    pub command: Command,
    /// Until its last thread ended. From Linux 6.16 on that comes before its memory is free, on older ones after it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exited_ns: Option<u64>,
    /// Until its address space was taken down. Memory that others share, and files in tmpfs, stay.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub freed_ns: Option<u64>,
    /// Whether the OOM reaper took its memory, since it had not ended after 2 s.
    pub reaped: bool,
    /// Until the OOM reaper had done so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reaped_ns: Option<u64>,
}

/// Records that were lost.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Loss {
    /// `oomtrace/1`.
    pub schema: SchemaName,
    /// `loss`.
    pub r#type: LossTag,
    /// What every line tells.
    #[serde(flatten)]
    pub common: Common,
    /// Where: `ring` (no room in the ring buffer), `decode` (not understood), `output` (an output was too slow),
    /// `kmsg` (overwritten in the kernel log before they could be read), `vmstat` (kills that the kernel counted, and that
    /// were neither seen nor logged).
    #[serde(rename = "where")]
    pub place: &'static str,
    /// How many since the last such line, by kind.
    pub counts: BTreeMap<&'static str, u64>,
}

/// Tracing began or ended.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Status {
    /// `oomtrace/1`.
    pub schema: SchemaName,
    /// `status`.
    pub r#type: StatusTag,
    /// What every line tells.
    #[serde(flatten)]
    pub common: Common,
    /// Which of both.
    pub state: StatusState,
    /// Hooks in use, as `kind:target`, by role. A role without a hook has none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub hooks: BTreeMap<&'static str, Vec<String>>,
    /// Incidents reported so far.
    pub incidents: u64,
    /// Victims in them.
    pub victims: u64,
    /// Incidents that the filters left out.
    pub filtered: u64,
    /// Records that were lost, all places together.
    pub lost_records: u64,
}

/// See [`Status`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StatusState {
    /// The hooks are attached: from here on nothing is missed.
    Armed,
    /// Tracing ended.
    Ended,
}

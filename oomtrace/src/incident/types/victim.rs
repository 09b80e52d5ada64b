//! Who was chosen, and what it had.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::{
    task::{Command, Kinship, Place},
    time::WallTime,
};

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

/// Who died: the process that was chosen, or one that died with it (see [`Verdict`]).
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
    /// Whether it is one of the command's own that `oomtrace run` runs. Absent outside of that, and where it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub of_run: Option<bool>,
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
    /// Of its environment, as it was started with that, what sets how much memory it uses: `GOMEMLIMIT`, `JAVA_TOOL_OPTIONS`,
    /// `JDK_JAVA_OPTIONS`, `_JAVA_OPTIONS`, `NODE_OPTIONS`; what looks like a secret as `***`. Nothing else of it is kept. Empty: it
    /// has none of these.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<BTreeMap<String, String>>,
    /// Where it ran.
    #[serde(flatten)]
    pub place: Place,
    /// When the process began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_time: Option<WallTime>,
    /// Of a victim of a daemon in user space: what that sent it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signals: Vec<SentSignal>,
}

/// A signal that a daemon sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct SentSignal {
    /// Its number.
    pub number: u32,
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<&'static str>,
    /// How it was sent.
    pub via: SentVia,
    /// How long after the first one to this process.
    pub after_ns: u64,
}

/// How a signal was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SentVia {
    /// To the process: `kill(2)`, `pidfd_send_signal(2)`.
    Kill,
    /// To all of a cgroup (version 2): `cgroup.kill`.
    CgroupKill,
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
    /// Anonymous memory: `anon-rss` of the log (since 2.6.32).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub anon_bytes: Option<u64>,
    /// Mapped files: `file-rss`; before 4.5 with `shmem_bytes`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_bytes: Option<u64>,
    /// Shared memory and tmpfs: `shmem-rss` (since 4.5).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shmem_bytes: Option<u64>,
    /// The three together.
    pub total_bytes: u64,
}

//! What a kernel log says of one run of the OOM killer. Everything is as the kernel prints it: pages stay pages, where a
//! kernel prints pages. What is not there is absent.

use std::collections::BTreeMap;

use super::super::{
    line::{Decided, Invoked, Killed, Supply},
    message::Stamp,
};

/// What messages come to.
#[derive(Clone, Debug, PartialEq)]
pub enum Told {
    /// One run of the OOM killer, complete or what is left of it.
    Oom(Box<Report>),
    /// The reaper has taken the memory of a victim that did not end by itself.
    Reaped(Reaped),
    /// An allocation failed (`warn_alloc()`, mm/page_alloc.c), and nobody was killed.
    AllocationFailed(Box<AllocationFailed>),
    /// A cgroup refused a fork, for the first time.
    ForkRejected {
        /// When.
        stamp: Stamp,
        /// Number of its record.
        seq: Option<u64>,
        /// The machine.
        host: Option<String>,
        /// Id of its boot.
        boot_id: Option<String>,
        /// The cgroup's path.
        path: String,
    },
}

/// See the module.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// Of its first message.
    pub stamp: Stamp,
    /// Of its first message.
    pub seq: Option<u64>,
    /// The machine.
    pub host: Option<String>,
    /// Id of its boot.
    pub boot_id: Option<String>,
    /// The kernel's release, by the line about the trigger (`Comm: x Not tainted 5.10.0-32-amd64`) or the latest banner.
    pub kernel: Option<String>,
    /// Who asked, and for what.
    pub invoked: Option<Invoked>,
    /// `oom_score_adj` of who asked.
    pub trigger_adj: Option<i32>,
    /// The thread that asked.
    pub tid: Option<u32>,
    /// An operator asked for it (`sysrq: Manual OOM execution`).
    pub sysrq: bool,
    /// The memory cgroup at its limit (`Memory cgroup stats for /x:`, `as a result of limit of /x`).
    pub memcg: Option<String>,
    /// The victim's (`Task in /x killed as a result of limit of /y`, before 4.19).
    pub task_memcg: Option<String>,
    /// What is charged to the memory cgroup at its limit.
    pub charges: Vec<Charge>,
    /// Its statistics by the kernel's name, bytes. (Before 5.3: one line, in KB, of that and each descendant; the first is its own.)
    pub stats_bytes: BTreeMap<String, u64>,
    /// The machine's memory.
    pub memory: MemInfo,
    /// The table of tasks, at most [`TASKS`](super::TASKS), those with the most memory if there are more.
    pub tasks: Vec<TaskRow>,
    /// How many tasks the table had in all.
    pub tasks_in_all: u64,
    /// What ran out, and who was chosen (since 5.0).
    pub decided: Option<Decided>,
    /// What ran out, by the words in front of who was chosen (before 5.3); those in front of kills stand there.
    pub supply: Option<Supply>,
    /// Who was chosen (before 5.3): thread id, name.
    pub chosen: Option<(u32, String)>,
    /// Its score in thousandths of what there is (`score 912 or sacrifice child`); before 2.6.36 the old badness.
    pub chosen_score: Option<u64>,
    /// The cgroup that is killed as a whole (`memory.oom.group`).
    pub group: Option<String>,
    /// Who was killed, in order.
    pub kills: Vec<Kill>,
    /// Who was exiting already: thread id, name.
    pub already_exiting: Vec<(u32, String)>,
    /// How it ended.
    pub end: End,
    /// Number of the record that says so, unless it is a kill's.
    pub end_seq: Option<u64>,
}

/// How a run ended, as far as the log goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum End {
    /// The log does not say: it is cut short, or lacks messages.
    #[default]
    Unknown,
    /// Somebody was killed.
    Killed,
    /// Who was chosen was exiting already.
    AlreadyExiting,
    /// Nothing killable.
    NoVictim,
    /// The kernel panicked: its words.
    Panic(String),
}

/// A kill.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kill {
    /// When it was told.
    pub stamp: Stamp,
    /// Number of its record.
    pub seq: Option<u64>,
    /// What is told of it.
    pub killed: Killed,
    /// Whether it is of a group that is killed as a whole, and not the one that was chosen.
    pub group: bool,
}

/// A counter of a memory cgroup: `memory: usage 65536kB, limit 65536kB, failcnt 12`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Charge {
    /// Of what.
    pub kind: ChargeKind,
    /// Charged.
    pub usage_bytes: u64,
    /// The limit; `None`: there is none (the kernel prints its greatest number).
    pub limit_bytes: Option<u64>,
    /// How often it was hit.
    pub hits: Option<u64>,
}

/// What is charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChargeKind {
    /// `memory`.
    Memory,
    /// `memory+swap` (version 1).
    MemorySwap,
    /// `swap` (version 2).
    Swap,
    /// `kmem`.
    Kernel,
}

/// `Mem-Info:` and what follows it (`show_mem()`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemInfo {
    /// Sums by the kernel's name, pages: `active_anon`, `free`, `mapped`, …
    pub sums_pages: BTreeMap<String, u64>,
    /// Of each node.
    pub nodes: Vec<NodeInfo>,
    /// Of each zone, in the kernel's order.
    pub zones: Vec<ZoneInfo>,
    /// Pools of huge pages.
    pub huge_pages: Vec<HugePages>,
    /// `Total swap = …`.
    pub swap_total_bytes: Option<u64>,
    /// `Free swap  = …`.
    pub swap_free_bytes: Option<u64>,
    /// `… pages RAM`.
    pub ram_pages: Option<u64>,
    /// `… pages reserved`.
    pub reserved_pages: Option<u64>,
    /// `… pages HighMem/MovableOnly`.
    pub high_pages: Option<u64>,
    /// Size of a page, by the free blocks of order 0 (`12*4kB`).
    pub page_bytes: Option<u64>,
}

/// `Node 0 active_anon:1234kB …` (since 4.8).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeInfo {
    /// The node.
    pub node: u32,
    /// By the kernel's name, bytes.
    pub bytes: BTreeMap<String, u64>,
}

/// `Node 0 Normal free:1234kB min:…` with the lines that follow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ZoneInfo {
    /// The node; `None`: the kernel knows but one.
    pub node: Option<u32>,
    /// `DMA`, `DMA32`, `Normal`, `HighMem`, `Movable`, `Device`.
    pub name: String,
    /// By the kernel's name, bytes: `free`, `boost`, `min`, `low`, `high`, `managed`, `present`, `slab_unreclaimable`, …
    pub bytes: BTreeMap<String, u64>,
    /// `lowmem_reserve[]:`, pages, by the zone of the request.
    pub reserve_pages: Option<Vec<u64>>,
    /// Free blocks by order.
    pub free_by_order: Option<Vec<u64>>,
}

/// `Node 0 hugepages_total=4 hugepages_free=4 hugepages_surp=0 hugepages_size=2048kB`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HugePages {
    /// The node.
    pub node: Option<u32>,
    /// How many.
    pub total: u64,
    /// How many of these are free.
    pub free: u64,
    /// Size of one.
    pub size_bytes: u64,
}

/// A row of the table of tasks (`dump_task()`). Columns that a kernel does not have are absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskRow {
    /// Thread id.
    pub pid: u32,
    /// Real user id.
    pub uid: Option<u32>,
    /// Process id.
    pub tgid: Option<u32>,
    /// Address space, pages.
    pub total_vm_pages: Option<u64>,
    /// Resident, pages.
    pub rss_pages: Option<u64>,
    /// Page tables, bytes (since 4.15; before, in tables: `nr_ptes`, which says how many pages with `nr_pmds`).
    pub pgtables_bytes: Option<u64>,
    /// Page tables, pages (before 4.15).
    pub pgtables_pages: Option<u64>,
    /// Swap entries, pages.
    pub swap_pages: Option<u64>,
    /// -1000 to 1000.
    pub oom_score_adj: Option<i32>,
    /// -17 to 15 (before 2.6.36 the only one).
    pub oom_adj: Option<i32>,
    /// Its name; bytes that are not UTF-8 as `\xNN`.
    pub comm: String,
}

/// The reaper is done with a victim.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reaped {
    /// When.
    pub stamp: Stamp,
    /// The machine.
    pub host: Option<String>,
    /// Id of its boot.
    pub boot_id: Option<String>,
    /// Thread id.
    pub pid: u32,
    /// Name of the thread.
    pub comm: String,
}

/// `x: page allocation failure: order:4, mode:0x…`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AllocationFailed {
    /// When.
    pub stamp: Stamp,
    /// Number of its first record.
    pub seq: Option<u64>,
    /// The machine.
    pub host: Option<String>,
    /// Id of its boot.
    pub boot_id: Option<String>,
    /// The kernel's release.
    pub kernel: Option<String>,
    /// Name of the thread.
    pub comm: String,
    /// Its id.
    pub tid: Option<u32>,
    /// Allocation flags.
    pub gfp_mask: u32,
    /// Their names, by this kernel.
    pub gfp_flags: Option<Vec<String>>,
    /// Allocation order.
    pub order: i32,
    /// The machine's memory.
    pub memory: MemInfo,
}

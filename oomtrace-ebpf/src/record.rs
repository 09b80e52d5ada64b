//! Fixed-size records, kernel half to userspace.

/// What a record is. Values are part of the record file's format: append, never renumber.
#[repr(u16)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordKind {
    /// [`Decision`]: `oom_kill_process()` was entered.
    Decision = 1,
    /// [`Level`]: one memory cgroup, from a task's own up to the root.
    Level = 2,
    /// [`Mark`]: `mark_oom_victim()` marked a task.
    Mark = 3,
    /// [`Close`]: `out_of_memory()` returned.
    Close = 4,
    /// [`Candidate`]: one of the tasks that `oom_badness()` scored highest.
    Candidate = 5,
    /// [`Relief`]: a victim has ended, or its memory is free.
    Relief = 6,
    /// [`Cmdline`]: the command line of a process.
    Cmdline = 7,
    /// [`Zone`]: a zone of the memory that was asked for.
    Zone = 8,
    /// [`KernelLog`]: a message of the kernel log. Userspace makes it.
    KernelLog = 9,
    /// [`Node`]: the memory of a node.
    Node = 10,
    /// [`Struck`]: a task that the kernel killed with a victim, though nobody chose it.
    Struck = 11,
    /// [`Kin`]: the ancestors of a process, and its id in its own PID namespace.
    Kin = 12,
    /// [`AllocFailure`]: an allocation failed, and nobody was killed.
    AllocFailure = 13,
    /// [`Allowed`]: the nodes that the request was confined to.
    Allowed = 14,
    /// [`ForkFailure`]: a fork failed for want of something.
    ForkFailure = 15,
    /// [`PidsLevel`]: one cgroup of the pids controller, from a task's own up to the root.
    PidsLevel = 16,
    /// [`ForkHost`]: what the machine as a whole has of what forks take. Userspace makes it.
    ForkHost = 17,
    /// [`PidsRefused`]: how many forks a cgroup refused. Userspace makes it.
    PidsRefused = 18,
    /// How the machine is set up: the header, and JSON. Userspace makes it. It is no part of a run: in its header trigger,
    /// beginning and number are 0.
    Settings = 19,
    /// [`Namespaces`]: how many namespaces the user of a task that forked has made.
    Namespaces = 20,
    /// [`UserKill`]: a daemon in user space sent a process a signal that ends it.
    UserKill = 21,
    /// [`Cmdline`]: the environment of a process, in the place of its command line. Userspace leaves of it what it has a use for
    /// before anything else is done with it.
    Environment = 22,
}

impl RecordKind {
    /// Every kind that the kernel half makes, in the order of the loss counters.
    pub const ALL: [Self; 18] = [
        Self::Decision,
        Self::Level,
        Self::Mark,
        Self::Close,
        Self::Candidate,
        Self::Relief,
        Self::Cmdline,
        Self::Zone,
        Self::Node,
        Self::Struck,
        Self::Kin,
        Self::AllocFailure,
        Self::Allowed,
        Self::ForkFailure,
        Self::PidsLevel,
        Self::Namespaces,
        Self::UserKill,
        Self::Environment,
    ];
    /// Above the value of every kind.
    pub const END: u32 = 32;

    /// The kind that a record's header names, if this version knows it.
    #[must_use]
    pub fn from_raw(raw: u16) -> Option<Self> {
        let made_by_userspace = [Self::KernelLog, Self::ForkHost, Self::PidsRefused, Self::Settings];
        Self::ALL.into_iter().chain(made_by_userspace).find(|kind| *kind as u16 == raw)
    }
}

/// Longest cgroup directory name that a [`Level`] holds, with its NUL. NAME_MAX is 255.
pub const NAME_LEN: usize = 256;
/// Levels of memory cgroups that are sent at most, from a task's own upwards.
pub const MAX_LEVELS: u32 = 16;
/// Tasks that are sent of a ballot at most: those with the highest scores.
pub const MAX_CANDIDATES: usize = 16;
/// `PAGE_COUNTER_MAX` (include/linux/page_counter.h): `LONG_MAX / PAGE_SIZE` pages is "max", no limit. The
/// smallest such value, for pages of 64 KiB; no machine has a limit that high.
pub const NO_LIMIT_PAGES: u64 = i64::MAX as u64 / 65536;
/// Zones that are sent of a decision at most, in the order in which the request goes through them.
pub const MAX_ZONES: usize = 16;
/// Words of 64 nodes that an [`Allowed`] has room for: no kernel has more than 1024 (`NODES_SHIFT` is 10 at the most).
pub const NODE_WORDS: usize = 16;
/// Orders of free blocks that a [`Zone`] has room for. x86-64 has 11 (`NR_PAGE_ORDERS`), arm64 with large pages up to 14.
pub const MAX_ORDERS: usize = 14;
/// Children of a thread that are counted, at most.
pub const MAX_CHILDREN: u32 = 256;
/// Bytes of kernel text that are read at once.
pub const TEXT_LEN: usize = 4096;

/// In place of a victim: the task that asks. Neither a thread id nor a pointer.
pub const MIRROR: u64 = u64::from_be_bytes(*b"oomtrace");

/// Index of file pages in the RSS counters (`MM_FILEPAGES`, include/linux/mm_types_task.h).
pub const RSS_FILE: usize = 0;
/// Index of anonymous pages (`MM_ANONPAGES`).
pub const RSS_ANON: usize = 1;
/// Index of swap entries (`MM_SWAPENTS`).
pub const RSS_SWAP: usize = 2;
/// Index of shared memory pages (`MM_SHMEMPAGES`).
pub const RSS_SHMEM: usize = 3;

macro_rules! record {
    ($(#[$meta:meta])* pub struct $name:ident { $($body:tt)* } size $size:literal) => {
        $(#[$meta])*
        #[repr(C)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[cfg_attr(
            not(target_arch = "bpf"),
            derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
        )]
        pub struct $name { $($body)* }

        const _: () = assert!(size_of::<$name>() == $size, "the record format changed");
    };
}

record! {
    /// What begins every record.
    pub struct Header {
        /// [`RecordKind`].
        pub kind: u16,
        /// Size of the whole record, bytes.
        pub size: u16,
        /// The thread in whose context the OOM killer runs: the trigger.
        pub trigger_tid: u32,
        /// When the run of the OOM killer was first seen; with `trigger_tid` it names the incident.
        /// `CLOCK_BOOTTIME`, ns.
        pub opened_ns: u64,
        /// When this record was made. `CLOCK_BOOTTIME`, ns.
        pub boot_ns: u64,
        /// Number of this record within its incident, from 0.
        pub index: u32,
        /// Records of this incident that found no room in the ring before this one.
        pub lost: u32,
    } size 32
}

/// Bits of [`TaskFacts::present`].
pub mod task {
    /// `pid` is known.
    pub const PID: u32 = 1;
    /// `comm` is known.
    pub const COMM: u32 = 1 << 1;
    /// `uid` is known.
    pub const UID: u32 = 1 << 2;
    /// `ppid` is known.
    pub const PPID: u32 = 1 << 3;
    /// `start_boot_ns` is known.
    pub const START: u32 = 1 << 4;
    /// `flags` is known.
    pub const FLAGS: u32 = 1 << 5;
    /// `oom_score_adj` is known.
    pub const ADJ: u32 = 1 << 6;
    /// `threads` is known.
    pub const THREADS: u32 = 1 << 7;
    /// `memcg_id` and `memcg_hierarchy` are known.
    pub const MEMCG: u32 = 1 << 8;
    /// `tid` is known.
    pub const TID: u32 = 1 << 9;
    /// `live` is known.
    pub const LIVE: u32 = 1 << 10;
    /// From this bit on two say [`super::whose`] the task is.
    pub const WHOSE: u32 = 11;
}

/// Whose a task is while `oomtrace run` runs a command.
pub mod whose {
    /// That is not known, or asked.
    pub const UNKNOWN: u32 = 0;
    /// One of the command's own: it has oomtrace's process above it.
    pub const OWN: u32 = 1;
    /// Another one's.
    pub const BYSTANDER: u32 = 2;
    /// All of the bits.
    pub const MASK: u32 = 3;
}

record! {
    /// A task, as its `task_struct` shows it.
    pub struct TaskFacts {
        /// Which of the fields were read (bits of [`task`]).
        pub present: u32,
        /// Process id (`task_struct.tgid`) in the initial namespace.
        pub pid: u32,
        /// Thread id (`task_struct.pid`) in the initial namespace.
        pub tid: u32,
        /// Process id of the parent.
        pub ppid: u32,
        /// Real user id in the initial user namespace.
        pub uid: u32,
        /// `PF_*` (include/linux/sched.h).
        pub flags: u32,
        /// Threads of the process.
        pub threads: u32,
        /// `oom_score_adj`, -1000 to 1000.
        pub oom_score_adj: i16,
        /// Keeps what follows aligned.
        pub reserved_16: u16,
        /// Start of the process. `CLOCK_BOOTTIME`, ns.
        pub start_boot_ns: u64,
        /// Id of the task's memory cgroup (inode number), unique within its hierarchy.
        pub memcg_id: u64,
        /// Hierarchy of that cgroup: 0 is v2.
        pub memcg_hierarchy: u32,
        /// Threads of the process that have not begun to end.
        pub live: u32,
        /// Name of the thread, NUL-terminated, any bytes.
        pub comm: [u8; 16],
    } size 72
}

/// Bits of [`MmFacts::present`].
pub mod mm {
    /// `total_vm_pages` is known.
    pub const TOTAL_VM: u32 = 1;
    /// `pgtables_bytes` is known.
    pub const PGTABLES: u32 = 1 << 1;
    /// `rss_count` is known.
    pub const COUNT: u32 = 1 << 2;
    /// `rss_sum` is known.
    pub const SUM: u32 = 1 << 3;
}

record! {
    /// An address space's size.
    pub struct MmFacts {
        /// Which of the fields were read (bits of [`mm`]).
        pub present: u32,
        /// CPUs whose parts are in `rss_sum`.
        pub cpus: u32,
        /// Size of the address space, pages.
        pub total_vm_pages: u64,
        /// Page tables, bytes.
        pub pgtables_bytes: u64,
        /// The counters as a plain read sees them, pages: exact where they are atomics, without what the CPUs
        /// hold back where they are per-CPU counters. Indexed by `RSS_*`; may be slightly negative.
        pub rss_count: [i64; 4],
        /// The counters with every CPU's part added, pages.
        pub rss_sum: [i64; 4],
    } size 88
}

/// Bits of [`TaskSize::present`].
pub mod size {
    /// `pid` is known.
    pub const PID: u32 = 1;
    /// `start_boot_ns` is known.
    pub const START: u32 = 1 << 1;
    /// `comm` is known.
    pub const COMM: u32 = 1 << 2;
    /// `memcg_id` and `memcg_hierarchy` are known.
    pub const MEMCG: u32 = 1 << 3;
    /// `rss_pages` and `swap_pages` are known.
    pub const PAGES: u32 = 1 << 4;
    /// From this bit on two say [`super::whose`] the process is.
    pub const WHOSE: u32 = 5;
}

record! {
    /// A process and its memory, as the iterator tells it: no record of the ring, and so without a header.
    pub struct TaskSize {
        /// Which of the fields were read (bits of [`size`]).
        pub present: u32,
        /// Process id in the initial namespace.
        pub pid: u32,
        /// Start of the process. `CLOCK_BOOTTIME`, ns.
        pub start_boot_ns: u64,
        /// Resident pages; may be slightly negative.
        pub rss_pages: i64,
        /// Pages in swap; may be slightly negative.
        pub swap_pages: i64,
        /// Id of its memory cgroup (inode number), unique within its hierarchy.
        pub memcg_id: u64,
        /// Hierarchy of that cgroup: 0 is v2.
        pub memcg_hierarchy: u32,
        /// Keeps the size a power of two: no read ends within a record.
        pub reserved_32: u32,
        /// Name of its first thread, NUL-terminated, any bytes.
        pub comm: [u8; 16],
    } size 64
}

impl TaskSize {
    /// One of which nothing is known.
    pub const EMPTY: Self = Self {
        present: 0,
        pid: 0,
        start_boot_ns: 0,
        rss_pages: 0,
        swap_pages: 0,
        memcg_id: 0,
        memcg_hierarchy: 0,
        reserved_32: 0,
        comm: [0; 16],
    };
}

impl MmFacts {
    /// One of which nothing is known.
    pub const EMPTY: Self = Self {
        present: 0,
        cpus: 0,
        total_vm_pages: 0,
        pgtables_bytes: 0,
        rss_count: [0; 4],
        rss_sum: [0; 4],
    };
}

/// Bits of [`Decision::present`].
pub mod decision {
    /// `gfp_mask` is known.
    pub const GFP: u32 = 1;
    /// `order` is known.
    pub const ORDER: u32 = 1 << 1;
    /// `constraint` is known.
    pub const CONSTRAINT: u32 = 1 << 2;
    /// `capacity_pages` is known.
    pub const CAPACITY: u32 = 1 << 3;
    /// `chosen_points` is known.
    pub const POINTS: u32 = 1 << 4;
    /// `memcg` is known.
    pub const MEMCG: u32 = 1 << 5;
    /// `memcg_id` and `memcg_hierarchy` are known. Without meaning where `memcg` is 0.
    pub const MEMCG_IDENTITY: u32 = 1 << 6;
    /// `zonelist` is known.
    pub const ZONELIST: u32 = 1 << 7;
}

record! {
    /// The OOM killer chose: `oom_kill_process()` was entered (mm/oom_kill.c).
    pub struct Decision {
        /// Kind [`RecordKind::Decision`].
        pub header: Header,
        /// The trigger.
        pub trigger: TaskFacts,
        /// Who was chosen.
        pub chosen: TaskFacts,
        /// Which of the fields were read (bits of [`decision`]).
        pub present: u32,
        /// Allocation flags of the request that failed.
        pub gfp_mask: u32,
        /// Order of the request (2^order pages); -1 for sysrq.
        pub order: i32,
        /// `enum oom_constraint`: 0 none, 1 cpuset, 2 memory policy, 3 memory cgroup.
        pub constraint: u32,
        /// Capacity of what ran out (`oom_control.totalpages`), pages.
        pub capacity_pages: u64,
        /// The chosen task's badness, pages.
        pub chosen_points: i64,
        /// The zones to allocate from; 0: there are none, no node's memory ran out.
        pub zonelist: u64,
        /// The memory cgroup at its limit, where the kernel keeps it; 0: none is.
        pub memcg: u64,
        /// Its id.
        pub memcg_id: u64,
        /// Its hierarchy.
        pub memcg_hierarchy: u32,
        /// Keeps the size a multiple of 8.
        pub reserved: u32,
    } size 240
}

/// Bits of [`Level::present`].
pub mod level {
    /// `id` and `hierarchy` are known.
    pub const ID: u32 = 1;
    /// `parent` is known: 0 there means that this is the root.
    pub const PARENT: u32 = 1 << 1;
    /// `usage_pages` is known.
    pub const USAGE: u32 = 1 << 2;
    /// `limit_pages` is known.
    pub const LIMIT: u32 = 1 << 3;
    /// `swap_usage_pages` is known.
    pub const SWAP_USAGE: u32 = 1 << 4;
    /// `swap_limit_pages` is known.
    pub const SWAP_LIMIT: u32 = 1 << 5;
    /// `memsw_usage_pages` is known.
    pub const MEMSW_USAGE: u32 = 1 << 6;
    /// `memsw_limit_pages` is known.
    pub const MEMSW_LIMIT: u32 = 1 << 7;
    /// `oom_group` is known.
    pub const OOM_GROUP: u32 = 1 << 8;
}

/// Whose chain of memory cgroups a [`Level`] belongs to (values of [`Level::chain`]).
pub mod chain {
    /// The victim's.
    pub const VICTIM: u32 = 1;
    /// The trigger's, sent only where it differs from the victim's.
    pub const TRIGGER: u32 = 2;
}

record! {
    /// One memory cgroup of a chain. Names and limits are copied at the event: the cgroup may be gone next.
    pub struct Level {
        /// Kind [`RecordKind::Level`].
        pub header: Header,
        /// Which of the fields were read (bits of [`level`]).
        pub present: u32,
        /// Whose chain (values of [`chain`]).
        pub chain: u32,
        /// 0 for the task's own cgroup, 1 for its parent, …
        pub depth: u32,
        /// Hierarchy: 0 is v2.
        pub hierarchy: u32,
        /// Id of the task's own cgroup, which names the chain.
        pub leaf_id: u64,
        /// Id of this cgroup.
        pub id: u64,
        /// The next level's state in the kernel; 0: this is the root.
        pub parent: u64,
        /// Memory charged, pages. Like all counters of usage, it may be seen below 0 for an instant.
        pub usage_pages: i64,
        /// Memory limit, pages.
        pub limit_pages: u64,
        /// v2: swap charged, pages. It shares its memory with v1's counter: one of both means something.
        pub swap_usage_pages: i64,
        /// v2: swap limit, pages.
        pub swap_limit_pages: u64,
        /// v1: memory and swap charged, pages.
        pub memsw_usage_pages: i64,
        /// v1: limit of memory and swap, pages.
        pub memsw_limit_pages: u64,
        /// `memory.oom.group`.
        pub oom_group: u8,
        /// Keeps what follows aligned.
        pub reserved: [u8; 3],
        /// Length of `name` with its NUL, bytes; negative: it could not be read. [`NAME_LEN`]: it may go on.
        pub name_len: i32,
        /// Name of the directory, any bytes.
        pub name: [u8; 256],
    } size 384
}

record! {
    /// A victim was marked: `mark_oom_victim()` (mm/oom_kill.c).
    pub struct Mark {
        /// Kind [`RecordKind::Mark`].
        pub header: Header,
        /// The trigger.
        pub trigger: TaskFacts,
        /// The victim.
        pub victim: TaskFacts,
        /// The victim's address space.
        pub mm: MmFacts,
        /// Whether a kill of this very task by this very trigger came just before: 1, or 0 for a task that was
        /// exiting by itself and is marked only.
        pub killed: u32,
        /// What the trigger reclaimed last (values of [`reclaim`]).
        pub reclaim: u32,
        /// The memory cgroup that it reclaimed, where the tracepoint passes it (7.x); 0 where it does not.
        pub reclaim_memcg_id: u64,
        /// Time in the trigger's rounds of reclaim before, ns: since its mark before, as far as they follow each other.
        pub stall_ns: u64,
        /// These rounds.
        pub stall_rounds: u32,
        /// Beginnings and ends of rounds that were missed: if any, the two are too low.
        pub stall_unseen: u32,
    } size 296
}

/// Values of [`Mark::reclaim`].
pub mod reclaim {
    /// Nothing was seen.
    pub const NONE: u32 = 0;
    /// A node's memory: `try_to_free_pages()`.
    pub const DIRECT: u32 = 1;
    /// A memory cgroup's: `try_to_free_mem_cgroup_pages()`.
    pub const MEMCG: u32 = 2;
}

/// Values of [`Close::verdict`].
pub mod close {
    /// `out_of_memory()` returned false.
    pub const FALSE: u32 = 0;
    /// It returned true.
    pub const TRUE: u32 = 1;
}

record! {
    /// `out_of_memory()` returned, after a decision, or with nobody to kill.
    pub struct Close {
        /// Kind [`RecordKind::Close`].
        pub header: Header,
        /// Calls of `__oom_kill_process()` in between.
        pub kills: u32,
        /// Tasks marked in between.
        pub marks: u32,
        /// What it returned (values of [`close`]).
        pub verdict: u32,
        /// Tasks that were scored in this run.
        pub examined: u32,
        /// Of these, what must not be killed.
        pub unkillable: u32,
        /// Calls of `out_of_memory()`, by whomever, that came to no decision, since the one before that was told.
        pub undecided: u32,
        /// When `out_of_memory()` was entered (`CLOCK_BOOTTIME`, ns); 0 where that is not hooked.
        pub entered_ns: u64,
    } size 64
}

record! {
    /// One of the tasks that were scored highest in this run: `oom_badness()` (mm/oom_kill.c). They are sent with the
    /// decision, unsorted.
    pub struct Candidate {
        /// Kind [`RecordKind::Candidate`].
        pub header: Header,
        /// The task at the decision. It may have ended since it was scored, and be another by now: then its process id
        /// is not `pid`.
        pub task: TaskFacts,
        /// Its address space at the decision.
        pub mm: MmFacts,
        /// Its badness, pages, as the kernel computed it.
        pub points: i64,
        /// Its process id when it was scored.
        pub pid: u32,
        /// Tasks that were scored in this run.
        pub examined: u32,
        /// Of these, what must not be killed: the score was `LONG_MIN`.
        pub unkillable: u32,
        /// Whether the scores are computed as the kernel does (1), since no hook shows its own (0).
        pub computed: u32,
    } size 216
}

/// How long a victim is expected to end after its mark, ns. The OOM reaper comes after 2 s and gives up after one more
/// (`OOM_REAPER_DELAY`, `MAX_OOM_REAP_RETRIES`, mm/oom_kill.c); what lasts longer is stuck.
pub const RELIEF_PATIENCE_NS: u64 = 30_000_000_000;

/// Values of [`Relief::what`]: bits, so that what has come can be kept in a word.
pub mod relief {
    /// The last thread of the victim has ended: `sched_process_exit` (kernel/exit.c).
    pub const EXITED: u32 = 1;
    /// Its address space has been taken down, its memory is free: `exit_mmap()` (mm/mmap.c).
    pub const FREED: u32 = 1 << 1;
    /// The OOM reaper has taken its memory, since it did not end by itself: `finish_task_reaping` (mm/oom_kill.c).
    pub const REAPED: u32 = 1 << 2;
}

record! {
    /// What became of a victim later. It is no part of a run: in its header trigger, beginning and number are 0.
    pub struct Relief {
        /// Kind [`RecordKind::Relief`].
        pub header: Header,
        /// What happened (one of [`relief`]).
        pub what: u32,
        /// The victim's process id; 0 where the OOM reaper acted.
        pub pid: u32,
        /// The victim's thread id where the OOM reaper acted; else 0.
        pub tid: u32,
        /// Keeps the size a multiple of 8.
        pub reserved: u32,
        /// When the victim began (`CLOCK_BOOTTIME`, ns): with its process id, what names it; 0 where the OOM reaper acted.
        pub start_boot_ns: u64,
    } size 56
}

/// Values of [`Struck::how`].
pub mod struck {
    /// It shares its address space with the victim: `__oom_kill_process()` (mm/oom_kill.c).
    pub const SHARED: u32 = 1;
    /// The victim was the init of its PID namespace: `zap_pid_ns_processes()` (kernel/pid_namespace.c).
    pub const NAMESPACE: u32 = 2;
}

record! {
    /// The kernel killed a task with a victim. It is no part of a run: in its header trigger, beginning and number are 0.
    pub struct Struck {
        /// Kind [`RecordKind::Struck`].
        pub header: Header,
        /// Why (values of [`struck`]).
        pub how: u32,
        /// The victim's process id.
        pub victim_pid: u32,
        /// When the victim began (`CLOCK_BOOTTIME`, ns): with its process id, what names it.
        pub victim_start_boot_ns: u64,
        /// The task.
        pub task: TaskFacts,
        /// Its address space.
        pub mm: MmFacts,
    } size 208
}

record! {
    /// The command line of a trigger or a victim, or a victim's environment, from its own memory; its bytes follow. It is no part
    /// of a run: in its header trigger, beginning and number are 0.
    pub struct Cmdline {
        /// Kind [`RecordKind::Cmdline`] or [`RecordKind::Environment`].
        pub header: Header,
        /// Its process id.
        pub pid: u32,
        /// How many bytes of it follow, at the most as many as the record has room for.
        pub len: u32,
        /// When the process began (`CLOCK_BOOTTIME`, ns): with its process id, what names it.
        pub start_boot_ns: u64,
        /// Its length, bytes: if more than `len`, it goes on.
        pub total: u64,
    } size 56
}

/// Names of daemons that kill processes before the kernel does, as their first thread has them: systemd-oomd, earlyoom, nohang,
/// and Facebook's oomd. At most 15 letters, and four of them.
pub const DAEMONS: [&str; 4] = ["systemd-oomd", "earlyoom", "nohang", "oomd"];

/// A signal that such a daemon sends to a process again is told once in this time, ns.
pub const DAEMON_AGAIN_NS: u64 = 1_000_000_000;

record! {
    /// One of the [`DAEMONS`] sent a process SIGTERM or SIGKILL. It has a run of its own, with the memory cgroups of the process,
    /// but for those that the same thread has sent just before.
    pub struct UserKill {
        /// Kind [`RecordKind::UserKill`].
        pub header: Header,
        /// The daemon's first thread.
        pub killer: TaskFacts,
        /// Who gets it.
        pub victim: TaskFacts,
        /// Its address space.
        pub mm: MmFacts,
        /// The signal.
        pub signal: u32,
        /// Whether it does not say who sends it: 1, as a signal by `cgroup.kill`; or 0.
        pub without_sender: u32,
    } size 272
}

/// Sizes of the records that a [`Cmdline`] begins, in words of 8 bytes: the smaller one if it has room for all.
pub const CMDLINE_WORDS: [usize; 2] = [64, 512];

/// Ancestors that a [`Kin`] holds, from the parent upwards.
pub const MAX_ANCESTORS: usize = 8;

/// Bits of [`Kin::present`] and [`Ancestor::present`].
pub mod kin {
    /// Of a [`super::Kin`]: `pid_in_initial` is known.
    pub const INITIAL: u32 = 1;
    /// Of a [`super::Kin`]: `level` and `ns_pid` are known.
    pub const NS_PID: u32 = 1 << 1;
    /// Of an [`super::Ancestor`]: `pid` is known.
    pub const PID: u32 = 1;
    /// Of an [`super::Ancestor`]: `comm` is known.
    pub const COMM: u32 = 1 << 1;
}

record! {
    /// A process from which another one descends.
    pub struct Ancestor {
        /// Which of the fields were read (bits of [`kin`]).
        pub present: u32,
        /// Its process id; 0: the idle task, above which there is nobody.
        pub pid: u32,
        /// Name of its first thread, NUL-terminated, any bytes.
        pub comm: [u8; 16],
    } size 24
}

record! {
    /// The ancestors of a trigger or a victim, and its id in its own PID namespace. It is no part of a run: in its header
    /// trigger, beginning and number are 0.
    pub struct Kin {
        /// Kind [`RecordKind::Kin`].
        pub header: Header,
        /// Which of the fields were read (bits of [`kin`]).
        pub present: u32,
        /// Its process id, as its task has it.
        pub pid: u32,
        /// When the process began (`CLOCK_BOOTTIME`, ns): with its process id, what names it.
        pub start_boot_ns: u64,
        /// Its process id in the initial PID namespace, as its `struct pid` has it: another than `pid` is not its own.
        pub pid_in_initial: u32,
        /// How deep its PID namespace is: 0 is the initial one.
        pub level: u32,
        /// Its process id there.
        pub ns_pid: u32,
        /// Keeps what follows aligned.
        pub reserved: u32,
        /// From its parent upwards.
        pub ancestors: [Ancestor; MAX_ANCESTORS],
    } size 256
}

/// Bits of [`Zone::present`].
pub mod zone {
    /// `node` is known.
    pub const NODE: u32 = 1;
    /// `name` is known.
    pub const NAME: u32 = 1 << 1;
    /// `free_pages` is known.
    pub const FREE: u32 = 1 << 2;
    /// `watermark_pages` is known.
    pub const WATERMARKS: u32 = 1 << 3;
    /// `boost_pages` is known.
    pub const BOOST: u32 = 1 << 4;
    /// `managed_pages` is known.
    pub const MANAGED: u32 = 1 << 5;
    /// `present_pages` is known.
    pub const PRESENT: u32 = 1 << 6;
    /// `reserve_pages` is known.
    pub const RESERVE: u32 = 1 << 7;
    /// `blocks` is known.
    pub const BLOCKS: u32 = 1 << 8;
}

record! {
    /// A zone at the decision (`struct zone`, include/linux/mmzone.h): of those that the request may be served from, or,
    /// where a memory cgroup ran out, of the node that the trigger runs on.
    pub struct Zone {
        /// Kind [`RecordKind::Zone`].
        pub header: Header,
        /// Which of the fields were read (bits of [`zone`]).
        pub present: u32,
        /// The node that it belongs to.
        pub node: u32,
        /// How many of `blocks` this kernel has.
        pub orders: u32,
        /// Keeps what follows aligned.
        pub reserved: u32,
        /// Its name, NUL-terminated.
        pub name: [u8; 16],
        /// Free pages (`NR_FREE_PAGES`), without what CPUs hold back of the count.
        pub free_pages: i64,
        /// The watermarks min, low and high, pages, without `boost_pages`.
        pub watermark_pages: [u64; 3],
        /// What is added to each of them for a while, pages.
        pub boost_pages: u64,
        /// Pages that the page allocator manages.
        pub managed_pages: u64,
        /// Pages that are there.
        pub present_pages: u64,
        /// Pages that this request must leave beyond the watermark (`lowmem_reserve`), since it could be served from a
        /// higher zone.
        pub reserve_pages: u64,
        /// Free blocks of 2^order pages, by order.
        pub blocks: [u64; 14],
    } size 240
}

/// What [`Node::counters`] holds, by index: constants of `enum node_stat_item` (include/linux/mmzone.h).
pub const NODE_COUNTERS: [&str; 14] = [
    "NR_INACTIVE_ANON",
    "NR_ACTIVE_ANON",
    "NR_INACTIVE_FILE",
    "NR_ACTIVE_FILE",
    "NR_UNEVICTABLE",
    "NR_SLAB_RECLAIMABLE_B",
    "NR_SLAB_UNRECLAIMABLE_B",
    "NR_ANON_MAPPED",
    "NR_FILE_MAPPED",
    "NR_SHMEM",
    "NR_FILE_DIRTY",
    "NR_WRITEBACK",
    "NR_KERNEL_STACK_KB",
    "NR_PAGETABLE",
];

/// Bit of [`Node::present`]: `node` is known. The bits from 0 on are those of the counters.
pub const NODE_ID: u32 = 1 << 31;

record! {
    /// What the memory of a node is used for at the decision (`struct pglist_data`).
    pub struct Node {
        /// Kind [`RecordKind::Node`].
        pub header: Header,
        /// Which of the counters were read, a bit each, and [`NODE_ID`].
        pub present: u32,
        /// The node.
        pub node: u32,
        /// See [`NODE_COUNTERS`]. Pages, `NR_KERNEL_STACK_KB` in KiB; without what CPUs hold back, so they may be
        /// slightly negative.
        pub counters: [i64; 14],
    } size 152
}

record! {
    /// The nodes whose memory the request could have been served from, where it was confined to some of them: by a memory
    /// policy (`oom_control.nodemask`) or by the trigger's cpuset (`task_struct.mems_allowed`), as `constrained_alloc()`
    /// (mm/oom_kill.c) looks at them.
    pub struct Allowed {
        /// Kind [`RecordKind::Allowed`].
        pub header: Header,
        /// Whether `nodes` was read: 1, or 0.
        pub present: u32,
        /// How many words of `nodes` this kernel has.
        pub words: u32,
        /// A bit for each node, the first in the lowest bit of the first word.
        pub nodes: [u64; 16],
    } size 168
}

record! {
    /// A message of the OOM killer's in the kernel log; its bytes follow. Userspace makes these records, from /dev/kmsg, so
    /// that a recording has them. It is no part of a run: in its header trigger, beginning and number are 0, and the time is
    /// that of its reading.
    pub struct KernelLog {
        /// Kind [`RecordKind::KernelLog`].
        pub header: Header,
        /// Number of the log's record since boot.
        pub seq: u64,
        /// When it was written, by printk's clock, µs.
        pub usec: u64,
        /// How many bytes of it follow. 0: no message; the log has been read to its end.
        pub len: u32,
        /// Keeps the size a multiple of 8.
        pub reserved: u32,
    } size 56
}
/// Values of [`AllocFailure::what`].
pub mod failure {
    /// A page fault: `pagefault_out_of_memory()` (mm/oom_kill.c).
    pub const PAGE_FAULT: u32 = 1;
    /// A page of hugetlbfs: `alloc_hugetlb_folio()` (mm/hugetlb.c).
    pub const HUGETLB: u32 = 2;
    /// Pages: `__alloc_pages()` gave up, and `warn_alloc()` (mm/page_alloc.c) is to say so.
    pub const PAGES: u32 = 3;
    /// Memory of the kernel's that is mapped page by page: `vmalloc()`, and `warn_alloc()`.
    pub const VMALLOC: u32 = 4;
}

record! {
    /// An allocation failed, and nobody was killed for it. It has a run of its own, with the memory cgroups of the task.
    ///
    /// Where the same happens to a process again and again, it is told once in [`FAILURE_AGAIN_NS`], and the rest is counted.
    pub struct AllocFailure {
        /// Kind [`RecordKind::AllocFailure`].
        pub header: Header,
        /// The task in whose context it failed.
        pub task: TaskFacts,
        /// What failed (values of [`failure`]).
        pub what: u32,
        /// Allocation flags, of [`failure::PAGES`] and [`failure::VMALLOC`].
        pub gfp_mask: u32,
        /// Order of the request, of [`failure::PAGES`].
        pub order: u32,
        /// The error, of [`failure::HUGETLB`]: positive.
        pub errno: u32,
        /// When this first happened to the process, or began to be counted anew. `CLOCK_BOOTTIME`, ns.
        pub first_ns: u64,
        /// How often it has happened since then.
        pub total: u64,
        /// The memory cgroup that the task is going to wait for (`memory.oom_control` of v1): its id; 0: none.
        pub waits_id: u64,
        /// Its hierarchy.
        pub waits_hierarchy: u32,
        /// Keeps the size a multiple of 8.
        pub reserved: u32,
    } size 152
}

/// What happens to a process again is told once in this time, ns.
pub const FAILURE_AGAIN_NS: u64 = 1_000_000_000;
/// What names it in the map of counts: [`AllocFailure::what`] in the upper half and the process id in the lower; and when the
/// process began.
pub type FailureKey = [u64; 2];
/// How often it has happened: [`AllocFailure::first_ns`]; [`AllocFailure::total`]; when it was told last (`CLOCK_BOOTTIME`, ns).
pub type FailureCount = [u64; 3];

/// Values of [`ForkFailure::site`]: which function returned the error first, as far as hooks tell.
pub mod site {
    /// `copy_process()` (kernel/fork.c) itself, or what it calls and no hook shows.
    pub const COPY_PROCESS: u32 = 0;
    /// `alloc_pid()` (kernel/pid.c).
    pub const ALLOC_PID: u32 = 1;
    /// `pids_can_fork()` (kernel/cgroup/pids.c).
    pub const PIDS_CAN_FORK: u32 = 2;
    /// The system call: no hook shows more in this tier.
    pub const SYSCALL: u32 = 3;
}

/// Bits of [`ForkFailure::state`]: what holds as the fork fails.
pub mod forking {
    /// The task is to die: SIGKILL waits for it.
    pub const FATAL: u32 = 1;
    /// The first process of the PID namespace that the child was to be in has ended (`PIDNS_ADDING` is clear).
    pub const NAMESPACE_DEAD: u32 = 1 << 1;
    /// The task's scheduling policy is `SCHED_DEADLINE`, and children do not shed it (`SCHED_FLAG_RESET_ON_FORK`).
    pub const DEADLINE: u32 = 1 << 2;
    /// Another task that shares its file system information is in an exec (`fs_struct.in_exec`).
    pub const IN_EXEC: u32 = 1 << 3;
    /// Its user has as many processes as may be (`RLIMIT_NPROC`), here or in a user namespace above.
    pub const NPROC: u32 = 1 << 4;
}

/// Bits of [`ForkFailure::present`].
pub mod fork {
    /// `clone_flags` is known.
    pub const FLAGS: u32 = 1;
    /// `cap_effective` is known.
    pub const CAPABILITIES: u32 = 1 << 1;
    /// `nproc_limit` is known.
    pub const NPROC_LIMIT: u32 = 1 << 2;
    /// `user_processes` is known (before 5.14).
    pub const USER_PROCESSES: u32 = 1 << 3;
    /// `data_pages` is known.
    pub const DATA_PAGES: u32 = 1 << 4;
    /// `user_ns_inum` is known.
    pub const USER_NS: u32 = 1 << 5;
    /// `threads` and `threads_max` are known.
    pub const THREADS: u32 = 1 << 6;
    /// `pid_max` of the whole machine is known (before 6.14).
    pub const MACHINE_PID_MAX: u32 = 1 << 7;
    /// What of memory may be promised, and is: `overcommit_*`, `swap_pages`, `committed_pages`, `*_reserve_kbytes` and
    /// `total_vm_pages` are known.
    pub const PROMISES: u32 = 1 << 8;
    /// `children` is known.
    pub const CHILDREN: u32 = 1 << 9;
    /// Of a [`super::PidNamespace`]: `allocated` is known.
    pub const ALLOCATED: u32 = 1;
    /// Of a [`super::PidNamespace`]: `pid_max` is known (since 6.14).
    pub const PID_MAX: u32 = 1 << 1;
    /// Of a [`super::PidNamespace`] or a [`super::UserLevel`]: `inum` is known.
    pub const INUM: u32 = 1 << 2;
    /// Of a [`super::UserLevel`]: `count` is known.
    pub const COUNT: u32 = 1;
    /// Of a [`super::UserLevel`]: `max` is known.
    pub const MAX: u32 = 1 << 1;
}

record! {
    /// A PID namespace in which a child was to have an id.
    pub struct PidNamespace {
        /// Which of the fields were read (bits of [`fork`]).
        pub present: u32,
        /// Its number, as `/proc/PID/ns/pid` shows it.
        pub inum: u32,
        /// Ids in use, without the bit that lets more be added (`PIDNS_ADDING`).
        pub allocated: u32,
        /// No id is as high.
        pub pid_max: u32,
    } size 16
}

record! {
    /// A user namespace that counts the processes of the forking task's user.
    pub struct UserLevel {
        /// Which of the fields were read (bits of [`fork`]).
        pub present: u32,
        /// Its number, as `/proc/PID/ns/user` shows it.
        pub inum: u32,
        /// The user id, in the initial user namespace, whose processes are counted.
        pub uid: u32,
        /// Keeps what follows aligned.
        pub reserved: u32,
        /// Processes counted (`ucounts.rlimit[UCOUNT_RLIMIT_NPROC]`), without the one that failed.
        pub count: i64,
        /// How many may be: for the first level that is the task's `RLIMIT_NPROC`.
        pub max: i64,
    } size 32
}

/// PID and user namespaces that a [`ForkFailure`] holds, from the innermost outwards.
pub const FORK_LEVELS: usize = 4;

record! {
    /// `fork()`, `vfork()`, `clone()` or `clone3()` failed for want of something: `copy_process()` (kernel/fork.c). It has a
    /// run of its own, with the memory cgroups of the task, and with those of the pids controller.
    ///
    /// Identical failures are told once in [`FAILURE_AGAIN_NS`], and the rest is counted.
    pub struct ForkFailure {
        /// Kind [`RecordKind::ForkFailure`].
        pub header: Header,
        /// The task that forked.
        pub task: TaskFacts,
        /// Which of the fields were read (bits of [`fork`]).
        pub present: u32,
        /// The error: positive.
        pub errno: u32,
        /// Which function returned it (values of [`site`]).
        pub site: u32,
        /// What holds (bits of [`forking`]).
        pub state: u32,
        /// What it asked for (`CLONE_*`).
        pub clone_flags: u64,
        /// What it may do (`cred.cap_effective`).
        pub cap_effective: u64,
        /// Its `RLIMIT_NPROC`; `u64::MAX`: none.
        pub nproc_limit: u64,
        /// Processes of its user (`user_struct.processes`, before 5.14).
        pub user_processes: u32,
        /// The number of its user namespace.
        pub user_ns_inum: u32,
        /// Private memory that a copy of its address space would be charged for at the most, pages.
        pub data_pages: u64,
        /// Size of its address space, pages.
        pub total_vm_pages: u64,
        /// Threads of all processes (`nr_threads`, kernel/fork.c).
        pub threads: i32,
        /// How many may be (`max_threads`).
        pub threads_max: i32,
        /// No id of the machine is as high (`pid_max`, kernel/pid.c, before 6.14).
        pub pid_max: i32,
        /// `vm.overcommit_memory` (`sysctl_overcommit_memory`, mm/util.c).
        pub overcommit_memory: i32,
        /// `vm.overcommit_ratio`: of the machine's memory, percent.
        pub overcommit_ratio: i32,
        /// Children of the thread, counted up to [`MAX_CHILDREN`].
        pub children: u32,
        /// `vm.overcommit_kbytes`: in place of that, unless 0.
        pub overcommit_kbytes: u64,
        /// Swap, pages (`total_swap_pages`, mm/swapfile.c).
        pub swap_pages: i64,
        /// Memory that is promised, pages, as the kernel compares it: without what CPUs hold back (`vm_committed_as`).
        pub committed_pages: i64,
        /// `vm.user_reserve_kbytes`.
        pub user_reserve_kbytes: u64,
        /// `vm.admin_reserve_kbytes`.
        pub admin_reserve_kbytes: u64,
        /// The cgroup by which failures are told apart: that of the pids controller which refused, else its memory cgroup.
        pub cgroup_id: u64,
        /// When identical failures began, or began to be counted anew. `CLOCK_BOOTTIME`, ns.
        pub first_ns: u64,
        /// How many there were since then.
        pub total: u64,
        /// PID namespaces, from the one that the child was to be in outwards.
        pub pid_namespaces: [PidNamespace; FORK_LEVELS],
        /// User namespaces, from the task's own outwards (since 5.14).
        pub users: [UserLevel; FORK_LEVELS],
    } size 448
}

record! {
    /// One cgroup of the pids controller.
    pub struct PidsLevel {
        /// Kind [`RecordKind::PidsLevel`].
        pub header: Header,
        /// Which of the fields were read (bits of [`level`]).
        pub present: u32,
        /// 0 for the cgroup that the child was to be in, 1 for its parent, …
        pub depth: u32,
        /// Hierarchy: 0 is v2.
        pub hierarchy: u32,
        /// Length of `name` with its NUL, bytes; negative: it could not be read. [`NAME_LEN`]: it may go on.
        pub name_len: i32,
        /// Id of the first cgroup, which names the chain.
        pub leaf_id: u64,
        /// Id of this cgroup.
        pub id: u64,
        /// The next level's state in the kernel; 0: this is the root.
        pub parent: u64,
        /// Tasks in it.
        pub usage: i64,
        /// How many may be; `PIDS_MAX` (above `PID_MAX_LIMIT`): any number.
        pub limit: i64,
        /// Name of the directory, any bytes.
        pub name: [u8; 256],
    } size 344
}

/// What is counted of each kind of namespace that a fork can make (`enum ucount_type`, include/linux/user_namespace.h), in the
/// order in which it makes them: `copy_creds()` comes first, then `create_new_namespaces()` (kernel/nsproxy.c).
pub const NAMESPACE_COUNTERS: [&str; 8] = [
    "UCOUNT_USER_NAMESPACES",
    "UCOUNT_MNT_NAMESPACES",
    "UCOUNT_UTS_NAMESPACES",
    "UCOUNT_IPC_NAMESPACES",
    "UCOUNT_PID_NAMESPACES",
    "UCOUNT_CGROUP_NAMESPACES",
    "UCOUNT_NET_NAMESPACES",
    "UCOUNT_TIME_NAMESPACES",
];

/// Bits of [`Namespaces::present`] and of [`NamespaceLevel::present`].
pub mod namespaces {
    /// `euid` is known.
    pub const EUID: u32 = 1;
    /// `pid_ns_depth` is known.
    pub const PID_NS_DEPTH: u32 = 1 << 1;
    /// Of a [`super::NamespaceLevel`]: `inum` is known.
    pub const INUM: u32 = 1;
    /// Of a [`super::NamespaceLevel`]: `depth` is known.
    pub const DEPTH: u32 = 1 << 1;
    /// Of a [`super::NamespaceLevel`]: `uid` is known.
    pub const UID: u32 = 1 << 2;
    /// Of a [`super::NamespaceLevel`]: the first of `counts` is known. The next bit is the second's, …
    pub const FIRST_COUNT: u32 = 1 << 8;
    /// Of a [`super::NamespaceLevel`]: the first of `max` is known. The next bit is the second's, …
    pub const FIRST_MAX: u32 = 1 << 16;
}

record! {
    /// A user namespace that counts the namespaces that a user has made.
    pub struct NamespaceLevel {
        /// Which of the fields were read (bits of [`namespaces`]).
        pub present: u32,
        /// Its number, as `/proc/PID/ns/user` shows it.
        pub inum: u32,
        /// How many user namespaces are around it.
        pub depth: u32,
        /// The user id, in the initial user namespace, whose namespaces are counted: at the first level the task's real one.
        pub uid: u32,
        /// How many there are (`ucounts.ucount[…]`), in the order of [`NAMESPACE_COUNTERS`]; without the one that was refused.
        pub counts: [i64; NAMESPACE_COUNTERS.len()],
        /// How many there may be of each user's (`user_namespace.ucount_max[…]`).
        pub max: [i64; NAMESPACE_COUNTERS.len()],
    } size 144
}

record! {
    /// How many namespaces there are and may be as a fork fails with ENOSPC: what `inc_ucount()` (kernel/ucount.c) goes by. It
    /// is of the run of a [`ForkFailure`].
    pub struct Namespaces {
        /// Kind [`RecordKind::Namespaces`].
        pub header: Header,
        /// Which of the fields were read (bits of [`namespaces`]).
        pub present: u32,
        /// The task's effective user id, in the initial user namespace: whose namespaces are counted.
        pub euid: u32,
        /// How many PID namespaces are around the one that the child was to be in.
        pub pid_ns_depth: u32,
        /// Keeps the size a multiple of 8.
        pub reserved: u32,
        /// User namespaces, from the task's own outwards.
        pub levels: [NamespaceLevel; FORK_LEVELS],
    } size 624
}

/// Bits of [`ForkHost::present`].
pub mod fork_host {
    /// `threads` is known.
    pub const THREADS: u32 = 1;
    /// `threads_max` is known.
    pub const THREADS_MAX: u32 = 1 << 1;
    /// `pid_max` is known.
    pub const PID_MAX: u32 = 1 << 2;
    /// `overcommit_memory` is known.
    pub const OVERCOMMIT: u32 = 1 << 3;
    /// `commit_limit_bytes` and `committed_bytes` are known.
    pub const COMMIT: u32 = 1 << 4;
    /// `memory_bytes` is known.
    pub const MEMORY: u32 = 1 << 5;
}

record! {
    /// What the machine has of what forks take, as /proc tells right after one failed: for where the programs cannot read it.
    /// Userspace makes these records, so that a
    /// recording has them. It is no part of a run: in its header trigger, beginning and number are 0.
    pub struct ForkHost {
        /// Kind [`RecordKind::ForkHost`].
        pub header: Header,
        /// Which of the fields were read (bits of [`fork_host`]).
        pub present: u32,
        /// `vm.overcommit_memory`.
        pub overcommit_memory: u32,
        /// Threads of all processes (the fourth field of /proc/loadavg).
        pub threads: u64,
        /// `kernel.threads-max`.
        pub threads_max: u64,
        /// `kernel.pid_max`.
        pub pid_max: u64,
        /// CommitLimit of /proc/meminfo.
        pub commit_limit_bytes: u64,
        /// Its Committed_AS.
        pub committed_bytes: u64,
        /// What `vm.overcommit_ratio` is of: its MemTotal without its Hugetlb (`vm_commit_limit()`, mm/util.c).
        pub memory_bytes: u64,
    } size 88
}

/// Bits of [`PidsRefused::present`].
pub mod pids_refused {
    /// The cgroup whose tasks forked is known.
    pub const CGROUP: u32 = 1;
    /// The cgroup whose limit it was is known.
    pub const LIMIT_AT: u32 = 1 << 1;
    /// `limit` is known.
    pub const LIMIT: u32 = 1 << 2;
    /// `usage` is known.
    pub const USAGE: u32 = 1 << 3;
    /// `count` is what a cgroup counted; without it, it is one, which the kernel log tells.
    pub const COUNTED: u32 = 1 << 4;
}

record! {
    /// Forks that a cgroup refused, as it counts them itself (`pids.events`): for where no program sees forks. The paths of both
    /// cgroups follow, without a NUL. Userspace makes these records, so that a recording has them. It is no part of a run: in its
    /// header trigger, beginning and number are 0.
    pub struct PidsRefused {
        /// Kind [`RecordKind::PidsRefused`], and the size with both paths.
        pub header: Header,
        /// What is known (bits of [`pids_refused`]).
        pub present: u32,
        /// Bytes of the first path: of the cgroup whose tasks forked. The rest is the path of the one whose limit it was.
        pub cgroup_len: u32,
        /// How many were refused since it was last told.
        pub count: u64,
        /// How long ago that was, ns; 0: never.
        pub window_ns: u64,
        /// That one's `pids.max`.
        pub limit: u64,
        /// Its `pids.current`.
        pub usage: u64,
    } size 72
}

/// Addresses of variables of the kernel's that the programs read as a fork fails; 0: not known. Userspace finds them in the
/// kernel's symbols once the programs run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Variables {
    /// `int nr_threads` (kernel/fork.c).
    pub threads: u64,
    /// `int max_threads` (kernel/fork.c).
    pub threads_max: u64,
    /// `int pid_max` (kernel/pid.c, before 6.14).
    pub pid_max: u64,
    /// `int sysctl_overcommit_memory` (mm/util.c), as the next two.
    pub overcommit_memory: u64,
    /// `int sysctl_overcommit_ratio`.
    pub overcommit_ratio: u64,
    /// `unsigned long sysctl_overcommit_kbytes`.
    pub overcommit_kbytes: u64,
    /// `long total_swap_pages` (mm/swapfile.c).
    pub swap_pages: u64,
    /// `struct percpu_counter vm_committed_as` (mm/util.c).
    pub committed: u64,
    /// `unsigned long sysctl_user_reserve_kbytes` (mm/util.c), as the next.
    pub user_reserve_kbytes: u64,
    /// `unsigned long sysctl_admin_reserve_kbytes`.
    pub admin_reserve_kbytes: u64,
}

/// Kinds of forks that fail that are counted at once, at most.
pub const FORK_KINDS: u32 = 2048;

/// What names identical failures in the map of counts: the errno in the lower half and, above it, the state and, from bit 56
/// on, the site; the cgroup; the user id and, above it, the number of the PID namespace; the name of the thread.
pub type ForkKey = [u64; 5];

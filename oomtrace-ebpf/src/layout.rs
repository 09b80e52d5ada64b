//! Where the running kernel keeps what the programs read.
//!
//! rustc emits no BTF relocations for BPF, so nothing about the kernel's structures is compiled in: userspace
//! resolves every field below from the kernel's BTF and patches the offsets into the programs' `.rodata` before
//! they load. A field that this kernel lacks is [`ABSENT`]: to read it fails, as of a pointer that is NULL, and what depends
//! on it is left out. That takes no branch: each would have to be cut out of the program when it is loaded, which moves all
//! that comes behind it.

use crate::record::{NAMESPACE_COUNTERS, NODE_COUNTERS};

/// The offset of a field that this kernel does not have, or has in another size than the programs expect.
///
/// With it a kernel's address becomes one that no processor has (it is not canonical), and NULL too:
/// `copy_from_kernel_nofault_allowed()` (arch/x86/mm/maccess.c, 5.8) refuses it.
pub const ABSENT: u64 = 1 << 62;

/// One field of the kernel that the programs read.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Its name in [`Layout`].
    pub name: &'static str,
    /// Where to look for it, best first: (structure, path of members).
    pub places: &'static [(&'static str, &'static str)],
    /// The size in bytes that the programs read. A field of another size is treated as absent.
    pub size: u32,
}

macro_rules! layout {
    ($($(#[$doc:meta])* $name:ident: $size:literal = $($of:literal . $path:literal)|+;)+) => {
        /// Byte offsets of kernel fields, in the order of [`Layout::FIELDS`].
        #[repr(C)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct Layout {
            $($(#[$doc])* pub $name: u64,)+
        }

        impl Layout {
            /// Every field, in the order of the structure's own.
            pub const FIELDS: &[Field] = &[
                $(Field { name: stringify!($name), places: &[$(($of, $path)),+], size: $size },)+
            ];

            /// The table before anything is resolved.
            pub const UNRESOLVED: Self = Self { $($name: ABSENT,)+ };

            /// The table as the array of offsets that [`Self::FIELDS`] describes.
            #[must_use]
            pub const fn from_offsets(offsets: [u64; Self::FIELDS.len()]) -> Self {
                let [$($name),+] = offsets;
                Self { $($name),+ }
            }
        }
    };
}

layout! {
    /// Thread id.
    task_pid: 4 = "task_struct"."pid";
    /// Process id.
    task_tgid: 4 = "task_struct"."tgid";
    /// Thread name.
    task_comm: 16 = "task_struct"."comm";
    /// `PF_*` flags.
    task_flags: 4 = "task_struct"."flags";
    /// The id that it has in each PID namespace: `struct pid`.
    task_thread_pid: 8 = "task_struct"."thread_pid";
    /// Time since boot of the thread's start, ns (`real_start_time` before 5.5).
    task_start_boottime: 8 = "task_struct"."start_boottime" | "task_struct"."real_start_time";
    /// The parent process.
    task_real_parent: 8 = "task_struct"."real_parent";
    /// The process's first thread.
    task_group_leader: 8 = "task_struct"."group_leader";
    /// The first of a thread's children, in a list of their `sibling`s.
    task_children: 8 = "task_struct"."children.next";
    /// Address space, NULL after `exit_mm`.
    task_mm: 8 = "task_struct"."mm";
    /// What the threads of the process share.
    task_signal: 8 = "task_struct"."signal";
    /// Objective credentials.
    task_real_cred: 8 = "task_struct"."real_cred";
    /// The task's set of cgroups.
    task_cgroups: 8 = "task_struct"."cgroups";
    /// How deep the innermost of the PID namespaces is in which a `struct pid` is an id: 0 is the initial one.
    pid_level: 4 = "pid"."level";
    /// The number in the first of these, the initial one.
    pid_numbers: 4 = "pid"."numbers[0].nr";
    /// The nodes that the task's cpuset allows: the first 64.
    task_mems_allowed: 8 = "task_struct"."mems_allowed.bits[0]";
    /// Signals that wait for this thread alone, one bit each.
    task_pending: 8 = "task_struct"."pending.signal.sig[0]";
    /// v1: the memory cgroup at whose limit the task waits, once its page fault has ended; NULL otherwise.
    task_memcg_in_oom: 8 = "task_struct"."memcg_in_oom";
    /// How the task is scheduled (`SCHED_*`).
    task_policy: 4 = "task_struct"."policy";
    /// Its root and current directory.
    task_fs: 8 = "task_struct"."fs";
    /// Whether one of those who share these is in an exec.
    fs_in_exec: 4 = "fs_struct"."in_exec";
    /// Its namespaces.
    task_nsproxy: 8 = "task_struct"."nsproxy";
    /// The PID namespace of its children.
    nsproxy_pid_ns: 8 = "nsproxy"."pid_ns_for_children";
    /// Ids in use in a PID namespace, and the bit that lets more be added.
    pid_ns_allocated: 4 = "pid_namespace"."pid_allocated";
    /// No id there is as high (6.14 and later: before that one number counts for all).
    pid_ns_max: 4 = "pid_namespace"."pid_max";
    /// The PID namespace around it.
    pid_ns_parent: 8 = "pid_namespace"."parent";
    /// Its number.
    pid_ns_inum: 4 = "pid_namespace"."ns.inum";
    /// How many are around it.
    pid_ns_level: 4 = "pid_namespace"."level";
    /// What the task may do, one bit each.
    cred_cap_effective: 8 = "cred"."cap_effective";
    /// Its user, for all user namespaces together.
    cred_user: 8 = "cred"."user";
    /// Processes of that user (before 5.14).
    user_processes: 4 = "user_struct"."processes.counter";
    /// Its user namespace.
    cred_user_ns: 8 = "cred"."user_ns";
    /// What is counted of its user in its user namespace.
    cred_ucounts: 8 = "cred"."ucounts";
    /// Of that, the processes (in this form since 6.0).
    ucounts_nproc: 8 = "ucounts"."rlimit[0].counter";
    /// Whose they are.
    ucounts_uid: 4 = "ucounts"."uid";
    /// The user namespace.
    ucounts_ns: 8 = "ucounts"."ns";
    /// What is counted of its owner in the user namespace around it.
    user_ns_ucounts: 8 = "user_namespace"."ucounts";
    /// How many processes there may be in it.
    user_ns_nproc_max: 8 = "user_namespace"."rlimit_max[0]";
    /// Its number.
    user_ns_inum: 4 = "user_namespace"."ns.inum";
    /// How many are around it.
    user_ns_level: 4 = "user_namespace"."level";
    /// `RLIMIT_NPROC` of the process.
    signal_nproc_limit: 8 = "signal_struct"."rlim[6].rlim_cur";
    /// Private memory that can be written, pages.
    mm_data_vm: 8 = "mm_struct"."data_vm";
    /// Stacks, pages.
    mm_stack_vm: 8 = "mm_struct"."stack_vm";
    /// The number of a system call, among a task's registers as it made it (x86-64).
    regs_call: 8 = "pt_regs"."orig_ax";
    /// Its first argument, which stays there until it has ended.
    regs_first: 8 = "pt_regs"."di";
    /// What a clone asked for.
    clone_args_flags: 8 = "kernel_clone_args"."flags";
    /// Real user id in the initial user namespace.
    cred_uid: 4 = "cred"."uid";
    /// Effective user id in the initial user namespace.
    cred_euid: 4 = "cred"."euid";
    /// `oom_score_adj` of the process.
    signal_oom_score_adj: 2 = "signal_struct"."oom_score_adj";
    /// Number of threads.
    signal_nr_threads: 4 = "signal_struct"."nr_threads";
    /// Threads that have not begun to end.
    signal_live: 4 = "signal_struct"."live.counter";
    /// The address space of an OOM victim, kept past `exit_mm`; NULL before it is marked.
    signal_oom_mm: 8 = "signal_struct"."oom_mm";
    /// Threads and others that use the address space; at 0 it is taken down.
    mm_users: 4 = "mm_struct"."mm_users.counter";
    /// Size of the address space, pages.
    mm_total_vm: 8 = "mm_struct"."total_vm";
    /// Where the command line begins in the address space.
    mm_arg_start: 8 = "mm_struct"."arg_start";
    /// Where it ends.
    mm_arg_end: 8 = "mm_struct"."arg_end";
    /// Where the environment begins.
    mm_env_start: 8 = "mm_struct"."env_start";
    /// Where it ends.
    mm_env_end: 8 = "mm_struct"."env_end";
    /// Page tables, bytes.
    mm_pgtables_bytes: 8 = "mm_struct"."pgtables_bytes";
    /// First of four RSS counters where these are plain atomics (6.1 and before).
    mm_rss_atomic: 8 = "mm_struct"."rss_stat.count[0]";
    /// The shared part of the first RSS counter where these are per-CPU (6.2 and later).
    mm_rss_percpu: 8 = "mm_struct"."rss_stat[0].count";
    /// The same of the second counter: the difference is the stride.
    mm_rss_percpu_next: 8 = "mm_struct"."rss_stat[1].count";
    /// The per-CPU part of the first RSS counter.
    mm_rss_percpu_counters: 8 = "mm_struct"."rss_stat[0].counters";
    /// What a per-CPU counter's readers go by that do not sum it up.
    percpu_counter_count: 8 = "percpu_counter"."count";
    /// Where a per-CPU array map keeps its first element's per-CPU pointer.
    bpf_array_pptrs: 8 = "bpf_array"."pptrs[0]";
    /// The task's state in each cgroup controller.
    css_set_subsys: 8 = "css_set"."subsys[0]";
    /// The cgroup of a controller's state.
    css_cgroup: 8 = "cgroup_subsys_state"."cgroup";
    /// The same controller's state one level up.
    css_parent: 8 = "cgroup_subsys_state"."parent";
    /// The cgroup's directory.
    cgroup_kn: 8 = "cgroup"."kn";
    /// The cgroup of a pids controller's generic state: tells where that state is within it.
    pids_css_cgroup: 8 = "pids_cgroup"."css.cgroup";
    /// Tasks in it.
    pids_counter: 8 = "pids_cgroup"."counter.counter";
    /// How many may be.
    pids_limit: 8 = "pids_cgroup"."limit.counter";
    /// The cgroup's hierarchy.
    cgroup_root: 8 = "cgroup"."root";
    /// 0 for the unified (v2) hierarchy.
    cgroup_root_hierarchy_id: 4 = "cgroup_root"."hierarchy_id";
    /// Inode number of the directory: the cgroup's id.
    kernfs_id: 8 = "kernfs_node"."id";
    /// Name of the directory.
    kernfs_name: 8 = "kernfs_node"."name";
    /// `cgroup` of a memory cgroup's generic state: tells where that state is within the group.
    memcg_css_cgroup: 8 = "mem_cgroup"."css.cgroup";
    /// Whether the group is killed as a whole (`memory.oom.group`).
    memcg_oom_group: 1 = "mem_cgroup"."oom_group";
    /// Memory charged, pages.
    memcg_memory_usage: 8 = "mem_cgroup"."memory.usage";
    /// Memory limit, pages.
    memcg_memory_max: 8 = "mem_cgroup"."memory.max";
    /// v2: swap charged, pages.
    memcg_swap_usage: 8 = "mem_cgroup"."swap.usage";
    /// v2: swap limit, pages.
    memcg_swap_max: 8 = "mem_cgroup"."swap.max";
    /// v1: memory and swap charged, pages.
    memcg_memsw_usage: 8 = "mem_cgroup"."memsw.usage";
    /// v1: limit of memory and swap, pages.
    memcg_memsw_max: 8 = "mem_cgroup"."memsw.max";
    /// Zones to allocate from; NULL unless a node ran out.
    oc_zonelist: 8 = "oom_control"."zonelist";
    /// The nodes that a memory policy confines the request to; NULL unless one does.
    oc_nodemask: 8 = "oom_control"."nodemask";
    /// The memory cgroup at its limit; NULL unless one was.
    oc_memcg: 8 = "oom_control"."memcg";
    /// Allocation flags.
    oc_gfp_mask: 4 = "oom_control"."gfp_mask";
    /// Allocation order; -1 for sysrq.
    oc_order: 4 = "oom_control"."order";
    /// Capacity of the scope, pages.
    oc_totalpages: 8 = "oom_control"."totalpages";
    /// The task that was chosen.
    oc_chosen: 8 = "oom_control"."chosen";
    /// Its badness, pages.
    oc_chosen_points: 8 = "oom_control"."chosen_points";
    /// `enum oom_constraint`.
    oc_constraint: 4 = "oom_control"."constraint";
    /// The first zone to allocate from.
    zonelist_zone: 8 = "zonelist"."_zonerefs[0].zone";
    /// The second: the difference is the stride. Each is in a `struct zoneref`, …
    zonelist_zone_next: 8 = "zonelist"."_zonerefs[1].zone";
    /// … at this place.
    zoneref_zone: 8 = "zoneref"."zone";
    /// The node that a zone belongs to.
    zone_pgdat: 8 = "zone"."zone_pgdat";
    /// Its name.
    zone_name: 8 = "zone"."name";
    /// The first of three watermarks, pages.
    zone_watermark: 8 = "zone"."_watermark[0]";
    /// What is added to them, pages.
    zone_watermark_boost: 8 = "zone"."watermark_boost";
    /// Pages of the zone that the page allocator manages.
    zone_managed: 8 = "zone"."managed_pages.counter";
    /// Pages of the zone that are there.
    zone_present: 8 = "zone"."present_pages";
    /// What requests that a higher zone could serve must leave, by that zone, pages.
    zone_reserve: 8 = "zone"."lowmem_reserve[0]";
    /// The zone's counters (`enum zone_stat_item`).
    zone_stat: 8 = "zone"."vm_stat[0]";
    /// Free blocks of order 0.
    zone_blocks: 8 = "zone"."free_area[0].nr_free";
    /// Free blocks of order 1: the difference is the stride.
    zone_blocks_next: 8 = "zone"."free_area[1].nr_free";
    /// A node's number.
    pgdat_node_id: 4 = "pglist_data"."node_id";
    /// The node's counters (`enum node_stat_item`).
    pgdat_stat: 8 = "pglist_data"."vm_stat[0]";
    /// The node's first zone, or rather what [`Self::zone_pgdat`] is in it.
    pgdat_zone: 8 = "pglist_data"."node_zones[0].zone_pgdat";
    /// The same of the second: the difference is the stride.
    pgdat_zone_next: 8 = "pglist_data"."node_zones[1].zone_pgdat";
    /// Number of the node's zones, up to the last one that has memory.
    pgdat_nr_zones: 4 = "pglist_data"."nr_zones";
    /// What a memory cgroup has of the first node.
    memcg_nodeinfo: 8 = "mem_cgroup"."nodeinfo[0]";
    /// That node.
    memcg_node_pgdat: 8 = "mem_cgroup_per_node"."lruvec.pgdat";
}

/// No argument of a tracepoint.
pub const NO_ARGUMENT: u32 = u32::MAX;

/// What else the programs must know before they load. Constants to the verifier, which thus drops the branches
/// that this kernel cannot take (a helper that it lacks, for one).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Params {
    /// Offset in `css_set` of the memory controller's state: `subsys[memory_cgrp_id]` (`enum cgroup_subsys_id`), or
    /// [`ABSENT`].
    pub memory_css: u64,
    /// The same of the pids controller (`pids_cgrp_id`).
    pub pids_css: u64,
    /// Offset in `task_struct` of the word that has the bit of [`Self::reset_on_fork_mask`].
    pub reset_on_fork: u64,
    /// From a `struct pid`'s number in one PID namespace to that in the next one: the size of a `struct upid`.
    pub upid_bytes: u64,
    /// Offset in `zone` of the count of free pages: `vm_stat[NR_FREE_PAGES]`, or [`ABSENT`].
    pub zone_free: u64,
    /// Offset in `zone` of what a request that `ZONE_NORMAL` could serve must leave there:
    /// `lowmem_reserve[ZONE_NORMAL]`, or [`ABSENT`].
    pub zone_reserve_normal: u64,
    /// The same of one that `ZONE_MOVABLE` could serve.
    pub zone_reserve_movable: u64,
    /// Offsets in `pglist_data` of the counters `vm_stat[…]` that are named in [`NODE_COUNTERS`], or [`ABSENT`].
    pub node_counters: [u64; NODE_COUNTERS.len()],
    /// Offsets in `ucounts` of the counters `ucount[…]` that are named in [`NAMESPACE_COUNTERS`], or [`ABSENT`].
    pub namespace_counts: [u64; NAMESPACE_COUNTERS.len()],
    /// Offsets in `user_namespace` of how high they may be: `ucount_max[…]`, or [`ABSENT`].
    pub namespace_max: [u64; NAMESPACE_COUNTERS.len()],
    /// The bit that is set where children are not scheduled like the task (`sched_reset_on_fork`); 0: it cannot be read.
    pub reset_on_fork_mask: u32,
    /// Possible CPUs to sum per-CPU counters over; 0 where the exact sum cannot be had.
    pub cpus: u32,
    /// Which argument of `mm_vmscan_memcg_reclaim_begin` is the memory cgroup, or [`NO_ARGUMENT`].
    pub reclaim_memcg_arg: u32,
    /// Which argument of `mm_vmscan_direct_reclaim_begin` are the allocation flags, or [`NO_ARGUMENT`].
    pub reclaim_gfp_arg: u32,
    /// Which argument of `mm_vmscan_direct_reclaim_end` and of `mm_vmscan_memcg_reclaim_end` is how many pages were freed, or
    /// [`NO_ARGUMENT`].
    pub reclaimed_arg: u32,
    /// The size of a page is 2 to the power of this, bytes.
    pub page_shift: u32,
    /// Orders of free blocks (`NR_PAGE_ORDERS`), at most [`crate::MAX_ORDERS`]; 0 where they cannot be read.
    pub orders: u32,
    /// Words of 64 nodes in a `nodemask_t`, at most [`crate::NODE_WORDS`]; 0 where they cannot be read.
    pub node_words: u32,
    /// The size of each of [`Self::namespace_counts`] and [`Self::namespace_max`]: 8 bytes, or 4 (before 5.14).
    pub namespace_count_bytes: u32,
    /// `oomtrace run`: the process id of oomtrace, below which the command's own processes are; 0: it runs none, or its id is
    /// not known.
    pub run_tgid: u32,
    /// Whether waits are counted ([`crate::waits`]): 1, or 0.
    pub pressure: u32,
    /// Keeps the size a multiple of 8.
    pub reserved: u32,
}

impl Params {
    /// The table before anything is resolved.
    pub const UNRESOLVED: Self = Self {
        memory_css: ABSENT,
        pids_css: ABSENT,
        reset_on_fork: ABSENT,
        upid_bytes: 0,
        zone_free: ABSENT,
        zone_reserve_normal: ABSENT,
        zone_reserve_movable: ABSENT,
        node_counters: [ABSENT; NODE_COUNTERS.len()],
        namespace_counts: [ABSENT; NAMESPACE_COUNTERS.len()],
        namespace_max: [ABSENT; NAMESPACE_COUNTERS.len()],
        reset_on_fork_mask: 0,
        cpus: 0,
        reclaim_memcg_arg: NO_ARGUMENT,
        reclaim_gfp_arg: NO_ARGUMENT,
        reclaimed_arg: NO_ARGUMENT,
        page_shift: 0,
        orders: 0,
        node_words: 0,
        namespace_count_bytes: 0,
        run_tgid: 0,
        pressure: 0,
        reserved: 0,
    };
}

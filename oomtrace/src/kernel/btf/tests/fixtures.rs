//! The excerpts of real kernels in tests/fixtures/btf: what they hold and how they are made.

use std::path::PathBuf;

use super::super::{Btf, excerpt};

/// The kernels of the fixtures.
pub const KERNELS: [&str; 6] = ["5.10.223", "5.10", "6.1", "6.12", "6.18", "7.2"];

/// What the fixtures hold, as far as the kernel in question has it.
pub const ROOTS: &[&str] = &[
    // Tasks and their memory.
    "task_struct",
    "cred",
    "signal_struct",
    "mm_struct",
    "percpu_counter",
    "mm_rss_stat",
    "MM_FILEPAGES",
    "fs_struct",
    "kernel_siginfo",
    "kernel_clone_args",
    // Cgroups and their limits.
    "css_set",
    "cgroup_subsys_state",
    "cgroup",
    "cgroup_root",
    "kernfs_node",
    "mem_cgroup",
    "mem_cgroup_per_node",
    "page_counter",
    "pids_cgroup",
    "cgroup_subsys_id",
    "memcg_memory_event",
    "PIDCG_MAX",
    // The OOM killer.
    "oom_control",
    "oom_constraint",
    "___GFP_DMA_BIT",
    "bpf_array",
    // Process ids, users and namespaces.
    "pid",
    "upid",
    "pid_namespace",
    "user_struct",
    "ucounts",
    "user_namespace",
    "nsproxy",
    "UCOUNT_RLIMIT_NPROC",
    "ucount_type",
    // Zones and nodes.
    "zone",
    "pglist_data",
    "zonelist",
    "zoneref",
    "free_area",
    "WMARK_MIN",
    "NR_FREE_PAGES",
    "node_stat_item",
    "zone_stat_item",
    // Tracepoints.
    "btf_trace_mark_victim",
    "btf_trace_signal_generate",
    "btf_trace_exit_mmap",
    "btf_trace_sched_process_exit",
    "btf_trace_mm_vmscan_memcg_reclaim_begin",
    "btf_trace_mm_vmscan_memcg_reclaim_end",
    "btf_trace_mm_vmscan_direct_reclaim_begin",
    "btf_trace_mm_vmscan_direct_reclaim_end",
    "btf_trace_reclaim_retry_zone",
    "btf_trace_compact_retry",
    "btf_trace_signal_deliver",
    "btf_trace_wake_reaper",
    "btf_trace_start_task_reaping",
    "btf_trace_finish_task_reaping",
    "btf_trace_skip_task_reaping",
    // Functions.
    "oom_kill_process",
    "__oom_kill_process",
    "mark_oom_victim",
    "out_of_memory",
    "oom_badness",
    "oom_evaluate_task",
    "copy_process",
    "alloc_pid",
    "pids_can_fork",
    "dump_header",
    "task_will_free_mem",
    "mem_cgroup_out_of_memory",
    "exit_mmap",
    "__percpu_counter_sum",
];

/// Where the fixture of a kernel is.
pub fn fixture(kernel: &str) -> PathBuf {
    let tests = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/btf");
    tests.join(format!("{kernel}.btf"))
}

/// Writes the fixtures anew, from a folder of whole BTF files with the same names.
#[test]
#[ignore = "rewrites the fixtures; needs OOMTRACE_BTF_DIR, a folder with 5.10.btf and so on"]
fn write_fixtures() {
    let whole = PathBuf::from(std::env::var_os("OOMTRACE_BTF_DIR").unwrap());
    for kernel in KERNELS {
        let btf = Btf::read(&whole.join(format!("{kernel}.btf"))).unwrap();
        let cut = excerpt(&btf, ROOTS).unwrap();
        println!("{kernel}: {} bytes, without {:?}", cut.btf.len(), cut.absent);
        std::fs::write(fixture(kernel), cut.btf).unwrap();
    }
}

//! What tracing asks of a kernel's types.

use std::collections::BTreeSet;

use oomtrace_ebpf::Layout;

/// The names of everything that is looked up.
#[must_use]
pub fn roots() -> Vec<&'static str> {
    let types: BTreeSet<_> =
        Layout::FIELDS.iter().flat_map(|field| field.places).map(|(of, _)| *of).collect();
    let others = [
        "MM_FILEPAGES",
        "cgroup_subsys_id",
        "btf_trace_mark_victim",
        "btf_trace_mm_vmscan_memcg_reclaim_begin",
        "oom_kill_process",
        "out_of_memory",
        "mark_oom_victim",
    ];
    types.into_iter().chain(others).collect()
}

//! Cgroups of the pids controller: names and limits, from the one that a child was to be in up to the root.

use aya_ebpf::helpers::generated::bpf_probe_read_kernel_str;
use oomtrace_ebpf::{ABSENT, MAX_LEVELS, NAME_LEN, PidsLevel, RecordKind, level};

use crate::{
    memcg,
    read::{constant, copy, get, number},
    ring::{Wake, emit},
    task::current,
};

/// The state of the pids controller for the current task's cgroup; 0: it cannot be read.
#[inline(always)]
pub fn css() -> u64 {
    number(get!(current(), task_cgroups), constant!(PARAMS.pids_css))
}

/// Sends a record for each cgroup from `leaf` (a css) up to the root. A global function.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn send_pids(leaf: u64) -> u64 {
    let leaf_id = memcg::id(leaf);
    let mut css = leaf;
    for depth in 0..u64::from(MAX_LEVELS) {
        if css == 0 {
            break;
        }
        css = send_pids_level(css, depth, leaf_id);
    }
    0
}

/// Sends a record of one cgroup and returns the one above it; 0 at the root, and where the record found no room. A global
/// function.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn send_pids_level(css: u64, depth: u64, leaf_id: u64) -> u64 {
    let parent = get!(css, css_parent);
    let sent = emit(RecordKind::PidsLevel, Wake::Later, |record: &mut PidsLevel| {
        record.depth = depth as u32;
        record.leaf_id = leaf_id;
        record.present |= level::ID * memcg::identity(css, &raw mut record.id, &raw mut record.hierarchy);
        let kn = get!(get!(css, css_cgroup), cgroup_kn);
        let name = get!(kn, kernfs_name) as *const core::ffi::c_void;
        // SAFETY: the buffer has NAME_LEN bytes; the helper checks the source and fails on a bad one.
        record.name_len =
            unsafe { bpf_probe_read_kernel_str(record.name.as_mut_ptr().cast(), NAME_LEN as u32, name) }
                as i32;
        // The generic state is a part of the controller's own.
        let within = constant!(LAYOUT.pids_css_cgroup).wrapping_sub(constant!(LAYOUT.css_cgroup));
        let pids = css.wrapping_sub(within);
        copy!(record.usage <- pids, pids_counter, level::USAGE);
        copy!(record.limit <- pids, pids_limit, level::LIMIT);
        record.parent = parent;
        if constant!(LAYOUT.css_parent) != ABSENT {
            record.present |= level::PARENT;
        }
    });
    if sent { parent } else { 0 }
}

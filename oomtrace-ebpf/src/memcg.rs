//! Memory cgroups: names and limits, from a task's own cgroup up to the root.

use aya_ebpf::helpers::generated::bpf_probe_read_kernel_str;
use oomtrace_ebpf::{ABSENT, Level, MAX_LEVELS, NAME_LEN, RecordKind, level};

use crate::{
    read::{constant, copy, get, into},
    ring::{Wake, emit},
};

/// Reads the id (the inode number of the directory) and the hierarchy (0 is v2) of a cgroup: 1 if both are read.
#[inline(always)]
pub fn identity(css: u64, id: *mut u64, hierarchy: *mut u32) -> u32 {
    let cgroup = get!(css, css_cgroup);
    let got_id = into(id, get!(cgroup, cgroup_kn), constant!(LAYOUT.kernfs_id));
    let root = get!(cgroup, cgroup_root);
    got_id & into(hierarchy, root, constant!(LAYOUT.cgroup_root_hierarchy_id))
}

/// The id of a cgroup, 0 if it cannot be read.
#[inline(always)]
pub fn id(css: u64) -> u64 {
    get!(get!(get!(css, css_cgroup), cgroup_kn), kernfs_id)
}

/// Sends a record for each cgroup from `leaf` (a css) up to the root. A global function.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn send_chain(leaf: u64, chain: u64) -> u64 {
    let leaf_id = id(leaf);
    let mut css = leaf;
    for depth in 0..u64::from(MAX_LEVELS) {
        css = send_level(css, chain, depth, leaf_id);
        if css == 0 {
            break;
        }
    }
    0
}

/// Sends a record of one cgroup and returns the one above it; 0 at the root, and where the record found no room,
/// since a chain with a gap is of no use. A global function.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn send_level(css: u64, chain: u64, depth: u64, leaf_id: u64) -> u64 {
    let parent = get!(css, css_parent);
    let sent = emit(RecordKind::Level, Wake::Later, |record: &mut Level| {
        record.chain = chain as u32;
        record.depth = depth as u32;
        record.leaf_id = leaf_id;
        fill(record, css);
        record.parent = parent;
    });
    if sent { parent } else { 0 }
}

/// Reads the memory cgroup of a css.
#[inline(always)]
fn fill(record: &mut Level, css: u64) {
    record.present |= level::ID * identity(css, &raw mut record.id, &raw mut record.hierarchy);
    let kn = get!(get!(css, css_cgroup), cgroup_kn);
    let name = get!(kn, kernfs_name) as *const core::ffi::c_void;
    // SAFETY: the buffer has NAME_LEN bytes; the helper checks the source and fails on a bad one.
    record.name_len =
        unsafe { bpf_probe_read_kernel_str(record.name.as_mut_ptr().cast(), NAME_LEN as u32, name) } as i32;
    let memcg = of(css);
    copy!(record.usage_pages <- memcg, memcg_memory_usage, level::USAGE);
    copy!(record.limit_pages <- memcg, memcg_memory_max, level::LIMIT);
    copy!(record.swap_usage_pages <- memcg, memcg_swap_usage, level::SWAP_USAGE);
    copy!(record.swap_limit_pages <- memcg, memcg_swap_max, level::SWAP_LIMIT);
    copy!(record.memsw_usage_pages <- memcg, memcg_memsw_usage, level::MEMSW_USAGE);
    copy!(record.memsw_limit_pages <- memcg, memcg_memsw_max, level::MEMSW_LIMIT);
    copy!(record.oom_group <- memcg, memcg_oom_group, level::OOM_GROUP);
    if constant!(LAYOUT.css_parent) != ABSENT {
        record.present |= level::PARENT;
    }
}

/// The `mem_cgroup` that a css is part of.
#[inline(always)]
pub fn of(css: u64) -> u64 {
    let within = constant!(LAYOUT.memcg_css_cgroup);
    let own = constant!(LAYOUT.css_cgroup);
    if within == ABSENT || own == ABSENT {
        return 0;
    }
    css.wrapping_sub(within.wrapping_sub(own))
}

/// The css within a `mem_cgroup`; 0 for NULL.
#[inline(always)]
pub fn css_of(memcg: u64) -> u64 {
    if memcg == 0 { 0 } else { css(memcg) }
}

/// The css within a `mem_cgroup`.
#[inline(always)]
pub fn css(memcg: u64) -> u64 {
    let within = constant!(LAYOUT.memcg_css_cgroup);
    let own = constant!(LAYOUT.css_cgroup);
    if within == ABSENT || own == ABSENT {
        return 0;
    }
    memcg.wrapping_add(within.wrapping_sub(own))
}

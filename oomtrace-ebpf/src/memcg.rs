//! Memory cgroups: names and limits, from a task's own cgroup up to the root.

use aya_ebpf::helpers::generated::bpf_probe_read_kernel_str;
use oomtrace_ebpf::{ABSENT, Level, MAX_LEVELS, NAME_LEN, RecordKind, level};

use crate::{
    read::{constant, field, get, set},
    ring::{Incident, Wake, emit},
};

/// The cgroup's id: the inode number of its directory.
#[inline(always)]
pub fn id(css: u64) -> Option<u64> {
    let cgroup = get!(css, css_cgroup)?;
    let kn = get!(cgroup, cgroup_kn)?;
    get!(kn, kernfs_id as u64)
}

/// The hierarchy of the cgroup: 0 is v2.
#[inline(always)]
pub fn hierarchy(css: u64) -> Option<u32> {
    let cgroup = get!(css, css_cgroup)?;
    let root = get!(cgroup, cgroup_root)?;
    get!(root, cgroup_root_hierarchy_id as u32)
}

/// Sends a record for each cgroup from `leaf` (a css) up to the root.
#[inline(always)]
pub fn emit_chain(incident: &mut Incident, leaf: u64, chain: u32) {
    let leaf_id = id(leaf).unwrap_or(0);
    let mut css = leaf;
    for depth in 0..MAX_LEVELS {
        let parent = get!(css, css_parent);
        emit(incident, RecordKind::Level, Wake::Later, |record: &mut Level| {
            record.chain = chain;
            record.depth = depth;
            record.leaf_id = leaf_id;
            fill(record, css);
            if parent.is_none() && constant!(LAYOUT.css_parent) != ABSENT {
                record.present |= level::ROOT;
            }
        });
        match parent {
            Some(parent) => css = parent,
            None => break,
        }
    }
}

#[inline(always)]
fn fill(record: &mut Level, css: u64) {
    set!(record.id, id(css), level::ID);
    set!(record.hierarchy, hierarchy(css), level::HIERARCHY);
    name(record, css);
    let Some(memcg) = memcg(css) else { return };
    // Page counters are atomic longs; usage may be seen below 0 for an instant (page_counter_cancel()).
    set!(record.usage_pages, get!(memcg, memcg_memory_usage as i64).map(positive), level::USAGE);
    set!(record.limit_pages, get!(memcg, memcg_memory_max as u64), level::LIMIT);
    // v1 counts memory and swap together, v2 swap alone; the two counters share a union.
    let (usage, max) = if record.hierarchy == 0 {
        (constant!(LAYOUT.memcg_swap_usage), constant!(LAYOUT.memcg_swap_max))
    } else {
        (constant!(LAYOUT.memcg_memsw_usage), constant!(LAYOUT.memcg_memsw_max))
    };
    set!(record.swap_usage_pages, field::<i64>(memcg, usage).map(positive), level::SWAP_USAGE);
    set!(record.swap_limit_pages, field::<u64>(memcg, max), level::SWAP_LIMIT);
    set!(record.oom_group, get!(memcg, memcg_oom_group as u8).map(u32::from), level::OOM_GROUP);
}

#[inline(always)]
fn positive(pages: i64) -> u64 {
    if pages < 0 { 0 } else { pages as u64 }
}

/// The `mem_cgroup` that a css is part of.
#[inline(always)]
fn memcg(css: u64) -> Option<u64> {
    let within = constant!(LAYOUT.memcg_css_cgroup);
    let own = constant!(LAYOUT.css_cgroup);
    if within == ABSENT || own == ABSENT {
        return None;
    }
    Some(css - u64::from(within - own))
}

/// The css within a `mem_cgroup`; NULL is `None`.
#[inline(always)]
pub fn css(memcg: u64) -> Option<u64> {
    let within = constant!(LAYOUT.memcg_css_cgroup);
    let own = constant!(LAYOUT.css_cgroup);
    if memcg == 0 || within == ABSENT || own == ABSENT {
        return None;
    }
    Some(memcg + u64::from(within - own))
}

#[inline(always)]
fn name(record: &mut Level, css: u64) {
    let Some(cgroup) = get!(css, css_cgroup) else { return };
    let Some(kn) = get!(cgroup, cgroup_kn) else { return };
    let Some(name) = get!(kn, kernfs_name) else { return };
    // SAFETY: the buffer has NAME_LEN bytes; the helper checks the source and fails on a bad one.
    let read = unsafe {
        bpf_probe_read_kernel_str(record.name.as_mut_ptr().cast(), NAME_LEN as u32, name as *const _)
    };
    // The count includes the NUL. A full buffer may hold a name that goes on.
    if read > 0 {
        record.name_len = read as u32 - 1;
        record.present |= level::NAME;
        if read as usize == NAME_LEN {
            record.present |= level::TRUNCATED;
        }
    }
}

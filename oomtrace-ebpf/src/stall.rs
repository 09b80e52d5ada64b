//! What a thread reclaims before it runs the OOM killer. Where no hook shows the decision, this tells whether a
//! node's memory ran out or a memory cgroup's.

use aya_ebpf::{
    macros::{map, raw_tracepoint},
    maps::LruHashMap,
    programs::RawTracePointContext,
};
use oomtrace_ebpf::{ABSENT, reclaim};

use crate::{memcg, read::constant, task::current_tid};

/// What each thread reclaimed last.
#[map]
static RECLAIM: LruHashMap<u32, Last> = LruHashMap::with_max_entries(1024, 0);

#[derive(Clone, Copy)]
#[repr(C)]
struct Last {
    memcg_id: u64,
    kind: u32,
    /// Keeps the size a multiple of 8: map values are copied as a whole.
    reserved: u32,
}

/// What the thread reclaimed last: a value of [`reclaim`] and the memory cgroup's id, 0 where it is not known.
#[inline(always)]
pub fn last(tid: u32) -> (u32, u64) {
    match RECLAIM.get_ptr(tid) {
        // SAFETY: a map's element may be reused but never unmapped.
        Some(last) => unsafe { ((*last).kind, (*last).memcg_id) },
        None => (reclaim::NONE, 0),
    }
}

#[inline(always)]
fn begin(kind: u32, memcg_id: u64) {
    // A failure leaves an older round, which is of the same kind unless a thread runs out of both at once.
    let _ = RECLAIM.insert(current_tid(), Last { memcg_id, kind, reserved: 0 }, 0);
}

/// `try_to_free_pages()` begins: a node's memory is short.
#[raw_tracepoint(tracepoint = "mm_vmscan_direct_reclaim_begin")]
fn direct_reclaim_raw_tp(_: RawTracePointContext) -> i32 {
    begin(reclaim::DIRECT, 0);
    0
}

/// `try_to_free_mem_cgroup_pages()` begins: a memory cgroup is at its limit.
#[raw_tracepoint(tracepoint = "mm_vmscan_memcg_reclaim_begin")]
fn memcg_reclaim_raw_tp(ctx: RawTracePointContext) -> i32 {
    // The order of the arguments changed in 7.x, where the memory cgroup joined them.
    let memcg = match constant!(PARAMS.reclaim_memcg_arg) {
        ABSENT => 0,
        0 => ctx.arg(0),
        1 => ctx.arg(1),
        _ => ctx.arg::<u64>(2),
    };
    begin(reclaim::MEMCG, memcg::id(memcg::css(memcg)));
    0
}

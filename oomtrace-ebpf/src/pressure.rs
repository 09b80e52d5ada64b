//! How long threads wait while memory is freed for them. That happens too often to tell each: what they wait in is counted here, in
//! histograms by name, and read by userspace in the end. For `oomtrace run` alone.

use core::arch::asm;

use aya_ebpf::{
    bindings::BPF_NOEXIST,
    helpers::generated::bpf_get_current_comm,
    macros::{map, raw_tracepoint},
    maps::{Array, HashMap, LruHashMap},
    programs::RawTracePointContext,
};
use oomtrace_ebpf::{
    histogram::{BUCKETS, bucket},
    recent,
    waits::{self, FIRST_BUCKET, MAX_NS, RECLAIMED_PAGES, TOTAL_NS, WaitKey, Waits},
};

use crate::{
    read::{constant, get},
    ring::add,
    run::now,
    task::{current, current_tid},
    tree,
};

/// See the module. Userspace puts those into it at the start that are for the rest.
#[map]
static PRESSURE: HashMap<WaitKey, Waits> = HashMap::with_max_entries(waits::KEYS, 0);

/// Time that threads waited in all, by kind, ns: what userspace reads again and again. The kernel's own threads that make room
/// for others do not wait. And the count at [`waits::UNSEEN`].
#[map]
static WAITED: Array<u64> = Array::with_max_entries(waits::KINDS, 0);

/// When each thread began to compact a zone.
#[map]
static COMPACTING: LruHashMap<u32, u64> = LruHashMap::with_max_entries(recent::COMPACTING.holds, 0);

/// What a new key begins with.
static NONE: Waits = [0; FIRST_BUCKET + BUCKETS];

/// `PF_KTHREAD` (include/linux/sched.h).
const PF_KTHREAD: u32 = 0x0020_0000;

/// The current thread has waited: `kind_whose` as in the key. A global function: most programs that come here have little else to
/// do, and it is the same for all.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn waited(kind_whose: u64, ns: u64, pages: u64) -> u64 {
    // A constant to the verifier.
    if constant!(PARAMS.pressure) == 0 {
        return 0;
    }
    let (kind, whose) = (kind_whose as u32, (kind_whose >> 32) as u32);
    let compacts_for_others =
        kind == waits::COMPACTION && get!(current(), task_flags as u32) & PF_KTHREAD != 0;
    if !compacts_for_others && let Some(total) = WAITED.get_ptr_mut(kind) {
        // SAFETY: an element lives as long as its map and is aligned to 8.
        unsafe { add(total, ns) };
    }
    let mut name = [0_u64; 2];
    // SAFETY: the buffer has the size given, that of a name. What is behind the name's end becomes 0.
    unsafe { bpf_get_current_comm(name.as_mut_ptr().cast(), size_of_val(&name) as u32) };
    if let Some(waits) = of(&waits::key(name, kind, whose)) {
        // SAFETY: it is one of the map's.
        unsafe { count(waits, ns, pages) };
    } else if let Some(rest) = PRESSURE.get_ptr_mut(waits::key(waits::REST, kind, whose)) {
        // SAFETY: as above.
        unsafe { count(rest, ns, pages) };
    }
    0
}

/// A wait began or ended without its other end being seen. A global function.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn unseen() -> u64 {
    // A constant to the verifier.
    if constant!(PARAMS.pressure) != 0
        && let Some(count) = WAITED.get_ptr_mut(waits::UNSEEN)
    {
        // SAFETY: an element lives as long as its map and is aligned to 8.
        unsafe { add(count, 1) };
    }
    0
}

/// Those of a key, which may be new; `None`: there is no room for it.
#[inline(always)]
fn of(key: &WaitKey) -> Option<*mut Waits> {
    if let Some(waits) = PRESSURE.get_ptr_mut(key) {
        return Some(waits);
    }
    // Another thread of the same name may be quicker.
    let _ = PRESSURE.insert(key, &NONE, u64::from(BPF_NOEXIST));
    PRESSURE.get_ptr_mut(key)
}

/// Adds one.
///
/// # Safety
///
/// They must be in the map.
#[inline(always)]
unsafe fn count(waits: *mut Waits, ns: u64, pages: u64) {
    let waits = waits.cast::<u64>();
    let mut bucket = bucket(ns) as u64;
    // The verifier does not follow how it comes about. In assembly, since the compiler does.
    // SAFETY: arithmetic on a register of its own.
    unsafe { asm!("{bucket} &= {mask}", bucket = inout(reg) bucket, mask = const BUCKETS - 1) };
    // SAFETY: all of it is within an array of so many numbers, and the number of a bucket below that of the buckets, which is a
    // power of two. Others may count at the same time: none is lost but the longest, see there.
    unsafe {
        add(waits.add(TOTAL_NS), ns);
        add(waits.add(RECLAIMED_PAGES), pages);
        add(waits.add(FIRST_BUCKET).add(bucket as usize), 1);
        if *waits.add(MAX_NS) < ns {
            *waits.add(MAX_NS) = ns;
        }
    }
}

const _: () = assert!(BUCKETS.is_power_of_two());

/// `compact_zone()` begins to move pages.
#[raw_tracepoint(tracepoint = "mm_compaction_begin")]
fn compaction_raw_tp(_: RawTracePointContext) -> i32 {
    // Without room its end is not counted.
    let _ = COMPACTING.insert(current_tid(), now(), 0);
    0
}

/// It ends.
#[raw_tracepoint(tracepoint = "mm_compaction_end")]
fn compacted_raw_tp(_: RawTracePointContext) -> i32 {
    let tid = current_tid();
    if let Some(begun) = COMPACTING.get_ptr(tid) {
        // SAFETY: a map's element may be reused but never unmapped; this thread alone writes to its own.
        let begun = unsafe { *begun };
        let _ = COMPACTING.remove(tid);
        waited(u64::from(waits::COMPACTION) | tree::whose(current()) << 32, now().wrapping_sub(begun), 0);
    } else {
        // As with reclaim.
        unseen();
    }
    0
}

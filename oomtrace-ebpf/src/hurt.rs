//! Hurt without a kill: allocations that fail, and nobody dies for it.
//!
//! All of these are the ends of slow paths, so that nothing costs while nothing fails; but what fails is often tried again at
//! once, thousands of times a second. So it is told once a second for each process, with a count.

use aya_ebpf::{
    macros::{fentry, fexit, kprobe, kretprobe, map, raw_tracepoint},
    maps::LruHashMap,
    programs::{FEntryContext, FExitContext, ProbeContext, RawTracePointContext, RetProbeContext},
};
use oomtrace_ebpf::{AllocFailure, FailureCount, FailureKey, MIRROR, RecordKind, chain, failure, recent};

use crate::{
    cmdline,
    count::counted,
    memcg,
    read::{forget, get, number},
    ring::{Wake, count_lost, emit},
    run::{self, now},
    task::{self, current},
    victim::SIGKILL,
};

/// How often it happened, by what and whom. Userspace reads what has not been told in the end.
#[map]
static HURT: LruHashMap<FailureKey, FailureCount> = LruHashMap::with_max_entries(recent::HURT.holds, 0);

/// An allocation of the current task failed, unless it is dying. A global function, which takes five numbers at the most: the flags are in the
/// upper half of the second one.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn failed(what: u64, gfp_order: u64, errno: u64) -> u64 {
    let task = current();
    // A victim of the OOM killer, on its way to its end: fatal_signal_pending().
    if get!(task, task_pending) & 1 << (SIGKILL - 1) != 0 {
        return 0;
    }
    let pid = get!(task, task_tgid as u32);
    let began = get!(get!(task, task_group_leader), task_start_boottime);
    // An interrupt may have come in the middle of a run of the thread's: then its end, or the next failure, tells of it.
    let busy = run::current().is_some();
    let key = [what << 32 | u64::from(pid), began];
    let Some((first_ns, total)) = counted(&HURT, &key, busy, RecordKind::AllocFailure) else { return 0 };
    if !run::begin(now(), 0) {
        count_lost(RecordKind::AllocFailure);
        return 0;
    }
    cmdline::send_own(Wake::Later.flags());
    let css = task::memory_css(task);
    if css != 0 {
        memcg::send_chain(css, u64::from(chain::VICTIM));
    }
    emit(RecordKind::AllocFailure, Wake::Now, |record: &mut AllocFailure| {
        task::read(&mut record.task, task);
        record.what = what as u32;
        record.gfp_mask = (gfp_order >> 32) as u32;
        record.order = gfp_order as u32;
        record.errno = errno as u32;
        record.first_ns = first_ns;
        record.total = total;
        let waits = memcg::css_of(get!(task, task_memcg_in_oom));
        memcg::identity(waits, &raw mut record.waits_id, &raw mut record.waits_hierarchy);
    });
    run::end();
    0
}

/// `void pagefault_out_of_memory(void)` was entered: a page fault of a process failed for want of memory. Victims come here,
/// too.
#[fentry]
fn page_fault_fentry(_: FEntryContext) -> i32 {
    failed(u64::from(failure::PAGE_FAULT), 0, 0);
    0
}

#[kprobe]
fn page_fault_kprobe(_: ProbeContext) -> u32 {
    failed(u64::from(failure::PAGE_FAULT), 0, 0);
    0
}

/// `struct folio *alloc_hugetlb_folio(struct vm_area_struct *vma, unsigned long addr, bool cow_from_owner)`, or
/// `alloc_huge_page()` before 6.3, returned a page or an error: the pool has none for the process.
#[inline(always)]
fn hugetlb(page: u64) {
    // IS_ERR(): the last 4095 addresses are errors (include/linux/err.h).
    const MAX_ERRNO: u64 = 4095;
    let errno = page.wrapping_neg();
    if errno.wrapping_sub(1) < MAX_ERRNO {
        failed(u64::from(failure::HUGETLB), 0, errno);
    }
}

#[fexit]
fn hugetlb_fexit(ctx: FExitContext) -> i32 {
    // To the verifier it is a pointer. It follows the three arguments.
    hugetlb(forget(ctx.arg(3)));
    0
}

#[kretprobe]
fn hugetlb_kretprobe(ctx: RetProbeContext) -> u32 {
    hugetlb(ctx.ret());
    0
}

/// `___GFP_NOWARN` (include/linux/gfp_types.h; by this value since 4.4): whoever asked does without.
const NOWARN: u64 = 0x2000;

/// `void warn_alloc(gfp_t gfp_mask, nodemask_t *nodemask, const char *fmt, ...)` was entered: an allocation failed for good.
/// The kernel's log has it, too, but not each one. A function with `...` can have no trampoline.
#[kprobe]
fn pages_kprobe(ctx: ProbeContext) -> u32 {
    // The order, if it is of the page allocator, comes first after the format: "page allocation failure: order:%u".
    let (Some(gfp), Some(message), Some(order)) = (ctx.arg::<u64>(0), ctx.arg::<u64>(2), ctx.arg::<u64>(3))
    else {
        return 0;
    };
    if gfp & NOWARN == 0 {
        // The other callers' begins with "vmalloc".
        let vmalloc = number::<u8>(message, 0) == b'v';
        let what = if vmalloc { failure::VMALLOC } else { failure::PAGES };
        failed(u64::from(what), gfp << 32 | order & u64::from(u32::MAX), 0);
    }
    0
}

/// What is read of the current thread, which userspace asks for before anything is attached (`BPF_PROG_TEST_RUN`) to compare
/// it with what it knows of itself: under [`MIRROR`], the signals that wait for it, and where the memory cgroup is at whose
/// limit it waits. (What such a program returns does not get there.)
#[raw_tracepoint]
fn hurt_mirror(_: RawTracePointContext) -> i32 {
    let seen = [get!(current(), task_pending), get!(current(), task_memcg_in_oom), 0];
    let _ = HURT.insert([MIRROR, 0], seen, 0);
    0
}

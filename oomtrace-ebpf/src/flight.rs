//! How much memory each process has: what the agent's flight recorder reads every few seconds.
//!
//! An iterator (`bpf_iter_task`, kernel/bpf/task_iter.c, 5.8): the kernel calls it for each thread when, and only when, userspace
//! reads. It is attached to nothing else.

use aya_ebpf::{bindings::seq_file, helpers::generated::bpf_seq_write};
use oomtrace_ebpf::{
    ABSENT, MmFacts, RSS_ANON, RSS_FILE, RSS_SHMEM, RSS_SWAP, TaskSize, mm as facts, size, whose,
};

use crate::{
    memcg, mm,
    read::{constant, copy, forget, get},
    task, tree,
};

/// `PF_KTHREAD` (include/linux/sched.h): one may borrow an address space (`kthread_use_mm()`).
const KERNEL_THREAD: u32 = 0x0020_0000;

/// What the verifier knows as `struct bpf_iter__task`. The layout of both is the kernel's interface: each member has 8 bytes.
#[repr(C)]
struct Context {
    meta: *const Meta,
    /// NULL: all have been told.
    task: u64,
}

/// `struct bpf_iter_meta`.
#[repr(C)]
struct Meta {
    seq: *mut seq_file,
}

#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task")]
fn flight_tasks(ctx: *const Context) -> i32 {
    // SAFETY: the kernel gives a context; volatile, so that each is read by an instruction of its own, as the verifier wants it.
    let (meta, task) = unsafe { (core::ptr::read_volatile(&raw const (*ctx).meta), read_task(ctx)) };
    let task = forget(task);
    // A process is told with its first thread.
    if task == 0 || get!(task, task_pid as u32) != get!(task, task_tgid as u32) {
        return 0;
    }
    let space = get!(task, task_mm);
    if space == 0 || get!(task, task_flags as u32) & KERNEL_THREAD != 0 {
        return 0;
    }
    let mut told = TaskSize::EMPTY;
    measure(&mut told, space);
    copy!(told.pid <- task, task_tgid, size::PID);
    copy!(told.start_boot_ns <- task, task_start_boottime, size::START);
    copy!(told.comm <- task, task_comm, size::COMM);
    let css = task::memory_css(task);
    told.present |= size::MEMCG * memcg::identity(css, &raw mut told.memcg_id, &raw mut told.memcg_hierarchy);
    told.present |= (tree::whose(task) as u32 & whose::MASK) << size::WHOSE;
    // SAFETY: the sequence is the kernel's own, the record ours, of so many bytes. Where there is no room the kernel calls again.
    unsafe {
        bpf_seq_write((*meta).seq, (&raw const told).cast(), size_of::<TaskSize>() as u32);
    }
    0
}

/// The task, which may be NULL.
#[inline(always)]
unsafe fn read_task(ctx: *const Context) -> u64 {
    // SAFETY: as above.
    unsafe { core::ptr::read_volatile(&raw const (*ctx).task) }
}

/// The counters of an address space: summed over all CPUs where they are each CPU's, and that can be done.
#[inline(always)]
fn measure(told: &mut TaskSize, space: u64) {
    if constant!(LAYOUT.mm_rss_atomic) == ABSENT && constant!(LAYOUT.mm_rss_percpu) == ABSENT {
        return;
    }
    let mut found = MmFacts::EMPTY;
    mm::read(&mut found, space);
    let pages = if found.present & facts::SUM != 0 { &found.rss_sum } else { &found.rss_count };
    told.rss_pages = pages[RSS_FILE].wrapping_add(pages[RSS_ANON]).wrapping_add(pages[RSS_SHMEM]);
    told.swap_pages = pages[RSS_SWAP];
    if found.present & (facts::SUM | facts::COUNT) != 0 {
        told.present |= size::PAGES;
    }
}

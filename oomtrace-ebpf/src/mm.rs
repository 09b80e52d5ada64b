//! The size of an address space.
//!
//! From 6.2 on the RSS counters are per-CPU (struct percpu_counter): a plain read misses what each CPU holds
//! back. Their exact sum needs the place of each CPU's part, `counters + __per_cpu_offset[cpu]`. That variable
//! is not to be had from kallsyms on every kernel, so the offsets are taken from a per-CPU map of our own: the
//! address of its element on a CPU, less the per-CPU pointer that the map keeps, is that CPU's offset.

use aya_ebpf::{helpers::generated::bpf_map_lookup_percpu_elem, macros::map, maps::PerCpuArray};
use oomtrace_ebpf::{ABSENT, MmFacts, mm};

use crate::read::{constant, copy, forget, get, into, number, succeeded};

/// Never written: where the kernel puts its elements is what is of interest.
#[map]
static ANCHOR: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

/// CPUs that the programs can sum over. The verifier walks every turn of the loop, some ten instructions.
const MAX_CPUS: u32 = 1024;

/// Reads an address space, or leaves it empty for NULL.
#[inline(always)]
pub fn read(facts: &mut MmFacts, mm: u64) {
    copy!(facts.total_vm_pages <- mm, mm_total_vm, mm::TOTAL_VM);
    copy!(facts.pgtables_bytes <- mm, mm_pgtables_bytes, mm::PGTABLES);
    // Which of the two this kernel has is a constant to the verifier.
    if constant!(LAYOUT.mm_rss_atomic) != ABSENT {
        copy!(facts.rss_count <- mm, mm_rss_atomic, mm::COUNT);
        return;
    }
    let first = constant!(LAYOUT.mm_rss_percpu);
    // Where one of the two is absent, so is the first counter or the second.
    let stride = constant!(LAYOUT.mm_rss_percpu_next).wrapping_sub(first);
    let mut read = 1;
    for index in 0..4_u64 {
        let place = first.wrapping_add(index.wrapping_mul(stride));
        read &= into(&raw mut facts.rss_count[index as usize], mm, place);
    }
    facts.present |= mm::COUNT * read;
    facts.present |= mm::SUM * (read & sum(facts, mm, stride));
}

/// What `oom_badness()` counts of an address space, pages: its counters by a plain read, and its page tables.
#[inline(always)]
pub fn scored_pages(mm: u64) -> i64 {
    let atomic = constant!(LAYOUT.mm_rss_atomic);
    let percpu = constant!(LAYOUT.mm_rss_percpu);
    // Which of the two this kernel has is a constant to the verifier. An atomic has 8 bytes (atomic_long_t).
    let (first, stride) = if atomic != ABSENT {
        (atomic, size_of::<u64>() as u64)
    } else {
        (percpu, constant!(LAYOUT.mm_rss_percpu_next).wrapping_sub(percpu))
    };
    let mut pages = (get!(mm, mm_pgtables_bytes) >> (constant!(PARAMS.page_shift) & 63)) as i64;
    for index in 0..4_u64 {
        // One that is seen below 0 counts as 0: get_mm_counter() (include/linux/mm.h).
        let count = number::<i64>(mm, first.wrapping_add(index.wrapping_mul(stride)));
        pages = pages.wrapping_add(count & !(count >> 63));
    }
    pages
}

/// Adds all CPUs' parts to the counters: 1 if that succeeded.
#[inline(always)]
fn sum(facts: &mut MmFacts, mm: u64, stride: u64) -> u32 {
    let cpus = constant!(PARAMS.cpus);
    let counters = constant!(LAYOUT.mm_rss_percpu_counters);
    // A constant to the verifier: where the sum cannot be had it never sees the helper below, which is younger (5.19)
    // than the oldest kernel that we run on.
    if cpus == 0 || cpus > MAX_CPUS {
        return 0;
    }
    let mut anchor = 0_u64;
    let mut read = into(&raw mut anchor, forget(&raw const ANCHOR as u64), constant!(LAYOUT.bpf_array_pptrs));
    facts.cpus = cpus;
    for index in 0..4_u64 {
        let parts = number::<u64>(mm, counters.wrapping_add(index.wrapping_mul(stride)));
        let held = held_back(parts.wrapping_sub(anchor)) as i64;
        read &= succeeded(held.wrapping_add(FAILED / -2));
        facts.rss_sum[index as usize] = facts.rss_count[index as usize].wrapping_add(held);
    }
    read
}

/// Below any sum of [`MAX_CPUS`] numbers of 32 bits, also when halved.
const FAILED: i64 = -(1 << 48);

/// What all CPUs hold back of a counter whose per-CPU pointer is `parts` behind that of our element; less
/// [`FAILED`] for each of which that cannot be read. A global function.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn held_back(parts: u64) -> u64 {
    let cpus = constant!(PARAMS.cpus);
    let mut held = 0_u64;
    for cpu in 0..MAX_CPUS {
        if cpu >= cpus {
            break;
        }
        held = held.wrapping_add(held_on(parts, u64::from(cpu)));
    }
    held
}

/// The same of one CPU. A global function.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn held_on(parts: u64, cpu: u64) -> u64 {
    // The verifier walks global functions even where nobody calls them: see sum().
    if constant!(PARAMS.cpus) == 0 {
        return FAILED as u64;
    }
    let key = 0_u32;
    // SAFETY: the map is one, the key is one of its keys. NULL: there is no such CPU.
    let element = unsafe {
        bpf_map_lookup_percpu_elem((&raw const ANCHOR).cast_mut().cast(), (&raw const key).cast(), cpu as u32)
    };
    if element.is_null() {
        return FAILED as u64;
    }
    let mut held = 0_i32;
    let read = into(&raw mut held, parts.wrapping_add(forget(element as u64)), 0);
    i64::from(held).wrapping_add(FAILED * i64::from(1 - read)) as u64
}

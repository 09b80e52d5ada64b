//! The size of an address space.
//!
//! From 6.2 on the RSS counters are per-CPU (struct percpu_counter): a plain read misses what each CPU holds
//! back. Their exact sum needs the place of each CPU's part, `counters + __per_cpu_offset[cpu]`. That variable
//! is not to be had from kallsyms on every kernel, so the offsets are taken from a per-CPU map of our own: the
//! address of its element on a CPU, less the per-CPU pointer that the map keeps, is that CPU's offset.

use core::mem::MaybeUninit;

use aya_ebpf::{
    helpers::generated::{bpf_map_lookup_percpu_elem, bpf_probe_read_kernel},
    macros::map,
    maps::PerCpuArray,
};
use oomtrace_ebpf::{ABSENT, MmFacts, mm};

use crate::read::{constant, field, get, set};

/// Never written: where the kernel puts its elements is what is of interest.
#[map]
static ANCHOR: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

/// CPUs that the programs can sum over. The verifier walks every turn of the loop.
const MAX_CPUS: u32 = 1024;

/// Reads an address space, or leaves it empty for NULL.
#[inline(always)]
pub fn read(facts: &mut MmFacts, mm: u64) {
    set!(facts.total_vm_pages, get!(mm, mm_total_vm as u64), mm::TOTAL_VM);
    set!(facts.pgtables_bytes, get!(mm, mm_pgtables_bytes as u64), mm::PGTABLES);
    let atomic = constant!(LAYOUT.mm_rss_atomic);
    if atomic != ABSENT {
        set!(facts.rss_count, field::<[i64; 4]>(mm, atomic), mm::COUNT);
        return;
    }
    let first = constant!(LAYOUT.mm_rss_percpu);
    let second = constant!(LAYOUT.mm_rss_percpu_next);
    if first == ABSENT || second == ABSENT {
        return;
    }
    let stride = second - first;
    facts.present |= mm::COUNT;
    for index in 0..4_u32 {
        match field::<i64>(mm, first + index * stride) {
            Some(count) => facts.rss_count[index as usize] = count,
            None => facts.present &= !mm::COUNT,
        }
    }
    sum(facts, mm, stride);
}

#[inline(always)]
fn sum(facts: &mut MmFacts, mm: u64, stride: u32) {
    let cpus = constant!(PARAMS.cpus);
    let counters = constant!(LAYOUT.mm_rss_percpu_counters);
    // Both are constants to the verifier: where the sum cannot be had it never sees the helper below, which is
    // younger (5.19) than the oldest kernel that we run on.
    if cpus == 0 || counters == ABSENT || facts.present & mm::COUNT == 0 {
        return;
    }
    let Some(anchor) = scalar(&raw const ANCHOR as u64)
        .and_then(|map| field::<u64>(map, constant!(LAYOUT.bpf_array_pptrs)))
    else {
        return;
    };
    let mut parts = [0_u64; 4];
    for index in 0..4_u32 {
        match field::<u64>(mm, counters + index * stride) {
            Some(part) => parts[index as usize] = part,
            None => return,
        }
    }
    facts.rss_sum = facts.rss_count;
    for cpu in 0..MAX_CPUS {
        if cpu >= cpus {
            break;
        }
        let Some(offset) = element(cpu).map(|element| element.wrapping_sub(anchor)) else { return };
        for index in 0..4 {
            match field::<i32>(parts[index].wrapping_add(offset), 0) {
                Some(part) => facts.rss_sum[index] += i64::from(part),
                None => return,
            }
        }
        facts.cpus = cpu + 1;
    }
    if facts.cpus == cpus {
        facts.present |= mm::SUM;
    }
}

/// The address of our element on a CPU.
#[inline(always)]
fn element(cpu: u32) -> Option<u64> {
    let key = 0_u32;
    // SAFETY: the map is one, the key is one of its keys.
    let element = unsafe {
        bpf_map_lookup_percpu_elem((&raw const ANCHOR).cast_mut().cast(), (&raw const key).cast(), cpu)
    };
    if element.is_null() { None } else { scalar(element as u64) }
}

/// A pointer as a number: the verifier forgets what a value was once a helper has copied it.
#[inline(always)]
fn scalar(pointer: u64) -> Option<u64> {
    let mut number = MaybeUninit::<u64>::uninit();
    // SAFETY: both are 8 bytes of this function's stack.
    let failed = unsafe { bpf_probe_read_kernel(number.as_mut_ptr().cast(), 8, (&raw const pointer).cast()) };
    // SAFETY: the helper filled it.
    if failed == 0 { Some(unsafe { number.assume_init() }) } else { None }
}

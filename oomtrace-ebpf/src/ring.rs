//! The ring buffer to userspace, and the count of what found no room in it.

use core::{arch::asm, ptr};

use aya_ebpf::{
    bindings::{BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP},
    macros::map,
    maps::{Array, RingBuf},
};
use oomtrace_ebpf::{Header, RecordKind};

use crate::{
    run::{self, now},
    task::current_tid,
};

/// Records, kernel half to userspace. Userspace sets the size.
#[map]
pub static RECORDS: RingBuf = RingBuf::with_byte_size(256 * 1024, 0);

/// Records that found no room, by [`RecordKind`] (index: kind).
#[map]
static LOST: Array<u64> = Array::with_max_entries(RecordKind::END, 0);

/// Whether userspace is woken for a record.
#[derive(Clone, Copy)]
pub enum Wake {
    /// A later record of the same incident will wake it.
    Later,
    /// Now.
    Now,
}

/// Sends a record of the current thread's run, which `fill` completes, and returns `true`; or counts it as lost.
///
/// `T` is a record of [`oomtrace_ebpf`]: it begins with a [`Header`] and is valid when zeroed.
#[inline(always)]
pub fn emit<T: 'static>(kind: RecordKind, wake: Wake, fill: impl FnOnce(&mut T)) -> bool {
    let Some(run) = run::current() else {
        count_lost(kind);
        return false;
    };
    let header = Header {
        kind: kind as u16,
        size: size_of::<T>() as u16,
        trigger_tid: current_tid(),
        opened_ns: run.opened_ns,
        boot_ns: now(),
        index: run.index,
        lost: run.lost,
    };
    run.index += 1;
    let sent = send(kind, header, wake, fill);
    run.lost += u32::from(!sent);
    sent
}

/// The header of a record that is no run's.
#[inline(always)]
pub fn apart(kind: RecordKind, size: usize, boot_ns: u64) -> Header {
    Header { kind: kind as u16, size: size as u16, trigger_tid: 0, opened_ns: 0, boot_ns, index: 0, lost: 0 }
}

/// The same with a given header.
#[inline(always)]
pub fn send<T: 'static>(kind: RecordKind, header: Header, wake: Wake, fill: impl FnOnce(&mut T)) -> bool {
    let Some(mut entry) = RECORDS.reserve::<T>(0) else {
        count_lost(kind);
        return false;
    };
    let record = entry.as_mut_ptr();
    // SAFETY: the ring gave us the memory of one T, aligned to 8, which is valid when zeroed and begins with a
    // header. Zeroed word by word and volatile, since the compiler would call a memset() that goes byte by byte,
    // and the verifier would follow it.
    unsafe {
        for word in 0..size_of::<T>() / 8 {
            ptr::write_volatile(record.cast::<u64>().add(word), 0);
        }
        ptr::write(record.cast::<Header>(), header);
        fill(&mut *record);
    }
    entry.submit(wake.flags());
    true
}

impl Wake {
    /// As `bpf_ringbuf_submit()` takes it.
    #[inline(always)]
    pub fn flags(self) -> u64 {
        u64::from(match self {
            Self::Later => BPF_RB_NO_WAKEUP,
            Self::Now => BPF_RB_FORCE_WAKEUP,
        })
    }
}

/// Counts a record that found no room.
#[inline(always)]
pub fn count_lost(kind: RecordKind) {
    lose(kind as u64);
}

/// A global function, though a short one: the verifier puts the look-up in a map in place of each call of its helper, which
/// moves all of the program that comes behind it. So there is one.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn lose(kind: u64) -> u64 {
    if let Some(count) = LOST.get_ptr_mut(kind as u32) {
        // SAFETY: an element lives as long as its map and is aligned to 8.
        unsafe { add_one(count) };
    }
    0
}

/// Adds 1, whoever else does the same.
///
/// # Safety
///
/// The count must be one in a map, aligned to 8.
#[inline(always)]
pub unsafe fn add_one(count: *mut u64) {
    // SAFETY: the caller's.
    unsafe { add(count, 1) };
}

/// The same of so many.
///
/// # Safety
///
/// As above.
#[inline(always)]
pub unsafe fn add(count: *mut u64, more: u64) {
    // SAFETY: the instruction adds to the count alone. In assembly, since the target's library has no atomics that the
    // oldest kernels know.
    unsafe { asm!("lock *(u64 *)({count} + 0) += {more}", count = in(reg) count, more = in(reg) more) };
}

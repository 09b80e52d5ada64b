//! Command lines, and environments. A program cannot wait for memory that is not at hand, and reaches that of the current process alone: so
//! a trigger's is read where it asks, a victim's where it takes the signal that ends it.

use core::ptr;

use aya_ebpf::{
    bindings::{BPF_RB_AVAIL_DATA, BPF_RB_RING_SIZE},
    helpers::generated::bpf_probe_read_user,
};
use oomtrace_ebpf::{CMDLINE_WORDS, Cmdline, Header, RecordKind};

use crate::{
    read::get,
    ring::{RECORDS, apart, lose},
    run::now,
    task::current,
};

/// Sends the current process's command line, and wakes userspace as the flags say. A global function.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn send_own(flags: u64) -> u64 {
    let mm = get!(current(), task_mm);
    send_text(RecordKind::Cmdline as u64, get!(mm, mm_arg_start), get!(mm, mm_arg_end), flags)
}

/// The same of its environment.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn send_environment(flags: u64) -> u64 {
    let mm = get!(current(), task_mm);
    send_text(RecordKind::Environment as u64, get!(mm, mm_env_start), get!(mm, mm_env_end), flags)
}

/// Sends a part of the current process's memory. Kills matter more: nothing is sent while the ring is half full. A global
/// function.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn send_text(kind: u64, start: u64, end: u64, flags: u64) -> u64 {
    if start == 0 || start >= end || RECORDS.query(AVAILABLE) > RECORDS.query(SIZE) / 2 {
        return 0;
    }
    let total = end - start;
    let head = Cmdline {
        header: Header { kind: kind as u16, ..apart(RecordKind::Cmdline, 0, now()) },
        pid: get!(current(), task_tgid as u32),
        len: 0,
        start_boot_ns: get!(get!(current(), task_group_leader), task_start_boottime),
        total,
    };
    // A longer one may lie on two pages, of which one is not in memory.
    let sent =
        (total > room(SMALL) && send::<LARGE>(head, start, flags)) || send::<SMALL>(head, start, flags);
    u64::from(sent)
}

const AVAILABLE: u64 = BPF_RB_AVAIL_DATA as u64;
const SIZE: u64 = BPF_RB_RING_SIZE as u64;
const SMALL: usize = CMDLINE_WORDS[0];
const LARGE: usize = CMDLINE_WORDS[1];

/// Bytes of a command line in a record of so many words.
const fn room(words: usize) -> u64 {
    (words * 8 - size_of::<Cmdline>()) as u64
}

/// Sends what has room in `WORDS` words. `false`: it is not in memory, or the ring has no room.
#[inline(always)]
fn send<const WORDS: usize>(mut head: Cmdline, start: u64, flags: u64) -> bool {
    let Some(mut entry) = RECORDS.reserve::<[u64; WORDS]>(0) else {
        // A large one is tried again as a small one.
        if WORDS == SMALL {
            lose(head.header.kind.into());
        }
        return false;
    };
    let record = entry.as_mut_ptr().cast::<Cmdline>();
    let len = if head.total < room(WORDS) { head.total } else { room(WORDS) };
    head.len = len as u32;
    head.header.size = (WORDS * 8) as u16;
    // SAFETY: the ring gave us the memory of WORDS words, aligned to 8, of which the record's beginning takes some and the
    // text no more than the rest. The helper checks its source and fails on a bad one. What it does not copy to is left
    // from earlier records; userspace clears it.
    let failed = unsafe {
        ptr::write(record, head);
        bpf_probe_read_user(record.add(1).cast(), len as u32, start as *const _)
    };
    if failed == 0 {
        entry.submit(flags);
    } else {
        entry.discard(0);
    }
    failed == 0
}

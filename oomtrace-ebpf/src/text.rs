//! What userspace asks for before the first incident (`BPF_PROG_TEST_RUN`): a look at the kernel's own code, to see
//! how a function of this kernel works, and a look at userspace itself, to see whether what we read is true.

use aya_ebpf::{
    helpers::generated::bpf_probe_read_kernel,
    macros::{map, raw_tracepoint},
    maps::Array,
    programs::RawTracePointContext,
};
use oomtrace_ebpf::{Mirror, TEXT_LEN};

use crate::{memcg, mm, oom::current, task};

/// What was read.
#[map]
static TEXT: Array<[u8; TEXT_LEN]> = Array::with_max_entries(1, 0);

/// Copies [`TEXT_LEN`] bytes from the address that is its first argument. Returns 0, or the helper's error.
#[raw_tracepoint]
fn kernel_text(ctx: RawTracePointContext) -> i32 {
    let Some(text) = TEXT.get_ptr_mut(0) else { return -1 };
    // SAFETY: the element has TEXT_LEN bytes; the helper checks the source and fails on a bad one.
    unsafe { bpf_probe_read_kernel(text.cast(), TEXT_LEN as u32, ctx.arg::<u64>(0) as *const _) as i32 }
}

/// What was seen of the process that asked.
#[map]
static MIRROR: Array<Mirror> = Array::with_max_entries(1, 0);

/// Reads the current task as a victim would be read. Returns 0.
#[raw_tracepoint]
fn mirror(_: RawTracePointContext) -> i32 {
    let Some(mirror) = MIRROR.get_ptr_mut(0) else { return -1 };
    // SAFETY: an element lives as long as its map, and nobody else writes it: userspace asks once.
    let mirror = unsafe { &mut *mirror };
    let task = current();
    task::read(&mut mirror.task, task);
    mm::read(&mut mirror.mm, task::mm(task));
    memcg::fill(&mut mirror.level, task::memory_css(task));
    0
}

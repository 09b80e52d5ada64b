//! A look at the kernel's own code, which userspace asks for before the first incident (`BPF_PROG_TEST_RUN`), to see
//! how a function of this kernel works.

use aya_ebpf::{
    helpers::generated::bpf_probe_read_kernel,
    macros::{map, raw_tracepoint},
    maps::Array,
    programs::RawTracePointContext,
};
use oomtrace_ebpf::TEXT_LEN;

/// What was read.
#[map]
static TEXT: Array<[u8; TEXT_LEN]> = Array::with_max_entries(1, 0);

/// Copies [`TEXT_LEN`] bytes from the address that is its first argument, or as many zeroes where they cannot be read.
#[raw_tracepoint]
fn kernel_text(ctx: RawTracePointContext) -> i32 {
    if let Some(text) = TEXT.get_ptr_mut(0) {
        // SAFETY: the element has TEXT_LEN bytes; the helper checks the source, and clears them if it is a bad one.
        unsafe { bpf_probe_read_kernel(text.cast(), TEXT_LEN as u32, ctx.arg::<u64>(0) as *const _) };
    }
    0
}

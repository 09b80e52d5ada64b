//! Typed reads of kernel memory at offsets that userspace resolved from this kernel's BTF.

use aya_ebpf::helpers::bpf_probe_read_kernel;
use oomtrace_ebpf::{ABSENT, Layout, Params};

/// Where this kernel keeps what we read: patched by userspace before the programs load.
#[unsafe(no_mangle)]
pub static LAYOUT: Layout = Layout::UNRESOLVED;

/// What else is known of this kernel: patched by userspace before the programs load.
#[unsafe(no_mangle)]
pub static PARAMS: Params =
    Params { memory_cgrp_id: ABSENT, cpus: 0, mark_passes_task: 0, reclaim_memcg_arg: ABSENT };

/// The offset of a field of [`LAYOUT`], or one of [`PARAMS`]. Volatile, since the compiler knows only the values
/// from before the patch.
macro_rules! constant {
    ($table:ident . $name:ident) => {
        // SAFETY: the field of a static is valid for reads.
        unsafe { core::ptr::read_volatile(&raw const $crate::read::$table.$name) }
    };
}
pub(crate) use constant;

/// Reads the field that `offset` places in the structure at `base`, if the kernel has it and it can be read.
#[inline(always)]
pub fn field<T>(base: u64, offset: u32) -> Option<T> {
    if base == 0 || offset == ABSENT {
        return None;
    }
    // SAFETY: the helper checks the address and fails on a bad one.
    unsafe { bpf_probe_read_kernel((base + u64::from(offset)) as *const T) }.ok()
}

/// Reads a pointer; NULL is `None`.
#[inline(always)]
pub fn pointer(base: u64, offset: u32) -> Option<u64> {
    field::<u64>(base, offset).filter(|pointer| *pointer != 0)
}

/// Reads the field `$name` of [`LAYOUT`] in the structure at `$base`.
macro_rules! get {
    ($base:expr, $name:ident as $type:ty) => {
        $crate::read::field::<$type>($base, $crate::read::constant!(LAYOUT.$name))
    };
    ($base:expr, $name:ident) => {
        $crate::read::pointer($base, $crate::read::constant!(LAYOUT.$name))
    };
}
pub(crate) use get;

/// Stores what was read and notes that it was; leaves 0 and no note where it could not be.
macro_rules! set {
    ($record:ident . $name:ident, $value:expr, $bit:expr) => {
        match $value {
            Some(value) => {
                $record.$name = value;
                $record.present |= $bit;
            }
            None => $record.$name = Default::default(),
        }
    };
}
pub(crate) use set;

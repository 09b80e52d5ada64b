//! Typed reads of kernel memory at offsets that userspace resolved from this kernel's BTF.
//!
//! Without branches: each `if` on what was read would double the states that the verifier walks, and it walks them
//! all before we are armed. A read that fails leaves 0 (the helper clears its destination) and the bit 0.

use core::{arch::asm, mem::MaybeUninit};

use aya_ebpf::helpers::generated::bpf_probe_read_kernel;
use oomtrace_ebpf::{Layout, Params};

/// Where this kernel keeps what we read: patched by userspace before the programs load.
#[unsafe(no_mangle)]
pub static LAYOUT: Layout = Layout::UNRESOLVED;

/// What else is known of this kernel: patched by userspace before the programs load.
#[unsafe(no_mangle)]
pub static PARAMS: Params = Params::UNRESOLVED;

/// The offset of a field of [`LAYOUT`], or one of [`PARAMS`]. Volatile, since the compiler knows only the values
/// from before the patch. To the verifier it is a constant.
macro_rules! constant {
    ($table:ident . $name:ident) => {
        // SAFETY: the field of a static is valid for reads.
        unsafe { core::ptr::read_volatile(&raw const $crate::read::$table.$name) }
    };
}
pub(crate) use constant;

/// Reads what `offset` places in the structure at `base` into `to`: 1, or 0 if the kernel lacks the field or the
/// memory cannot be read. A base of NULL cannot.
#[inline(always)]
pub fn into<T>(to: *mut T, base: u64, offset: u64) -> u32 {
    let from = base.wrapping_add(offset) as *const core::ffi::c_void;
    // SAFETY: `to` is ours and has the size given; the helper checks the source and fails on a bad one.
    succeeded(unsafe { bpf_probe_read_kernel(to.cast(), size_of::<T>() as u32, from) })
}

/// The same of a number that takes so many bytes in the kernel: the lower ones of `to`, which is 0, and has 8. So it must
/// not be negative. The verifier must know the size, and that it is not more.
#[inline(always)]
pub fn into_part(to: &mut i64, bytes: u32, base: u64, offset: u64) -> u32 {
    let from = base.wrapping_add(offset) as *const core::ffi::c_void;
    // SAFETY: `to` is ours; that the size fits is the verifier's to see; the helper checks the source and fails on a bad one.
    succeeded(unsafe { bpf_probe_read_kernel((&raw mut *to).cast(), bytes, from) })
}

/// 1 for a helper's 0, 0 for its error (a negative number). In assembly, since the compiler would branch.
#[inline(always)]
pub fn succeeded(result: i64) -> u32 {
    let mut bit = result;
    // SAFETY: arithmetic on a register of its own: the sign becomes -1 or 0, and then 0 or 1.
    unsafe { asm!("{bit} s>>= 63", "{bit} += 1", bit = inout(reg) bit) };
    bit as u32
}

/// Reads a number or a pointer; 0 where that fails.
#[inline(always)]
pub fn number<T: Copy>(base: u64, offset: u64) -> T {
    let mut number = MaybeUninit::<T>::zeroed();
    into(number.as_mut_ptr(), base, offset);
    // SAFETY: T is an integer here, for which zeroes are valid.
    unsafe { number.assume_init() }
}

/// Whether a pointer is there, and is NULL.
#[inline(always)]
pub fn is_null(base: u64, offset: u64) -> bool {
    let mut pointer = u64::MAX;
    into(&raw mut pointer, base, offset) == 1 && pointer == 0
}

/// The same number, of which the verifier knows nothing any more: it forgets what a value was once a helper has
/// copied it. Without this it would walk what follows anew for every value that a counter can have, and older
/// verifiers give up; and of a pointer this makes a number to calculate with.
#[inline(always)]
pub fn forget<T: Copy>(number: T) -> T {
    self::number(&raw const number as u64, 0)
}

/// Whether what is a pointer to the verifier is an error (`IS_ERR()`, include/linux/err.h). In assembly, since the compiler
/// would calculate with it, which is forbidden.
#[inline(always)]
pub fn is_error(pointer: u64) -> bool {
    let mut error = 1_u64;
    // SAFETY: a comparison and a number.
    unsafe {
        asm!(
            "if {pointer} > -4096 goto +1",
            "{error} = 0",
            pointer = in(reg) pointer,
            error = inout(reg) error,
        );
    }
    error != 0
}

/// Reads the field `$name` of [`LAYOUT`] in the structure at `$base`: a pointer, or what `as` says; 0 where that
/// fails.
macro_rules! get {
    ($base:expr, $name:ident as $type:ty) => {
        $crate::read::number::<$type>($base, $crate::read::constant!(LAYOUT.$name))
    };
    ($base:expr, $name:ident) => {
        $crate::read::number::<u64>($base, $crate::read::constant!(LAYOUT.$name))
    };
}
pub(crate) use get;

/// Reads the field `$name` of [`LAYOUT`] in the structure at `$base` into a record's field of the same size, and
/// sets `$bit` of the record if that succeeds.
macro_rules! copy {
    ($record:ident . $field:ident <- $base:expr, $name:ident, $bit:expr) => {
        $record.present |=
            $bit * $crate::read::into(&raw mut $record.$field, $base, $crate::read::constant!(LAYOUT.$name))
    };
}
pub(crate) use copy;

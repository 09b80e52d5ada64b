//! A system call that fails as it does on another kernel, or in a container: a seccomp filter says so.

use libc::{
    BPF_ABS, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W, PR_SET_SECCOMP, SECCOMP_MODE_FILTER,
    SECCOMP_RET_ALLOW, SECCOMP_RET_DATA, SECCOMP_RET_ERRNO, c_long, sock_filter, sock_fprog,
};
use rustix::io::{Errno, Result};

/// Where `struct seccomp_data` (include/uapi/linux/seccomp.h) has the call's number.
const CALL: u32 = 0;
/// Where it has the lower half of the first argument, on machines that have the lower half first.
const FIRST_ARGUMENT: u32 = 16;

/// A system call and the error that it fails with.
#[derive(Debug, Clone, Copy)]
pub struct Denial {
    /// The call.
    pub call: c_long,
    /// Only with this first argument, if there is one.
    pub first: Option<u32>,
    /// The error.
    pub error: Errno,
}

/// The filter for a denial, ready to be installed.
#[derive(Debug, Clone)]
pub struct Filter(Vec<sock_filter>);

impl Denial {
    /// Its filter.
    #[must_use]
    pub fn filter(self) -> Filter {
        let load = |at| statement(BPF_LD | BPF_W | BPF_ABS, at);
        // What is unequal goes on behind so many statements.
        let unless =
            |value, skipped| sock_filter { jf: skipped, ..statement(BPF_JMP | BPF_JEQ | BPF_K, value) };
        let error = self.error.raw_os_error().unsigned_abs() & SECCOMP_RET_DATA;
        let call = u32::try_from(self.call).unwrap_or(u32::MAX);
        let mut program = match self.first {
            None => vec![load(CALL), unless(call, 1)],
            Some(first) => vec![load(CALL), unless(call, 3), load(FIRST_ARGUMENT), unless(first, 1)],
        };
        program.extend(
            [SECCOMP_RET_ERRNO | error, SECCOMP_RET_ALLOW].map(|end| statement(BPF_RET | BPF_K, end)),
        );
        Filter(program)
    }
}

impl Filter {
    /// Has it hold for this thread and its descendants for good, which takes `CAP_SYS_ADMIN`. Allocates nothing.
    pub fn install(&self) -> Result<()> {
        let len = u16::try_from(self.0.len()).map_err(|_too_long| Errno::INVAL)?;
        let program = sock_fprog { len, filter: self.0.as_ptr().cast_mut() };
        // SAFETY: the program is as long as it says, and the kernel copies it.
        let result = unsafe { libc::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &raw const program) };
        if result == 0 {
            return Ok(());
        }
        // SAFETY: the C library's error number is the thread's own.
        Err(Errno::from_raw_os_error(unsafe { *libc::__errno_location() }))
    }
}

/// One statement.
fn statement(code: u32, value: u32) -> sock_filter {
    // Codes have 16 bits; another is refused.
    sock_filter { code: u16::try_from(code).unwrap_or(u16::MAX), jt: 0, jf: 0, k: value }
}

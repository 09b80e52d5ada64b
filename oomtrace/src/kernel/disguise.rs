//! Makes this thread and its process unlike themselves for a moment, so that none of their figures is the same as what
//! stands beside it in the kernel. Whatever is not permitted is left as it is.

use std::{fs, io, ptr};

const ADJ: &str = "/proc/self/oom_score_adj";
/// A real user id that is no other id of the thread.
const USER: libc::uid_t = 64_209;
/// Address space that is never touched.
const SPACE_BYTES: usize = 512 << 20;

/// See the module. Dropping it takes back what concerns the process; what concerns the thread ends with it.
pub struct Disguise {
    adj: Option<String>,
    space: Option<Space>,
}

struct Space {
    at: *mut libc::c_void,
    bytes: usize,
}

impl Disguise {
    /// To be called in a thread that ends soon, with a larger number each time: the process gets more address space
    /// than it ever had (`hiwater_vm`).
    pub fn on(attempt: usize) -> Self {
        drop_privilege();
        // SAFETY: no pointer. The raw call changes this thread's credentials alone, and of these the real user id, by
        // which nothing is permitted.
        unsafe { libc::syscall(libc::SYS_setresuid, USER, -1, -1) };
        Self { adj: raise_adj().ok(), space: reserve(SPACE_BYTES.saturating_mul(attempt)) }
    }
}

impl Drop for Disguise {
    fn drop(&mut self) {
        if let Some(adj) = &self.adj {
            // Back to what it was takes no privilege: only below the lowest that it ever had would.
            let _ = fs::write(ADJ, adj);
        }
        if let Some(space) = &self.space {
            // SAFETY: the mapping is ours, and nobody else knows it.
            unsafe { libc::munmap(space.at, space.bytes) };
        }
    }
}

/// `CAP_SYS_RESOURCE`: with it, `oom_score_adj_min` would follow `oom_score_adj` (`__set_oom_adj()`, fs/proc/base.c).
/// Only this thread lets it go.
fn drop_privilege() {
    /// `_LINUX_CAPABILITY_VERSION_3`: two words of effective, permitted and inheritable capabilities each.
    const VERSION: u32 = 0x2008_0522;
    const CAP_SYS_RESOURCE: u32 = 24;
    let mut header = [VERSION, 0];
    let mut sets = [[0_u32; 3]; 2];
    // SAFETY: both pointers are to what the calls of this version read and write.
    unsafe {
        if libc::syscall(libc::SYS_capget, header.as_mut_ptr(), sets.as_mut_ptr()) == 0 {
            sets[0][0] &= !(1 << CAP_SYS_RESOURCE);
            libc::syscall(libc::SYS_capset, header.as_mut_ptr(), sets.as_ptr());
        }
    }
}

/// Makes the process a likelier victim by a little: `oom_score_adj_min` stays. Gives what it was.
fn raise_adj() -> io::Result<String> {
    let adj = fs::read_to_string(ADJ)?;
    let raised = adj.trim().parse::<i32>().map_err(io::Error::other)?.saturating_add(17).min(1000);
    fs::write(ADJ, raised.to_string())?;
    Ok(adj.trim().to_owned())
}

fn reserve(bytes: usize) -> Option<Space> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: a new mapping at an address of the kernel's choice overlaps nothing.
    let at = unsafe { libc::mmap(ptr::null_mut(), bytes, libc::PROT_NONE, flags, -1, 0) };
    (at != libc::MAP_FAILED).then_some(Space { at, bytes })
}

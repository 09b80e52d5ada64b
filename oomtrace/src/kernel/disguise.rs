//! Makes this thread and its process unlike themselves for a moment, so that none of their figures is the same as what
//! stands beside it in the kernel. Whatever is not permitted is left as it is.

use std::{fs, io, ptr};

const ADJ: &str = "/proc/self/oom_score_adj";
/// A real user id that is no other id of the thread.
const USER: libc::uid_t = 64_209;
/// Address space that is never touched: more than the process ever had (`hiwater_vm`).
const SPACE_BYTES: usize = 512 << 20;

/// See the module. Dropping it takes back what concerns the process; what concerns the thread ends with it.
pub struct Disguise {
    adj: Option<String>,
    space: Option<*mut libc::c_void>,
}

impl Disguise {
    /// To be called in a thread that ends soon.
    pub fn on() -> Self {
        // SAFETY: no pointer. The raw call changes this thread's credentials alone, and of these the real user id, by
        // which nothing is permitted.
        unsafe { libc::syscall(libc::SYS_setresuid, USER, -1, -1) };
        Self { adj: raise_adj().ok(), space: reserve() }
    }
}

impl Drop for Disguise {
    fn drop(&mut self) {
        if let Some(adj) = &self.adj {
            // Back to what it was takes no privilege: only below the lowest that it ever had would.
            let _ = fs::write(ADJ, adj);
        }
        if let Some(space) = self.space {
            // SAFETY: the mapping is ours, and nobody else knows it.
            unsafe { libc::munmap(space, SPACE_BYTES) };
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

fn reserve() -> Option<*mut libc::c_void> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: a new mapping at an address of the kernel's choice overlaps nothing.
    let space = unsafe { libc::mmap(ptr::null_mut(), SPACE_BYTES, libc::PROT_NONE, flags, -1, 0) };
    (space != libc::MAP_FAILED).then_some(space)
}

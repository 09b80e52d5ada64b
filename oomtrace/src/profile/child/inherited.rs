//! What the command gets as oomtrace got it: oomtrace makes itself hard to kill and quick to have a turn, which its command must not
//! be.

use std::{fs, io, mem::MaybeUninit};

use rustix::{
    fs::{Mode, OFlags, open},
    process::{Resource, Rlimit, getpriority_process, getrlimit, setpriority_process, setrlimit},
    thread::{CpuSet, sched_getaffinity, sched_setaffinity},
};

/// Signals whose disposition oomtrace changes. Those that it catches are the default again in a new program, but not for
/// whoever had them ignored (`nohup`, a shell's background jobs).
const CHANGED: [libc::c_int; 8] = [
    libc::SIGHUP,
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGTERM,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGCHLD,
    // Rust's runtime ignores it before main() and does not tell what it was; its Command gives the default to whatever it starts.
    libc::SIGPIPE,
];

/// The longest is "-1000\n".
const ADJ_BYTES: usize = 8;

/// What this process had when this was read. To be read before anything of it is changed.
#[derive(Clone)]
pub struct Inherited {
    adj: Option<([u8; ADJ_BYTES], usize)>,
    nice: Option<i32>,
    /// The helper that keeps the tracer off a busy processor moves it about.
    processors: Option<CpuSet>,
    /// oomtrace locks its memory.
    locked: Rlimit,
    mask: libc::sigset_t,
    ignored: [bool; CHANGED.len()],
}

impl Inherited {
    /// Reads it of this thread.
    pub fn read() -> Self {
        let adj = fs::read("/proc/self/oom_score_adj").ok().and_then(|text| {
            let mut adj = [0; ADJ_BYTES];
            adj.get_mut(..text.len())?.copy_from_slice(&text);
            Some((adj, text.len()))
        });
        let mut mask = MaybeUninit::zeroed();
        // SAFETY: the pointer is to a set of ours, which is valid as zeroes; to ask for the mask changes nothing.
        let mask = unsafe {
            libc::pthread_sigmask(libc::SIG_BLOCK, std::ptr::null(), mask.as_mut_ptr());
            mask.assume_init()
        };
        let ignored = CHANGED.map(|signal| signal != libc::SIGPIPE && is_ignored(signal));
        if is_ignored(libc::SIGCHLD) {
            // The kernel would reap children by itself, and nobody would know how they ended.
            // SAFETY: the call takes no pointer.
            unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
        }
        Self {
            adj,
            nice: getpriority_process(None).ok(),
            processors: sched_getaffinity(None).ok(),
            locked: getrlimit(Resource::Memlock),
            mask,
            ignored,
        }
    }

    /// Whether it was ignored.
    pub fn ignores(&self, signal: libc::c_int) -> bool {
        CHANGED.iter().zip(self.ignored).any(|(changed, ignored)| *changed == signal && ignored)
    }

    /// Gives it back to this process, between fork and exec: system calls and nothing else. None of it is worth not running the
    /// command, and all of it may be refused to nobody: each is less than oomtrace has.
    pub fn restore(&self) {
        if let Some((adj, length)) = &self.adj
            && let Ok(file) =
                open(c"/proc/self/oom_score_adj", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())
        {
            let _ = rustix::io::write(file, adj.get(..*length).unwrap_or_default());
        }
        if let Some(nice) = self.nice {
            let _ = setpriority_process(None, nice);
        }
        if let Some(processors) = &self.processors {
            let _ = sched_setaffinity(None, processors);
        }
        let _ = setrlimit(Resource::Memlock, self.locked);
        // SAFETY: these calls take no pointer but to a set of ours.
        unsafe {
            for (signal, ignored) in CHANGED.iter().zip(self.ignored) {
                if ignored {
                    libc::signal(*signal, libc::SIG_IGN);
                }
            }
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.mask, std::ptr::null_mut());
        }
    }
}

fn is_ignored(signal: libc::c_int) -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: the pointer is to an action of ours, which is valid as zeroes; to ask changes nothing.
    let action = unsafe {
        libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr());
        action.assume_init()
    };
    action.sa_sigaction == libc::SIG_IGN
}

/// Blocks all signals of this thread that can be, but for the one by which a tracee stops at exec (`ptrace_event()`,
/// include/linux/ptrace.h): were that blocked, it would go on. System calls and nothing else.
pub(super) fn block_all_but_trap() -> io::Result<()> {
    let mut all = MaybeUninit::uninit();
    // SAFETY: the pointers are to a set of ours, which the first call makes.
    let refused = unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::sigdelset(all.as_mut_ptr(), libc::SIGTRAP);
        libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), std::ptr::null_mut())
    };
    if refused == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(refused)) }
}

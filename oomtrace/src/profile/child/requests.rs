//! Signals that oomtrace gets while its command runs: who sent them matters, which is why they are caught here and not by tokio.

use std::{
    io,
    mem::MaybeUninit,
    os::fd::{AsRawFd, OwnedFd, RawFd},
    sync::atomic::{AtomicI32, Ordering},
};

use rustix::pipe::{PipeFlags, pipe_with};

use super::inherited::Inherited;

/// Those that are caught: what asks a program to end, and what it may give a meaning of its own.
const CAUGHT: [libc::c_int; 6] =
    [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM, libc::SIGUSR1, libc::SIGUSR2];

/// Where the handler writes to; -1: nowhere.
static NOTES: AtomicI32 = AtomicI32::new(-1);

/// A signal that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Which.
    pub signal: libc::c_int,
    /// Who sent it; `None`: the kernel, for a terminal. Then all of the terminal's foreground group have got it.
    pub sender: Option<i32>,
}

impl Request {
    /// Whether it asks to end. The others mean what the command makes of them.
    pub fn is_to_end(self) -> bool {
        !matches!(self.signal, libc::SIGUSR1 | libc::SIGUSR2)
    }
}

/// What came and was not dealt with yet. While it is there signals are caught, but for those that oomtrace was started with as ignored.
/// Afterwards they do what they did before.
pub struct Requests {
    notes: OwnedFd,
    _written_to: OwnedFd,
    before: Vec<(libc::c_int, libc::sigaction)>,
}

/// Number, code and sender of a signal: less than `PIPE_BUF`, so that it is written whole or not at all.
type Note = [u8; 12];

impl Requests {
    /// From here on signals are caught.
    ///
    /// # Errors
    /// They are caught already, or there is no room for a pipe.
    pub fn catch(inherited: &Inherited) -> io::Result<Self> {
        let (notes, written_to) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        if NOTES.compare_exchange(-1, written_to.as_raw_fd(), Ordering::SeqCst, Ordering::SeqCst).is_err() {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "signals are caught already"));
        }
        let mut action = MaybeUninit::<libc::sigaction>::zeroed();
        // SAFETY: an action is valid as zeroes, and the pointer to its mask is ours. A call that takes the handler of a signal by
        // SA_SIGINFO takes its address as a number.
        let action = unsafe {
            let mut action = action.assume_init_mut().to_owned();
            action.sa_sigaction = note as *const () as usize;
            // Calls of other threads are not to fail for it.
            action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
            libc::sigfillset(&raw mut action.sa_mask);
            action
        };
        let mut before = Vec::new();
        for signal in CAUGHT.into_iter().filter(|signal| !inherited.ignores(*signal)) {
            let mut old = MaybeUninit::zeroed();
            // SAFETY: the pointers are to actions of ours, and the handler makes one system call and touches nothing but `errno`.
            let old = unsafe {
                libc::sigaction(signal, &raw const action, old.as_mut_ptr());
                old.assume_init()
            };
            before.push((signal, old));
        }
        Ok(Self { notes, _written_to: written_to, before })
    }

    /// The next one that came.
    pub fn take(&self) -> Option<Request> {
        let mut note: Note = [0; 12];
        let length = rustix::io::read(&self.notes, &mut note).ok()?;
        let number = |at: usize| Some(i32::from_ne_bytes(note.get(at..)?.first_chunk().copied()?));
        let (signal, code, sender) = (number(0)?, number(4)?, number(8)?);
        (length == note.len())
            .then_some(Request { signal, sender: (code != libc::SI_KERNEL).then_some(sender) })
    }
}

impl AsRawFd for Requests {
    fn as_raw_fd(&self) -> RawFd {
        self.notes.as_raw_fd()
    }
}

impl Drop for Requests {
    fn drop(&mut self) {
        for (signal, action) in &self.before {
            // SAFETY: the action is the one that the kernel gave.
            unsafe { libc::sigaction(*signal, &raw const *action, std::ptr::null_mut()) };
        }
        // Before the pipe is closed, whose number may be another file's then.
        NOTES.store(-1, Ordering::SeqCst);
    }
}

/// The handler.
extern "C" fn note(signal: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    let to = NOTES.load(Ordering::SeqCst);
    // SAFETY: the kernel gives a handler of SA_SIGINFO a valid siginfo_t, and for signals of users, and those of the kernel (zeroes), it has
    // a sender.
    let (code, sender) = unsafe { ((*info).si_code, (*info).si_pid()) };
    let mut note: Note = [0; 12];
    for (at, number) in note.chunks_exact_mut(4).zip([signal, code, sender]) {
        at.copy_from_slice(&number.to_ne_bytes());
    }
    // SAFETY: the pointers are to bytes of ours, and to this thread's errno. Where the pipe is full, this one is one too many.
    unsafe {
        let errno = *libc::__errno_location();
        libc::write(to, note.as_ptr().cast(), note.len());
        *libc::__errno_location() = errno;
    }
}

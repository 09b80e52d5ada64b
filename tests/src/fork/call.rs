//! The system calls that make a process or a thread, made as they stand, without the C library around them.
//!
//! A child runs a few instructions that touch no memory but the one byte that it waits for, so that it does not matter
//! what it shares with the one that made it: its stack (`vfork`), all its memory (`CLONE_VM`), or its locks.

use std::arch::asm;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicI32, AtomicU8, Ordering};

use anyhow::{Context, Result};
use rustix::pipe::{PipeFlags, pipe_with};
use serde::{Deserialize, Serialize};

/// How a process or a thread is to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Call {
    /// fork(2).
    Fork,
    /// vfork(2).
    Vfork,
    /// clone(2) with these flags; a child's end is told by SIGCHLD.
    Clone {
        /// `CLONE_*`.
        flags: u64,
    },
    /// clone3(2), likewise.
    Clone3 {
        /// `CLONE_*`.
        flags: u64,
    },
    /// clone3(2) into the cgroup whose folder this is a descriptor of.
    Into {
        /// The descriptor.
        cgroup: i32,
    },
    /// clone3(2), the child to have this id.
    WithId {
        /// The id.
        id: i32,
    },
    /// clone(2) as pthread_create(3) does it, with these flags in addition.
    Thread {
        /// `CLONE_*`.
        flags: u64,
    },
}

/// What makes a thread of a process (pthread_create(3)).
const THREAD: u64 = (libc::CLONE_VM
    | libc::CLONE_FS
    | libc::CLONE_FILES
    | libc::CLONE_SIGHAND
    | libc::CLONE_THREAD
    | libc::CLONE_SYSVSEM) as u64;
/// `CLONE_INTO_CGROUP`, which is beyond what the C library's type can hold.
const INTO_CGROUP: u64 = 1 << 33;
/// What is told of a child's end, where it is no thread.
const TELL: u64 = libc::SIGCHLD as u64;
/// Where a sleeper's byte would go if there were one.
static NOTHING: AtomicU8 = AtomicU8::new(0);
/// Where the kernel puts the descriptor that `CLONE_PIDFD` asks for.
static PIDFD: AtomicI32 = AtomicI32::new(-1);

/// What clone3 is told (`struct clone_args`, include/uapi/linux/sched.h, as it is since 5.7).
#[repr(C)]
#[derive(Debug, Default)]
struct Arguments {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// A place in which children sleep. Dropping it wakes them, and they end; so does the end of its maker, however that comes
/// about.
#[derive(Debug)]
pub struct Bed {
    /// Has nothing to read while the writing end is open.
    read: OwnedFd,
    write: OwnedFd,
}

impl Bed {
    /// Makes one.
    pub fn make() -> Result<Self> {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC).context("cannot make a pipe")?;
        Ok(Self { read, write })
    }
}

impl Call {
    /// The system call's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Fork => "fork",
            Self::Vfork => "vfork",
            Self::Clone { .. } | Self::Thread { .. } => "clone",
            Self::Clone3 { .. } | Self::Into { .. } | Self::WithId { .. } => "clone3",
        }
    }

    /// What it asks for in all: `CLONE_*`.
    #[must_use]
    pub fn flags(self) -> u64 {
        match self {
            Self::Fork | Self::WithId { .. } => 0,
            Self::Vfork => (libc::CLONE_VFORK | libc::CLONE_VM) as u64,
            Self::Clone { flags } | Self::Clone3 { flags } => flags,
            Self::Thread { flags } => THREAD | flags,
            Self::Into { .. } => INTO_CGROUP,
        }
    }

    /// Whether it makes a thread of the caller's process, which nobody waits for.
    #[must_use]
    pub fn makes_thread(self) -> bool {
        self.flags() & libc::CLONE_THREAD as u64 != 0
    }

    /// Makes one that ends at once, or sleeps in `bed`: its id, or the error's number. Of a process that shares memory and
    /// sleeps, only one that `vfork` makes holds its maker up.
    pub fn make(self, bed: Option<&Bed>) -> Result<i32, i32> {
        // A thread shares the descriptors: it must not close its maker's.
        let close = bed.filter(|_| !self.makes_thread()).map_or(-1, |bed| bed.write.as_raw_fd());
        let wait = bed.map_or(-1, |bed| bed.read.as_raw_fd());
        let result = enter(self, (close, wait));
        match i32::try_from(result) {
            Ok(id) if id > 0 => Ok(id),
            Ok(error) => Err(-error),
            Err(_) => Err(libc::ERANGE),
        }
    }
}

/// Makes the system call. The child closes the first descriptor, unless it is -1, waits for the other's end unless that is
/// -1, and ends.
fn enter(call: Call, (close, wait): (i32, i32)) -> i64 {
    let signal = |flags: u64| if flags & libc::CLONE_THREAD as u64 == 0 { TELL } else { 0 };
    let flags = call.flags();
    let wanted_id;
    let mut told = Arguments { flags, exit_signal: signal(flags), ..Arguments::default() };
    match call {
        Call::Clone3 { .. } if flags & libc::CLONE_PIDFD as u64 != 0 => told.pidfd = PIDFD.as_ptr() as u64,
        Call::Into { cgroup } => told.cgroup = u64::from(cgroup.unsigned_abs()),
        Call::WithId { id } => {
            wanted_id = id;
            (told.set_tid, told.set_tid_size) = ((&raw const wanted_id) as u64, 1);
        }
        _ => {}
    }
    let (number, first, second) = match call {
        Call::Fork => (libc::SYS_fork, 0, 0),
        Call::Vfork => (libc::SYS_vfork, 0, 0),
        Call::Clone { .. } | Call::Thread { .. } => (libc::SYS_clone, flags | signal(flags), 0),
        Call::Clone3 { .. } | Call::Into { .. } | Call::WithId { .. } => {
            (libc::SYS_clone3, (&raw const told) as u64, size_of::<Arguments>() as u64)
        }
    };
    let result;
    // SAFETY: the parent gets a result in a register, as from any system call, and what it tells lives until then. The
    // child stays within these instructions: it does not use the stack, which may be its parent's.
    unsafe {
        asm!(
            "syscall",
            "test rax, rax",
            "jnz 5f",
            "test r12d, r12d",
            "js 2f",
            "mov edi, r12d",
            "mov eax, {close}",
            "syscall",
            "2:",
            "test r13d, r13d",
            "js 4f",
            "3:",
            "mov edi, r13d",
            "mov rsi, r14",
            "mov edx, 1",
            "mov eax, {read}",
            "syscall",
            // A signal that has a handler.
            "cmp rax, -{eintr}",
            "je 3b",
            "4:",
            "xor edi, edi",
            "mov eax, {exit}",
            "syscall",
            "ud2",
            "5:",
            close = const libc::SYS_close,
            read = const libc::SYS_read,
            exit = const libc::SYS_exit,
            eintr = const libc::EINTR,
            inlateout("rax") number => result,
            // Stack and thread-local storage are the parent's; clone(2) has the descriptor where an id would go else.
            in("rdi") first,
            in("rsi") second,
            in("rdx") PIDFD.as_ptr(),
            in("r10") 0,
            in("r8") 0,
            in("r12d") close,
            in("r13d") wait,
            in("r14") NOTHING.as_ptr(),
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    forget_descriptor(result);
    result
}

/// Closes the descriptor that has come with a process, if one has: its id is enough.
fn forget_descriptor(result: i64) {
    let opened = PIDFD.swap(-1, Ordering::Relaxed);
    if result > 0 && opened >= 0 {
        // SAFETY: the kernel has just opened it, and nobody else knows of it.
        drop(unsafe { OwnedFd::from_raw_fd(opened) });
    }
}

#[cfg(test)]
mod tests {
    use rustix::process::{Pid, WaitOptions, waitpid};

    use super::*;

    /// Guards that each call makes a child that ends at once, or only once its bed is gone; and that the kernel's refusal
    /// comes back as its number.
    #[test]
    fn children_end_when_told() {
        let share = libc::CLONE_VM as u64;
        let calls = [
            Call::Fork,
            Call::Clone { flags: 0 },
            Call::Clone { flags: share },
            Call::Clone3 { flags: share },
        ];
        for call in calls {
            let bed = Bed::make().unwrap();
            let quick = Pid::from_raw(call.make(None).unwrap());
            let slow = Pid::from_raw(call.make(Some(&bed)).unwrap());
            let of_clone = |options| WaitOptions::from_bits_retain(libc::__WALL as u32) | options;
            let (_, status) = waitpid(quick, of_clone(WaitOptions::empty())).unwrap().unwrap();
            assert_eq!(status.exit_status(), Some(0), "{call:?}");
            assert!(waitpid(slow, of_clone(WaitOptions::NOHANG)).unwrap().is_none(), "{call:?}");
            drop(bed);
            let (_, status) = waitpid(slow, of_clone(WaitOptions::empty())).unwrap().unwrap();
            assert_eq!(status.exit_status(), Some(0), "{call:?}");
        }
        let id = Call::Vfork.make(None).unwrap();
        assert!(waitpid(Pid::from_raw(id), WaitOptions::empty()).unwrap().is_some());
        assert!(Call::Thread { flags: 0 }.make(None).is_ok());
        // A thread must share its process's signal handlers.
        assert_eq!(Call::Clone { flags: libc::CLONE_THREAD as u64 }.make(None), Err(libc::EINVAL));
    }
}

//! A way off a processor that the kernel keeps busy.
//!
//! A record wakes the tracer where the kernel's program ran, and the scheduler often leaves it there: under KVM a
//! processor that sleeps does not count as free (`available_idle_cpu()`, kernel/sched/fair.c, asks
//! `vcpu_is_preempted()`). But there the kernel goes on to write "Killed process …" to its console, which takes a
//! serial one milliseconds, in which nobody else has a turn (`PREEMPT_NONE`). So the tracer keeps to one processor,
//! and a helper to all others. A record wakes both; a helper that finds it unread fetches the tracer to where it
//! runs itself, and goes elsewhere.
//!
//! Both sleep while nothing happens.

use std::{io, os::fd::OwnedFd, thread};

use rustix::{
    event::{PollFd, PollFlags, Timespec, epoll, poll},
    io::Errno,
    thread::{CpuSet, Pid, sched_getaffinity, sched_getcpu, sched_setaffinity},
};

use crate::host;

/// The helper calls the kernel and little else.
const STACK_BYTES: usize = 64 * 1024;
/// A look, and no wait.
const AT_ONCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// Keeps the process's threads, as far as they have been started, out of the way of whatever fills the ring buffer
/// `records`. The helper ends with the process. On a single processor there is nowhere to go, and nothing is done.
pub fn stand(records: OwnedFd) -> io::Result<()> {
    let allowed = sched_getaffinity(None)?;
    if allowed.count() < 2 {
        return Ok(());
    }
    let tracer = host::own_threads()?;
    let watch = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    // At each wake-up, and not for as long as there is something to read.
    let each = epoll::EventFlags::IN | epoll::EventFlags::ET;
    epoll::add(&watch, &records, epoll::EventData::new_u64(0), each)?;
    let here = sched_getcpu();
    fetch(&tracer, here);
    thread::Builder::new().name("aside".to_owned()).stack_size(STACK_BYTES).spawn(move || {
        leave(here, &allowed);
        let mut woken = [epoll::Event { flags: each, data: epoll::EventData::new_u64(0) }];
        loop {
            match epoll::wait(&watch, &mut woken, None) {
                Ok(_) if unread(&records) => {
                    let here = sched_getcpu();
                    fetch(&tracer, here);
                    leave(here, &allowed);
                }
                Ok(_) | Err(Errno::INTR) => {}
                Err(_) => return,
            }
        }
    })?;
    Ok(())
}

/// Whether something in the ring buffer waits for its reader.
fn unread(records: &OwnedFd) -> bool {
    poll(&mut [PollFd::new(records, PollFlags::IN)], Some(&AT_ONCE)).is_ok_and(|ready| ready > 0)
}

/// Has these threads run on this processor alone. Where that is not allowed any more, they stay where they are.
fn fetch(threads: &[Pid], processor: usize) {
    let mut only = CpuSet::new();
    only.set(processor);
    for thread in threads {
        let _ = sched_setaffinity(Some(*thread), &only);
    }
}

/// Has this thread run on the others.
fn leave(processor: usize, allowed: &CpuSet) {
    let mut others = *allowed;
    others.unset(processor);
    let _ = sched_setaffinity(None, &others);
}

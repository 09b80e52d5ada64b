//! What is no want of anything, and must not be told of.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};
use rustix::process::{Signal, kill_process};

use super::{CALLS, Case, Needs};
use crate::fork::call::Call;
use crate::fork::forker::Forker;
use crate::fork::order::{Order, Tally};
use crate::fork::truth::Truth;

/// Flags that do not go together.
pub const FLAGS: Case = Case {
    name: "nothing/flags",
    needs: Needs::Root,
    hidden: &[],
    provoke: |ground, times| {
        let mut forker = ground.forker("wrong-forker")?;
        // A thread shares its process's handlers, and those its memory; nobody has two roots.
        let flags = [libc::CLONE_THREAD, libc::CLONE_SIGHAND, libc::CLONE_FS | libc::CLONE_NEWNS]
            .map(|flags| u64::from(flags.cast_unsigned()));
        let calls = flags.map(|flags| [Call::Clone { flags }, Call::Clone3 { flags }]);
        calls.as_flattened().iter().map(|call| refuse(&mut forker, *call, times, libc::EINVAL)).collect()
    },
};

/// A namespace that the user may not have.
pub const RIGHTS: Case = Case {
    name: "nothing/rights",
    needs: Needs::Root,
    hidden: &[],
    provoke: |ground, times| {
        let mut forker = ground.forker("poor-forker")?;
        forker.tell(&Order::Become(ground.user()))?;
        let call = Call::Clone { flags: libc::CLONE_NEWPID as u64 };
        Ok(vec![refuse(&mut forker, call, times, libc::EPERM)?])
    },
};

/// An id that somebody has: `alloc_pid()` says so.
pub const ID: Case = Case {
    name: "nothing/id",
    needs: Needs::Root,
    hidden: &[],
    provoke: |ground, times| {
        let mut forker = ground.forker("picky-forker")?;
        let id = i32::try_from(forker.who.ns_pids.last().copied().unwrap_or_default())?;
        Ok(vec![refuse(&mut forker, Call::WithId { id }, times, libc::EEXIST)?])
    },
};

/// A filter of system calls says the same as the kernel would for want of something.
pub const FILTER: Case = Case {
    name: "nothing/filter",
    needs: Needs::Root,
    hidden: &[],
    provoke: |ground, times| {
        let mut forker = ground.forker("caged-forker")?;
        forker.tell(&Order::Filter(libc::EAGAIN))?;
        let refused = CALLS.map(|call| refuse(&mut forker, call, times, libc::EAGAIN));
        refused.into_iter().map(|truth| Ok(Truth { reached: false, ..truth? })).collect()
    },
};

/// Children are made as fast as it goes, and all come about.
pub const STORM: Case = Case {
    name: "nothing/storm",
    needs: Needs::Root,
    hidden: &[],
    provoke: |ground, _| {
        let mut forker = ground.forker("busy-forker")?;
        for call in CALLS {
            let tally = forker.tell(&Order::Storm { call, millis: STORM_MILLIS })?;
            ensure!(
                tally.successes > 0 && tally.failures.is_empty(),
                "children should come about: {tally:?}"
            );
        }
        Ok(Vec::new())
    },
};

/// Signals come while children are made: the kernel begins anew, and nobody is the wiser.
pub const SIGNALS: Case = Case {
    name: "nothing/signals",
    needs: Needs::Root,
    hidden: &[ERESTARTNOINTR],
    provoke: |ground, _| {
        let mut forker = ground.forker("alarmed-forker")?;
        forker.tell(&Order::Heed(libc::SIGUSR1))?;
        // So that many a signal comes between a system call's entry and the kernel's look at signals.
        forker.tell(&Order::Dawdle)?;
        let storm = Order::Storm { call: Call::Clone { flags: libc::CLONE_VM as u64 }, millis: STORM_MILLIS };
        forker.send(&storm)?;
        let tally = pester(&mut forker, &storm)?;
        ensure!(tally.successes > 0 && tally.failures.is_empty(), "children should come about: {tally:?}");
        Ok(Vec::new())
    },
};

/// The kernel's own number for a system call that is to begin anew (include/linux/errno.h).
const ERESTARTNOINTR: i32 = 513;
/// How long a signal comes after the one before.
const BETWEEN_SIGNALS: Duration = Duration::from_micros(300);
/// How long such a storm lasts.
const STORM_MILLIS: u64 = 1000;

fn refuse(forker: &mut Forker, call: Call, times: u64, errno: i32) -> Result<Truth> {
    let tally = forker.fail(call, times, errno)?;
    Truth::of(forker, call, errno, &tally)
}

/// Sends the forker a signal again and again until it has answered, with time in between to do anything else than take
/// them.
fn pester(forker: &mut Forker, order: &Order) -> Result<Tally> {
    let (target, done) = (forker.process()?, AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let _gone_is_fine = kill_process(target, Signal::USR1);
                thread::sleep(BETWEEN_SIGNALS);
            }
        });
        let tally = forker.answer(order);
        done.store(true, Ordering::Relaxed);
        tally
    })
}

//! The kernel's own threads that free memory before anybody has to wait for it: one a node, `kswapd0` and so on.

use crate::flight::{Folder, nth_number};

/// `USER_HZ` (include/asm-generic/param.h): the unit of times in /proc, on every architecture that BPF programs run on.
const TICK_NS: u64 = 10_000_000;
/// Processes and threads of the kernel's that are looked at to find them, at most. They are made at boot, and so come first.
const LOOKED_AT: usize = 4096;
/// There are no more nodes than that (`MAX_NUMNODES`).
const MOST: usize = 1024;

/// Those of this machine.
#[derive(Debug)]
pub struct Kswapds(Vec<u32>);

impl Kswapds {
    /// Looks for them. In a PID namespace of its own there are none to be seen.
    pub fn find(proc: &Folder) -> Self {
        let (mut pids, mut looked_at) = (Vec::new(), 0);
        // What cannot be listed has none in it.
        let _ = proc.list(|_, name, _| {
            if let Some(pid) = name.to_str().ok().and_then(|name| name.parse().ok()) {
                looked_at += 1;
                if times(proc, pid).is_some() {
                    pids.push(pid);
                }
            }
            looked_at < LOOKED_AT && pids.len() < MOST
        });
        Self(pids)
    }

    /// CPU time of all of them since boot, ns; `None`: there are none.
    pub fn cpu_ns(&self, proc: &Folder) -> Option<u64> {
        let mut ticks = self.0.iter().filter_map(|pid| times(proc, *pid)).peekable();
        ticks.peek()?;
        Some(ticks.fold(0_u64, u64::saturating_add).saturating_mul(TICK_NS))
    }
}

/// The ticks that a process took, if it is a kswapd: `utime` and `stime` (`do_task_stat()`, fs/proc/array.c).
fn times(proc: &Folder, pid: u32) -> Option<u64> {
    /// `PF_KTHREAD` (include/linux/sched.h): any process may call itself so.
    const KERNEL_THREAD: u64 = 0x0020_0000;
    let mut room = [0; 4096];
    let text = proc.read(format!("{pid}/stat"), &mut room).ok()?;
    let close = text.iter().rposition(|byte| *byte == b')')?;
    let comm = text.get(text.iter().position(|byte| *byte == b'(')? + 1..close)?;
    let number = comm.strip_prefix(b"kswapd").filter(|number| !number.is_empty())?;
    number.iter().all(u8::is_ascii_digit).then_some(())?;
    let rest = text.get(close + 2..)?;
    // state, ppid, pgrp, session, tty_nr, tpgid, flags, minflt, cminflt, majflt, cmajflt, utime, stime.
    (nth_number(rest, 6)? & KERNEL_THREAD != 0).then_some(())?;
    nth_number(rest, 11)?.checked_add(nth_number(rest, 12)?)
}

//! Allocations that fail without a kill: whether the programs can tell them.

use std::{mem::MaybeUninit, ptr, thread};

use anyhow::Context as _;
use aya::{
    Ebpf, TestRun as _,
    maps::HashMap,
    programs::{RawTracePoint, RawTracePointRunOptions},
};
use oomtrace_ebpf::{FailureCount, FailureKey, MIRROR, recent};

/// Whether the programs read of a thread of ours which signals wait for it, and that it waits at no cgroup's limit: by that
/// they tell a failure from a victim on its way to its end.
///
/// An error says what differs.
pub fn check(ebpf: &mut Ebpf) -> Result<(), String> {
    // In a thread of its own, which ends with the signals that it has sent itself.
    thread::scope(|scope| {
        let checked = thread::Builder::new().stack_size(256 * 1024).spawn_scoped(scope, || look(ebpf));
        let checked = checked.map_err(|error| format!("no thread can be started: {error}"))?;
        checked.join().unwrap_or_else(|_| Err("the thread that looks at itself ended early".to_owned()))
    })
}

/// Two signals that are held back, one after the other.
fn look(ebpf: &mut Ebpf) -> Result<(), String> {
    let mut expected = read(ebpf)?;
    for signal in [libc::SIGURG, libc::SIGWINCH] {
        // SAFETY: the set is ours, sigemptyset() initialises it, and the signal is sent to this thread, which holds it back.
        unsafe {
            let mut set = MaybeUninit::<libc::sigset_t>::uninit();
            libc::sigemptyset(set.as_mut_ptr());
            libc::sigaddset(set.as_mut_ptr(), signal);
            libc::pthread_sigmask(libc::SIG_BLOCK, set.as_ptr(), ptr::null_mut());
            libc::pthread_kill(libc::pthread_self(), signal);
        }
        expected |= 1 << (signal - 1);
        let seen = read(ebpf)?;
        if seen != expected {
            return Err(format!(
                "task_struct.pending is not where the types say: read by them, {seen:#x} waits for a thread for which \
                 {expected:#x} does"
            ));
        }
    }
    Ok(())
}

/// The signals that wait for this thread, as the program reads them.
fn read(ebpf: &mut Ebpf) -> Result<u64, String> {
    const KEY: FailureKey = [MIRROR, 0];
    let mut run = || -> anyhow::Result<FailureCount> {
        let program =
            ebpf.program_mut("hurt_mirror").context("the eBPF object lacks the program hurt_mirror")?;
        let program: &mut RawTracePoint = program.try_into()?;
        if program.fd().is_err() {
            program.load()?;
        }
        program.test_run(RawTracePointRunOptions::new())?;
        let map = ebpf.map_mut(recent::HURT.name).context("the eBPF object lacks the map")?;
        let mut counts: HashMap<_, FailureKey, FailureCount> = HashMap::try_from(map)?;
        let seen = counts.get(&KEY, 0)?;
        counts.remove(&KEY)?;
        Ok(seen)
    };
    match run() {
        Ok([signals, 0, _]) => Ok(signals),
        Ok(_) => Err("task_struct.memcg_in_oom is not where the types say".to_owned()),
        Err(error) => Err(format!("the program that looks at oomtrace itself cannot run: {error:#}")),
    }
}

//! What a forker can be made to be.

use std::fs::{self, File};
use std::io::Error;
use std::mem::offset_of;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::ptr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::mm::{MapFlags, MlockAllFlags, ProtFlags, mlockall, mmap_anonymous};
use rustix::process::{
    DumpableBehavior, Gid, Signal, Uid, set_dumpable_behavior, set_parent_process_death_signal,
};
use rustix::thread::{set_thread_gid, set_thread_groups, set_thread_uid};
use serde::{Deserialize, Serialize};

/// The period of a task under `SCHED_DEADLINE`, in ns.
const PERIOD: u64 = 100_000_000;
/// Time that it usually gets of each, in percent. What a task has given up of it, others can have only a period later: many
/// must fit.
const USUAL_TURN: u64 = 10;
/// How long others may take to give back theirs.
const GIVEN_BACK: Duration = Duration::from_secs(5);

/// How long somebody else may take to raise a limit.
const RAISED: Duration = Duration::from_mins(1);

/// A scheduling policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// The usual one.
    Usual,
    /// `SCHED_DEADLINE`, in which no child can have a share of time.
    Deadline {
        /// How much of a processor's time it has, in percent.
        percent: u64,
    },
    /// The same, but children begin with the usual one.
    DeadlineReset,
}

impl Policy {
    /// `SCHED_DEADLINE` for a short turn.
    pub const DEADLINE: Self = Self::Deadline { percent: USUAL_TURN };
}

/// Becomes a user, with none of root's capabilities unless it is root. What this process is to die of, and that it may
/// write its own files in /proc, is forgotten over it.
pub fn become_user(uid: u32) -> Result<()> {
    set_thread_groups(&[]).context("cannot leave all groups")?;
    set_thread_gid(Gid::from_raw(uid)).context("cannot become another group")?;
    set_thread_uid(Uid::from_raw(uid)).context("cannot become another user")?;
    set_parent_process_death_signal(Some(Signal::KILL)).context("cannot choose what to die of")?;
    set_dumpable_behavior(DumpableBehavior::Dumpable).context("cannot become dumpable")
}

/// Sets a limit of this process's.
pub fn limit(resource: u32, soft: u64, hard: u64) -> Result<()> {
    let limit = libc::rlimit { rlim_cur: soft, rlim_max: hard };
    // SAFETY: the limit is read, and nothing else.
    let result = unsafe { libc::setrlimit(resource, &raw const limit) };
    ensure!(result == 0, "the limit {resource} cannot be {soft} of {hard}: {}", Error::last_os_error());
    Ok(())
}

/// Waits until a limit of this process's is no longer 0.
pub fn await_limit(resource: u32) -> Result<()> {
    let begun = Instant::now();
    loop {
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: the limit is ours to be written.
        let result = unsafe { libc::getrlimit(resource, &raw mut limit) };
        ensure!(result == 0, "the limit {resource} cannot be read: {}", Error::last_os_error());
        if limit.rlim_cur > 0 {
            return Ok(());
        }
        ensure!(begun.elapsed() < RAISED, "nobody raises the limit {resource}");
        sleep(Duration::from_millis(10));
    }
}

/// Has a file or folder open under this number.
pub fn open(file: &Path, number: i32) -> Result<()> {
    let opened = File::open(file).with_context(|| format!("cannot open {}", file.display()))?;
    // SAFETY: the number is not one of a descriptor that is in use: it is far beyond those.
    let result = unsafe { libc::dup2(opened.as_raw_fd(), number) };
    ensure!(result == number, "no descriptor {number} can be had: {}", Error::last_os_error());
    Ok(())
}

/// Maps the user `inside` of this process's user namespace, and the group, to those outside.
pub fn map_user(inside: u32, outside: u32) -> Result<()> {
    set_dumpable_behavior(DumpableBehavior::Dumpable).context("cannot become dumpable")?;
    fs::write("/proc/self/uid_map", format!("{inside} {outside} 1")).context("cannot map a user")?;
    // Who has no rights outside must give this up first.
    fs::write("/proc/self/setgroups", "deny").context("cannot forgo setgroups")?;
    fs::write("/proc/self/gid_map", format!("{inside} {outside} 1")).context("cannot map a group")
}

/// Maps private memory in so many pieces, of which the kernel makes one mapping each since every second cannot be written
/// to.
pub fn map(bytes: u64, pieces: u64, touch: bool) -> Result<()> {
    let length = usize::try_from(bytes).context("more memory than can be addressed")?;
    let populate = if touch { MapFlags::POPULATE } else { MapFlags::empty() };
    for piece in 0..pieces {
        let write = if piece % 2 == 0 { ProtFlags::WRITE } else { ProtFlags::empty() };
        let (access, flags) = (ProtFlags::READ | write, MapFlags::PRIVATE | populate);
        // SAFETY: a new mapping at an address of the kernel's choice overlaps nothing.
        unsafe { mmap_anonymous(ptr::null_mut(), length, access, flags) }
            .with_context(|| format!("cannot map {bytes} bytes"))?;
    }
    Ok(())
}

/// Locks all memory that there is.
pub fn lock() -> Result<()> {
    mlockall(MlockAllFlags::CURRENT).context("cannot lock the forker's memory")
}

/// Has a task, or the caller for 0, run under a policy.
pub fn schedule(task: i32, policy: Policy) -> Result<()> {
    // SAFETY: numbers may be zeroes.
    let mut attributes = unsafe { std::mem::zeroed::<libc::sched_attr>() };
    attributes.size = u32::try_from(offset_of!(libc::sched_attr, sched_period) + size_of::<u64>())?;
    let turn = match policy {
        Policy::Usual => None,
        Policy::Deadline { percent } => Some(percent),
        Policy::DeadlineReset => Some(USUAL_TURN),
    };
    if let Some(percent) = turn {
        attributes.sched_policy = u32::try_from(libc::SCHED_DEADLINE)?;
        attributes.sched_runtime = PERIOD / 100 * percent;
        (attributes.sched_deadline, attributes.sched_period) = (PERIOD, PERIOD);
    }
    if policy == Policy::DeadlineReset {
        attributes.sched_flags = u64::try_from(libc::SCHED_FLAG_RESET_ON_FORK)?;
    }
    let begun = Instant::now();
    loop {
        // SAFETY: the attributes are read, and nothing else.
        let result = unsafe { libc::syscall(libc::SYS_sched_setattr, task, &raw const attributes, 0) };
        if result == 0 {
            return Ok(());
        }
        let error = Error::last_os_error();
        // What those before it had of the processors is given back some time after their end (`task_non_contending()`,
        // kernel/sched/deadline.c).
        let wait = error.raw_os_error() == Some(libc::EBUSY) && begun.elapsed() < GIVEN_BACK;
        ensure!(wait, "the scheduling policy cannot be changed: {error}");
        sleep(Duration::from_millis(10));
    }
}

/// Takes a signal from now on, and does nothing about it.
pub fn heed(signal: i32) -> Result<()> {
    extern "C" fn nothing(_: i32) {}
    // SAFETY: the handler does nothing.
    let result = unsafe { libc::signal(signal, nothing as *const () as libc::sighandler_t) };
    ensure!(result != libc::SIG_ERR, "the signal {signal} cannot be heeded: {}", Error::last_os_error());
    Ok(())
}

/// Has children vanish of themselves once they end.
pub fn disown() -> Result<()> {
    // SAFETY: no handler of ours is run.
    let result = unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
    ensure!(result != libc::SIG_ERR, "children cannot be disowned: {}", Error::last_os_error());
    Ok(())
}

/// Has all system calls that make a process or a thread return an error, for good.
pub fn filter(error: i32) -> Result<()> {
    let calls = [libc::SYS_fork, libc::SYS_vfork, libc::SYS_clone, libc::SYS_clone3];
    let mut program = vec![load(offset_of!(libc::seccomp_data, nr))?];
    // Each jumps over those after it and the return that allows.
    for (after, call) in (1..=4).rev().zip(calls) {
        program.push(step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, after, call.try_into()?)?);
    }
    program.push(answer(libc::SECCOMP_RET_ALLOW)?);
    program.push(answer(libc::SECCOMP_RET_ERRNO | u32::try_from(error)?)?);
    install(program)
}

/// Has all system calls begin late, for good.
pub fn dawdle() -> Result<()> {
    // What depends on an argument is done every time. The kernel takes so many steps of all filters together
    // (`MAX_INSNS_PER_PATH`, kernel/seccomp.c), and of each `BPF_MAXINSNS`.
    for _ in 0..7 {
        let mut program = vec![load(offset_of!(libc::seccomp_data, args))?; 4095];
        program.push(answer(libc::SECCOMP_RET_ALLOW)?);
        install(program)?;
    }
    Ok(())
}

/// A step of a filter.
fn step(code: u32, jump: u8, value: u32) -> Result<libc::sock_filter> {
    Ok(libc::sock_filter { code: code.try_into()?, jt: jump, jf: 0, k: value })
}

/// The step that loads what is there in a system call's description.
fn load(offset: usize) -> Result<libc::sock_filter> {
    step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, offset.try_into()?)
}

/// The step that ends with an answer.
fn answer(answer: u32) -> Result<libc::sock_filter> {
    step(libc::BPF_RET | libc::BPF_K, 0, answer)
}

/// Installs a filter of system calls.
fn install(mut program: Vec<libc::sock_filter>) -> Result<()> {
    let told = libc::sock_fprog { len: u16::try_from(program.len())?, filter: program.as_mut_ptr() };
    // SAFETY: the program is read, and lives until the call has returned.
    let result = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
            | libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const told)
    };
    ensure!(result == 0, "system calls cannot be filtered: {}", Error::last_os_error());
    Ok(())
}

//! What a `task_struct` tells.

use aya_ebpf::helpers::{bpf_get_current_pid_tgid, generated::bpf_get_current_task};
use oomtrace_ebpf::{TaskFacts, task, whose};

use crate::{
    memcg,
    read::{constant, copy, get, number},
    tree,
};

/// The thread id of the current task, in the initial namespace.
#[inline(always)]
pub fn current_tid() -> u32 {
    bpf_get_current_pid_tgid() as u32
}

/// The current task's `task_struct`.
#[inline(always)]
pub fn current() -> u64 {
    // SAFETY: the helper takes no argument and cannot fail.
    unsafe { bpf_get_current_task() }
}

/// Reads a task, or leaves it empty for NULL. A function of its own, since records have two of it.
#[inline(never)]
pub fn read(facts: &mut TaskFacts, task: u64) {
    copy!(facts.pid <- task, task_tgid, task::PID);
    copy!(facts.tid <- task, task_pid, task::TID);
    copy!(facts.comm <- task, task_comm, task::COMM);
    copy!(facts.flags <- task, task_flags, task::FLAGS);
    // getppid() and the kernel's logs mean the real parent's process id.
    copy!(facts.ppid <- get!(task, task_real_parent), task_tgid, task::PPID);
    // get_task_cred() reads real_cred, and so do mark_victim and the log's UID (task_uid()).
    copy!(facts.uid <- get!(task, task_real_cred), cred_uid, task::UID);
    // A process starts with its first thread.
    copy!(facts.start_boot_ns <- get!(task, task_group_leader), task_start_boottime, task::START);
    let signal = get!(task, task_signal);
    copy!(facts.oom_score_adj <- signal, signal_oom_score_adj, task::ADJ);
    copy!(facts.threads <- signal, signal_nr_threads, task::THREADS);
    copy!(facts.live <- signal, signal_live, task::LIVE);
    let css = memory_css(task);
    facts.present |=
        task::MEMCG * memcg::identity(css, &raw mut facts.memcg_id, &raw mut facts.memcg_hierarchy);
    facts.present |= (tree::whose(task) as u32 & whose::MASK) << task::WHOSE;
}

/// The state of the memory controller for the task: its memory cgroup. 0 if it cannot be read.
#[inline(always)]
pub fn memory_css(task: u64) -> u64 {
    number(get!(task, task_cgroups), constant!(PARAMS.memory_css))
}

/// The address space of the task; of one that has left it, the one it was marked for.
#[inline(always)]
pub fn mm(task: u64) -> u64 {
    match get!(task, task_mm) {
        0 => get!(get!(task, task_signal), signal_oom_mm),
        mm => mm,
    }
}

//! What a `task_struct` tells.

use oomtrace_ebpf::{ABSENT, TaskFacts, task};

use crate::{
    memcg,
    read::{constant, get, set},
};

/// Reads a task, or leaves it empty for NULL.
#[inline(always)]
pub fn read(facts: &mut TaskFacts, task: u64) {
    let ids = get!(task, task_pid as u32).zip(get!(task, task_tgid as u32));
    if let Some((tid, pid)) = ids {
        facts.tid = tid;
        facts.pid = pid;
        facts.present |= task::IDS;
    }
    set!(facts.comm, get!(task, task_comm as [u8; 16]), task::COMM);
    set!(facts.flags, get!(task, task_flags as u32), task::FLAGS);
    // getppid() and the kernel's logs mean the real parent's process id.
    let parent = get!(task, task_real_parent);
    set!(facts.ppid, parent.and_then(|parent| get!(parent, task_tgid as u32)), task::PPID);
    // get_task_cred() reads real_cred, and so do mark_victim and the log's UID (task_uid()).
    let cred = get!(task, task_real_cred);
    set!(facts.uid, cred.and_then(|cred| get!(cred, cred_uid as u32)), task::UID);
    // A process starts with its first thread.
    let leader = get!(task, task_group_leader);
    set!(facts.start_boot_ns, leader.and_then(|leader| get!(leader, task_start_boottime as u64)), task::START);
    if let Some(signal) = get!(task, task_signal) {
        set!(facts.oom_score_adj, get!(signal, signal_oom_score_adj as i16).map(i32::from), task::ADJ);
        set!(facts.threads, get!(signal, signal_nr_threads as u32), task::THREADS);
    }
    if let Some(css) = memory_css(task)
        && let Some(id) = memcg::id(css)
        && let Some(hierarchy) = memcg::hierarchy(css)
    {
        facts.memcg_id = id;
        facts.memcg_hierarchy = hierarchy;
        facts.present |= task::MEMCG;
    }
}

/// The state of the memory controller for the task: its memory cgroup.
#[inline(always)]
pub fn memory_css(task: u64) -> Option<u64> {
    let index = constant!(PARAMS.memory_cgrp_id);
    let subsys = constant!(LAYOUT.css_set_subsys);
    if index == ABSENT || subsys == ABSENT {
        return None;
    }
    let css_set = get!(task, task_cgroups)?;
    crate::read::pointer(css_set, subsys + index * 8)
}

/// The address space of the task; of one that has left it, the one it was marked for.
#[inline(always)]
pub fn mm(task: u64) -> Option<u64> {
    get!(task, task_mm).or_else(|| {
        let signal = get!(task, task_signal)?;
        get!(signal, signal_oom_mm)
    })
}

//! How many namespaces a user has made, and may make.

use core::ptr::read_volatile;

use oomtrace_ebpf::{NAMESPACE_COUNTERS, NamespaceLevel, Namespaces, RecordKind, namespaces};

use crate::{
    read::{PARAMS, constant, copy, get, into_part},
    ring::{Wake, emit},
};

/// Sends what `inc_ucount()` (kernel/ucount.c) goes by for a task that forks. A global function.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn send_namespaces(task: u64) -> u64 {
    emit(RecordKind::Namespaces, Wake::Later, |record: &mut Namespaces| {
        let cred = get!(task, task_real_cred);
        copy!(record.euid <- cred, cred_euid, namespaces::EUID);
        let pid_ns = get!(get!(task, task_nsproxy), nsproxy_pid_ns);
        copy!(record.pid_ns_depth <- pid_ns, pid_ns_level, namespaces::PID_NS_DEPTH);
        // Of the task's own namespace only what is counted of its real user is at hand, and before 5.14 nothing. In each one
        // around it, it is what is counted of the owner of the one within.
        let mut namespace = get!(cred, cred_user_ns);
        let mut ucounts = get!(cred, cred_ucounts);
        for level in &mut record.levels {
            read_level(level, namespace, ucounts);
            ucounts = get!(namespace, user_ns_ucounts);
            namespace = get!(ucounts, ucounts_ns);
        }
    });
    0
}

#[inline(always)]
fn read_level(level: &mut NamespaceLevel, namespace: u64, ucounts: u64) {
    copy!(level.inum <- namespace, user_ns_inum, namespaces::INUM);
    copy!(level.depth <- namespace, user_ns_level, namespaces::DEPTH);
    copy!(level.uid <- ucounts, ucounts_uid, namespaces::UID);
    let bytes = constant!(PARAMS.namespace_count_bytes);
    for kind in 0..NAMESPACE_COUNTERS.len() {
        // SAFETY: the elements of a static are valid for reads.
        let (count, max) = unsafe {
            (
                read_volatile(&raw const PARAMS.namespace_counts[kind]),
                read_volatile(&raw const PARAMS.namespace_max[kind]),
            )
        };
        let count = into_part(&mut level.counts[kind], bytes, ucounts, count);
        let max = into_part(&mut level.max[kind], bytes, namespace, max);
        level.present |= (namespaces::FIRST_COUNT * count | namespaces::FIRST_MAX * max) << kind;
    }
}

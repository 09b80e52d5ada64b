//! Forks that fail for want of something.
//!
//! Every fork passes here: one that succeeds leaves at the first look. What fails is often tried again at once, hundreds of
//! thousands of times a second. So identical failures are told once a second, with a count, and only then is more read than
//! what tells them apart.

use aya_ebpf::{
    helpers::generated::bpf_probe_read_user,
    macros::{fexit, kretprobe, map, raw_tracepoint},
    maps::{Array, HashMap, LruHashMap},
    programs::{FExitContext, RawTracePointContext, RetProbeContext},
};
use oomtrace_ebpf::{
    ABSENT, FORK_KINDS, FORK_LEVELS, FailureCount, ForkFailure, ForkKey, MAX_CHILDREN, RecordKind, Variables,
    chain, fork, forking, recent, site,
};

use crate::{
    cmdline,
    count::counted,
    kin, memcg, namespace, pids,
    read::{constant, copy, forget, get, into, is_error, number},
    ring::{Wake, count_lost, emit},
    run::{self, now},
    task::{self, current, current_tid},
    victim::SIGKILL,
};

/// What a function that `copy_process()` called has returned to it, by thread. Only errors come here.
#[map]
static FORKING: LruHashMap<u32, Refusal> = LruHashMap::with_max_entries(recent::FORKING.holds, 0);

/// How often it happened, by what tells failures apart. Userspace takes out what has ceased.
#[map]
static FORKS: HashMap<ForkKey, FailureCount> = HashMap::with_max_entries(FORK_KINDS, 0);

/// Where the kernel's variables are, as far as userspace has found them.
#[map]
static VARIABLES: Array<Variables> = Array::with_max_entries(1, 0);

#[derive(Clone, Copy)]
#[repr(C)]
struct Refusal {
    /// A value of [`site`].
    site: u32,
    errno: u32,
    /// The state of the pids controller for the cgroup that the child was to be in.
    css: u64,
}

/// Errors that say that something is wanting: EINTR (a dying task), EAGAIN, ENOMEM, ENFILE, EMFILE, ENOSPC. Arguments that
/// make no sense and what is not permitted are no want; nor is a signal that makes the kernel begin anew (ERESTARTNOINTR).
const WANTING: u64 = 1 << 4 | 1 << 11 | 1 << 12 | 1 << 23 | 1 << 24 | 1 << 28;

const EAGAIN: u32 = 11;
const ENOSPC: u32 = 28;

/// The error in what a function of the kernel returned, a number or a pointer (`IS_ERR()`, include/linux/err.h), if it says
/// that something is wanting; else 0.
#[inline(always)]
fn wanting(returned: u64) -> u32 {
    let errno = returned.wrapping_neg();
    if errno < 64 && WANTING >> errno & 1 != 0 { errno as u32 } else { 0 }
}

#[inline(always)]
fn refused(site: u32, errno: u32, css: u64) {
    // Without room, the error is copy_process()'s own.
    let _ = FORKING.insert(current_tid(), Refusal { site, errno, css }, 0);
}

/// A fork of the current task failed with `errno`. `args`: its `struct kernel_clone_args`, or at the end of a system call what
/// [`asked`] says; 0: not at hand.
#[inline(always)]
fn failed(errno: u32, args: u64, within: u32) {
    let tid = current_tid();
    let (mut at, mut css) = (within, 0);
    if let Some(refusal) = FORKING.get_ptr(tid) {
        // SAFETY: a map's element may be reused but never unmapped; this thread alone writes to its own.
        let refusal = unsafe { *refusal };
        // It may be of an earlier fork, whose error copy_process() did not return.
        if refusal.errno == errno {
            (at, css) = (refusal.site, refusal.css);
        }
        let _ = FORKING.remove(tid);
    }
    if css == 0 {
        css = pids::css();
    }
    fork_failed(u64::from(errno) | u64::from(at) << 32, args, css);
}

/// Counts a failure, and tells it if it is time to. A global function, which takes few numbers: `what` is the errno and,
/// above it, the site.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn fork_failed(what: u64, args: u64, css: u64) -> u64 {
    let (errno, at) = (what as u32, (what >> 32) as u32);
    let task = current();
    let state = state(task);
    let by_pids = at == site::PIDS_CAN_FORK || (at == site::SYSCALL && errno == EAGAIN);
    let cgroup_id = memcg::id(if by_pids { css } else { task::memory_css(task) });
    let key = [
        u64::from(errno) | u64::from(state) << 32 | u64::from(at) << 56,
        cgroup_id,
        u64::from(get!(get!(task, task_real_cred), cred_uid as u32))
            | u64::from(get!(get!(get!(task, task_nsproxy), nsproxy_pid_ns), pid_ns_inum as u32)) << 32,
        number::<u64>(task, constant!(LAYOUT.task_comm)),
        number::<u64>(task, constant!(LAYOUT.task_comm).wrapping_add(8)),
    ];
    let Some((first_ns, total)) = counted(&FORKS, &key, false, RecordKind::ForkFailure) else { return 0 };
    if !run::begin(now(), 0) {
        count_lost(RecordKind::ForkFailure);
        return 0;
    }
    cmdline::send_own(Wake::Later.flags());
    kin::send_kin(task, 0);
    let memory = task::memory_css(task);
    if memory != 0 {
        memcg::send_chain(memory, u64::from(chain::VICTIM));
    }
    pids::send_pids(css);
    if errno == ENOSPC {
        namespace::send_namespaces(task);
    }
    send_fork(what | u64::from(state) << 40, args, cgroup_id, first_ns, total);
    run::end();
    0
}

/// A global function, which takes five numbers at the most: the first is errno, site and state.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn send_fork(what: u64, args: u64, cgroup_id: u64, first_ns: u64, total: u64) -> u64 {
    emit(RecordKind::ForkFailure, Wake::Now, |record: &mut ForkFailure| {
        let task = current();
        task::read(&mut record.task, task);
        record.errno = what as u32;
        record.site = (what >> 32) as u32 & 0xff;
        record.state = (what >> 40) as u32;
        (record.cgroup_id, record.first_ns, record.total) = (cgroup_id, first_ns, total);
        record.children = children(task) as u32;
        record.present |= fork::CHILDREN * u32::from(constant!(LAYOUT.task_children) != ABSENT);
        if record.site == site::SYSCALL {
            record.clone_flags = args & !KNOWN;
            record.present |= fork::FLAGS * (args >> 63) as u32;
        } else {
            copy!(record.clone_flags <- args, clone_args_flags, fork::FLAGS);
        }
        let cred = get!(task, task_real_cred);
        copy!(record.cap_effective <- cred, cred_cap_effective, fork::CAPABILITIES);
        copy!(record.nproc_limit <- get!(task, task_signal), signal_nproc_limit, fork::NPROC_LIMIT);
        copy!(record.user_processes <- get!(cred, cred_user), user_processes, fork::USER_PROCESSES);
        copy!(record.user_ns_inum <- get!(cred, cred_user_ns), user_ns_inum, fork::USER_NS);
        let mm = get!(task, task_mm);
        copy!(record.data_pages <- mm, mm_data_vm, fork::DATA_PAGES);
        record.data_pages += get!(mm, mm_stack_vm);
        if let Some(variables) = VARIABLES.get(0) {
            machine(record, variables, mm);
        }
        let mut namespace = get!(get!(task, task_nsproxy), nsproxy_pid_ns);
        for level in &mut record.pid_namespaces {
            copy!(level.allocated <- namespace, pid_ns_allocated, fork::ALLOCATED);
            level.allocated &= !PIDNS_ADDING;
            copy!(level.pid_max <- namespace, pid_ns_max, fork::PID_MAX);
            copy!(level.inum <- namespace, pid_ns_inum, fork::INUM);
            namespace = get!(namespace, pid_ns_parent);
        }
        // is_rlimit_overlimit() (kernel/ucount.c): the limit of each level but the first is that of the user namespace
        // below it.
        let mut ucounts = get!(cred, cred_ucounts);
        let mut max_of = 0;
        for level in &mut record.users {
            let namespace = get!(ucounts, ucounts_ns);
            copy!(level.count <- ucounts, ucounts_nproc, fork::COUNT);
            copy!(level.max <- max_of, user_ns_nproc_max, fork::MAX);
            copy!(level.inum <- namespace, user_ns_inum, fork::INUM);
            level.uid = get!(ucounts, ucounts_uid as u32);
            max_of = namespace;
            ucounts = get!(namespace, user_ns_ucounts);
        }
    });
    0
}

/// How many children a thread has, up to [`MAX_CHILDREN`]. The list may change meanwhile: what is read then is of no more use
/// than the count. A global function.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn children(task: u64) -> u64 {
    let head = task.wrapping_add(constant!(LAYOUT.task_children));
    let mut count = 0;
    let mut next: u64 = number(head, 0);
    for _ in 0..MAX_CHILDREN {
        if next == 0 || next == head {
            break;
        }
        count += 1;
        next = number(next, 0);
    }
    count
}

/// What of the machine as a whole a fork goes by, and the address space by which that is judged: all of it at one instant.
#[inline(always)]
fn machine(record: &mut ForkFailure, variables: &Variables, mm: u64) {
    record.present |= fork::THREADS
        * (into(&raw mut record.threads, variables.threads, 0)
            & into(&raw mut record.threads_max, variables.threads_max, 0));
    record.present |= fork::MACHINE_PID_MAX * into(&raw mut record.pid_max, variables.pid_max, 0);
    record.present |= fork::PROMISES
        * (into(&raw mut record.overcommit_memory, variables.overcommit_memory, 0)
            & into(&raw mut record.overcommit_ratio, variables.overcommit_ratio, 0)
            & into(&raw mut record.overcommit_kbytes, variables.overcommit_kbytes, 0)
            & into(&raw mut record.swap_pages, variables.swap_pages, 0)
            & into(
                &raw mut record.committed_pages,
                variables.committed,
                constant!(LAYOUT.percpu_counter_count),
            )
            & into(&raw mut record.user_reserve_kbytes, variables.user_reserve_kbytes, 0)
            & into(&raw mut record.admin_reserve_kbytes, variables.admin_reserve_kbytes, 0)
            & into(&raw mut record.total_vm_pages, mm, constant!(LAYOUT.mm_total_vm)));
}

/// `PIDNS_ADDING` (include/linux/pid.h): cleared once the first process of a namespace ends.
const PIDNS_ADDING: u32 = 1 << 31;
/// `SCHED_DEADLINE` (include/uapi/linux/sched.h).
const SCHED_DEADLINE: u32 = 6;

/// What holds of the current task that may keep it from forking (bits of [`forking`]).
#[inline(always)]
fn state(task: u64) -> u32 {
    let fatal = get!(task, task_pending) >> (SIGKILL - 1) & 1;
    let namespace = get!(get!(task, task_nsproxy), nsproxy_pid_ns);
    // Of none that cannot be read.
    let mut allocated = PIDNS_ADDING;
    into(&raw mut allocated, namespace, constant!(LAYOUT.pid_ns_allocated));
    let dead =
        namespace != 0 && constant!(LAYOUT.pid_ns_allocated) != ABSENT && allocated & PIDNS_ADDING == 0;
    let sheds = number::<u32>(task, constant!(PARAMS.reset_on_fork)) & constant!(PARAMS.reset_on_fork_mask);
    let deadline = constant!(PARAMS.reset_on_fork_mask) != 0
        && get!(task, task_policy as u32) == SCHED_DEADLINE
        && sheds == 0;
    let in_exec = get!(get!(task, task_fs), fs_in_exec as u32) != 0;
    (fatal as u32) * forking::FATAL
        | u32::from(dead) * forking::NAMESPACE_DEAD
        | u32::from(deadline) * forking::DEADLINE
        | u32::from(in_exec) * forking::IN_EXEC
        | u32::from(crowded(task)) * forking::NPROC
}

/// Whether the task's user has as many processes as may be, in one of the user namespaces that count them.
#[inline(always)]
fn crowded(task: u64) -> bool {
    let cred = get!(task, task_real_cred);
    let limit = get!(get!(task, task_signal), signal_nproc_limit);
    // RLIM_INFINITY, or not read.
    let mut max = if limit == 0 || limit > i64::MAX as u64 { i64::MAX } else { limit as i64 };
    if constant!(LAYOUT.ucounts_nproc) == ABSENT {
        // Up to 5.13 one count for all namespaces.
        return i64::from(get!(get!(cred, cred_user), user_processes as u32)) >= max;
    }
    let mut ucounts = get!(cred, cred_ucounts);
    let mut over = false;
    for _ in 0..FORK_LEVELS {
        if ucounts == 0 {
            break;
        }
        over |= get!(ucounts, ucounts_nproc) as i64 >= max;
        let namespace = get!(ucounts, ucounts_ns);
        max = get!(namespace, user_ns_nproc_max) as i64;
        ucounts = get!(namespace, user_ns_ucounts);
    }
    over
}

/// `struct task_struct *copy_process(struct pid *pid, int trace, int node, struct kernel_clone_args *args)` returned.
#[fexit]
fn fork_fexit(ctx: FExitContext) -> i32 {
    // It follows the four arguments. To the verifier it is a pointer, which costs a helper's call to calculate with.
    let task = ctx.arg(4);
    if !is_error(task) {
        return 0;
    }
    let errno = wanting(forget(task));
    if errno != 0 {
        failed(errno, forget(ctx.arg(3)), site::COPY_PROCESS);
    }
    0
}

/// `struct pid *alloc_pid(struct pid_namespace *ns, pid_t *set_tid, size_t set_tid_size)` returned.
#[fexit]
fn fork_pid_fexit(ctx: FExitContext) -> i32 {
    // As above.
    let pid = ctx.arg(3);
    if !is_error(pid) {
        return 0;
    }
    let errno = wanting(forget(pid));
    if errno != 0 {
        refused(site::ALLOC_PID, errno, 0);
    }
    0
}

/// `int pids_can_fork(struct task_struct *task, struct css_set *cset)` returned.
#[fexit]
fn fork_pids_fexit(ctx: FExitContext) -> i32 {
    let errno = wanting(i64::from(ctx.arg::<i32>(2)) as u64);
    if errno != 0 {
        // As above.
        let css = number(forget(ctx.arg::<u64>(1)), constant!(PARAMS.pids_css));
        refused(site::PIDS_CAN_FORK, errno, css);
    }
    0
}

#[kretprobe]
fn fork_kretprobe(ctx: RetProbeContext) -> u32 {
    let errno = wanting(ctx.ret());
    if errno != 0 {
        failed(errno, 0, site::COPY_PROCESS);
    }
    0
}

#[kretprobe]
fn fork_pid_kretprobe(ctx: RetProbeContext) -> u32 {
    let errno = wanting(ctx.ret());
    if errno != 0 {
        refused(site::ALLOC_PID, errno, 0);
    }
    0
}

/// What the child's cgroup is stands in an argument, which is gone by now: but for `CLONE_INTO_CGROUP` it is the task's own.
#[kretprobe]
fn fork_pids_kretprobe(ctx: RetProbeContext) -> u32 {
    let errno = wanting(i64::from(ctx.ret::<i32>()) as u64);
    if errno != 0 {
        refused(site::PIDS_CAN_FORK, errno, pids::css());
    }
    0
}

/// Numbers of the calls that make tasks (arch/x86/entry/syscalls/syscall_64.tbl). Those of 32-bit programs are others'
/// numbers here.
const CALLS: [u64; 4] = [CLONE, FORK, VFORK, CLONE3];
const CLONE: u64 = 56;
const FORK: u64 = 57;
const VFORK: u64 = 58;
const CLONE3: u64 = 435;
/// Marks flags that are known.
const KNOWN: u64 = 1 << 63;
/// `CLONE_VM` and `CLONE_VFORK`, and the signal in clone's flags (include/uapi/linux/sched.h).
const CLONE_VM: u64 = 0x100;
const CLONE_VFORK: u64 = 0x4000;
const CSIGNAL: u64 = 0xff;

/// What a call that made no task asked for (`CLONE_*`), and [`KNOWN`]; 0 where that cannot be read. It stands in a register, or
/// where that points to.
#[inline(always)]
fn asked(regs: u64, call: u64) -> u64 {
    let first = get!(regs, regs_first);
    match call {
        CLONE => KNOWN | (first & u64::from(u32::MAX) & !CSIGNAL),
        FORK => KNOWN,
        VFORK => KNOWN | CLONE_VFORK | CLONE_VM,
        _ => {
            // The first member of `struct clone_args` (include/uapi/linux/sched.h).
            let mut flags = 0_u64;
            // SAFETY: the number is ours and has the size given; the helper checks its source and fails on a bad one.
            let result = unsafe {
                bpf_probe_read_user((&raw mut flags).cast(), size_of::<u64>() as u32, first as *const _)
            };
            if result == 0 { KNOWN | flags } else { 0 }
        }
    }
}

/// `sys_exit(struct pt_regs *regs, long ret)`: every system call passes here, so all that return no such error leave at once.
#[raw_tracepoint(tracepoint = "sys_exit")]
fn fork_syscall_raw_tp(ctx: RawTracePointContext) -> i32 {
    let errno = wanting(ctx.arg(1));
    if errno != 0 {
        let regs = ctx.arg::<u64>(0);
        let call = get!(regs, regs_call);
        if CALLS.contains(&call) {
            failed(errno, asked(regs, call), site::SYSCALL);
        }
    }
    0
}

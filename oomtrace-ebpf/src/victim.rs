//! The victim: who was killed, and who was merely marked while exiting by itself.

use aya_ebpf::{
    macros::{fentry, kprobe, map, raw_tracepoint},
    maps::LruHashMap,
    programs::{FEntryContext, ProbeContext, RawTracePointContext},
};
use aya_log_ebpf::debug;
use oomtrace_ebpf::{Mark, RecordKind, chain, task as known};

use crate::{
    memcg, mm,
    oom::{OPEN, Run, current, current_tid},
    read::{constant, get},
    ring::{Incident, Wake, armed, emit, now},
    stall, task,
};

/// The kill that a thread made last, where no hook tells that it runs the OOM killer. Threads that are not the
/// OOM killer's leave entries here too (a dying PID namespace, hwpoison): they are overwritten in time.
#[map]
static KILLING: LruHashMap<u32, Kill> = LruHashMap::with_max_entries(256, 0);

#[derive(Clone, Copy)]
#[repr(C)]
struct Kill {
    task: u64,
    boot_ns: u64,
}

/// `SEND_SIG_PRIV` (include/linux/signal.h): a signal from the kernel itself.
const SEND_SIG_PRIV: u64 = 1;
const SIGKILL: i32 = 9;

/// A kill of `task` begins in the context of the current thread: it is marked next, if it is not exiting.
#[inline(always)]
fn killing(task: u64) {
    if !armed() {
        return;
    }
    let tid = current_tid();
    if let Some(run) = OPEN.get_ptr_mut(tid) {
        // SAFETY: the entry is this thread's own, and only this thread removes it.
        unsafe {
            (*run).killing = task;
            (*run).kills += 1;
        }
        return;
    }
    let _ = KILLING.insert(tid, Kill { task, boot_ns: now() }, 0);
}

/// `task` was marked: `mark_oom_victim()` set its `oom_mm`.
#[inline(always)]
fn marked(task: u64) {
    let tid = current_tid();
    let open = OPEN.get_ptr_mut(tid);
    let mut run = match open {
        // SAFETY: the entry is this thread's own, and only this thread removes it.
        Some(open) => unsafe { *open },
        // No hook at the decision, or none was made: a task that is exiting by itself asked for memory.
        None => undecided(tid, task),
    };
    run.marks += 1;
    let killed = run.killing == task;
    let own = if open.is_none() { task::memory_css(current()) } else { 0 };
    let css = task::memory_css(task);
    if own != css && own != 0 {
        memcg::emit_chain(&mut run.incident, own, chain::TRIGGER);
    }
    if css != run.sent && css != 0 {
        memcg::emit_chain(&mut run.incident, css, chain::VICTIM);
        run.sent = css;
    }
    send(&mut run, task, killed);
    if let Some(open) = open {
        // SAFETY: as above.
        unsafe { *open = run };
    }
}

/// A run of the OOM killer that begins with its mark, or with the kill just before.
#[inline(always)]
fn undecided(tid: u32, task: u64) -> Run {
    let mut run = Run { incident: Incident::open(tid, now()), killing: 0, sent: 0, kills: 0, marks: 0 };
    if let Some(kill) = KILLING.get_ptr(tid) {
        // SAFETY: a map's element may be reused but never unmapped; a reused one holds another task.
        let kill = unsafe { *kill };
        if kill.task == task {
            run.killing = task;
            run.incident.opened_ns = kill.boot_ns;
        }
        let _ = KILLING.remove(tid);
    }
    run
}

#[inline(always)]
fn send(run: &mut Run, task: u64, killed: bool) {
    let tid = run.incident.trigger_tid;
    emit(&mut run.incident, RecordKind::Mark, Wake::Now, |record: &mut Mark| {
        task::read(&mut record.trigger, current());
        task::read(&mut record.victim, task);
        mm::read(&mut record.mm, task::mm(task));
        record.killed = u32::from(killed);
        (record.reclaim, record.reclaim_memcg_id) = stall::last(tid);
    });
}

/// `mark_oom_victim(struct task_struct *tsk)` was entered: it marks a task once, and a process's address space
/// once, but is called more often.
#[inline(always)]
fn about_to_mark(task: u64) {
    if armed() && get!(get!(task, task_signal), signal_oom_mm) == 0 {
        marked(task);
    }
}

/// `mark_victim(struct task_struct *task, uid_t uid)`, or `(int pid)` on older kernels, which is a thread id.
#[raw_tracepoint(tracepoint = "mark_victim")]
fn victim_raw_tp(ctx: RawTracePointContext) -> i32 {
    if !armed() {
        return 0;
    }
    debug!(&ctx, "mark_victim by {}", current_tid());
    let task = if constant!(PARAMS.mark_passes_task) != 0 { ctx.arg(0) } else { by_tid(ctx.arg(0)) };
    if task != 0 {
        marked(task);
    } else {
        unidentified(ctx.arg(0));
    }
    0
}

/// The task of that thread id can only be the current one, or the one that was just killed. 0: neither.
#[inline(always)]
fn by_tid(victim: u32) -> u64 {
    let tid = current_tid();
    if tid == victim {
        return current();
    }
    let killing = match OPEN.get_ptr(tid) {
        // SAFETY: the entry is this thread's own, and only this thread removes it.
        Some(run) => unsafe { (*run).killing },
        None => match KILLING.get_ptr(tid) {
            // SAFETY: a map's element may be reused but never unmapped.
            Some(kill) => unsafe { (*kill).task },
            None => 0,
        },
    };
    if killing != 0 && get!(killing, task_pid as u32) == victim { killing } else { 0 }
}

/// A victim of which only the thread id is known. The rest is absent, and userspace says so.
#[inline(always)]
fn unidentified(victim: u32) {
    let mut incident = Incident::open(current_tid(), now());
    emit(&mut incident, RecordKind::Mark, Wake::Now, |record: &mut Mark| {
        task::read(&mut record.trigger, current());
        record.victim.tid = victim;
        record.victim.present = known::TID;
    });
}

#[fentry]
fn victim_fentry(ctx: FEntryContext) -> i32 {
    debug!(&ctx, "mark_oom_victim() by {}", current_tid());
    about_to_mark(ctx.arg(0));
    0
}

#[kprobe]
fn victim_kprobe(ctx: ProbeContext) -> u32 {
    debug!(&ctx, "mark_oom_victim() by {}", current_tid());
    if let Some(task) = ctx.arg(0) {
        about_to_mark(task);
    }
    0
}

/// `__oom_kill_process(struct task_struct *victim, const char *message)` was entered.
#[fentry]
fn killed_fentry(ctx: FEntryContext) -> i32 {
    killing(ctx.arg(0));
    0
}

#[kprobe]
fn killed_kprobe(ctx: ProbeContext) -> u32 {
    if let Some(task) = ctx.arg(0) {
        killing(task);
    }
    0
}

/// `signal_generate(int sig, struct kernel_siginfo *info, struct task_struct *task, int group, int result)`:
/// every signal passes here, so all but the kernel's own SIGKILL leave at once.
#[raw_tracepoint(tracepoint = "signal_generate")]
fn killed_raw_tp(ctx: RawTracePointContext) -> i32 {
    if ctx.arg::<i32>(0) == SIGKILL && ctx.arg::<u64>(1) == SEND_SIG_PRIV {
        killing(ctx.arg(2));
    }
    0
}

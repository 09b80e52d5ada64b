//! The victim: who was killed, and who was merely marked while exiting by itself.

use aya_ebpf::{
    macros::{fentry, kprobe, map, raw_tracepoint},
    maps::LruHashMap,
    programs::{FEntryContext, ProbeContext, RawTracePointContext},
};
use aya_log_ebpf::debug;
use oomtrace_ebpf::{Mark, RecordKind, chain};

use crate::{
    memcg, mm,
    oom::{OPEN, Run, current, current_tid},
    read::{constant, get},
    ring::{Incident, Wake, emit, now},
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
    if let Some(open) = OPEN.get_ptr_mut(tid) {
        // SAFETY: the entry is this thread's own, and only this thread removes it.
        let open = unsafe { &mut *open };
        open.marks += 1;
        let killed = open.killing == task;
        send(open, task, killed);
        return;
    }
    // No hook at the decision, or none was made: a task that is exiting by itself asked for memory.
    let kill = KILLING.get_ptr(tid);
    let mut killed = false;
    let mut opened_ns = now();
    if let Some(kill) = kill {
        // SAFETY: a map's element may be reused but never unmapped; a reused one holds another task.
        let kill = unsafe { *kill };
        if kill.task == task {
            killed = true;
            opened_ns = kill.boot_ns;
        }
        let _ = KILLING.remove(tid);
    }
    let mut run =
        Run { incident: Incident::open(tid, opened_ns), killing: 0, sent: 0, kills: 0, marks: 1 };
    if let Some(css) = task::memory_css(current())
        && Some(css) != task::memory_css(task)
    {
        memcg::emit_chain(&mut run.incident, css, chain::TRIGGER);
    }
    send(&mut run, task, killed);
}

#[inline(always)]
fn send(run: &mut Run, task: u64, killed: bool) {
    if let Some(css) = task::memory_css(task)
        && css != run.sent
    {
        memcg::emit_chain(&mut run.incident, css, chain::VICTIM);
        run.sent = css;
    }
    let run_tid = run.incident.trigger_tid;
    emit(&mut run.incident, RecordKind::Mark, Wake::Now, |record: &mut Mark| {
        task::read(&mut record.trigger, current());
        task::read(&mut record.victim, task);
        if let Some(mm) = task::mm(task) {
            mm::read(&mut record.mm, mm);
        }
        record.killed = u32::from(killed);
        (record.reclaim, record.reclaim_memcg_id) = stall::last(run_tid);
    });
}

/// `mark_oom_victim(struct task_struct *tsk)` was entered: it marks a task once, and a process's address space
/// once, but is called more often.
#[inline(always)]
fn about_to_mark(task: u64) {
    let Some(signal) = get!(task, task_signal) else { return };
    if get!(signal, signal_oom_mm).is_none() {
        marked(task);
    }
}

/// `mark_victim(struct task_struct *task, uid_t uid)`, or `(int pid)` on older kernels, which is a thread id.
#[raw_tracepoint(tracepoint = "mark_victim")]
fn victim_raw_tp(ctx: RawTracePointContext) -> i32 {
    debug!(&ctx, "mark_victim by {}", current_tid());
    if constant!(PARAMS.mark_passes_task) != 0 {
        marked(ctx.arg(0));
    } else {
        marked_by_tid(ctx.arg(0));
    }
    0
}

/// The task of that thread id can only be the one that was just killed, or the current one.
#[inline(always)]
fn marked_by_tid(victim: u32) {
    let tid = current_tid();
    if tid == victim {
        marked(current());
        return;
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
    if get!(killing, task_pid as u32) == Some(victim) {
        marked(killing);
    } else {
        unidentified(victim);
    }
}

/// A victim of which only the thread id is known. Userspace looks for the rest.
#[inline(always)]
fn unidentified(victim: u32) {
    let mut incident = Incident::open(current_tid(), now());
    emit(&mut incident, RecordKind::Mark, Wake::Now, |record: &mut Mark| {
        task::read(&mut record.trigger, current());
        record.victim.tid = victim;
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

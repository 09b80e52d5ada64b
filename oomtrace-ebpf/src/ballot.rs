//! The ballot: who was scored in this run of the OOM killer, and who came out highest.
//!
//! The scores are the kernel's own, as `oom_badness()` returns them. Where the scan calls an inlined part of that function
//! (5.10) no hook sees it return: then the tasks that `oom_evaluate_task()` looks at are scored here, in the same way.

use core::arch::asm;

use aya_ebpf::{
    macros::{fentry, fexit, kprobe, kretprobe, map},
    maps::Array,
    programs::{FEntryContext, FExitContext, ProbeContext, RetProbeContext},
};
use oomtrace_ebpf::{Candidate, MAX_CANDIDATES, RecordKind};

use crate::{
    mm,
    read::{constant, forget, get, is_null},
    ring::{Wake, emit},
    run::now,
    task::{self, current_tid},
};

/// The one ballot: `oom_lock` (mm/oom_kill.c) admits one thread to `out_of_memory()` at a time. That one alone writes
/// to it; another, which asks for a score by `/proc/PID/oom_score`, looks at `tid` and leaves.
#[map]
static BALLOT: Array<Ballot> = Array::with_max_entries(1, 0);

/// See the module.
#[repr(C)]
struct Ballot {
    /// The thread that decides; 0: nobody does.
    tid: u32,
    /// Tasks scored so far.
    examined: u32,
    /// Of these, what must not be killed.
    unkillable: u32,
    /// Seats that are taken.
    seated: u32,
    /// Whether the scores are the kernel's own (1), or computed for as long as none of those has come (0).
    exact: u32,
    /// Calls of `out_of_memory()` so far that came to no decision.
    undecided: u32,
    /// The task that is being scored, where its score comes without it.
    scoring: u64,
    /// The `oom_control` of this run.
    oc: u64,
    /// When `out_of_memory()` was entered. `CLOCK_BOOTTIME`, ns.
    entered_ns: u64,
    /// The memory cgroup in which nobody could be killed when that was last told, …
    refused_memcg: u64,
    /// … and when that was.
    refused_ns: u64,
    /// The highest scores so far, in no order.
    seats: [Seat; MAX_CANDIDATES],
}

/// A call of `out_of_memory()` that has returned.
pub struct Call {
    /// When it was entered. `CLOCK_BOOTTIME`, ns; 0: that is not hooked.
    pub entered_ns: u64,
    /// Its `oom_control`, if nobody could be killed and that is to be told; else 0.
    pub refused: u64,
    /// Tasks that were scored.
    pub examined: u32,
    /// Of these, what must not be killed.
    pub unkillable: u32,
    /// Calls so far that came to no decision.
    pub undecided: u32,
}

/// Whoever cannot get memory where nobody can be killed tries again at once, for as long as it lasts. So it is told once
/// in this time for each memory cgroup, ns, and the rest is counted.
const REFUSED_AGAIN_NS: u64 = 1_000_000_000;

#[derive(Clone, Copy)]
#[repr(C)]
struct Seat {
    task: u64,
    points: i64,
    pid: u64,
}

/// The ballot, if it is the current thread's.
#[inline(always)]
fn own<'a>() -> Option<&'a mut Ballot> {
    let ballot = BALLOT.get_ptr_mut(0)?;
    // SAFETY: an element lives as long as its map, and but for `tid` only the thread named there touches it.
    let ballot = unsafe { &mut *ballot };
    (ballot.tid == current_tid()).then_some(ballot)
}

/// `out_of_memory()` was entered.
#[inline(always)]
fn open(oc: u64) {
    if let Some(ballot) = BALLOT.get_ptr_mut(0) {
        // SAFETY: an element lives as long as its map; whoever was named there has left `out_of_memory()`.
        let ballot = unsafe { &mut *ballot };
        ballot.clear();
        (ballot.exact, ballot.scoring, ballot.oc, ballot.entered_ns) = (0, 0, oc, now());
        ballot.tid = current_tid();
    }
}

/// The run has ended: scores are asked for by others again. `verdict` is what `out_of_memory()` returned, `decided`
/// whether it chose somebody.
#[inline(always)]
pub fn close(verdict: u32, decided: bool) -> Call {
    let Some(ballot) = own() else {
        return Call { entered_ns: 0, refused: 0, examined: 0, unkillable: 0, undecided: 0 };
    };
    ballot.tid = 0;
    let refused = !decided && verdict & 1 == 0 && ballot.refuses();
    ballot.undecided += u32::from(!decided && !refused);
    Call {
        entered_ns: ballot.entered_ns,
        refused: if refused { ballot.oc } else { 0 },
        examined: ballot.examined,
        unkillable: ballot.unkillable,
        undecided: ballot.undecided,
    }
}

impl Ballot {
    /// Nobody has been scored yet.
    #[inline(always)]
    fn clear(&mut self) {
        (self.examined, self.unkillable, self.seated) = (0, 0, 0);
    }

    /// Whether nobody could be killed (`oc->chosen` is NULL), and that has not been told of this cgroup just before.
    #[inline(always)]
    fn refuses(&mut self) -> bool {
        if !is_null(self.oc, constant!(LAYOUT.oc_chosen)) {
            return false;
        }
        let memcg = get!(self.oc, oc_memcg);
        let again =
            memcg == self.refused_memcg && self.entered_ns.wrapping_sub(self.refused_ns) < REFUSED_AGAIN_NS;
        if !again {
            (self.refused_memcg, self.refused_ns) = (memcg, self.entered_ns);
        }
        !again
    }
}

/// The kernel's own score of `task`. What was computed until the first one came is dropped.
#[inline(always)]
fn scored_exactly(ballot: &mut Ballot, task: u64, points: i64) {
    if ballot.exact == 0 {
        ballot.exact = 1;
        ballot.clear();
    }
    scored(ballot, task, points);
}

/// `PF_KTHREAD` (include/linux/sched.h).
const PF_KTHREAD: u32 = 0x0020_0000;
/// `OOM_SCORE_ADJ_MIN` (include/uapi/linux/oom.h).
const OOM_SCORE_ADJ_MIN: i16 = -1000;

/// `oom_evaluate_task()` looks at `task`. It scores none that can never be killed (`oom_unkillable_task()`): threads of
/// the kernel and the init of the whole machine.
#[inline(always)]
fn evaluated(task: u64, oc: u64) {
    let Some(ballot) = own() else { return };
    let init = get!(task, task_tgid as u32) == 1;
    if ballot.exact != 0 || init || get!(task, task_flags as u32) & PF_KTHREAD != 0 {
        return;
    }
    scored(ballot, task, compute(task, get!(oc, oc_totalpages)) as i64);
}

/// The badness of a task where the scope has so many pages, as `oom_badness()` of 5.10 computes it; `i64::MIN` for one
/// that must not be killed. But a process in the middle of a vfork, and one whose memory has been reaped, are scored here
/// as others are. A global function.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn compute(task: u64, capacity_pages: u64) -> u64 {
    let mm = get!(task, task_mm);
    let adj = get!(get!(task, task_signal), signal_oom_score_adj as i16);
    if mm == 0 || adj == OOM_SCORE_ADJ_MIN {
        return i64::MIN as u64;
    }
    // The division first.
    let unit = (capacity_pages / 1000) as i64;
    mm::scored_pages(mm).wrapping_add(i64::from(adj).wrapping_mul(unit)) as u64
}

/// `task` has these points.
#[inline(always)]
fn scored(ballot: &mut Ballot, task: u64, points: i64) {
    ballot.examined += 1;
    if points == i64::MIN {
        ballot.unkillable += 1;
        return;
    }
    let free = (ballot.seated as usize) < MAX_CANDIDATES;
    let at = if free { u64::from(ballot.seated) } else { lowest() };
    ballot.seated += u32::from(free);
    let seat = ballot.seat(at);
    // The later of two that are equal is the kernel's choice: oom_evaluate_task().
    if free || points >= seat.points {
        *seat = Seat { task, points, pid: u64::from(get!(task, task_tgid as u32)) };
    }
}

impl Ballot {
    /// The seat of that number.
    #[inline(always)]
    fn seat(&mut self, number: u64) -> &mut Seat {
        let mut at = number;
        // SAFETY: arithmetic on a register of its own. In assembly, since the compiler would compare another copy of
        // the number than the one that it calculates with, and the verifier wants the bound on that one.
        unsafe { asm!("{at} &= {mask}", at = inout(reg) at, mask = const MAX_CANDIDATES - 1) };
        // SAFETY: the mask keeps it within the array, whose length is a power of two.
        unsafe { &mut *self.seats.as_mut_ptr().add(at as usize) }
    }
}

const _: () = assert!(MAX_CANDIDATES.is_power_of_two());

/// The seat with the lowest score. A global function: the verifier then knows nothing of its value.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn lowest() -> u64 {
    let Some(ballot) = BALLOT.get_ptr_mut(0) else { return 0 };
    let (mut at, mut least) = (0, i64::MAX);
    for seat in 0..MAX_CANDIDATES {
        // SAFETY: an element lives as long as its map, and this thread alone writes to it.
        let points = unsafe { (*ballot).seats[seat].points };
        if points < least {
            (at, least) = (seat as u64, points);
        }
    }
    at
}

/// Sends a record for each seat. A global function.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn send_ballot() -> u64 {
    for seat in 0..MAX_CANDIDATES as u64 {
        if send_candidate(seat) == 0 {
            break;
        }
    }
    0
}

/// Sends a record for a seat: 1; 0 if nobody sits there. A global function.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn send_candidate(seat: u64) -> u64 {
    let Some(ballot) = own() else { return 0 };
    if seat >= u64::from(ballot.seated) {
        return 0;
    }
    let (examined, unkillable, exact) = (ballot.examined, ballot.unkillable, ballot.exact);
    let seat = *ballot.seat(seat);
    emit(RecordKind::Candidate, Wake::Later, |record: &mut Candidate| {
        task::read(&mut record.task, seat.task);
        mm::read(&mut record.mm, task::mm(seat.task));
        record.points = seat.points;
        record.pid = seat.pid as u32;
        record.examined = examined;
        record.unkillable = unkillable;
        record.computed = 1 - exact;
    });
    1
}

/// `out_of_memory(struct oom_control *oc)` was entered.
#[fentry]
fn ballot_fentry(ctx: FEntryContext) -> i32 {
    // To the verifier a trampoline's argument is a pointer.
    open(forget(ctx.arg(0)));
    0
}

#[kprobe]
fn ballot_kprobe(ctx: ProbeContext) -> u32 {
    open(ctx.arg(0).unwrap_or(0));
    0
}

/// `int oom_evaluate_task(struct task_struct *task, void *arg)` was entered; `arg` is the `oom_control`.
#[fentry]
fn evaluated_fentry(ctx: FEntryContext) -> i32 {
    // As above.
    evaluated(forget(ctx.arg(0)), forget(ctx.arg(1)));
    0
}

#[kprobe]
fn evaluated_kprobe(ctx: ProbeContext) -> u32 {
    if let (Some(task), Some(oc)) = (ctx.arg(0), ctx.arg(1)) {
        evaluated(task, oc);
    }
    0
}

/// `long oom_badness(struct task_struct *p, unsigned long totalpages)` returned.
#[fexit]
fn candidate_fexit(ctx: FExitContext) -> i32 {
    if let Some(ballot) = own() {
        // As above. The return value follows the two arguments.
        scored_exactly(ballot, forget(ctx.arg(0)), ctx.arg(2));
    }
    0
}

/// It was entered: at its return nothing tells for whom.
#[kprobe]
fn candidate_kprobe(ctx: ProbeContext) -> u32 {
    if let Some(ballot) = own() {
        ballot.scoring = ctx.arg(0).unwrap_or(0);
    }
    0
}

#[kretprobe]
fn candidate_kretprobe(ctx: RetProbeContext) -> u32 {
    if let Some(ballot) = own() {
        let task = ballot.scoring;
        ballot.scoring = 0;
        if task != 0 {
            scored_exactly(ballot, task, ctx.ret());
        }
    }
    0
}

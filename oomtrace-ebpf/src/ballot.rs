//! The ballot: who was scored in this run of the OOM killer, and who came out highest.

use core::arch::asm;

use aya_ebpf::{
    macros::{fentry, fexit, kprobe, kretprobe, map},
    maps::Array,
    programs::{FEntryContext, FExitContext, ProbeContext, RetProbeContext},
};
use oomtrace_ebpf::{Candidate, MAX_CANDIDATES, RecordKind};

use crate::{
    mm,
    read::{forget, get},
    ring::{Wake, emit},
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
    /// The task that is being scored, where its score comes without it.
    scoring: u64,
    /// The highest scores so far, in no order.
    seats: [Seat; MAX_CANDIDATES],
}

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
fn open() {
    if let Some(ballot) = BALLOT.get_ptr_mut(0) {
        // SAFETY: an element lives as long as its map; whoever was named there has left `out_of_memory()`.
        let ballot = unsafe { &mut *ballot };
        (ballot.examined, ballot.unkillable, ballot.seated, ballot.scoring) = (0, 0, 0, 0);
        ballot.tid = current_tid();
    }
}

/// The run has ended: scores are asked for by others again.
#[inline(always)]
pub fn close() {
    if let Some(ballot) = own() {
        ballot.tid = 0;
    }
}

/// `oom_badness()` returned for `task`.
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
    let (examined, unkillable) = (ballot.examined, ballot.unkillable);
    let seat = *ballot.seat(seat);
    emit(RecordKind::Candidate, Wake::Later, |record: &mut Candidate| {
        task::read(&mut record.task, seat.task);
        mm::read(&mut record.mm, task::mm(seat.task));
        record.points = seat.points;
        record.pid = seat.pid as u32;
        record.examined = examined;
        record.unkillable = unkillable;
    });
    1
}

/// `out_of_memory(struct oom_control *oc)` was entered.
#[fentry]
fn ballot_fentry(_: FEntryContext) -> i32 {
    open();
    0
}

#[kprobe]
fn ballot_kprobe(_: ProbeContext) -> u32 {
    open();
    0
}

/// `long oom_badness(struct task_struct *p, unsigned long totalpages)` returned.
#[fexit]
fn candidate_fexit(ctx: FExitContext) -> i32 {
    if let Some(ballot) = own() {
        // To the verifier a trampoline's argument is a pointer. The return value follows the two arguments.
        scored(ballot, forget(ctx.arg(0)), ctx.arg(2));
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
            scored(ballot, task, ctx.ret());
        }
    }
    0
}

//! The decision: who asked, what ran out, who was chosen; and its end.

use aya_ebpf::{
    helpers::generated::bpf_get_current_task,
    macros::{fentry, fexit, kprobe, kretprobe, map},
    maps::HashMap,
    programs::{FEntryContext, FExitContext, ProbeContext, RetProbeContext},
};
use aya_log_ebpf::debug;
use oomtrace_ebpf::{Close, Decision, RecordKind, chain, decision};

use crate::{
    memcg,
    read::{copy, get},
    ring::{Incident, Wake, armed, emit, now},
    task,
};

/// A run of the OOM killer that has come to a decision, by the trigger's thread id. The kernel runs one at a
/// time (`oom_lock`), so this never fills.
#[map]
pub static OPEN: HashMap<u32, Run> = HashMap::with_max_entries(64, 0);

/// See [`OPEN`].
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Run {
    pub incident: Incident,
    /// The task that `__oom_kill_process()` was last called for.
    pub killing: u64,
    /// The css whose chain was sent as the victim's.
    pub sent: u64,
    pub kills: u32,
    pub marks: u32,
}

/// The thread id of the current task, in the initial namespace.
#[inline(always)]
pub fn current_tid() -> u32 {
    aya_ebpf::helpers::bpf_get_current_pid_tgid() as u32
}

/// The current task's `task_struct`.
#[inline(always)]
pub fn current() -> u64 {
    // SAFETY: the helper takes no argument and cannot fail.
    unsafe { bpf_get_current_task() }
}

/// `oom_kill_process(struct oom_control *oc, const char *message)` was entered.
#[inline(always)]
fn decided(oc: u64) {
    if !armed() {
        return;
    }
    let tid = current_tid();
    let mut run = Run { incident: Incident::open(tid, now()), killing: 0, sent: 0, kills: 0, marks: 0 };
    let trigger = current();
    let chosen = get!(oc, oc_chosen);
    emit(&mut run.incident, RecordKind::Decision, Wake::Later, |record: &mut Decision| {
        task::read(&mut record.trigger, trigger);
        task::read(&mut record.chosen, chosen);
        control(record, oc);
    });
    run.sent = task::memory_css(chosen);
    if run.sent != 0 {
        memcg::emit_chain(&mut run.incident, run.sent, chain::VICTIM);
    }
    let own = task::memory_css(trigger);
    if own != run.sent && own != 0 {
        memcg::emit_chain(&mut run.incident, own, chain::TRIGGER);
    }
    // Only a full map could refuse, and then the incident ends without a record of its end.
    let _ = OPEN.insert(tid, run, 0);
}

#[inline(always)]
fn control(record: &mut Decision, oc: u64) {
    copy!(record.gfp_mask <- oc, oc_gfp_mask, decision::GFP);
    copy!(record.order <- oc, oc_order, decision::ORDER);
    copy!(record.constraint <- oc, oc_constraint, decision::CONSTRAINT);
    copy!(record.capacity_pages <- oc, oc_totalpages, decision::CAPACITY);
    copy!(record.chosen_points <- oc, oc_chosen_points, decision::POINTS);
    copy!(record.zonelist <- oc, oc_zonelist, decision::ZONELIST);
    copy!(record.memcg <- oc, oc_memcg, decision::MEMCG);
    let css = memcg::css(record.memcg);
    let identity = memcg::identity(css, &raw mut record.memcg_id, &raw mut record.memcg_hierarchy);
    record.present |= decision::MEMCG_IDENTITY * identity;
}

/// `bool out_of_memory(struct oom_control *oc)` returned. Most calls come to no decision, and one lowered limit
/// may make thousands: these end at the look-up.
#[inline(always)]
fn returned(verdict: u32) {
    let tid = current_tid();
    let Some(run) = OPEN.get_ptr_mut(tid) else { return };
    // SAFETY: the entry is this thread's own; nothing removes it but the line below.
    let mut run = unsafe { *run };
    let _ = OPEN.remove(tid);
    emit(&mut run.incident, RecordKind::Close, Wake::Now, |record: &mut Close| {
        record.kills = run.kills;
        record.marks = run.marks;
        record.verdict = verdict & 1;
    });
}

#[fentry]
fn decision_fentry(ctx: FEntryContext) -> i32 {
    debug!(&ctx, "oom_kill_process() by {}", current_tid());
    decided(ctx.arg(0));
    0
}

#[kprobe]
fn decision_kprobe(ctx: ProbeContext) -> u32 {
    debug!(&ctx, "oom_kill_process() by {}", current_tid());
    if let Some(oc) = ctx.arg(0) {
        decided(oc);
    }
    0
}

#[fexit]
fn outcome_fexit(ctx: FExitContext) -> i32 {
    // The return value follows the one argument.
    returned(ctx.arg(1));
    0
}

#[kretprobe]
fn outcome_kretprobe(ctx: RetProbeContext) -> u32 {
    returned(ctx.ret());
    0
}

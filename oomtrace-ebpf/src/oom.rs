//! The decision: who asked, what ran out, who was chosen; and its end.

use aya_ebpf::{
    helpers::generated::bpf_probe_read_kernel,
    macros::{fentry, fexit, kprobe, kretprobe},
    programs::{FEntryContext, FExitContext, ProbeContext, RetProbeContext},
};
use aya_log_ebpf::debug;
use oomtrace_ebpf::{Allowed, Close, Decision, RecordKind, chain, decision};

use crate::{
    ballot, cmdline, kin, memcg,
    read::{constant, copy, forget, get, is_null, succeeded},
    ring::{Wake, emit},
    run::{self, now},
    task::{self, current, current_tid},
    zone,
};

/// `oom_kill_process(struct oom_control *oc, const char *message)` was entered; or nobody can be killed, and nobody is
/// chosen.
#[inline(always)]
fn decided(oc: u64) {
    // Without room for the run there is none to send records of: the mark then begins one.
    if !run::begin(now(), 0) {
        return;
    }
    send_decision(oc);
    send_allowed(oc);
    cmdline::send_own(Wake::Later.flags());
    kin::send_kin(current(), 0);
    ballot::send_ballot();
    zone::send_zones(get!(oc, oc_zonelist), u64::from(get!(oc, oc_gfp_mask as u32)));
    let chosen = match task::memory_css(get!(oc, oc_chosen)) {
        // Then what is at its limit is of interest.
        0 if is_null(oc, constant!(LAYOUT.oc_chosen)) => memcg::css_of(get!(oc, oc_memcg)),
        css => css,
    };
    let own = task::memory_css(current());
    if let Some(run) = run::current() {
        run.sent = chosen;
    }
    if chosen != 0 {
        memcg::send_chain(chosen, u64::from(chain::VICTIM));
    }
    if own != chosen && own != 0 {
        memcg::send_chain(own, u64::from(chain::TRIGGER));
    }
}

/// A global function.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn send_decision(oc: u64) -> u64 {
    emit(RecordKind::Decision, Wake::Later, |record: &mut Decision| {
        task::read(&mut record.trigger, current());
        task::read(&mut record.chosen, get!(oc, oc_chosen));
        control(record, oc);
    });
    0
}

/// `CONSTRAINT_CPUSET` and `CONSTRAINT_MEMORY_POLICY` (`enum oom_constraint`, include/linux/oom.h).
const CPUSET: u32 = 1;
const MEMORY_POLICY: u32 = 2;

/// Sends the nodes that the request was confined to, if it was to some: see [`Allowed`]. A global function.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn send_allowed(oc: u64) -> u64 {
    let nodes = match get!(oc, oc_constraint as u32) {
        CPUSET => current().wrapping_add(constant!(LAYOUT.task_mems_allowed)),
        MEMORY_POLICY => get!(oc, oc_nodemask),
        _ => return 0,
    };
    emit(RecordKind::Allowed, Wake::Later, |record: &mut Allowed| {
        let words = constant!(PARAMS.node_words);
        // SAFETY: userspace sees to it that there are no more words than the record has room for; the helper checks its
        // source and fails on a bad one.
        let read = unsafe {
            bpf_probe_read_kernel(
                record.nodes.as_mut_ptr().cast(),
                words * 8,
                nodes as *const core::ffi::c_void,
            )
        };
        record.words = words;
        record.present = succeeded(read) * u32::from(words > 0);
    });
    0
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
/// may make thousands: these are counted.
#[inline(always)]
fn returned(verdict: u32) {
    let call = ballot::close(verdict, run::current().is_some());
    if call.refused != 0 {
        decided(call.refused);
    }
    let Some(run) = run::current() else { return };
    let (kills, marks) = (run.kills, run.marks);
    emit(RecordKind::Close, Wake::Now, |record: &mut Close| {
        record.kills = kills;
        record.marks = marks;
        record.verdict = verdict & 1;
        record.examined = call.examined;
        record.unkillable = call.unkillable;
        record.undecided = call.undecided;
        record.entered_ns = call.entered_ns;
    });
    run::end();
}

#[fentry]
fn decision_fentry(ctx: FEntryContext) -> i32 {
    debug!(&ctx, "oom_kill_process() by {}", current_tid());
    // Global functions take numbers: to the verifier a trampoline's argument is a pointer.
    decided(forget(ctx.arg(0)));
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

//! What a thread reclaims before it runs the OOM killer: how long that takes, and, where no hook shows the decision,
//! whether a node's memory ran out or a memory cgroup's, and in which zones.

use aya_ebpf::{
    macros::{map, raw_tracepoint},
    maps::LruHashMap,
    programs::RawTracePointContext,
};
use oomtrace_ebpf::{NO_ARGUMENT, recent, reclaim};

use crate::{
    memcg, pressure,
    read::{constant, get},
    run::now,
    task::{current, current_tid},
    tree,
};

/// What each thread reclaimed last.
#[map]
static RECLAIM: LruHashMap<u32, Last> = LruHashMap::with_max_entries(recent::RECLAIM.holds, 0);

/// Rounds with more than this between them belong to different stalls, ns. A thread that fails to reclaim tries again
/// at once, or after a tick.
const APART_NS: u64 = 100_000_000;
/// What happens later than this after the last round is not its consequence, ns. In between the thread waits for the
/// OOM killer to finish with others, which takes seconds on a slow console.
const PAST_NS: u64 = 10_000_000_000;

#[derive(Clone, Copy)]
#[repr(C)]
struct Last {
    memcg_id: u64,
    /// Of a node's memory: where the zones stand that the request could be served from, in the list of all of them
    /// (`struct zoneref`); 0: that was not seen.
    zoneref: u64,
    /// When a round began or ended last. `CLOCK_BOOTTIME`, ns.
    seen_ns: u64,
    /// Time in rounds that ended, ns.
    spent_ns: u64,
    /// Rounds that ended.
    rounds: u32,
    /// Beginnings without an end and ends without a beginning. Where tracepoint programs can be preempted (7.x), one
    /// that is at work for another thread on the same processor misses its turn.
    unseen: u32,
    /// A value of [`reclaim`].
    kind: u32,
    /// Whether a round is under way: 1, or 0.
    open: u32,
    /// The request's allocation flags, of a node's memory.
    gfp_mask: u32,
    /// What has happened since the last round began ([`BEGUN`], [`RETRIED`]); 0: it was asked for.
    news: u32,
    /// Whose the thread is, of that which began at this time (ns): who has its id by now may be another.
    whose: u64,
    whose_began_ns: u64,
}

/// A round has begun.
const BEGUN: u32 = 1;
/// The zones were looked through after it.
const RETRIED: u32 = 2;

/// What the current thread reclaims in vain, and is about to kill for.
pub struct Shortage {
    /// Where the zones stand that the request could be served from; 0: it is a memory cgroup that is short.
    pub zoneref: u64,
    /// The request's allocation flags; 0 of a memory cgroup.
    pub gfp_mask: u64,
}

/// What the current thread reclaimed before its mark.
pub struct Before {
    /// What it reclaimed last: a value of [`reclaim`], and the memory cgroup's id, 0 where it is not known.
    pub kind: u32,
    pub memcg_id: u64,
    /// Time in its rounds since its mark before, ns.
    pub spent_ns: u64,
    /// These rounds.
    pub rounds: u32,
    /// What of them went unseen.
    pub unseen: u32,
}

/// What the current thread reclaimed before the mark that it is about to tell of.
#[inline(always)]
pub fn take() -> Before {
    let Some(last) = RECLAIM.get_ptr_mut(current_tid()) else {
        return Before { kind: reclaim::NONE, memcg_id: 0, spent_ns: 0, rounds: 0, unseen: 0 };
    };
    // SAFETY: a map's element may be reused but never unmapped; this thread alone writes to its own.
    let last = unsafe { &mut *last };
    if now().wrapping_sub(last.seen_ns) > PAST_NS {
        (last.spent_ns, last.rounds, last.unseen, last.open) = (0, 0, 0, 0);
    }
    // The OOM killer does not run within a round: an open one's end went unseen.
    let (kind, memcg_id, spent_ns) = (last.kind, last.memcg_id, last.spent_ns);
    let before = Before { kind, memcg_id, spent_ns, rounds: last.rounds, unseen: last.unseen + last.open };
    (last.spent_ns, last.rounds, last.unseen, last.open) = (0, 0, 0, 0);
    before
}

/// What the current thread is short of, if that is known and was not asked for since.
#[inline(always)]
pub fn shortage() -> Option<Shortage> {
    let last = RECLAIM.get_ptr_mut(current_tid())?;
    // SAFETY: a map's element may be reused but never unmapped; this thread alone writes to its own.
    let last = unsafe { &mut *last };
    let told = last.news == 0 || now().wrapping_sub(last.seen_ns) > PAST_NS;
    let known = last.kind == reclaim::MEMCG || last.zoneref != 0;
    last.news = 0;
    let zoneref = if last.kind == reclaim::MEMCG { 0 } else { last.zoneref };
    (known && !told).then_some(Shortage { zoneref, gfp_mask: u64::from(last.gfp_mask) })
}

#[inline(always)]
fn begin(kind: u32, memcg_id: u64, gfp_mask: u32) {
    let (tid, now) = (current_tid(), now());
    if let Some(last) = RECLAIM.get_ptr_mut(tid) {
        // SAFETY: a map's element may be reused but never unmapped; this thread alone writes to its own.
        let last = unsafe { &mut *last };
        if now.wrapping_sub(last.seen_ns) > APART_NS {
            (last.spent_ns, last.rounds, last.unseen, last.zoneref) = (0, 0, 0, 0);
        } else {
            last.unseen += last.open;
        }
        if last.open != 0 {
            pressure::unseen();
        }
        (last.memcg_id, last.kind, last.seen_ns, last.open) = (memcg_id, kind, now, 1);
        (last.gfp_mask, last.news) = (gfp_mask, BEGUN);
        return;
    }
    // A failure leaves the thread without a stall.
    let first = Last {
        memcg_id,
        zoneref: 0,
        seen_ns: now,
        spent_ns: 0,
        rounds: 0,
        unseen: 0,
        kind,
        open: 1,
        gfp_mask,
        news: BEGUN,
        whose: 0,
        whose_began_ns: 0,
    };
    let _ = RECLAIM.insert(tid, first, 0);
}

impl Last {
    /// Whose the current thread is, whose own this is. Its ancestors are looked at once: whoever reclaims does it again.
    #[inline(always)]
    fn whose(&mut self) -> u64 {
        let began_ns = get!(current(), task_start_boottime);
        if self.whose_began_ns != began_ns {
            (self.whose, self.whose_began_ns) = (tree::whose(current()), began_ns);
        }
        self.whose
    }
}

/// A round of that kind ends, which freed so many pages.
#[inline(always)]
fn end(kind: u32, pages: u64) {
    let now = now();
    if let Some(last) = RECLAIM.get_ptr_mut(current_tid()) {
        // SAFETY: a map's element may be reused but never unmapped; this thread alone writes to its own.
        let last = unsafe { &mut *last };
        if last.open == 0 {
            last.unseen += 1;
            pressure::unseen();
        } else {
            let spent_ns = now.wrapping_sub(last.seen_ns);
            last.open = 0;
            last.spent_ns += spent_ns;
            last.rounds += 1;
            // A constant to the verifier.
            if constant!(PARAMS.pressure) != 0 {
                if last.kind == kind {
                    pressure::waited(u64::from(kind) | last.whose() << 32, spent_ns, pages);
                } else {
                    pressure::unseen();
                }
            }
        }
        last.seen_ns = now;
    } else {
        // It began before it was watched, or so many reclaim that there was no room for it.
        pressure::unseen();
    }
}

/// Pages that a round freed, by the arguments of its end.
#[inline(always)]
fn reclaimed(ctx: &RawTracePointContext) -> u64 {
    match constant!(PARAMS.reclaimed_arg) {
        0 => ctx.arg(0),
        1 => ctx.arg(1),
        _ => 0,
    }
}

/// `try_to_free_pages()` begins: a node's memory is short.
#[raw_tracepoint(tracepoint = "mm_vmscan_direct_reclaim_begin")]
fn direct_reclaim_raw_tp(ctx: RawTracePointContext) -> i32 {
    // The order of the arguments changed in 7.x.
    let gfp_mask = match constant!(PARAMS.reclaim_gfp_arg) {
        0 => ctx.arg(0),
        1 => ctx.arg(1),
        _ => 0,
    };
    begin(reclaim::DIRECT, 0, gfp_mask);
    0
}

/// It ends.
#[raw_tracepoint(tracepoint = "mm_vmscan_direct_reclaim_end")]
fn direct_reclaimed_raw_tp(ctx: RawTracePointContext) -> i32 {
    end(reclaim::DIRECT, reclaimed(&ctx));
    0
}

/// `try_to_free_mem_cgroup_pages()` begins: a memory cgroup is at its limit.
#[raw_tracepoint(tracepoint = "mm_vmscan_memcg_reclaim_begin")]
fn memcg_reclaim_raw_tp(ctx: RawTracePointContext) -> i32 {
    // The order of the arguments changed in 7.x, where the memory cgroup joined them.
    let memcg = match constant!(PARAMS.reclaim_memcg_arg) {
        NO_ARGUMENT => 0,
        0 => ctx.arg(0),
        1 => ctx.arg(1),
        _ => ctx.arg::<u64>(2),
    };
    begin(reclaim::MEMCG, memcg::id(memcg::css(memcg)), 0);
    0
}

/// It ends.
#[raw_tracepoint(tracepoint = "mm_vmscan_memcg_reclaim_end")]
fn memcg_reclaimed_raw_tp(ctx: RawTracePointContext) -> i32 {
    end(reclaim::MEMCG, reclaimed(&ctx));
    0
}

/// `reclaim_retry_zone(struct zoneref *zoneref, …)`: after a round, `should_reclaim_retry()` (mm/page_alloc.c) looks through
/// the zones that the request could be served from, in the order of its list, to see whether another round could help. It
/// does not after the last ones.
#[raw_tracepoint(tracepoint = "reclaim_retry_zone")]
fn retry_zone_raw_tp(ctx: RawTracePointContext) -> i32 {
    if let Some(last) = RECLAIM.get_ptr_mut(current_tid()) {
        // SAFETY: a map's element may be reused but never unmapped; this thread alone writes to its own.
        let last = unsafe { &mut *last };
        if last.news & RETRIED == 0 {
            last.news |= RETRIED;
            last.zoneref = ctx.arg(0);
        }
    }
    0
}

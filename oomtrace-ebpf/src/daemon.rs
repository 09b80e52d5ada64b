//! Kills by daemons in user space that watch memory: they act before the kernel's OOM killer does, and its log has no word of
//! it.
//!
//! Every SIGKILL and SIGTERM that a process sends passes here, so all but those of a few names leave at the first look.

use aya_ebpf::{
    bindings::{BPF_RB_AVAIL_DATA, BPF_RB_RING_SIZE},
    macros::map,
    maps::LruHashMap,
};
use oomtrace_ebpf::{DAEMON_AGAIN_NS, DAEMONS, RecordKind, UserKill, chain, recent};

use crate::{
    kin, memcg, mm,
    read::{constant, get, number},
    relief,
    ring::{RECORDS, Wake, count_lost, emit},
    run::{self, now},
    task::{self, current, current_tid},
    victim::{PF_EXITING, SEND_SIG_PRIV, same_process},
};

/// What was told lately, and when (`CLOCK_BOOTTIME`, ns): signals, by the signal, the process and when it began; and cgroups, by
/// [`CGROUP`], the thread that sends, and their state.
#[map]
static SENT: LruHashMap<[u64; 2], u64> = LruHashMap::with_max_entries(recent::SENT.holds, 0);

/// Marks a cgroup. No signal has this number.
const CGROUP: u64 = 1 << 63;
/// The cgroups of a process are not sent again within this time by the same thread, ns: a daemon that kills a whole cgroup kills
/// its processes one after the other.
const CGROUP_AGAIN_NS: u64 = 100_000_000;
/// `TRACE_SIGNAL_IGNORED` (include/trace/events/signal.h): the signal changes nothing.
const IGNORED: u64 = 1;

/// The lower bytes of a word: so many.
const fn bytes(count: usize) -> u64 {
    if count >= 8 { u64::MAX } else { (1 << (count * 8)) - 1 }
}

/// A name as it stands in `task_struct.comm`, in two words, and what of them counts: what is behind the NUL is left from names
/// that the task had before (`__set_task_comm()`, fs/exec.c, clears it since 5.17 only).
const fn words(name: &str) -> [(u64, u64); 2] {
    let name = name.as_bytes();
    assert!(name.len() <= 15, "no task's name is longer (TASK_COMM_LEN)");
    let mut comm = [0; 16];
    let mut at = 0;
    while at < name.len() {
        comm[at] = name[at];
        at += 1;
    }
    let comm = u128::from_le_bytes(comm);
    let counts = name.len() + 1;
    [(comm as u64, bytes(counts)), ((comm >> 64) as u64, bytes(counts.saturating_sub(8)))]
}

const fn is(word: u64, (name, counts): (u64, u64)) -> bool {
    word & counts == name
}

/// Whether a process has the name of one of the daemons. All but a few are none by the first eight letters.
#[inline(always)]
fn is_daemon(leader: u64) -> bool {
    const NAMES: [[(u64, u64); 2]; 4] =
        [words(DAEMONS[0]), words(DAEMONS[1]), words(DAEMONS[2]), words(DAEMONS[3])];
    const { assert!(NAMES.len() == DAEMONS.len(), "a daemon is left out") };
    let comm = constant!(LAYOUT.task_comm);
    let first = number::<u64>(leader, comm);
    if !(is(first, NAMES[0][0]) || is(first, NAMES[1][0]) || is(first, NAMES[2][0]) || is(first, NAMES[3][0]))
    {
        return false;
    }
    let second = number::<u64>(leader, comm.wrapping_add(8));
    let whole = |name: [(u64, u64); 2]| is(first, name[0]) && is(second, name[1]);
    whole(NAMES[0]) || whole(NAMES[1]) || whole(NAMES[2]) || whole(NAMES[3])
}

/// Whether this was not told within that time, and is now.
#[inline(always)]
fn is_news(key: &[u64; 2], again_ns: u64) -> bool {
    let now = now();
    if let Some(told) = SENT.get_ptr_mut(key) {
        // SAFETY: a map's element may be reused but never unmapped. If another one tells the same at this moment, it is told
        // twice.
        let told = unsafe { &mut *told };
        if now.wrapping_sub(*told) < again_ns {
            return false;
        }
        *told = now;
        return true;
    }
    // If there is no room, the least recent one makes it.
    let _ = SENT.insert(key, now, 0);
    true
}

/// The current task sent `task` a signal that ends processes: `signal_generate` with the same arguments. It is told if it is
/// one of the daemons that did. A global function.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn sent(task: u64, signal: u64, info: u64, result: u64) -> u64 {
    if !is_daemon(get!(current(), task_group_leader)) {
        return 0;
    }
    // The kernel's own signals: SEND_SIG_PRIV, and what children get as their parent ends (PR_SET_PDEATHSIG). cgroup.kill has no
    // information on the sender either (SEND_SIG_NOINFO: __cgroup_kill(), kernel/cgroup/cgroup.c).
    let ending = get!(current(), task_flags as u32) & PF_EXITING != 0;
    if info == SEND_SIG_PRIV || result == IGNORED || ending || same_process(task, current()) {
        return 0;
    }
    // It takes the signal only when the lock is free that is held here (`send_signal_locked()`, kernel/signal.c).
    if send_kill(task, signal, info) != 0 {
        relief::expect(task);
    }
    0
}

/// Whether it was told. A global function.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn send_kill(task: u64, signal: u64, info: u64) -> u64 {
    let began = get!(get!(task, task_group_leader), task_start_boottime);
    let process = get!(task, task_tgid as u32);
    if !is_news(&[signal << 32 | u64::from(process), began], DAEMON_AGAIN_NS) {
        return 0;
    }
    // Kills of the kernel's matter more. Nor can there be a run of this thread's: it is in a system call of its own.
    let half_full = RECORDS.query(BPF_RB_AVAIL_DATA.into()) > RECORDS.query(BPF_RB_RING_SIZE.into()) / 2;
    if half_full || run::current().is_some() || !run::begin(now(), 0) {
        count_lost(RecordKind::UserKill);
        return 0;
    }
    let css = task::memory_css(task);
    if css != 0 && is_news(&[CGROUP | u64::from(current_tid()), css], CGROUP_AGAIN_NS) {
        memcg::send_chain(css, u64::from(chain::VICTIM));
    }
    kin::send_kin(task, 0);
    emit(RecordKind::UserKill, Wake::Now, |record: &mut UserKill| {
        task::read(&mut record.killer, get!(current(), task_group_leader));
        // Not before: with both on its stack, this and what it calls would need more than the 512 bytes that the verifier
        // allows them together (check_max_stack_depth(), kernel/bpf/verifier.c).
        task::read(&mut record.victim, task);
        mm::read(&mut record.mm, get!(task, task_mm));
        record.signal = signal as u32;
        record.without_sender = u32::from(info == 0);
    });
    run::end();
    1
}

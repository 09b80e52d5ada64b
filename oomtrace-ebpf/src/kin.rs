//! Whose child a task is, and its id in its own PID namespace: both are gone with the processes, which may be at once.

use aya_ebpf::bindings::{BPF_RB_AVAIL_DATA, BPF_RB_RING_SIZE};
use oomtrace_ebpf::{Kin, RecordKind, kin};

use crate::{
    read::{constant, copy, get, into},
    ring::{RECORDS, Wake, apart, send},
    run::now,
    victim::same_process,
};

/// Sends what is known of the kin of a task's process, unless it is also that of the task `told`, whose is sent already
/// (0: nobody's is). Kills matter more: nothing is sent while the ring is half full. A global function.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn send_kin(task: u64, told: u64) -> u64 {
    let half_full = RECORDS.query(BPF_RB_AVAIL_DATA.into()) > RECORDS.query(BPF_RB_RING_SIZE.into()) / 2;
    if half_full || same_process(task, told) {
        return 0;
    }
    let header = apart(RecordKind::Kin, size_of::<Kin>(), now());
    send(RecordKind::Kin, header, Wake::Later, |record: &mut Kin| {
        let leader = get!(task, task_group_leader);
        record.pid = get!(task, task_tgid as u32);
        record.start_boot_ns = get!(leader, task_start_boottime);
        let pid = get!(leader, task_thread_pid);
        let numbers = constant!(LAYOUT.pid_numbers);
        copy!(record.pid_in_initial <- pid, pid_numbers, kin::INITIAL);
        // Of each namespace from the initial one down to its own: `pid_nr_ns()` (kernel/pid.c).
        let level_read = into(&raw mut record.level, pid, constant!(LAYOUT.pid_level));
        let own = numbers.wrapping_add(u64::from(record.level).wrapping_mul(constant!(PARAMS.upid_bytes)));
        record.present |= kin::NS_PID * (level_read & into(&raw mut record.ns_pid, pid, own));
        let mut process = leader;
        for ancestor in &mut record.ancestors {
            // The parent may be any thread of its process. Beyond init and kthreadd comes the idle task, which is its own
            // parent and has the id 0.
            process = get!(get!(process, task_real_parent), task_group_leader);
            copy!(ancestor.pid <- process, task_tgid, kin::PID);
            copy!(ancestor.comm <- process, task_comm, kin::COMM);
        }
    });
    0
}

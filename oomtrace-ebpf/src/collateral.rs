//! Who dies with a victim though nobody chose it. Both kinds get the kernel's own SIGKILL, as others do for other reasons:
//! what tells is whose memory it is, and who sends.

use aya_ebpf::{macros::raw_tracepoint, programs::RawTracePointContext};
use oomtrace_ebpf::{RecordKind, Struck, struck};

use crate::{
    mm,
    read::get,
    relief,
    ring::{Wake, apart, send},
    task::{self, current},
    victim::{PF_EXITING, SEND_SIG_PRIV, SIGKILL},
};

/// `task` gets the kernel's own SIGKILL while a victim is expected to end.
#[inline(always)]
fn hit(task: u64, boot_ns: u64) {
    // __oom_kill_process() kills whoever shares the victim's memory, in the context of the trigger. The init of a PID
    // namespace kills all in it as it ends itself, and has let go of its memory by then.
    let ending = get!(current(), task_flags as u32) & PF_EXITING != 0;
    let (how, source) = if ending { (struck::NAMESPACE, current()) } else { (struck::SHARED, task) };
    let Some((pid, start_boot_ns)) = relief::victim_of(task::mm(source), boot_ns) else { return };
    // The victim itself, and its own threads.
    if pid != get!(task, task_tgid as u32) {
        send_struck(task, u64::from(how) << 32 | u64::from(pid), start_boot_ns, boot_ns);
    }
}

/// A global function, which takes five numbers at the most: the second one is two, the first in the upper half.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn send_struck(task: u64, how_pid: u64, start_boot_ns: u64, boot_ns: u64) -> u64 {
    let header = apart(RecordKind::Struck, size_of::<Struck>(), boot_ns);
    send(RecordKind::Struck, header, Wake::Now, |record: &mut Struck| {
        record.how = (how_pid >> 32) as u32;
        record.victim_pid = how_pid as u32;
        record.victim_start_boot_ns = start_boot_ns;
        task::read(&mut record.task, task);
        mm::read(&mut record.mm, task::mm(task));
    });
    0
}

/// `signal_generate(int sig, struct kernel_siginfo *info, struct task_struct *task, int group, int result)`: every signal
/// passes here, so all but the kernel's own SIGKILL leave at once, and that too while no victim is expected to end.
#[raw_tracepoint(tracepoint = "signal_generate")]
fn struck_raw_tp(ctx: RawTracePointContext) -> i32 {
    if ctx.arg::<i32>(0) == SIGKILL && ctx.arg::<u64>(1) == SEND_SIG_PRIV {
        let boot_ns = relief::expected();
        if boot_ns != 0 {
            hit(ctx.arg(2), boot_ns);
        }
    }
    0
}

//! Who dies with a victim though nobody chose it. Both kinds get the kernel's own SIGKILL, as others do for other reasons:
//! what tells is whose memory it is, and who sends.

use aya_ebpf::{macros::raw_tracepoint, programs::RawTracePointContext};
use oomtrace_ebpf::{RecordKind, Struck, chain, struck as how};

use crate::{
    kin, memcg, mm,
    read::get,
    relief,
    ring::{Wake, apart, send},
    run,
    task::{self, current},
    victim::{PF_EXITING, ends},
};

/// `task` gets the kernel's own SIGKILL: whether it dies with a victim (1, or 0), which is told then. A global function.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn struck(task: u64) -> u64 {
    let boot_ns = relief::expected();
    if boot_ns == 0 { 0 } else { hit(task, boot_ns) }
}

/// The same while a victim is expected to end. A global function.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn hit(task: u64, boot_ns: u64) -> u64 {
    // __oom_kill_process() kills whoever shares the victim's memory, in the context of the trigger. The init of a PID
    // namespace kills all in it as it ends itself, and has let go of its memory by then.
    let ending = get!(current(), task_flags as u32) & PF_EXITING != 0;
    let (kind, source) = if ending { (how::NAMESPACE, current()) } else { (how::SHARED, task) };
    let Some(victim) = relief::victim_of(task::mm(source), boot_ns) else { return 0 };
    // An init's memory is its own to the end; what shares a victim's shares it before it is free.
    let own = victim.pid == get!(current(), task_tgid as u32);
    let concerned = if ending { own } else { !victim.freed };
    // The victim itself, and its own threads, are not meant.
    if !concerned || victim.pid == get!(task, task_tgid as u32) {
        return 0;
    }
    kin::send_kin(task, 0);
    // What shares a victim's memory may be in another cgroup.
    let css = task::memory_css(task);
    if let Some(run) = run::current()
        && css != 0
        && css != run.sent
    {
        memcg::send_chain(css, u64::from(chain::VICTIM));
    }
    let header = apart(RecordKind::Struck, size_of::<Struck>(), boot_ns);
    send(RecordKind::Struck, header, Wake::Now, |record: &mut Struck| {
        record.how = kind;
        record.victim_pid = victim.pid;
        record.victim_start_boot_ns = victim.start_boot_ns;
        task::read(&mut record.task, task);
        mm::read(&mut record.mm, task::mm(task));
    });
    1
}

/// `signal_generate(int sig, struct kernel_siginfo *info, struct task_struct *task, int group, int result)`: every signal
/// passes here, so all but those that end a process leave at once, and the kernel's own SIGKILL too while no victim is expected to
/// end.
#[raw_tracepoint(tracepoint = "signal_generate")]
fn struck_raw_tp(ctx: RawTracePointContext) -> i32 {
    if let Some(task) = ends(&ctx) {
        struck(task);
    }
    0
}

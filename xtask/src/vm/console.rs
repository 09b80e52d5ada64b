//! Finds in a kernel's log what must not be there.

/// How a message starts that tells of a bug in the kernel, or of one that we provoked.
const STARTS: [&str; 14] = [
    "BUG: ",
    "Internal error: ",
    "INFO: possible ",
    "INFO: rcu_",
    "Kernel panic",
    "Oops",
    "UBSAN: ",
    "WARNING: ",
    "divide error",
    "general protection fault",
    "invalid opcode",
    "kernel BUG at",
    "rcu: INFO: rcu_",
    "watchdog: BUG: ",
];
/// How many lines after its first are shown of a splat.
const CONTEXT: usize = 15;
/// The taints (Documentation/admin-guide/tainted-kernels.rst) that such a message leaves behind: 7 died, 9 warned,
/// 14 soft lockup.
const TAINTS: [(u32, &str); 3] = [(7, "an oops"), (9, "a warning"), (14, "a soft lockup")];

/// The splats in a kernel's log, each with the lines that follow it.
pub fn splats(log: &str, expect_panic: bool) -> Vec<String> {
    let lines: Vec<&str> = log.lines().map(|line| line.trim_end_matches('\r')).collect();
    let found = lines.iter().enumerate().filter(|(_, line)| {
        let message = message(line);
        is_splat(message) && !(expect_panic && message.starts_with("Kernel panic"))
    });
    found.map(|(at, _)| lines.iter().skip(at).take(CONTEXT).copied().collect::<Vec<_>>().join("\n")).collect()
}

/// What the taint mask tells of splats, should the log have lost them.
pub fn tainted(mask: u64) -> Vec<String> {
    let set = TAINTS.iter().filter(|(bit, _)| mask >> bit & 1 == 1);
    set.map(|(_, what)| format!("the kernel is tainted by {what} (mask {mask})")).collect()
}

/// Whether the log ends in a panic.
pub fn panicked(log: &str) -> bool {
    log.lines().any(|line| message(line).starts_with("Kernel panic"))
}

fn is_splat(message: &str) -> bool {
    STARTS.iter().any(|start| message.starts_with(start))
        || message.starts_with("INFO: task ") && message.contains(" blocked for more than ")
}

/// A line without its time and its caller: "[    1.500000][    T1] BUG: ..." is "BUG: ...".
fn message(line: &str) -> &str {
    let mut rest = line;
    while let Some(inner) = rest.strip_prefix('[') {
        let Some((stamp, message)) = inner.split_once(']') else { break };
        if !stamp.trim().starts_with(|c: char| c.is_ascii_digit() || "TC".contains(c)) {
            break;
        }
        rest = message.trim_start();
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards that each kind of splat is seen, with and without time and caller.
    #[test]
    fn sees_splats() {
        for line in [
            "[   12.345678] WARNING: CPU: 0 PID: 77 at mm/oom_kill.c:12 oom_evaluate_task+0x1/0x2",
            "[   12.345678][  T123] BUG: kernel NULL pointer dereference, address: 0000000000000008",
            "rcu: INFO: rcu_sched detected stalls on CPUs/tasks:",
            "[  1.0] rcu: INFO: rcu_preempt self-detected stall on CPU",
            "[  242.1] INFO: task eater:99 blocked for more than 120 seconds.",
            "[    3.0] Oops: 0002 [#1] SMP PTI",
            "[    3.0] watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [eater:99]",
            "[    3.0] Kernel panic - not syncing: Attempted to kill init!",
            "[    3.0] kernel BUG at mm/slub.c:1!\r",
        ] {
            assert_eq!(splats(line, false).len(), 1, "{line}");
        }
    }

    /// Guards against false alarms: an OOM kill is what we are here for, and a process may have any name.
    #[test]
    fn ignores_what_belongs_there() {
        for line in [
            "[    5.1] eater invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0",
            "[    5.1] Out of memory: Killed process 99 (WARNING: ) total-vm:1kB",
            "[    0.1] Spectre V2 : WARNING: Unprivileged eBPF is enabled with eIBRS on",
            "[    5.1] [    99]     0    99   123  45  BUG: x",
            "[    0.0] Warning: unable to open an initial console.",
        ] {
            assert_eq!(splats(line, false), [] as [String; 0], "{line}");
        }
    }

    /// Guards that a panic which a test wants passes, and nothing else with it.
    #[test]
    fn an_expected_panic_passes_alone() {
        let log = "[ 1.0] Kernel panic - not syncing: Out of memory\n[ 1.0] CPU: 0\n";
        assert!(panicked(log));
        assert_eq!(splats(log, true), [] as [String; 0]);
        assert_eq!(splats(&format!("{log}[ 1.1] BUG: x\n"), true).len(), 1);
    }

    /// Guards that a warning is noticed even when the log has lost it.
    #[test]
    fn the_taint_tells() {
        assert_eq!(tainted(0), [] as [String; 0]);
        assert_eq!(tainted(1 << 12 | 1 << 13), [] as [String; 0]);
        assert_eq!(tainted(1 << 9).len(), 1);
    }

    /// Guards that a report shows the trace below the first line.
    #[test]
    fn shows_what_follows() {
        let found = splats("[ 1.0] fine\n[ 1.1] BUG: x\n[ 1.2] Call Trace:\n", false);
        assert_eq!(found, ["[ 1.1] BUG: x\n[ 1.2] Call Trace:"]);
    }
}

//! What this process may do, and what of what oomtrace does depends on it.

use rustix::thread::{CapabilitySet, capabilities};
use serde::Serialize;

/// A capability.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Right {
    /// Its name.
    pub capability: &'static str,
    /// Whether this process has it; `None` if the kernel does not tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held: Option<bool>,
    /// What it adds.
    pub adds: &'static str,
}

/// Each that oomtrace makes use of. The first two are what tracing takes.
const USED: [(&str, CapabilitySet, &str); 8] = [
    ("CAP_BPF", CapabilitySet::BPF, "tracing: programs in the kernel, and their maps"),
    ("CAP_PERFMON", CapabilitySet::PERFMON, "tracing: programs that read the kernel's memory"),
    // Debian's and Ubuntu's kernels ask for it in `perf_event_open()` where the sysctl is above 2.
    (
        "CAP_SYS_ADMIN",
        CapabilitySet::SYS_ADMIN,
        "kprobes where kernel.perf_event_paranoid is above 2; it also stands for the two above",
    ),
    // `kallsyms_show_value()`, kernel/ksyms_common.c; `check_syslog_permissions()`, kernel/printk/printk.c.
    (
        "CAP_SYSLOG",
        CapabilitySet::SYSLOG,
        "addresses in /proc/kallsyms (how this kernel reads its memory counters: rss_kernel, points), and the kernel log where \
         kernel.dmesg_restrict is 1",
    ),
    // `proc_pid_make_inode()`'s modes and `proc_mem_open()`, `has_pid_permissions()`, fs/proc/base.c.
    (
        "CAP_SYS_PTRACE",
        CapabilitySet::SYS_PTRACE,
        "environments of others' processes, for what `check` finds, and these processes at all where /proc is mounted with hidepid",
    ),
    // `__set_oom_adj()`, fs/proc/base.c; `do_prlimit()`, kernel/sys.c.
    (
        "CAP_SYS_RESOURCE",
        CapabilitySet::SYS_RESOURCE,
        "to live through what is reported: an oom_score_adj of its own of -999, and a higher limit of locked memory, which before \
         Linux 5.11 counts maps and programs",
    ),
    (
        "CAP_IPC_LOCK",
        CapabilitySet::IPC_LOCK,
        "the same: memory of its own that is locked, whatever the limit of that is",
    ),
    (
        "CAP_DAC_READ_SEARCH",
        CapabilitySet::DAC_READ_SEARCH,
        "as another user than root: names of containers and pods from their runtimes' files, and journals and dumps of the kernel log",
    ),
];

/// What this thread has.
#[must_use]
pub fn rights() -> Vec<Right> {
    let have = capabilities(None).ok().map(|sets| sets.effective);
    of(have)
}

fn of(have: Option<CapabilitySet>) -> Vec<Right> {
    let right = |(name, capability, adds)| Right {
        capability: name,
        held: have.map(|have: CapabilitySet| have.contains(capability)),
        adds,
    };
    USED.into_iter().map(right).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the table: a name stands for its capability, and what is not known is neither had nor lacking.
    #[test]
    fn each_is_had_by_its_own_name() {
        for (name, capability, _) in USED {
            let held = of(Some(capability)).into_iter().filter(|right| right.held == Some(true));
            assert_eq!(held.map(|right| right.capability).collect::<Vec<_>>(), [name]);
            let names: Vec<_> = capability.iter_names().map(|(name, _)| format!("CAP_{name}")).collect();
            assert_eq!(names, [name]);
        }
        assert!(of(None).iter().all(|right| right.held.is_none()));
    }
}

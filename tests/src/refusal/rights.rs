//! The cases that differ in what oomtrace may do, and what bounds it beside its capabilities.

use std::fs;

use rustix::thread::CapabilitySet as Cap;

use super::conditions::{Conditions, Rights};
use super::privilege::{ALL, ASKS, ASKS_FOR_KPROBES, BUT_SYMBOLS, Case, Ending, may_read_log};
use crate::machine::Machine;
use crate::size::MIB;

/// What tracing takes.
pub const ENOUGH: Cap = Cap::BPF.union(Cap::PERFMON);
/// What may be locked where that counts, in bytes: it counts by user, and several oomtraces of one user see
/// each kill, of which each takes less than 512 KiB on 5.10.
const LOCKED: u64 = 16 * MIB;
/// It asks for memory that it may lock.
const ASKS_TO_LOCK: Ending = Ending::Refuses(&["RLIMIT_MEMLOCK"]);

/// What bounds oomtrace on this machine beside its capabilities.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Whether maps and programs count as locked memory of their user: before 5.11 (`bpf_charge_memlock`,
    /// kernel/bpf/syscall.c).
    pub locking_counts: bool,
    /// Whether it insists on kprobes and these take CAP_SYS_ADMIN: Debian's and Ubuntu's kernels ask for that
    /// in `perf_event_open` where the sysctl `kernel.perf_event_paranoid` is above 2, as it is by default.
    pub kprobes_are_admins: bool,
}

impl Bounds {
    /// Those of this machine, with a tier that is insisted on.
    #[must_use]
    pub fn here(machine: &Machine, tier: Option<&str>) -> Self {
        let paranoid = fs::read_to_string("/proc/sys/kernel/perf_event_paranoid").unwrap_or_default();
        let restricted = paranoid.trim().parse().is_ok_and(|level: i64| level > 2);
        Self {
            locking_counts: locking_counts(&machine.kernel),
            kprobes_are_admins: tier == Some("kprobe") && restricted,
        }
    }

    /// Somebody without rights but for these capabilities, who may lock what it takes.
    #[must_use]
    pub fn able(self, capabilities: Cap) -> Conditions {
        let nobody = Conditions::default().rights(Rights::Nobody(capabilities));
        if self.locking_counts { nobody.locked(LOCKED) } else { nobody }
    }

    /// What becomes of `ending` without CAP_SYS_ADMIN.
    #[must_use]
    pub fn of_perf(self, ending: Ending) -> Ending {
        if self.kprobes_are_admins { ASKS_FOR_KPROBES } else { ending }
    }

    /// What becomes of `ending` for who may not lock enough, nor raise that.
    fn of_locking(self, ending: Ending) -> Ending {
        if self.locking_counts { ASKS_TO_LOCK } else { ending }
    }
}

/// The cases. `open`: no tier is insisted on.
#[must_use]
pub fn table(bounds: Bounds, open: bool) -> Vec<Case> {
    let mut cases = Vec::new();
    let root_asks = ASKS.or_log(open);
    let asks = |capabilities: Cap| ASKS.or_log(open && may_read_log(capabilities.contains(Cap::SYSLOG)));
    for (lacking, capabilities, ending) in [
        ("CAP_BPF", Cap::BPF, ALL),
        ("CAP_PERFMON", Cap::PERFMON, ALL),
        ("CAP_SYS_ADMIN", Cap::SYS_ADMIN, bounds.of_perf(ALL)),
        ("CAP_SYS_RESOURCE", Cap::SYS_RESOURCE, bounds.of_locking(ALL).or_log(open)),
        ("CAP_DAC_READ_SEARCH", Cap::DAC_READ_SEARCH, ALL),
        ("CAP_SYSLOG", Cap::SYSLOG, BUT_SYMBOLS),
        ("CAP_BPF, CAP_PERFMON and CAP_SYS_ADMIN", ENOUGH.union(Cap::SYS_ADMIN), root_asks),
    ] {
        let conditions = Conditions::default().rights(Rights::Without(capabilities));
        cases.push(Case::new(&format!("root without {lacking}"), conditions, &[], ending));
    }
    for (having, capabilities, ending) in [
        ("CAP_BPF and CAP_PERFMON", ENOUGH, bounds.of_perf(BUT_SYMBOLS)),
        // It stands for both of them, as before they were split off (5.8).
        ("CAP_SYS_ADMIN", Cap::SYS_ADMIN, BUT_SYMBOLS),
        ("CAP_BPF", Cap::BPF, asks(Cap::BPF)),
        ("CAP_PERFMON", Cap::PERFMON, asks(Cap::PERFMON)),
        ("nothing", Cap::empty(), asks(Cap::empty())),
    ] {
        cases.push(Case::new(&format!("nobody with {having}"), bounds.able(capabilities), &[], ending));
    }
    let unable = Conditions::default().rights(Rights::Nobody(ENOUGH)).locked(0);
    let ending = bounds.of_locking(bounds.of_perf(BUT_SYMBOLS)).or_log(open && may_read_log(false));
    cases.push(Case::new("nobody with CAP_BPF and CAP_PERFMON, who may lock nothing", unable, &[], ending));
    cases
}

/// See [`Bounds::locking_counts`].
fn locking_counts(kernel: &str) -> bool {
    let mut numbers = kernel.split('.').map_while(|number| number.parse::<u64>().ok());
    (numbers.next(), numbers.next()) < (Some(5), Some(11))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Guards what is expected of a kernel against its version being misread.
    #[test]
    fn old_kernels_count_locked_memory() {
        assert!(locking_counts("5.10.223") && locking_counts("4.19.0-27-amd64"));
        assert!(!locking_counts("5.11.0") && !locking_counts("7.2-rc1") && !locking_counts("6.1.0-40-cloud"));
    }

    /// Guards the table: no two cases share a name, under which their results are kept.
    #[test]
    fn cases_are_told_apart() {
        let cases = table(Bounds { locking_counts: true, kprobes_are_admins: false }, true);
        let names: BTreeSet<_> = cases.iter().map(|case| &case.name).collect();
        assert_eq!(names.len(), cases.len());
    }
}

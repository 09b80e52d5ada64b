//! The capabilities that are needed after attach. Where a kernel or a setting decides, it is tried, and no version is asked.

use std::{fmt, fs, io};

use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};

use super::Plan;

/// A capability that stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Which.
    pub capability: CapabilitySet,
    /// What for.
    pub why: &'static str,
}

impl fmt::Display for Kept {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, _) in self.capability.iter_names() {
            write!(to, "CAP_{name} ")?;
        }
        write!(to, "({})", self.why)
    }
}

/// What stays of what this thread has. All else is needed before and while attaching only:
/// - CAP_SYS_ADMIN, CAP_PERFMON, CAP_BPF: to load and attach programs, not to have them run, nor to detach (close(2)).
/// - CAP_SYSLOG: to open /dev/kmsg (`devkmsg_open()`, kernel/printk/printk.c), not to read what is open, and for addresses in
///   /proc/kallsyms.
/// - CAP_SYS_RESOURCE, CAP_SYS_NICE: for what the agent does once to live through what it reports.
/// - CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER: root's files are root's without them.
pub(super) fn needed(plan: &Plan) -> io::Result<Vec<Kept>> {
    let have = capabilities(None)?;
    let mut kept: Vec<_> = plan.keep.clone();
    let mut keep = |capability, why| kept.push(Kept { capability, why });
    // Before Linux 5.19 any bpf(2) asks for it where unprivileged BPF is disabled (`__sys_bpf()`, kernel/bpf/syscall.c).
    if plan.programs && !works_without(have, CapabilitySet::BPF | CapabilitySet::SYS_ADMIN, maps_can_be_read)
    {
        keep(CapabilitySet::BPF, "this kernel asks for it at each look into a map");
    }
    // Root owns the runtimes' folders.
    if !rustix::process::geteuid().is_root() {
        keep(CapabilitySet::DAC_READ_SEARCH, "to read containers' names from their runtimes' files");
    }
    // With hidepid (`has_pid_permissions()`, fs/proc/base.c).
    if !works_without(have, CapabilitySet::SYS_PTRACE, || fs::read("/proc/1/stat").is_ok()) {
        keep(CapabilitySet::SYS_PTRACE, "/proc hides others' processes");
    }
    // What is mapped later is locked as well (`mlock_future_ok()`, mm/mmap.c): with a bound, memory would run out at it.
    if locks_memory() && !unbound_locked_memory() {
        keep(CapabilitySet::IPC_LOCK, "locked memory is limited to RLIMIT_MEMLOCK");
    }
    // What was not had cannot be kept.
    kept.retain(|kept| have.permitted.contains(kept.capability));
    Ok(kept)
}

/// Has this thread have no more than these.
pub(super) fn reduce_to(these: CapabilitySet) -> io::Result<()> {
    let sets = CapabilitySets { effective: these, permitted: these, inheritable: CapabilitySet::empty() };
    Ok(set_capabilities(None, sets)?)
}

/// Gives up every capability, for good: no program that is executed gets one, whatever its file has.
pub fn drop_all() -> io::Result<()> {
    // It takes CAP_SETPCAP. Without it, what follows is enough.
    let _ = empty_bounding_set();
    rustix::thread::clear_ambient_capability_set()?;
    rustix::thread::set_no_new_privs(true)?;
    reduce_to(CapabilitySet::empty())
}

/// Takes every capability that this kernel knows out of the bounding set.
pub(super) fn empty_bounding_set() -> io::Result<()> {
    for number in 0_u64..64 {
        // SAFETY: the calls take no pointer.
        let there = unsafe { libc::prctl(libc::PR_CAPBSET_READ, number, 0, 0, 0) };
        if there < 0 {
            // The kernel knows no more.
            break;
        }
        // SAFETY: as above.
        if there > 0 && unsafe { libc::prctl(libc::PR_CAPBSET_DROP, number, 0, 0, 0) } < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Tries something while capabilities are not effective.
fn works_without(have: CapabilitySets, without: CapabilitySet, works: impl FnOnce() -> bool) -> bool {
    let less = CapabilitySets { effective: have.effective - without, ..have };
    if set_capabilities(None, less).is_err() {
        return true;
    }
    let works = works();
    // What is permitted can be made effective, always.
    let _ = set_capabilities(None, have);
    works
}

/// Whether the kernel lets this thread look into maps: it asks for capabilities before it looks which map is meant.
fn maps_can_be_read() -> bool {
    const LOOKUP: libc::c_int = 1;
    // `union bpf_attr` as far as a lookup has it: map_fd, key, value, flags.
    let attr: [u64; 4] = [u64::from(u32::MAX), 0, 0, 0];
    // SAFETY: the pointer is to an attr of ours and its size. There is no such map, so nothing is written.
    let result = unsafe { libc::syscall(libc::SYS_bpf, LOOKUP, &raw const attr, size_of_val(&attr)) };
    result >= 0 || io::Error::last_os_error().raw_os_error() != Some(libc::EPERM)
}

/// Whether this process's memory is locked.
fn locks_memory() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let locked = status.lines().find_map(|line| line.strip_prefix("VmLck:"));
    locked.is_some_and(|locked| locked.trim() != "0 kB")
}

/// Whether this process may lock whatever memory it will ever have: with a bound, what is mapped later could not be had any more.
#[must_use]
pub fn may_lock_memory() -> bool {
    unbound_locked_memory()
        || capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::IPC_LOCK))
}

/// Has locked memory have no bound, if that is allowed, or so already.
fn unbound_locked_memory() -> bool {
    use rustix::process::{Resource, Rlimit, setrlimit};
    setrlimit(Resource::Memlock, Rlimit { current: None, maximum: None }).is_ok()
}

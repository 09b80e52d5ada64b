//! Takes samples.

use std::{fs, io, path::Path};

use super::{
    OpenTasks,
    cgroups::Cgroups,
    files::Folder,
    processes::Processes,
    sample::{Machine, Moment, Reading, Sample},
};
use crate::host;

/// The first PID namespace (`PROC_PID_INIT_INO`, include/linux/proc_ns.h).
const INITIAL: &str = "pid:[4026531836]";

/// What is looked at, and who is known there.
pub struct Sampler {
    proc: Folder,
    cgroups: Option<Cgroups>,
    /// `None`: the kernel numbers them otherwise than /proc does.
    processes: Option<Processes>,
}

impl Sampler {
    /// The machine below `root` (`/`).
    ///
    /// # Errors
    /// There is no /proc.
    pub fn new(root: &Path, tasks: Option<OpenTasks>) -> io::Result<Self> {
        let processes = (!is_apart(root)).then(|| Processes::new(host::page_bytes(), tasks));
        Ok(Self { proc: Folder::open(&root.join("proc"))?, cgroups: Cgroups::find(root), processes })
    }

    /// Takes a sample now, and says how much CPU time that took, ns.
    pub fn timed(&mut self) -> (Reading, u64) {
        let begun = host::clock_ns(libc::CLOCK_THREAD_CPUTIME_ID);
        let at = Moment { boot_ns: host::boot_ns(), awake_ns: host::awake_ns() };
        let reading = self.take(at);
        (reading, host::clock_ns(libc::CLOCK_THREAD_CPUTIME_ID).saturating_sub(begun))
    }

    /// Takes a sample.
    pub fn take(&mut self, at: Moment) -> Reading {
        let machine = Machine::read(&self.proc);
        // First, so that those of new processes are known.
        let walk = self.cgroups.as_mut().map(Cgroups::walk).unwrap_or_default();
        let swapped = machine.swap_used.is_some_and(|used| used > 0);
        let scan = self.processes.as_mut().map(|all| all.scan(&self.proc, self.cgroups.as_ref(), swapped));
        let scan = scan.unwrap_or_default();
        Reading {
            sample: Sample { at, machine, processes: scan.sizes, cgroups: walk.sizes, whole: scan.whole },
            processes: scan.told,
            cgroups: walk.new,
        }
    }
}

/// Whether this runs in a PID namespace of its own whose /proc it sees: incidents have the numbers of the first one.
fn is_apart(root: &Path) -> bool {
    let own = root.join("proc/self");
    let Ok(namespace) = fs::read_link(own.join("ns/pid")) else { return false };
    let status = fs::read_to_string(own.join("status")).unwrap_or_default();
    let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap_or_default();
    // With several numbers this is the /proc of a namespace further out.
    namespace.to_str() != Some(INITIAL) && numbers.split_whitespace().count() < 2
}

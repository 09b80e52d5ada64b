//! One look at everything.

use std::io;

use super::{
    InCgroup, Wanted,
    kswapd::Kswapds,
    processes::{Own, Processes},
    vmstat::Vmstat,
};
use crate::{
    flight::{Folder, Machine},
    host,
};

/// What was seen.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    /// When it began: `CLOCK_BOOTTIME`, ns.
    pub boot_ns: u64,
    /// CPU time that it took.
    pub cpu_ns: u64,
    pub machine: Machine,
    pub vmstat: Vmstat,
    pub cgroup: InCgroup,
    pub waited_ns: Option<u64>,
    pub own: Option<Own>,
    pub kswapd_ns: Option<u64>,
}

/// What is looked at.
pub struct Reader {
    proc: Folder,
    processes: Processes,
    kswapds: Kswapds,
    cgroup: Option<Box<dyn FnMut() -> InCgroup + Send>>,
    waited_ns: Option<Box<dyn FnMut() -> u64 + Send>>,
}

impl Reader {
    /// # Errors
    /// There is no /proc.
    pub fn new(wanted: Wanted) -> io::Result<Self> {
        let Wanted { root, above, tasks, cgroup, waited_ns, .. } = wanted;
        let proc = Folder::open(&root.join("proc"))?;
        let kswapds = Kswapds::find(&proc);
        Ok(Self {
            processes: Processes::new(host::page_bytes(), above, tasks),
            proc,
            kswapds,
            cgroup,
            waited_ns,
        })
    }

    /// Takes a sample, with the CPU time that it took.
    pub fn timed(&mut self) -> Sample {
        let begun = host::clock_ns(libc::CLOCK_THREAD_CPUTIME_ID);
        let sample = self.take();
        let cpu_ns = host::clock_ns(libc::CLOCK_THREAD_CPUTIME_ID).saturating_sub(begun);
        Sample { cpu_ns, ..sample }
    }

    fn take(&mut self) -> Sample {
        let boot_ns = host::boot_ns();
        let machine = Machine::read(&self.proc);
        let swapped = machine.swap_used.is_some_and(|used| used > 0);
        Sample {
            boot_ns,
            cpu_ns: 0,
            machine,
            vmstat: Vmstat::read(&self.proc),
            cgroup: self.cgroup.as_mut().map(|look| look()).unwrap_or_default(),
            waited_ns: self.waited_ns.as_mut().map(|waited| waited()),
            kswapd_ns: self.kswapds.cpu_ns(&self.proc),
            own: self.processes.read(&self.proc, swapped),
        }
    }
}

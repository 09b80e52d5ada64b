//! The machine that the scenarios run on: what it can be made to do, and what the comparisons need to know.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::fs::statfs;
use rustix::process::geteuid;

use crate::process::on_path;
use crate::size::KIB;
use crate::witness::cgroup::{Hierarchy, Version};

/// Filesystem types of a root that lives in memory (include/uapi/linux/magic.h).
const IN_MEMORY: [i64; 2] = [0x0102_1994, 0x8584_58f6];

/// Facts that do not change while the scenarios run.
#[derive(Debug, Clone)]
pub struct Machine {
    /// `uname -r`.
    pub kernel: String,
    /// `uname -n`.
    pub host: String,
    /// This boot's id.
    pub boot_id: String,
    /// Bytes in a page.
    pub page_bytes: u64,
    /// Online CPUs.
    pub cpus: u64,
    /// `MemTotal` in bytes.
    pub memory_bytes: u64,
    /// `SwapTotal` in bytes.
    pub swap_bytes: u64,
    /// NUMA nodes that have memory.
    pub nodes: usize,
    /// Whether there is a zram device to swap to.
    pub zram: bool,
    /// Podman, if it is installed.
    pub podman: Option<PathBuf>,
    /// Where the memory controller is.
    pub hierarchy: Option<Hierarchy>,
    /// Whether the machine may run out of memory as a whole: it was made for it.
    pub disposable: bool,
    /// Whether its time passes by the instructions that it executes.
    pub exact_times: bool,
    /// What any scenario needs and this machine or user lacks.
    pub lacking: Vec<String>,
}

/// How time passes for a machine's processors, which is to say how far two looks at the clock may be apart that follow
/// each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// As they work.
    Real,
    /// Also while one of them stands still: they are emulated, on a host that has fewer, or other work.
    Emulated,
    /// By the instructions that they execute, and not otherwise.
    Exact,
}

impl Machine {
    /// Looks at this machine. A root filesystem in memory is taken as the mark of a throwaway guest, unless
    /// `disposable` says so of another.
    pub fn look(disposable: bool) -> Result<Self> {
        let meminfo =
            fs::read_to_string("/proc/meminfo").context("cannot read /proc/meminfo; mount /proc")?;
        let stat = fs::read_to_string("/proc/stat").context("cannot read /proc/stat")?;
        let root = statfs("/").context("cannot tell the type of the root filesystem")?;
        let boot_id =
            fs::read_to_string("/proc/sys/kernel/random/boot_id").context("cannot read the boot id")?;
        let name = rustix::system::uname();
        Ok(Self {
            kernel: name.release().to_string_lossy().into_owned(),
            host: name.nodename().to_string_lossy().into_owned(),
            boot_id: boot_id.trim().to_owned(),
            page_bytes: rustix::param::page_size() as u64,
            cpus: online_cpus(&stat),
            memory_bytes: meminfo_bytes(&meminfo, "MemTotal:").context("/proc/meminfo has no MemTotal")?,
            swap_bytes: meminfo_bytes(&meminfo, "SwapTotal:").context("/proc/meminfo has no SwapTotal")?,
            nodes: nodes(&fs::read_to_string("/sys/devices/system/node/has_memory").unwrap_or_default()),
            zram: Path::new("/sys/block/zram0").exists(),
            podman: on_path("podman"),
            hierarchy: Hierarchy::find()?,
            disposable: disposable || IN_MEMORY.contains(&root.f_type),
            exact_times: false,
            lacking: lacking(),
        })
    }

    /// Whether the memory controller is in the version 2 hierarchy.
    #[must_use]
    pub fn unified(&self) -> bool {
        self.hierarchy.as_ref().is_some_and(|hierarchy| hierarchy.version == Version::V2)
    }

    /// What one of a process's rss counters may be off by, for all that the kernel has not yet added up. In bytes.
    ///
    /// Since 6.2 each CPU holds back a part: `cpus × (batch − 1)` pages, with `batch = max(32, 2 × cpus)`
    /// (`percpu_counter_batch`, lib/percpu_counter.c). Before, each thread did.
    #[must_use]
    pub fn counter_error_bytes(&self, threads: u64) -> u64 {
        let by_cpu = self.cpus * (32.max(2 * self.cpus) - 1);
        if self.counts_by_thread() { self.held_back_bytes(threads) } else { by_cpu * self.page_bytes }
    }

    /// What the kernel's own reading of one such counter, for its scores and its log, may be off from the exact sum, in
    /// bytes. From 6.2 on it leaves out what CPUs hold back (`get_mm_counter`), and from 7.0 on it adds that up again
    /// (`get_mm_counter_sum`, include/linux/mm.h); before, there is nothing to add.
    #[must_use]
    pub fn read_error_bytes(&self) -> u64 {
        let adds_up = self.counts_by_thread() || self.release() >= (Some(7), Some(0));
        if adds_up { 0 } else { self.counter_error_bytes(1) }
    }

    /// What the threads of a process may hold back from one of its rss counters up to 6.1, in bytes: the page faults
    /// 0 to 64 since the last addition, and the one that brings the next (`check_sync_rss_stat` and
    /// `TASK_RSS_EVENTS_THRESH`, mm/memory.c), of one page each. Later kernels hold back by CPU: 0.
    #[must_use]
    pub fn held_back_bytes(&self, threads: u64) -> u64 {
        if self.counts_by_thread() { 66 * threads * self.page_bytes } else { 0 }
    }

    /// Whether rss is counted by thread first: before 6.2.
    fn counts_by_thread(&self) -> bool {
        self.release() < (Some(6), Some(2))
    }

    /// How time passes for its processors.
    #[must_use]
    pub fn pace(&self) -> Pace {
        match (self.exact_times, self.disposable) {
            (true, _) => Pace::Exact,
            (false, true) => Pace::Emulated,
            (false, false) => Pace::Real,
        }
    }

    /// Whether programs at tracepoints can be preempted: 7.x guards them by SRCU. While one waits for its processor, it
    /// runs for no other task there.
    #[must_use]
    pub fn preempts_programs(&self) -> bool {
        self.release() >= (Some(7), Some(0))
    }

    /// Whether an event may go unseen for that reason. Where time is exact a program is done too soon for it.
    #[must_use]
    pub fn misses_events(&self) -> bool {
        self.preempts_programs() && self.pace() != Pace::Exact
    }

    /// Whether the kernel can move the memory controller to version 1 and back. 6.1 does so, and warns of counters that
    /// fall below 0 (`page_counter_uncharge()`); later ones mostly lack version 1.
    #[must_use]
    pub fn moves_memcg(&self) -> bool {
        self.release() < (Some(6), Some(0))
    }

    /// Whether the kernel is of that release or a later one. For what it can do, not for what it says.
    #[must_use]
    pub fn is_at_least(&self, major: u64, minor: u64) -> bool {
        self.release() >= (Some(major), Some(minor))
    }

    /// Whether a victim passes for done before its locked memory is given back, so that another may be killed meanwhile: up to
    /// 5.19 `exit_mmap` lets the OOM killer go on as soon as it has reaped what is not locked (`MMF_OOM_SKIP`).
    #[must_use]
    pub fn forgets_locked_memory(&self) -> bool {
        self.release() < (Some(6), Some(0))
    }

    /// The first two numbers of the kernel's release.
    fn release(&self) -> (Option<u64>, Option<u64>) {
        let mut numbers = self.kernel.split('.').map_while(|number| number.parse::<u64>().ok());
        (numbers.next(), numbers.next())
    }

    /// What a memcg's usage may change by without a page being used or freed: each CPU holds a stock of up to 64
    /// charged pages (`MEMCG_CHARGE_BATCH`, include/linux/memcontrol.h). In bytes.
    #[must_use]
    pub fn charge_stock_bytes(&self) -> u64 {
        self.cpus * 64 * self.page_bytes
    }
}

/// What any scenario needs and is missing here, in sentences that say what to do.
fn lacking() -> Vec<String> {
    let mut lacking = Vec::new();
    if !geteuid().is_root() {
        lacking.push("not root: run as root".to_owned());
    }
    if let Err(error) = fs::File::open("/dev/kmsg") {
        lacking
            .push(format!("/dev/kmsg cannot be opened ({error}): mount devtmpfs on /dev, and run as root"));
    }
    if fs::read_to_string("/proc/sys/vm/panic_on_oom").is_ok_and(|value| value.trim() != "0") {
        lacking.push("an OOM would panic this machine: set the sysctl vm.panic_on_oom to 0".to_owned());
    }
    lacking
}

/// Counts the `cpuN` lines of /proc/stat.
fn online_cpus(stat: &str) -> u64 {
    let is_cpu = |line: &&str| {
        line.strip_prefix("cpu")
            .is_some_and(|rest| rest.starts_with(|character: char| character.is_ascii_digit()))
    };
    stat.lines().filter(is_cpu).count() as u64
}

/// Counts the nodes of a list such as `0-1,4`. A kernel without NUMA lists none, and is one.
fn nodes(list: &str) -> usize {
    let range = |part: &str| {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        Some(to.parse::<usize>().ok()?.checked_sub(from.parse().ok()?)? + 1)
    };
    list.trim().split(',').filter_map(range).sum::<usize>().max(1)
}

/// What may be used without swapping, at this moment, in bytes.
pub fn available_bytes() -> Result<u64> {
    let meminfo = fs::read_to_string("/proc/meminfo").context("cannot read /proc/meminfo")?;
    meminfo_bytes(&meminfo, "MemAvailable:").context("/proc/meminfo has no MemAvailable")
}

/// A field of /proc/meminfo in bytes.
#[must_use]
pub fn meminfo_bytes(meminfo: &str, key: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix(key))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib * KIB)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A machine for tests: two CPUs, 4 KiB pages, no hierarchy.
    pub fn machine() -> Machine {
        Machine {
            kernel: "6.12.1".to_owned(),
            host: "guest".to_owned(),
            boot_id: "b".to_owned(),
            page_bytes: 4096,
            cpus: 2,
            memory_bytes: 256 << 20,
            swap_bytes: 0,
            nodes: 1,
            zram: false,
            podman: None,
            hierarchy: None,
            disposable: false,
            exact_times: false,
            lacking: Vec::new(),
        }
    }

    /// Guards the bounds that excuse a difference, by CPU and by thread, as the kernels' formulas have them.
    #[test]
    fn bounds_follow_the_kernels_formula() {
        let large = Machine { cpus: 64, ..machine() };
        assert_eq!(machine().counter_error_bytes(9), 248 * KIB);
        assert_eq!(large.counter_error_bytes(1), 64 * 127 * 4096);
        assert_eq!(machine().charge_stock_bytes(), 512 * KIB);
        for (kernel, held_back) in
            [("5.10.0-46-cloud-amd64", 264), ("6.1.0", 264), ("6.2.0-rc1", 0), ("7.0", 0)]
        {
            let machine = Machine { kernel: kernel.to_owned(), ..machine() };
            assert_eq!(machine.held_back_bytes(1), held_back * KIB, "{kernel}");
        }
    }

    /// Guards the excuses for differences in time: a machine that is sure to have none gets none.
    #[test]
    fn exact_times_have_no_excuse() {
        let of = |disposable, exact_times| Machine { disposable, exact_times, ..machine() }.pace();
        assert_eq!(of(false, false), Pace::Real);
        assert_eq!(of(true, false), Pace::Emulated);
        assert_eq!((of(true, true), of(false, true)), (Pace::Exact, Pace::Exact));
    }

    /// Guards the count of CPUs and the sizes, from the files' own wording.
    #[test]
    fn reads_proc() {
        assert_eq!((nodes("0-1,4\n"), nodes("0\n"), nodes("")), (3, 1, 1));
        assert_eq!(online_cpus("cpu  1 2\ncpu0 1\ncpu1 1\nctxt 5\ncpufreq\n"), 2);
        assert_eq!(
            meminfo_bytes("MemTotal:         243712 kB\nSwapTotal: 0 kB\n", "MemTotal:"),
            Some(243_712 * KIB)
        );
    }
}

//! What is read of the machine: names, sizes, clocks. Every reader of files takes the root that they are below.

pub mod cgroup;
pub mod container;
pub mod forking;
pub(crate) mod memcg_files;
pub mod meminfo;
pub mod names;
pub mod node;
pub mod pids;
pub mod settings;
mod sysctl;
pub mod unit;
pub mod zoneinfo;

use std::{
    fs, io,
    os::unix::fs::FileTypeExt as _,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

/// The machine and its boot, as every line of output names them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// Host name.
    pub name: String,
    /// Id of this boot, if the kernel tells it.
    pub boot_id: Option<String>,
    /// Kernel release (`uname -r`).
    pub kernel: String,
    /// Bytes in a page.
    pub page_bytes: u32,
    /// CPUs that may ever come online (`nr_cpu_ids`).
    pub cpus_possible: u32,
    /// CPUs online.
    pub cpus_online: u32,
    /// Memory that the page allocator manages (`MemTotal`), if known.
    pub memory_bytes: Option<u64>,
    /// Swap space (`SwapTotal`), if known.
    pub swap_bytes: Option<u64>,
}

impl Host {
    /// Reads the machine below `root` (`/`).
    pub fn read(root: &Path) -> io::Result<Self> {
        let text = |path: &str| fs::read_to_string(root.join(path)).map(|text| text.trim_end().to_owned());
        let meminfo = text("proc/meminfo").unwrap_or_default();
        Ok(Self {
            name: sysctl::text(root, "kernel/hostname").unwrap_or_else(|| "localhost".to_owned()),
            boot_id: sysctl::text(root, "kernel/random/boot_id"),
            kernel: sysctl::text(root, "kernel/osrelease").ok_or_else(|| {
                let file = root.join("proc/sys/kernel/osrelease");
                io::Error::new(
                    io::ErrorKind::NotFound,
                    format!("The kernel's release cannot be read from {}. Is /proc mounted?", file.display()),
                )
            })?,
            page_bytes: page_bytes(),
            cpus_possible: cpus(&text("sys/devices/system/cpu/possible").unwrap_or_default())
                .unwrap_or_else(configured_cpus),
            cpus_online: count(&text("sys/devices/system/cpu/online").unwrap_or_default())
                .unwrap_or_else(configured_cpus),
            memory_bytes: meminfo_bytes(&meminfo, "MemTotal"),
            swap_bytes: meminfo_bytes(&meminfo, "SwapTotal"),
        })
    }
}

/// Whether a path names a pipe: to open one waits for its other end, and no signal ends that.
#[must_use]
pub fn is_pipe(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.file_type().is_fifo())
}

/// Bytes in a page of this machine.
#[must_use]
pub fn page_bytes() -> u32 {
    // SAFETY: sysconf() takes no pointer.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    u32::try_from(bytes).unwrap_or(4096)
}

fn configured_cpus() -> u32 {
    // SAFETY: sysconf() takes no pointer.
    let cpus = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_CONF) };
    u32::try_from(cpus).unwrap_or(1)
}

/// One more than the highest CPU of a list like `0-3,8`: per-CPU data is indexed by number.
fn cpus(list: &str) -> Option<u32> {
    ranges(list)?.into_iter().map(|(_, last)| last.checked_add(1)).max()?
}

/// How many CPUs are in a list like `0-3,8`.
fn count(list: &str) -> Option<u32> {
    ranges(list)?
        .into_iter()
        .try_fold(0_u32, |sum, (first, last)| sum.checked_add(last.checked_sub(first)?.checked_add(1)?))
}

fn ranges(list: &str) -> Option<Vec<(u32, u32)>> {
    list.trim()
        .split(',')
        .map(|range| {
            let (low, high) = range.split_once('-').unwrap_or((range, range));
            Some((low.parse().ok()?, high.parse().ok()?))
        })
        .collect()
}

fn meminfo_bytes(meminfo: &str, key: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// Kills of the OOM killer since boot (`oom_kill` in /proc/vmstat, since Linux 4.13), if the kernel tells.
#[must_use]
pub fn oom_kills(root: &Path) -> Option<u64> {
    let vmstat = fs::read_to_string(root.join("proc/vmstat")).ok()?;
    vmstat.lines().find_map(|line| line.strip_prefix("oom_kill "))?.trim().parse().ok()
}

/// What to add to a time since boot (`CLOCK_BOOTTIME`) to get wall-clock time since 1970, in ns.
///
/// It moves when the wall clock is set, so it is taken anew with every batch of records.
#[must_use]
pub fn wall_clock_offset_ns() -> i64 {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    i64::try_from(wall).unwrap_or(i64::MAX) - i64::try_from(boot_ns()).unwrap_or(0)
}

/// Time since boot, suspended time included, in ns: the clock of the records.
#[must_use]
pub fn boot_ns() -> u64 {
    clock_ns(libc::CLOCK_BOOTTIME)
}

/// Time since boot without suspended time, in ns: the clock of printk, as far as nothing corrects either.
#[must_use]
pub fn awake_ns() -> u64 {
    clock_ns(libc::CLOCK_MONOTONIC)
}

/// A clock that every kernel has (the youngest of those that are asked for is `CLOCK_BOOTTIME`, since Linux 2.6.39), in ns.
pub(crate) fn clock_ns(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a timespec of ours, and the kernel has the clock, so the call cannot fail.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}

/// The threads of this process.
pub fn own_threads() -> io::Result<Vec<rustix::thread::Pid>> {
    let ids = fs::read_dir("/proc/self/task")?.filter_map(|entry| {
        let id = entry.ok()?.file_name().to_str()?.parse().ok()?;
        rustix::thread::Pid::from_raw(id)
    });
    Ok(ids.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the sizing of per-CPU loops on machines whose CPU numbers have gaps.
    #[test]
    fn cpu_lists_give_the_highest_number_and_the_count() {
        assert_eq!(cpus("0-3,8"), Some(9));
        assert_eq!(count("0-3,8"), Some(5));
        assert_eq!(cpus("0\n"), Some(1));
        assert_eq!(cpus(""), None);
        assert_eq!(cpus("0-4294967295"), None);
        assert_eq!(count("3-1"), None);
    }

    /// Guards the capacity of a node: kB to bytes, and no figure where there is none.
    #[test]
    fn meminfo_is_read_in_bytes() {
        let meminfo = "MemTotal:       24601080 kB\nSwapTotal:             0 kB\nHugePages_Total:       0\n";
        assert_eq!(meminfo_bytes(meminfo, "MemTotal"), Some(24_601_080 * 1024));
        assert_eq!(meminfo_bytes(meminfo, "SwapTotal"), Some(0));
        assert_eq!(meminfo_bytes(meminfo, "Mem"), None);
        assert_eq!(meminfo_bytes(meminfo, "HugePages_Total"), None);
    }
}

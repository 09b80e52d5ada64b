//! When the kernel marked its victims, by a trace buffer of our own: a source that no tool has a part in.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use rustix::fd::{AsRawFd, OwnedFd};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

/// A trace instance that records oom:mark_victim by the clock CLOCK_BOOTTIME. Dropping it removes it.
#[derive(Debug)]
pub struct Marks {
    instance: PathBuf,
    /// The file system, mounted nowhere.
    _mount: OwnedFd,
}

impl Marks {
    /// Begins to record.
    pub fn record() -> Result<Self> {
        let mount = detached().context("tracefs cannot be had; run as root")?;
        let name = format!("oomtrace-bench-{}", std::process::id());
        let instance = PathBuf::from(format!("/proc/self/fd/{}/instances/{name}", mount.as_raw_fd()));
        fs::create_dir(&instance).context("cannot make a trace instance")?;
        let marks = Self { instance, _mount: mount };
        marks.write("trace_clock", "boot")?;
        marks.write("events/oom/mark_victim/enable", "1")?;
        Ok(marks)
    }

    /// The times so far in ns (to the microsecond), by the victim's pid. Each pid's last one.
    pub fn times(&self) -> Result<BTreeMap<u32, u64>> {
        let text = fs::read(self.instance.join("trace")).context("cannot read the trace")?;
        Ok(String::from_utf8_lossy(&text).lines().filter_map(mark).collect())
    }

    fn write(&self, file: &str, value: &str) -> Result<()> {
        fs::write(self.instance.join(file), value)
            .with_context(|| format!("cannot write {value} to tracefs' {file}"))
    }
}

impl Drop for Marks {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir(&self.instance) {
            eprintln!("cannot remove a trace instance: {error}");
        }
    }
}

/// tracefs, mounted nowhere, so that nobody's mounts change.
fn detached() -> rustix::io::Result<OwnedFd> {
    let filesystem = fsopen("tracefs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(&filesystem)?;
    fsmount(&filesystem, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
}

/// Reads `  comm-12 [000] d..1.  123.456789: mark_victim: pid=12 ...`.
fn mark(line: &str) -> Option<(u32, u64)> {
    let (before, after) = line.rsplit_once(": mark_victim: pid=")?;
    let pid = after.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()?;
    let (seconds, micros) = before.rsplit(' ').next()?.split_once('.')?;
    let micros: u64 = (micros.len() == 6).then(|| micros.parse().ok())??;
    Some((pid, (seconds.parse::<u64>().ok()? * 1_000_000 + micros) * 1000))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the reading of trace lines of old and new kernels, whatever the victim's name.
    #[test]
    fn reads_marks() {
        let new = " a b-77  [001] d..2.    83.000120: mark_victim: pid=77 comm=a b total-vm:1kB anon-rss:4kB";
        assert_eq!(mark(new), Some((77, 83_000_120_000)));
        assert_eq!(mark(" x-7 [000] .... 1.5: mark_victim: pid=7"), None);
        assert_eq!(mark(" x-7 [000] .... 4083.000001: mark_victim: pid=7"), Some((7, 4_083_000_001_000)));
        assert_eq!(mark("# tracer: nop"), None);
    }
}

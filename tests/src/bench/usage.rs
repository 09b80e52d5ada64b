//! What a process uses, by /proc.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// Resident memory in KiB.
#[derive(Debug, PartialEq, Eq)]
pub struct Memory {
    /// `VmRSS`: resident now.
    pub resident: u64,
    /// `RssAnon`: the anonymous part of it.
    pub anonymous: u64,
    /// `VmHWM`: the most that ever was resident.
    pub peak: u64,
}

/// What a process has done since it started, all its threads together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Activity {
    /// Time on a CPU in ns (the first number of schedstat).
    pub cpu_ns: u64,
    /// How often a thread went to sleep, and so was woken or is still asleep (`voluntary_ctxt_switches`).
    pub sleeps: u64,
}

/// The memory of a process.
pub fn memory(pid: u32) -> Result<Memory> {
    let status = read(Path::new(&format!("/proc/{pid}/status")))?;
    let kib = |key: &str| number(&status, key).with_context(|| format!("/proc/{pid}/status has no {key}"));
    Ok(Memory { resident: kib("VmRSS:")?, anonymous: kib("RssAnon:")?, peak: kib("VmHWM:")? })
}

/// What the threads of a process have done so far.
pub fn activity(pid: u32) -> Result<Activity> {
    let tasks = format!("/proc/{pid}/task");
    let mut sum = Activity { cpu_ns: 0, sleeps: 0 };
    for task in fs::read_dir(&tasks).with_context(|| format!("cannot list {tasks}"))? {
        let task = task.with_context(|| format!("cannot list {tasks}"))?.path();
        let schedstat = read(&task.join("schedstat"))?;
        let cpu = schedstat.split(' ').next().and_then(|number| number.parse::<u64>().ok());
        sum.cpu_ns += cpu.with_context(|| format!("{}/schedstat has no number", task.display()))?;
        let status = read(&task.join("status"))?;
        sum.sleeps += number(&status, "voluntary_ctxt_switches:")
            .with_context(|| format!("{}/status counts no context switches", task.display()))?;
    }
    Ok(sum)
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// The number of the line that begins with `key`.
fn number(status: &str, key: &str) -> Option<u64> {
    status.lines().find_map(|line| line.strip_prefix(key))?.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::{Duration, Instant};

    use super::*;

    /// Guards against the involuntary switches, whose line ends alike.
    #[test]
    fn reads_status() {
        let status = "VmRSS:\t    2048 kB\nnonvoluntary_ctxt_switches:\t9\nvoluntary_ctxt_switches:\t4\n";
        assert_eq!(number(status, "VmRSS:"), Some(2048));
        assert_eq!(number(status, "voluntary_ctxt_switches:"), Some(4));
        assert_eq!(number(status, "VmHWM:"), None);
    }

    /// Guards the counters: a process that works and sleeps is seen to. Another one than the test's own, whose threads
    /// come and go.
    #[test]
    fn activity_grows() {
        let mut child = Command::new("sh").args(["-c", "while :; do sleep 0.01; done"]).spawn().unwrap();
        let before = activity(child.id()).unwrap();
        let until = Instant::now() + Duration::from_secs(10);
        let mut grown = false;
        while !grown && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
            let after = activity(child.id()).unwrap();
            grown = after.sleeps > before.sleeps && after.cpu_ns > before.cpu_ns;
        }
        let peak = memory(child.id()).map(|memory| memory.peak);
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(grown);
        assert!(peak.unwrap() > 0);
    }
}

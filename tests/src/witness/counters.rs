//! The kernel's own count of OOM kills.

use std::fs;

use anyhow::{Context, Result};

/// The machine's count: `oom_kill` in /proc/vmstat (`count_vm_event(OOM_KILL)` in `__oom_kill_process`, 4.13 and
/// later). It counts the first victim of a group kill twice, and no task that was merely marked.
pub fn machine_oom_kills() -> Result<u64> {
    let text = fs::read_to_string("/proc/vmstat").context("cannot read /proc/vmstat; mount /proc")?;
    keyed(&text, "oom_kill").context("/proc/vmstat has no oom_kill line; the kernel must be 4.13 or later")
}

/// The value of `key` in text of `key value` lines, as in vmstat, memory.events and `memory.oom_control`.
#[must_use]
pub fn keyed(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the counters against keys that start alike.
    #[test]
    fn keys_match_whole() {
        let events = "low 0\nhigh 0\nmax 31\noom 1\noom_kill_disable 9\noom_kill 3\noom_group_kill 1\n";
        assert_eq!(keyed(events, "oom_kill"), Some(3));
        assert_eq!(keyed(events, "oom"), Some(1));
        assert_eq!(keyed("oom_kill x", "oom_kill"), None);
    }
}

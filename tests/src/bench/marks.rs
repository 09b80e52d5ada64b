//! When the kernel marked its victims, by a trace buffer of our own.

use std::collections::BTreeMap;

use anyhow::Result;

use crate::ftrace::{Event, Trace};

/// A trace of oom:mark_victim.
#[derive(Debug)]
pub struct Marks(Trace);

impl Marks {
    /// Begins to record.
    pub fn record() -> Result<Self> {
        Trace::record(&["oom/mark_victim"]).map(Self)
    }

    /// The times so far in ns (to the microsecond), by the victim's pid. Each pid's last one.
    pub fn times(&self) -> Result<BTreeMap<u32, u64>> {
        Ok(self.0.text()?.lines().filter_map(mark).collect())
    }
}

/// The victim and the time of a mark.
fn mark(line: &str) -> Option<(u32, u64)> {
    let event = Event::read(line, &["mark_victim"])?;
    Some((event.number("pid")?.try_into().ok()?, event.at_ns))
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

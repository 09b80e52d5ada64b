//! What a command's cgroup counted.

use std::collections::BTreeMap;

use super::{Controller, OwnCgroup, folders};
use crate::{
    host::memcg_files::{self, V1, V2},
    profile::report::{CgroupMemory, Psi},
};

impl OwnCgroup {
    /// What it counted so far.
    pub(super) fn facts_now(&self) -> CgroupMemory {
        const MEMORY: Controller = Controller::Memory;
        let unified = self.is_unified(MEMORY);
        let (names, peak) = if unified { (V2, "memory.peak") } else { (V1, "memory.max_usage_in_bytes") };
        let peak_bytes = self.number(MEMORY, peak);
        let limit = |file: &str| self.text(MEMORY, file).and_then(|text| memcg_files::limit_bytes(&text));
        let mut events = if unified { self.second_events() } else { self.legacy_events() };
        // Where the limit is, or (before 6.11, and with version 1) where the fork was tried.
        let refused = self.text(Controller::Pids, "pids.events").and_then(|text| counts(&text).remove("max"));
        events.extend(refused.map(|count| ("pids.max".to_owned(), count)));
        CgroupMemory {
            path: self.path().to_owned(),
            peak_bytes,
            peak_from: peak_bytes.map(|_| peak.to_owned()),
            limit_bytes: limit(names.limit),
            // Version 1 limits memory and swap together, and says nothing of swap alone.
            swap_limit_bytes: if unified { limit(names.swap_limit) } else { None },
            // Since 6.5.
            swap_peak_bytes: if unified { self.number(MEMORY, "memory.swap.peak") } else { None },
            events,
            psi: self.text(MEMORY, "memory.pressure").and_then(|text| psi(&text)),
            most_pids: None,
        }
    }

    /// Those below it included.
    fn second_events(&self) -> BTreeMap<String, u64> {
        self.text(Controller::Memory, "memory.events").map(|text| counts(&text)).unwrap_or_default()
    }

    /// By version 2's names. Each cgroup of version 1 counts for itself, so that those that are below are added.
    fn legacy_events(&self) -> BTreeMap<String, u64> {
        let Some(top) = self.file(Controller::Memory, "") else { return BTreeMap::new() };
        let mut events = BTreeMap::new();
        let mut add = |name: &str, count: Option<u64>| {
            if let Some(count) = count {
                let sum: &mut u64 = events.entry(name.to_owned()).or_default();
                *sum = sum.saturating_add(count);
            }
        };
        for folder in folders(&top) {
            let text = |file: &str| std::fs::read_to_string(folder.join(file)).ok();
            add("max", text("memory.failcnt").and_then(|text| text.trim().parse().ok()));
            // Since 4.13.
            add("oom_kill", text("memory.oom_control").and_then(|text| counts(&text).remove("oom_kill")));
        }
        events
    }
}

/// Lines of a name and a number.
fn counts(text: &str) -> BTreeMap<String, u64> {
    let lines = text.lines().filter_map(|line| {
        let (name, count) = line.split_once(' ')?;
        Some((name.to_owned(), count.trim().parse().ok()?))
    });
    lines.collect()
}

/// `some avg10=0.00 avg60=0.00 avg300=0.00 total=12`, in µs (Documentation/accounting/psi.rst).
fn psi(text: &str) -> Option<Psi> {
    let total_ns = |kind: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(kind))?;
        let total = line.split_whitespace().find_map(|word| word.strip_prefix("total="))?;
        total.parse::<u64>().ok()?.checked_mul(1000)
    };
    Some(Psi { some_ns: total_ns("some ")?, full_ns: total_ns("full ")? })
}

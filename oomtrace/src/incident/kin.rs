//! Whose children triggers and victims are, and their ids in their own PID namespaces. It comes before their marks.

use std::collections::{BTreeMap, VecDeque};

use super::{
    missing::{self, UNREAD, lacking},
    types::{Ancestor, Kinship},
};
use crate::record::{Kin, Task};

/// Why there is nothing of the kind.
const UNSENT: &str =
    "the ring buffer had no room to spare for it, or this was recorded by an oomtrace that does not tell it";
/// Processes whose kin is kept. The oldest go first.
const KEPT: usize = 1024;

/// What came lately.
#[derive(Debug, Default)]
pub struct Kins {
    /// The latest last.
    known: VecDeque<Kin>,
}

impl Kins {
    /// Takes one in.
    pub fn take(&mut self, kin: Kin) {
        if self.known.len() >= KEPT {
            self.known.pop_front();
        }
        self.known.push_back(kin);
    }

    /// That of a task's process. What of it is not known is noted in `missing` as a part of `field`.
    pub fn of(&self, task: &Task, field: &str, missing: &mut BTreeMap<String, String>) -> Kinship {
        let process = (task.pid, task.start_boot_ns);
        let found = self.known.iter().rev().find(|known| (Some(known.pid), known.start_boot_ns) == process);
        let kinship = found.map(kinship).unwrap_or_default();
        let reason = if found.is_some() { UNREAD } else { UNSENT };
        let parts = [("ns_pid", kinship.ns_pid.is_none()), ("ancestors", kinship.ancestors.is_none())];
        missing::all(missing, lacking(parts).map(|name| format!("{field}.{name}")), reason);
        for (at, ancestor) in kinship.ancestors.iter().flatten().enumerate() {
            if ancestor.comm.is_none() {
                missing.insert(format!("{field}.ancestors[{at}].comm"), UNREAD.to_owned());
            }
        }
        kinship
    }
}

/// As it is told.
fn kinship(kin: &Kin) -> Kinship {
    let told =
        |ancestor: &crate::record::Ancestor| Ancestor { pid: ancestor.pid, comm: ancestor.comm.clone() };
    let ancestors = kin.ancestors.as_ref().map(|ancestors| ancestors.iter().map(told).collect());
    Kinship { ns_pid: kin.ns_pid, ancestors }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kin(pid: u32, ns_pid: Option<u32>) -> Kin {
        let init = crate::record::Ancestor { pid: 1, comm: Some("init".to_owned()) };
        Kin { pid, start_boot_ns: Some(5), ns_pid, ancestors: Some(vec![init]) }
    }

    fn task(pid: u32) -> Task {
        Task { pid: Some(pid), start_boot_ns: Some(5), ..Task::default() }
    }

    /// Guards whose kin is told: that of the process, the latest, and of no other with its id; and why there is none.
    #[test]
    fn kin_is_its_process_s() {
        let mut known = Kins::default();
        known.take(kin(7, Some(2)));
        known.take(kin(7, None));
        let mut missing = BTreeMap::new();
        let told = known.of(&task(7), "trigger", &mut missing);
        let ancestors = told.ancestors.map(|ancestors| ancestors.len());
        assert_eq!((told.ns_pid, ancestors), (None, Some(1)));
        assert_eq!(missing, BTreeMap::from([("trigger.ns_pid".to_owned(), UNREAD.to_owned())]));
        for other in [task(8), Task { start_boot_ns: Some(6), ..task(7) }] {
            let mut missing = BTreeMap::new();
            assert_eq!(known.of(&other, "victims[0]", &mut missing), Kinship::default());
            assert_eq!(missing.len(), 2);
        }
    }

    /// Guards memory: what is kept has a bound, whoever sends how much.
    #[test]
    fn what_is_kept_has_a_bound() {
        let mut known = Kins::default();
        (0..10_000).for_each(|pid| known.take(kin(pid, Some(1))));
        assert_eq!(known.known.len(), KEPT);
    }
}

//! The samples of the last minutes, and who is in them.

use std::{collections::BTreeMap, collections::VecDeque, time::Duration};

use super::{
    Cost,
    before::Told,
    sample::{Cgroup, Key, Process, Reading, Sample, Size},
};
use crate::incident::Incident;

/// See the module.
#[derive(Debug)]
pub struct Memory {
    samples: VecDeque<Sample>,
    /// Samples that are kept, at most.
    most: usize,
    pub interval_ns: u64,
    processes: BTreeMap<Key, Process>,
    cgroups: BTreeMap<Key, Cgroup>,
    pub cost: Cost,
}

/// Where it is not known what led to an incident, the reason stands under this.
pub const BEFORE: &str = "before";

impl Memory {
    pub fn new(most: usize, interval: Duration) -> Self {
        Self {
            samples: VecDeque::with_capacity(most + 1),
            most,
            interval_ns: u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX),
            processes: BTreeMap::new(),
            cgroups: BTreeMap::new(),
            cost: Cost::default(),
        }
    }

    /// Puts in what was read, which took so much CPU time.
    pub fn push(&mut self, reading: Reading, cpu_ns: u64) {
        self.processes.extend(reading.processes);
        self.cgroups.extend(reading.cgroups);
        self.samples.push_back(reading.sample);
        while self.samples.len() > self.most {
            self.samples.pop_front();
        }
        // Who has gone for two samples is no part of an incident that comes now, and there may have been very many.
        let latest: Vec<_> = self.samples.iter().rev().take(2).collect();
        let in_latest = |of: fn(&Sample) -> &[Size], key: Key| {
            latest.iter().any(|sample| of(sample).binary_search_by_key(&key, |size| size.key).is_ok())
        };
        self.processes.retain(|key, _| in_latest(|sample| &sample.processes, *key));
        self.cgroups.retain(|key, _| in_latest(|sample| &sample.cgroups, *key));
        self.cost.samples = self.cost.samples.saturating_add(1);
        self.cost.cpu_ns = self.cost.cpu_ns.saturating_add(cpu_ns);
        self.cost.last_ns = cpu_ns;
    }

    /// Adds to an incident what led to it, or why that is not known.
    pub fn complete(&self, incident: &mut Incident) {
        match Told::of(self, incident) {
            Ok(told) => {
                incident.before = Some(Box::new(told.before));
                incident.missing.extend(told.missing);
            }
            Err(reason) => {
                incident.missing.insert(BEFORE.to_owned(), reason);
            }
        }
    }

    /// Samples that were taken before a time, ns since boot, and not longer before it than they are kept. By the clock that goes
    /// on while the machine is suspended: what was before such a pause did not lead to what comes after it.
    pub fn until(&self, boot_ns: u64) -> Vec<&Sample> {
        let spans = u64::try_from(self.most).unwrap_or(u64::MAX);
        let keep_ns = self.interval_ns.saturating_mul(spans);
        let within =
            |sample: &&Sample| boot_ns.checked_sub(sample.at.boot_ns).is_some_and(|ago_ns| ago_ns <= keep_ns);
        self.samples.iter().filter(within).collect()
    }

    /// Who a process is, if it was there lately.
    pub fn process(&self, key: Key) -> Option<&Process> {
        self.processes.get(&key)
    }

    /// Which cgroup that is, if it was there lately.
    pub fn cgroup(&self, key: Key) -> Option<&Cgroup> {
        self.cgroups.get(&key)
    }

    #[cfg(test)]
    pub fn followed(&self) -> (usize, usize) {
        (self.processes.len(), self.cgroups.len())
    }
}

//! Times that are counted.

use oomtrace_ebpf::histogram;

use crate::profile::report::Latency;

/// A histogram that is being filled.
#[derive(Clone, Debug)]
pub struct Times {
    counts: Box<[u64; histogram::BUCKETS]>,
    total_ns: u64,
    max_ns: u64,
}

impl Default for Times {
    fn default() -> Self {
        Self { counts: Box::new([0; _]), total_ns: 0, max_ns: 0 }
    }
}

impl Times {
    /// One more.
    pub fn add(&mut self, ns: u64) {
        if let Some(count) = self.counts.get_mut(histogram::bucket(ns)) {
            *count += 1;
        }
        self.total_ns = self.total_ns.saturating_add(ns);
        self.max_ns = self.max_ns.max(ns);
    }

    /// All of them.
    pub fn latency(&self) -> Latency {
        Latency::of(&self.counts, self.total_ns, self.max_ns)
    }
}

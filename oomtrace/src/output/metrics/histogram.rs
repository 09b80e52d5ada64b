//! How often something took how long.

/// Counts by upper bound. The bounds are those of the whole family, so that its series can be added up.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    bounds: &'static [f64],
    /// One for each bound, and one for what is above all.
    counts: Vec<u64>,
    sum: f64,
}

/// Of a stall, seconds. A container of some MiB at its limit has little to reclaim and is through within a fraction of a
/// millisecond; a second is long by the finding `long-stall`, and has a bound of its own; a minute is what clients, probes and
/// watchdogs give up after.
pub const STALL_SECONDS: &[f64] =
    &[0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// Until memory is back, seconds. A process of some MiB ends within a millisecond or two. At 2 s the OOM reaper steps in
/// (`OOM_REAPER_DELAY`, mm/oom_kill.c), so there is a bound there; after 30 s oomtrace waits no longer.
pub const RELIEF_SECONDS: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0];

impl Histogram {
    /// Of nothing yet. The bounds rise.
    #[must_use]
    pub fn new(bounds: &'static [f64]) -> Self {
        Self { bounds, counts: vec![0; bounds.len() + 1], sum: 0.0 }
    }

    /// It took so long, ns.
    pub fn observe_ns(&mut self, ns: u64) {
        let seconds = seconds(ns);
        let at = self.bounds.partition_point(|bound| *bound < seconds);
        if let Some(count) = self.counts.get_mut(at) {
            *count = count.saturating_add(1);
        }
        self.sum += seconds;
    }

    /// The bounds, each with how many were not above it.
    pub fn cumulative(&self) -> impl Iterator<Item = (f64, u64)> {
        let bounds = self.bounds.iter().copied().chain([f64::INFINITY]);
        bounds.zip(self.counts.iter().scan(0_u64, |sum, count| {
            *sum = sum.saturating_add(*count);
            Some(*sum)
        }))
    }

    /// How many there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// How long all of them took together, seconds.
    #[must_use]
    pub fn sum(&self) -> f64 {
        self.sum
    }
}

/// Nanoseconds as seconds.
#[must_use]
pub fn seconds(ns: u64) -> f64 {
    std::time::Duration::from_nanos(ns).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the bounds: a value on one is not above it, each counts in all that are higher, and the last has all.
    #[test]
    fn values_count_up_to_and_with_their_bound() {
        let mut histogram = Histogram::new(&[0.5, 1.0]);
        for ns in [500_000_000, 500_000_001, 1_000_000_000, u64::MAX] {
            histogram.observe_ns(ns);
        }
        assert_eq!(histogram.cumulative().collect::<Vec<_>>(), [(0.5, 1), (1.0, 3), (f64::INFINITY, 4)]);
        assert_eq!(histogram.count(), 4);
        assert!(histogram.sum() > 1.8e10);
    }

    /// Guards the choice of bounds: they rise, and the times that are told apart elsewhere are among them.
    #[test]
    fn bounds_rise_and_have_the_times_that_matter() {
        for bounds in [STALL_SECONDS, RELIEF_SECONDS] {
            assert!(bounds.is_sorted_by(|a, b| a < b));
        }
        assert!(STALL_SECONDS.contains(&1.0) && RELIEF_SECONDS.contains(&2.0));
    }
}

//! How long something took, again and again.

use std::collections::BTreeMap;

use oomtrace_ebpf::histogram;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Times, as a histogram. Percentiles are the upper ends of the buckets that they are in: at most a quarter more than they were.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Latency {
    /// How many.
    pub count: u64,
    /// All of them together.
    pub total_ns: u64,
    /// The longest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_ns: Option<u64>,
    /// Half of them took no longer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p50_ns: Option<u64>,
    /// Nine of ten.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p90_ns: Option<u64>,
    /// Ninety-nine of a hundred.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p99_ns: Option<u64>,
    /// Those buckets that have any, in order.
    pub buckets: Vec<Bucket>,
}

/// A bucket of a histogram.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Bucket {
    /// Its lower end, which is in it.
    pub from_ns: u64,
    /// Its upper end, which is not; the last one has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub below_ns: Option<u64>,
    /// How many.
    pub count: u64,
}

impl Latency {
    /// From what the buckets of [`histogram`] hold.
    #[must_use]
    pub fn of(counts: &[u64; histogram::BUCKETS], total_ns: u64, max_ns: u64) -> Self {
        let count = counts.iter().fold(0_u64, |sum, count| sum.saturating_add(*count));
        let buckets = counts.iter().enumerate().filter(|(_, count)| **count > 0).map(|(index, count)| {
            let (from_ns, below_ns) = histogram::bounds(index);
            Bucket { from_ns, below_ns, count: *count }
        });
        let max_ns = (count > 0).then_some(max_ns);
        Self { count, total_ns, max_ns, buckets: buckets.collect(), ..Self::default() }.with_percentiles()
    }

    /// All of these together.
    #[must_use]
    pub fn merged<'a>(parts: impl IntoIterator<Item = &'a Self>) -> Self {
        let mut buckets = BTreeMap::<(u64, Option<u64>), u64>::new();
        let mut all = Self::default();
        for part in parts {
            all.count = all.count.saturating_add(part.count);
            all.total_ns = all.total_ns.saturating_add(part.total_ns);
            all.max_ns = all.max_ns.max(part.max_ns);
            for bucket in &part.buckets {
                let count = buckets.entry((bucket.from_ns, bucket.below_ns)).or_default();
                *count = count.saturating_add(bucket.count);
            }
        }
        let bucket = |((from_ns, below_ns), count)| Bucket { from_ns, below_ns, count };
        all.buckets = buckets.into_iter().map(bucket).collect();
        all.with_percentiles()
    }

    fn with_percentiles(mut self) -> Self {
        self.p50_ns = self.percentile(50);
        self.p90_ns = self.percentile(90);
        self.p99_ns = self.percentile(99);
        self
    }

    /// So many of a hundred took no longer, ns; `None`: there is none.
    #[must_use]
    pub fn percentile(&self, percent: u64) -> Option<u64> {
        // The number of the one that is asked for, from 1: of few the last.
        let wanted = u128::from(self.count) * u128::from(percent.min(100));
        let wanted = u64::try_from(wanted.div_ceil(100)).unwrap_or(self.count).max(1);
        let mut seen = 0_u64;
        for bucket in &self.buckets {
            seen = seen.saturating_add(bucket.count);
            if seen >= wanted {
                let most = self.max_ns.unwrap_or(u64::MAX);
                return Some(bucket.below_ns.unwrap_or(most).min(most));
            }
        }
        None
    }

    /// The mean, ns.
    #[must_use]
    pub fn mean_ns(&self) -> Option<u64> {
        self.total_ns.checked_div(self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards percentiles: never less than was, at most a quarter more, and never beyond the longest.
    #[test]
    fn percentiles_are_within_a_quarter() {
        let mut counts = [0; histogram::BUCKETS];
        let times: Vec<u64> = (1..=1000).map(|n| n * 7_919).collect();
        for ns in &times {
            counts[histogram::bucket(*ns)] += 1;
        }
        let latency = Latency::of(&counts, times.iter().sum(), 7_919_000);
        assert_eq!((latency.count, latency.mean_ns()), (1000, Some(3_963_459)));
        for (percent, exact) in [(50, 500 * 7_919), (90, 900 * 7_919), (99, 990 * 7_919), (100, 7_919_000)] {
            let told = latency.percentile(percent).unwrap();
            assert!(told >= exact && told <= exact + exact / 4, "{percent}: {told} of {exact}");
        }
        assert_eq!(latency.percentile(100), Some(7_919_000));
    }

    /// Guards merging: parts together are what they would have been as one.
    #[test]
    fn parts_merge_into_the_whole() {
        let of = |times: &[u64]| {
            let mut counts = [0; histogram::BUCKETS];
            for ns in times {
                counts[histogram::bucket(*ns)] += 1;
            }
            Latency::of(&counts, times.iter().sum(), times.iter().copied().max().unwrap_or(0))
        };
        let times: Vec<u64> = (1..=500).map(|n| n * n * 1000).collect();
        let (few, many) = times.split_at(100);
        assert_eq!(Latency::merged([&of(many), &of(&[]), &of(few)]), of(&times));
        assert_eq!(Latency::merged([]), Latency::default());
    }

    /// Guards what is absent of nothing.
    #[test]
    fn nothing_has_no_percentiles() {
        let none = Latency::of(&[0; histogram::BUCKETS], 0, 0);
        assert_eq!((none.percentile(99), none.mean_ns(), none.max_ns), (None, None, None));
        assert_eq!(none, Latency::default());
    }
}

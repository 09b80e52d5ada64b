//! The buckets that times are counted in: four to an octave, so that each is at most a quarter of its lower end wide.

/// Buckets. The last one is for all that is longer.
pub const BUCKETS: usize = 128;
/// What is shorter than this is in the first bucket, ns.
const FIRST_NS: u64 = 1 << SHIFT;
/// The octave of the first buckets: half a microsecond. The last one begins after 18 minutes.
const SHIFT: u32 = 9;
/// Bits of a bucket's number within an octave.
const BITS: u32 = 2;

/// In which bucket a time is, ns. Without a loop and without a division: programs in the kernel count so.
#[inline(always)]
#[must_use]
#[expect(clippy::inline_always, reason = "a function of its own would be one more for the verifier")]
#[expect(clippy::cast_possible_truncation, reason = "it is some hundreds at the most")]
pub const fn bucket(ns: u64) -> usize {
    if ns < FIRST_NS {
        return 0;
    }
    let octave = ns.ilog2();
    let within = (ns >> (octave - BITS)) & ((1 << BITS) - 1);
    let index = (((octave - SHIFT) as u64) << BITS) + within + 1;
    if index < BUCKETS as u64 { index as usize } else { BUCKETS - 1 }
}

/// The lower end of a bucket, which is in it, and the upper one, which is not, ns. The last has no upper end, and what is beyond
/// it is the last.
#[must_use]
pub const fn bounds(index: usize) -> (u64, Option<u64>) {
    if index == 0 {
        return (0, Some(FIRST_NS));
    }
    let index = if index < BUCKETS { index } else { BUCKETS - 1 };
    (lower(index), if index + 1 < BUCKETS { Some(lower(index + 1)) } else { None })
}

const fn lower(index: usize) -> u64 {
    let index = index as u64 - 1;
    let octave = index >> BITS;
    ((1 << BITS) + (index & ((1 << BITS) - 1))) << (octave + (SHIFT - BITS) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the buckets: each time is within the bounds of its own, and none is wider than a quarter of its lower end.
    #[test]
    fn every_time_is_within_its_bucket() {
        let near = (0..64).flat_map(|shift| {
            let power = 1_u64 << shift;
            [power - 1, power, power + 1, power + power / 4, power + power / 3]
        });
        for ns in near.chain([0, 1, 511, 512, 1_000, 1_000_000, u64::MAX]) {
            let index = bucket(ns);
            let (from, below) = bounds(index);
            assert!(from <= ns && below.is_none_or(|below| ns < below), "{ns} in {index}: {from} {below:?}");
            assert!(index == 0 || below.is_none_or(|below| below - from <= from / 4), "{index}");
        }
        for index in 1..BUCKETS {
            assert_eq!(bounds(index - 1).1, Some(bounds(index).0));
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }
}

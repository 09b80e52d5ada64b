//! How fast something grew.

/// A size at a time, ns by the clock that stops while the machine is suspended.
pub type Point = (u64, u64);

/// Growth until now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Growth {
    /// By how much, bytes.
    pub bytes: u64,
    /// Over which time.
    pub over_ns: u64,
}

impl Growth {
    /// The growth since something was at its smallest, or last within a twentieth of the way up from there: so the time in which
    /// it did not grow yet does not count, and what it gave back before does not either. `None`: it did not grow.
    ///
    /// Growth that sets in between two samples is told from the first of them on: the time may be too long, and the rate too low, by
    /// one interval, never the other way round.
    pub fn of(points: &[Point]) -> Option<Self> {
        let (now_ns, now) = *points.last()?;
        let low = points.iter().map(|(_, bytes)| *bytes).min()?;
        let still = low.saturating_add(now.checked_sub(low)? / 20);
        let (since_ns, from) = *points.iter().rfind(|(_, bytes)| *bytes <= still)?;
        let growth = Self { bytes: now.checked_sub(from)?, over_ns: now_ns.checked_sub(since_ns)? };
        (growth.bytes > 0 && growth.over_ns > 0).then_some(growth)
    }

    /// Bytes in a second.
    pub fn rate(self) -> u64 {
        let rate = u128::from(self.bytes) * 1_000_000_000 / u128::from(self.over_ns.max(1));
        u64::try_from(rate).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn of(sizes: &[u64]) -> Option<Growth> {
        let points: Vec<_> = sizes.iter().zip(0..).map(|(size, at)| (at * 10 * SECOND, *size)).collect();
        Growth::of(&points)
    }

    /// Guards the rate of steady growth, from the beginning or from later on; what stood still before does not make it slower, but
    /// for the interval in which it set in.
    #[test]
    fn growth_counts_from_where_it_set_in() {
        let steady = of(&[100, 200, 300, 400]).unwrap();
        assert_eq!((steady.bytes, steady.over_ns, steady.rate()), (300, 30 * SECOND, 10));
        let late = of(&[100, 101, 100, 100, 200, 300]).unwrap();
        assert_eq!((late.bytes, late.over_ns), (200, 20 * SECOND));
        let within = of(&[100, 100, 150, 250]).unwrap();
        assert_eq!((within.rate(), within.over_ns), (7, 20 * SECOND));
    }

    /// Guards what falls and rises again: the last rise counts.
    #[test]
    fn what_was_given_back_does_not_count() {
        assert_eq!(of(&[900, 100, 500]).unwrap().bytes, 400);
        assert_eq!(of(&[100, 900, 100, 200]).unwrap(), Growth { bytes: 100, over_ns: 10 * SECOND });
    }

    /// Guards against growth where there is none, and figures that no machine has.
    #[test]
    fn what_does_not_grow_has_no_growth() {
        for none in [&[][..], &[5], &[5, 5, 5], &[9, 5]] {
            assert_eq!(of(none), None, "{none:?}");
        }
        assert_eq!(of(&[0, u64::MAX]).unwrap().rate(), u64::MAX / 10);
        assert_eq!(Growth::of(&[(9, 0), (3, u64::MAX)]), None);
        assert_eq!(Growth { bytes: u64::MAX, over_ns: 1 }.rate(), u64::MAX);
    }
}

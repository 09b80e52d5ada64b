//! Whether runs differ from others by more than they do among themselves.
//!
//! Runs are few (three to ten of a side), and a side may be noisier than the other. Welch's t test is made for that: it takes
//! no common variance for granted, and gives an interval. (A permutation test of three runs against three cannot go below
//! p = 0.1, and a bootstrap of three values makes its intervals far too short.)
//!
//! What a measure itself cannot tell apart is added to that: see [`Exactness`].

use super::Interval;
use crate::profile::measure::Exactness;

/// Runs of each side below which nothing can be said of noise.
pub const FEWEST: usize = 3;
/// How often an interval may miss, and which part of the differences that are told may be none.
pub const LEVEL: f64 = 0.05;

/// How one side differs from another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Difference {
    /// Where the difference of the means is, with a confidence of 95 %.
    pub interval: Interval,
    /// How likely sides that do not differ would come out as far apart.
    pub p: f64,
}

/// Of values.
#[derive(Clone, Copy, Debug)]
struct Moments {
    count: f64,
    mean: f64,
    /// Of the values themselves, not of their mean.
    variance: f64,
}

/// The arithmetic mean; `None`: of nothing.
pub fn mean(values: &[f64]) -> Option<f64> {
    // Divided before they are added: no sum is beyond what a number holds.
    let count = count(values);
    (!values.is_empty()).then(|| values.iter().map(|value| value / count).sum())
}

/// The one in the middle, or the mean of both that are; `None`: of nothing.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    let lower = *sorted.get(sorted.len().checked_sub(1)? / 2)?;
    Some(lower / 2.0 + upper / 2.0)
}

/// Compares both; `None`: there are too few of either.
pub fn compare(baseline: &[f64], other: &[f64], exactness: Exactness) -> Option<Difference> {
    if baseline.len() < FEWEST || other.len() < FEWEST {
        return None;
    }
    let (baseline, other) = (Moments::of(baseline)?, Moments::of(other)?);
    let difference = other.mean - baseline.mean;
    // What chance does to counts, it does in both alike if they do not differ.
    let least = match exactness {
        Exactness::Events => {
            let events = baseline.mean * baseline.count + other.mean * other.count;
            events / (baseline.count + other.count)
        }
        Exactness::Exact | Exactness::Within(_) | Exactness::Steps(_) => 0.0,
    };
    let sides = [baseline, other].map(|side| (side.variance.max(least) / side.count, side));
    let squared: f64 = sides.iter().map(|(part, _)| part).sum();
    // Satterthwaite's degrees of freedom. A variance that is not estimated but known by itself takes none.
    let estimated = sides.iter().filter(|(_, side)| side.variance > least);
    let uncertain: f64 = estimated.map(|(part, side)| part * part / (side.count - 1.0)).sum();
    let freedom = if uncertain > 0.0 { squared * squared / uncertain } else { f64::INFINITY };
    let error = squared.sqrt();
    // How much lower and higher than it was told the difference may be, since values are told no better: this does not become
    // less by repeating.
    let (lower, higher) = match exactness {
        Exactness::Exact | Exactness::Events => (0.0, 0.0),
        Exactness::Within(part) => {
            let more = part / (1.0 + part);
            (other.mean.abs() * more, baseline.mean.abs() * more)
        }
        Exactness::Steps(step) => (step, step),
    };
    let reach = quantile(freedom) * error;
    let interval = Interval { low: difference - reach - lower, high: difference + reach + higher };
    let beyond = if difference > 0.0 { difference - lower } else { -difference - higher };
    let p = if beyond <= 0.0 { 1.0 } else { two_sided(beyond / error, freedom) };
    Some(Difference { interval, p })
}

impl Moments {
    fn of(values: &[f64]) -> Option<Self> {
        let mean = mean(values)?;
        let count = count(values);
        let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0);
        // The mean of the same value again and again may be off by its last digit.
        let differs =
            values.windows(2).any(|pair| matches!(pair, [one, other] if one.total_cmp(other).is_ne()));
        Some(Self { count, mean, variance: if differs { variance } else { 0.0 } })
    }
}

#[expect(clippy::cast_precision_loss, reason = "there are fewer than 2^53")]
fn count(values: &[f64]) -> f64 {
    values.len() as f64
}

/// How likely Student's t is as far from 0, on either side. Of an error of 0 anything is beyond all noise.
fn two_sided(t: f64, freedom: f64) -> f64 {
    /// Above so many degrees of freedom it is the normal distribution to six digits.
    const NORMAL: f64 = 1e6;
    if t.is_infinite() {
        return 0.0;
    }
    if t.is_nan() || freedom.is_nan() || freedom <= 0.0 {
        return 1.0;
    }
    if freedom > NORMAL {
        return puruspe::erfc(t.abs() / std::f64::consts::SQRT_2);
    }
    puruspe::betai(freedom / 2.0, 0.5, (freedom / (freedom + t * t)).clamp(0.0, 1.0))
}

/// Beyond which t is with a probability of [`LEVEL`], on either side.
fn quantile(freedom: f64) -> f64 {
    // With a single degree of freedom, the least that there can be of three runs and more, it is 12.7.
    let (mut below, mut above) = (0.0, 1e3);
    for _ in 0..60 {
        let middle = f64::midpoint(below, above);
        if two_sided(middle, freedom) > LEVEL {
            below = middle;
        } else {
            above = middle;
        }
    }
    above
}

/// The largest p that counts if no more than [`LEVEL`] of all that count are to be chance (Benjamini and Hochberg, 1995): of
/// forty measures that do not differ two are below that level each by itself. `None`: none counts.
pub fn threshold(mut ps: Vec<f64>) -> Option<f64> {
    ps.sort_by(f64::total_cmp);
    let all = count(&ps);
    let mut rank = 0.0;
    let mut threshold = None;
    for p in ps {
        rank += 1.0;
        if p <= LEVEL * rank / all {
            threshold = Some(p);
        }
    }
    threshold
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(one: f64, other: f64, by: f64) -> bool {
        (one - other).abs() <= by
    }

    /// Guards Student's distribution against tables of it.
    #[test]
    fn quantiles_are_those_of_tables() {
        for (freedom, t) in
            [(1.0, 12.706), (2.0, 4.303), (4.0, 2.776), (10.0, 2.228), (30.0, 2.042), (1e9, 1.960)]
        {
            assert!(near(quantile(freedom), t, 6e-4), "{freedom}: {}", quantile(freedom));
        }
        assert!(near(two_sided(2.228, 10.0), 0.05, 1e-4) && near(two_sided(0.0, 3.0), 1.0, 1e-12));
        assert!(near(two_sided(3.5, 2.5), 0.0529, 2e-3) && two_sided(40.0, 8.0) < 1e-8);
    }

    /// Guards Welch's test by an example that can be computed by hand: means 11 and 14, variances 1 and 4, of three each.
    #[test]
    fn welch_by_hand() {
        let difference = compare(&[10.0, 11.0, 12.0], &[12.0, 14.0, 16.0], Exactness::Exact).unwrap();
        // The error is sqrt(1/3 + 4/3) = 1.291, t = 2.324, with (5/3)^2 / ((1/3)^2/2 + (4/3)^2/2) = 2.941 degrees of freedom.
        let Interval { low, high } = difference.interval;
        assert!(
            near(f64::midpoint(low, high), 3.0, 1e-9) && near(high - 3.0, 3.219 * 1.291, 0.03),
            "{low} {high}"
        );
        assert!(difference.p > 0.09 && difference.p < 0.12, "{}", difference.p);
        assert_eq!(compare(&[1.0, 2.0], &[1.0, 2.0, 3.0], Exactness::Exact), None);
    }

    /// Guards values that are the same in each run: no error, so any difference counts, and none is none.
    #[test]
    fn without_noise_a_difference_is_certain() {
        let of = |baseline: f64, other: f64| compare(&[baseline; 4], &[other; 3], Exactness::Exact).unwrap();
        assert!(near(of(0.1, 0.2).p, 0.0, 0.0) && of(0.2, 0.1).interval.high < 0.0);
        assert!(near(of(0.1, 0.1).p, 1.0, 0.0) && near(of(0.1, 0.1).interval.low, 0.0, 1e-12));
    }

    /// Guards counts of few: what chance makes of rare events is no difference, though each run of a side has the same.
    #[test]
    fn few_events_are_noise() {
        let p = |baseline: &[f64], other: &[f64]| compare(baseline, other, Exactness::Events).unwrap().p;
        assert!(p(&[0.0; 3], &[1.0, 0.0, 0.0]) > 0.1);
        assert!(p(&[0.0; 3], &[1.0; 3]) > 0.05);
        assert!(p(&[4.0; 3], &[5.0; 3]) > 0.4);
        assert!(p(&[0.0; 3], &[5.0, 6.0, 5.0]) < 0.001);
        assert!(p(&[100.0, 101.0, 99.0], &[200.0, 199.0, 201.0]) < 1e-6);
        // More noise than chance's own is noise too.
        assert!(p(&[10.0, 90.0, 50.0], &[60.0, 120.0, 90.0]) > 0.05);
    }

    /// Guards percentiles: those of neighbouring buckets may have been the same time.
    #[test]
    fn neighbouring_buckets_do_not_differ() {
        let of = |other: f64| compare(&[1.0; 5], &[other; 5], Exactness::Within(0.25)).unwrap();
        for (other, p) in [(1.25, 1.0), (0.8, 1.0), (1.5, 0.0), (0.7, 0.0)] {
            assert!(near(of(other).p, p, 0.0), "{other}");
        }
        let interval = of(1.25).interval;
        assert!(near(interval.low, 0.0, 1e-9) && near(interval.high, 0.45, 1e-9));
        let ticks = compare(&[10.0; 3], &[20.0; 3], Exactness::Steps(10.0)).unwrap();
        assert!(near(ticks.p, 1.0, 0.0) && near(ticks.interval.low, 0.0, 0.0));
    }

    /// Numbers that spread like noise: sums of twelve even ones.
    fn noise(state: &mut u64) -> f64 {
        let mut even = || {
            *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            f64::from(u32::try_from(*state >> 32).unwrap()) / f64::from(u32::MAX)
        };
        (0..12).map(|_| even()).sum::<f64>() - 6.0
    }

    /// Guards the promise of 95 %: of sides that do not differ, however unlike their noise, one in twenty is told to.
    #[test]
    fn one_in_twenty_is_chance() {
        let mut state = 7;
        let mut wrong = 0;
        for _ in 0..4000 {
            let baseline: Vec<_> = (0..5).map(|_| 100.0 + noise(&mut state)).collect();
            let other: Vec<_> = (0..4).map(|_| 100.0 + 4.0 * noise(&mut state)).collect();
            let difference = compare(&baseline, &other, Exactness::Exact).unwrap();
            let excludes = difference.interval.low > 0.0 || difference.interval.high < 0.0;
            assert_eq!(excludes, difference.p < LEVEL);
            wrong += u32::from(excludes);
        }
        assert!((140..=260).contains(&wrong), "{wrong} of 4000");
    }

    /// Guards the threshold for many measures at once, by the example that Benjamini and Hochberg give.
    #[test]
    fn many_measures_have_a_stricter_threshold() {
        let ps = vec![
            0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719,
            0.6528, 0.7590, 1.0,
        ];
        assert_eq!(threshold(ps), Some(0.0095));
        assert_eq!(threshold(vec![0.04; 1]), Some(0.04));
        assert_eq!(threshold(vec![0.04, 0.9]), None);
        assert_eq!(threshold(vec![]), None);
    }

    /// Guards the middle.
    #[test]
    fn medians_are_in_the_middle() {
        assert_eq!(
            (median(&[3.0, 1.0, 2.0]), median(&[4.0, 1.0]), median(&[])),
            (Some(2.0), Some(2.5), None)
        );
        assert_eq!((mean(&[f64::MAX, f64::MAX]), mean(&[])), (Some(f64::MAX), None));
    }

    /// Guards against figures that nobody measures: nothing panics.
    #[test]
    fn extremes_are_survived() {
        for extreme in [f64::MAX, f64::MIN, f64::MIN_POSITIVE, 0.0] {
            for exactness in
                [Exactness::Exact, Exactness::Events, Exactness::Within(0.25), Exactness::Steps(10.0)]
            {
                let difference = compare(&[extreme, 1.0, 2.0], &[0.0, -1.0, extreme], exactness).unwrap();
                assert!((0.0..=1.0).contains(&difference.p), "{extreme} {exactness:?}: {difference:?}");
            }
        }
    }
}

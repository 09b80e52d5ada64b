//! Axes: where they end, and where they have ticks that people can read.

use crate::words::grouped;

/// What an axis counts in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quantity {
    /// Bytes.
    Bytes,
    /// Bytes a second.
    ByteRate,
    /// Shares, 0 to 1.
    Share,
    /// A rate of something, or a ratio.
    Number,
    /// A number of something: whole ones.
    Count,
}

/// From 0 to a round number.
#[derive(Clone, Debug)]
pub(super) struct Scale {
    /// Its upper end.
    pub most: f64,
    /// Ticks from 0 to the upper end, with what they are called.
    pub ticks: Vec<(f64, String)>,
}

impl Scale {
    /// With room for values up to `highest`, and steps no more than about `steps`.
    pub fn of(quantity: Quantity, highest: f64, steps: u32) -> Self {
        let least = match quantity {
            Quantity::Bytes | Quantity::ByteRate => 4096.0,
            Quantity::Share => 0.01,
            Quantity::Number => 1e-3,
            Quantity::Count => 1.0,
        };
        let highest = if highest.is_finite() { highest.max(least) } else { least };
        let base = if matches!(quantity, Quantity::Bytes | Quantity::ByteRate) {
            // Steps within a unit as people count: 200 MiB, 1.5 GiB.
            1024_f64.powf((highest.log2() / 10.0).floor().clamp(0.0, 6.0))
        } else {
            1.0
        };
        let step = round_step(highest / base / f64::from(steps.max(1))) * base;
        let step = if quantity == Quantity::Count { step.max(1.0) } else { step };
        let count = (highest / step - 1e-9).ceil().max(1.0);
        let mut ticks = Vec::new();
        let mut at = 0.0;
        while at <= count + 0.5 && ticks.len() < 32 {
            ticks.push((at * step, label(quantity, at * step, step, base)));
            at += 1.0;
        }
        Self { most: count * step, ticks }
    }

    /// The part of the axis that a value is at, 0 to 1.
    pub fn part(&self, value: f64) -> f64 {
        (value / self.most).clamp(0.0, 1.0)
    }
}

/// 1, 2 or 5 times a power of ten, and no less than `least`.
fn round_step(least: f64) -> f64 {
    let power = 10_f64.powf(least.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0];
    let step = steps.into_iter().find(|step| step * power >= least * (1.0 - 1e-9)).unwrap_or(10.0);
    step * power
}

fn label(quantity: Quantity, value: f64, step: f64, base: f64) -> String {
    const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if value == 0.0 {
        return "0".to_owned();
    }
    match quantity {
        Quantity::Bytes | Quantity::ByteRate => {
            let mut unit = UNITS.into_iter();
            let mut left = base;
            while left > 1.5 {
                left /= 1024.0;
                unit.next();
            }
            let rate = if quantity == Quantity::ByteRate { "/s" } else { "" };
            format!("{} {}{rate}", plain(value / base, step / base), unit.next().unwrap_or("EiB"))
        }
        Quantity::Share => format!("{} %", plain(value * 100.0, step * 100.0)),
        Quantity::Number | Quantity::Count => plain(value, step),
    }
}

/// With as many decimals as the steps need, and thousands apart.
fn plain(value: f64, step: f64) -> String {
    if step < 0.999 {
        let decimals = [1, 2, 3, 4].into_iter().find(|n| step * 10_f64.powi(*n) > 0.999).unwrap_or(4);
        return format!("{value:.*}", usize::try_from(decimals).unwrap_or(4));
    }
    for (size, name) in [(1e9, " G"), (1e6, " M")] {
        if value >= size {
            return format!("{}{name}", plain(value / size, step / size));
        }
    }
    grouped(whole(value))
}

/// Of numbers that are that already.
#[expect(clippy::cast_possible_truncation, reason = "casts saturate, and no axis is so long")]
fn whole(value: f64) -> i64 {
    value.round() as i64
}

/// Times on an axis that begins at 0, in steps that clocks have: at most `most` of them. What they are called, and where they
/// are, ns.
pub(super) fn time_ticks(span_ns: u64, most: u64) -> Vec<(u64, String)> {
    const SECOND: u64 = 1_000_000_000;
    const FINE: [u64; 9] = [
        1_000_000,
        2_000_000,
        5_000_000,
        10_000_000,
        20_000_000,
        50_000_000,
        100_000_000,
        200_000_000,
        500_000_000,
    ];
    const COARSE: [u64; 18] =
        [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400];
    let most = most.max(1);
    let fits = |step: &u64| span_ns / step <= most;
    let fine = FINE.into_iter().find(fits);
    let coarse = COARSE.into_iter().map(|seconds| seconds * SECOND).find(fits);
    // Longer than weeks: whole days.
    let days = || (span_ns / most / (86_400 * SECOND) + 1).saturating_mul(86_400 * SECOND);
    let step = fine.or(coarse).unwrap_or_else(days);
    (0..=span_ns / step).map(|nth| (nth * step, clock(nth * step, step))).collect()
}

fn clock(ns: u64, step_ns: u64) -> String {
    let (ms, seconds) = (ns / 1_000_000, ns / 1_000_000_000);
    match step_ns {
        _ if ns == 0 => "0".to_owned(),
        0..1_000_000_000 if ms < 1000 => format!("{ms} ms"),
        0..1_000_000_000 => {
            let decimals = format!("{:03}", ms % 1000);
            let decimals = decimals.trim_end_matches('0');
            let point = if decimals.is_empty() { "" } else { "." };
            format!("{seconds}{point}{decimals} s")
        }
        _ if seconds < 60 => format!("{seconds} s"),
        _ if seconds < 3600 && seconds.is_multiple_of(60) => format!("{} min", seconds / 60),
        _ if seconds < 3600 => format!("{}:{:02} min", seconds / 60, seconds % 60),
        _ if seconds.is_multiple_of(3600) => format!("{} h", seconds / 3600),
        _ => format!("{}:{:02} h", seconds / 3600, seconds / 60 % 60),
    }
}

/// A logarithmic axis of times, from one power of ten to another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Decades {
    /// Exponents of ten, of ns.
    low: f64,
    high: f64,
}

impl Decades {
    /// Powers of ten around these times, ns: a tenth of a microsecond at the least, and at least two of them.
    pub fn around(least_ns: f64, most_ns: f64) -> Self {
        let low = least_ns.max(1e2).log10().floor();
        let high = most_ns.max(1e3).log10().ceil().max(low + 2.0);
        Self { low, high }
    }

    /// The part of the axis that a time is at, 0 to 1.
    pub fn part(self, ns: f64) -> f64 {
        let at = ns.max(1.0).log10();
        ((at - self.low) / (self.high - self.low)).clamp(0.0, 1.0)
    }

    /// Its powers of ten, with what they are called.
    pub fn ticks(self) -> Vec<(f64, &'static str)> {
        const NAMES: [&str; 13] = [
            "1 ns", "10 ns", "100 ns", "1 µs", "10 µs", "100 µs", "1 ms", "10 ms", "100 ms", "1 s", "10 s",
            "100 s", "17 min",
        ];
        let of = |(name, exponent): (&'static str, f64)| {
            let inside = exponent >= self.low && exponent <= self.high;
            inside.then_some(((exponent - self.low) / (self.high - self.low), name))
        };
        let exponents = (0_u8..).map(f64::from);
        NAMES.into_iter().zip(exponents).filter_map(of).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(quantity: Quantity, highest: f64) -> Vec<String> {
        Scale::of(quantity, highest, 4).ticks.into_iter().map(|(_, label)| label).collect()
    }

    /// Guards axes: round steps with their unit, of one unit each, the highest value below the end.
    #[test]
    fn ticks_are_round() {
        let mib = 1_048_576.0;
        assert_eq!(labels(Quantity::Bytes, 512.0 * mib), ["0", "200 MiB", "400 MiB", "600 MiB"]);
        assert_eq!(labels(Quantity::Bytes, 1536.0 * mib), ["0", "0.5 GiB", "1.0 GiB", "1.5 GiB"]);
        assert_eq!(labels(Quantity::Share, 1.0), ["0", "50 %", "100 %"]);
        assert_eq!(labels(Quantity::Number, 12_345.0), ["0", "5,000", "10,000", "15,000"]);
        assert_eq!(labels(Quantity::Count, 1.0), ["0", "1"]);
        assert_eq!(labels(Quantity::Count, 3.0), ["0", "1", "2", "3"]);
        assert_eq!(labels(Quantity::Number, 0.0), ["0", "0.0005", "0.0010"]);
        assert_eq!(labels(Quantity::ByteRate, 0.0).last().unwrap(), "4 KiB/s");
        for highest in [1.0, 999.0, 1e5, 3.7e9, 1.6e19, f64::NAN, f64::INFINITY] {
            for quantity in [Quantity::Bytes, Quantity::Number, Quantity::Share] {
                let scale = Scale::of(quantity, highest, 4);
                assert!((2..=6).contains(&scale.ticks.len()), "{highest} {:?}", scale.ticks);
                assert!(!highest.is_finite() || scale.most >= highest * 0.999, "{highest} {scale:?}");
            }
        }
    }

    /// Guards the axis of time: clocks' steps, never too many, whatever the span.
    #[test]
    fn times_are_in_steps_of_clocks() {
        let last = |seconds: u64| time_ticks(seconds * 1_000_000_000, 7).pop().unwrap().1;
        assert_eq!(
            [last(6), last(60), last(90), last(600), last(1800)],
            ["6 s", "1 min", "1:30 min", "10 min", "30 min"]
        );
        assert_eq!([last(7200), last(5400)], ["2 h", "1:30 h"]);
        assert_eq!(time_ticks(1_500_000_000, 7).pop().unwrap().1, "1.4 s");
        for span in [0, 1, 999, 1_000_000, 61_000_000_000, u64::MAX] {
            let ticks = time_ticks(span, 7);
            assert!((1..=8).contains(&ticks.len()), "{span}: {ticks:?}");
        }
    }

    /// Guards logarithmic axes: whole decades around what there is.
    #[test]
    fn decades_are_whole() {
        let axis = Decades::around(3_000.0, 214_000_000.0);
        let names: Vec<_> = axis.ticks().into_iter().map(|(_, name)| name).collect();
        assert_eq!(names, ["1 µs", "10 µs", "100 µs", "1 ms", "10 ms", "100 ms", "1 s"]);
        assert!(axis.part(0.0) <= 0.0 && axis.part(1e12) >= 1.0);
        assert!((axis.part(1e6) - 0.5).abs() < 1e-9);
        assert_eq!(Decades::around(0.0, 0.0).ticks().len(), 3);
    }
}

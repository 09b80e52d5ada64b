//! Measured values, and their spread.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// One measured value, as `scenarios bench` prints it.
#[derive(Clone, Debug, Deserialize)]
pub struct Sample {
    figure: String,
    subject: String,
    unit: String,
    /// Absent where there was nothing to measure, such as a kill that a tool did not report.
    value: Option<f64>,
}

/// What a figure is of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Key {
    /// Where it was measured.
    pub place: &'static str,
    /// What was measured.
    pub figure: String,
    /// Of which tool or tier.
    pub subject: String,
}

/// The values of one figure.
#[derive(Clone, Debug, Default)]
pub struct Values {
    /// Their unit; empty for a count.
    pub unit: String,
    all: Vec<f64>,
    /// How often there was nothing to measure.
    pub missing: usize,
    /// In which order the figures were measured.
    pub rank: usize,
}

/// How the values of one figure lie.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// How many there are.
    pub n: usize,
    /// The least.
    pub min: f64,
    /// The middle one; the mean of the middle two of an even number.
    pub median: f64,
    /// The one that 99 of 100 do not exceed (nearest rank; the most if there are fewer).
    pub p99: f64,
    /// The most.
    pub max: f64,
}

/// All figures.
#[derive(Debug, Default)]
pub struct Figures(BTreeMap<Key, Values>);

impl Figures {
    /// Adds the samples of a place, one JSON object a line.
    pub fn add(&mut self, place: &'static str, text: &str) -> Result<()> {
        for line in text.lines() {
            let sample: Sample =
                serde_json::from_str(line).with_context(|| format!("{line:?} is not a sample"))?;
            let rank = self.0.len();
            let key = Key { place, figure: sample.figure, subject: sample.subject };
            let values = self.0.entry(key).or_insert_with(|| Values { rank, ..Values::default() });
            values.unit = sample.unit;
            match sample.value.filter(|value| value.is_finite()) {
                Some(value) => values.all.push(value),
                None => values.missing += 1,
            }
        }
        Ok(())
    }

    /// One figure.
    pub fn get(&self, place: &str, figure: &str, subject: &str) -> Option<&Values> {
        let wanted = |key: &Key| key.place == place && key.figure == figure && key.subject == subject;
        self.0.iter().find(|(key, _)| wanted(key)).map(|(_, values)| values)
    }

    /// All figures, in the order in which they were first measured, each with its subjects together.
    pub fn all(&self) -> Vec<(&Key, &Values)> {
        let mut all: Vec<_> = self.0.iter().collect();
        let first = |key: &Key| {
            let same =
                self.0.iter().filter(|(other, _)| (other.place, &other.figure) == (key.place, &key.figure));
            same.map(|(_, values)| values.rank).min()
        };
        all.sort_by_key(|(key, values)| (first(key), values.rank));
        all
    }

    /// oomtrace's median over that of each other tool, for a figure of oomtrace's that others have too.
    pub fn ratios(&self, key: &Key) -> BTreeMap<String, f64> {
        let median = |values: &Values| values.spread().map(|spread| spread.median);
        let Some(own) = self.0.get(key).and_then(median).filter(|_| key.subject == "oomtrace") else {
            return BTreeMap::new();
        };
        let peers = self.0.iter().filter(|(other, _)| {
            other.place == key.place && other.figure == key.figure && !other.subject.starts_with("oomtrace")
        });
        peers
            .filter_map(|(other, values)| Some((other.subject.clone(), own / median(values)?)))
            .filter(|(_, ratio)| ratio.is_finite())
            .collect()
    }
}

impl Values {
    /// Their spread; None when there is no value.
    pub fn spread(&self) -> Option<Spread> {
        let mut sorted = self.all.clone();
        sorted.sort_by(f64::total_cmp);
        let n = sorted.len();
        let (first, last) = (sorted.first()?, sorted.last()?);
        let (low, high) = (sorted.get((n - 1) / 2)?, sorted.get(n / 2)?);
        // Nearest rank: the smallest value with at least 99 % of all at or below it.
        let p99 = sorted.get((n * 99).div_ceil(100).saturating_sub(1))?;
        Some(Spread { n, min: *first, median: f64::midpoint(*low, *high), p99: *p99, max: *last })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(subject: &str, value: &str) -> String {
        format!("{{\"figure\":\"start\",\"subject\":\"{subject}\",\"unit\":\"ms\",\"value\":{value}}}\n")
    }

    /// Guards the spread, that missing values are counted, and the direction of the ratio.
    #[test]
    fn spread_and_ratio() {
        let mut figures = Figures::default();
        let text: String = [4, 1, 3, 2].iter().map(|value| line("oomtrace", &value.to_string())).collect();
        figures.add("guest", &(text + &line("oomtrace", "null") + &line("oomkill", "5"))).unwrap();
        let values = figures.get("guest", "start", "oomtrace").unwrap();
        let expected = Spread { n: 4, min: 1.0, median: 2.5, p99: 4.0, max: 4.0 };
        assert_eq!((values.spread(), values.missing), (Some(expected), 1));
        let (key, _) = figures.all()[0];
        assert_eq!(figures.ratios(key), BTreeMap::from([("oomkill".to_owned(), 0.5)]));
    }

    /// Guards the percentile that a target is about: one outlier of a hundred does not decide it, two do.
    #[test]
    fn percentile_by_nearest_rank() {
        let of = |outliers: usize| Values {
            all: (0..100).map(|at| if at < outliers { 9.0 } else { 1.0 }).collect(),
            ..Values::default()
        };
        assert!((of(1).spread().unwrap().p99 - 1.0).abs() < 1e-9);
        assert!((of(2).spread().unwrap().p99 - 9.0).abs() < 1e-9);
    }

    /// Guards against a damaged line that passes for no line.
    #[test]
    fn nonsense_is_an_error() {
        assert!(Figures::default().add("guest", "{\"figure\":").is_err());
    }
}

//! What a mean is known to, from few values.

/// Student's t for 95 % on both sides, by degrees of freedom from 1.
const T95: [f64; 30] = [
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
    2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
];

/// The interval that the mean of differences lies in with a probability of 95 %; None of fewer than two.
#[expect(clippy::cast_precision_loss, reason = "there are some tens of values")]
pub fn of(values: &[f64]) -> Option<(f64, f64)> {
    let n = values.len() as f64;
    let t = T95.get(values.len().checked_sub(2)?).or(T95.last())?;
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (n - 1.0);
    let half = t * (variance / n).sqrt();
    Some((mean - half, mean + half))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the interval by one that is known: of 1, 2, 3 it is 2 ± 4.303 / √3.
    #[test]
    fn a_known_interval() {
        let (from, to) = of(&[1.0, 2.0, 3.0]).unwrap();
        assert!((from - (2.0 - 2.4843)).abs() < 1e-3 && (to - (2.0 + 2.4843)).abs() < 1e-3, "{from} {to}");
        assert_eq!(of(&[1.0]), None);
    }
}

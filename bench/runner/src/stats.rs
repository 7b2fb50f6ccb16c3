//! Medians, quartiles, percentiles, exponents and a shuffle.

/// The middle of some values, and the range of their middle half.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Summary {
    pub(crate) median: f64,
    /// The first and the third quartile.
    pub(crate) low: f64,
    pub(crate) high: f64,
    pub(crate) most: f64,
}

impl Summary {
    /// `None` of nothing; values that are no numbers are left out.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().filter(|value| !value.is_nan()).collect();
        values.sort_by(f64::total_cmp);
        Some(Self {
            median: quantile(&values, 0.5)?,
            low: quantile(&values, 0.25)?,
            high: quantile(&values, 0.75)?,
            most: *values.last()?,
        })
    }
}

/// The value at `fraction` of the sorted values, between neighbours if it falls between them.
fn quantile(sorted: &[f64], fraction: f64) -> Option<f64> {
    let position = sorted.len().checked_sub(1)? as f64 * fraction;
    let (below, above) = (
        sorted[position.floor() as usize],
        sorted[position.ceil() as usize],
    );
    Some(below + (above - below) * position.fract())
}

/// The value below which `fraction` of the sorted values lie; NaN of nothing.
pub(crate) fn percentile(sorted: &[u64], fraction: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    let index = (sorted.len() as f64 * fraction) as usize;
    sorted
        .get(index.min(last))
        .map_or(f64::NAN, |&value| value as f64)
}

/// The exponent `k` of the power law `y = c * x^k` that fits best: the slope of `ln y` over `ln x` by least squares.
/// `None` with fewer than three points, or with one that has no logarithm.
pub(crate) fn exponent(points: &[(f64, f64)]) -> Option<f64> {
    if points.len() < 3 || points.iter().any(|&(x, y)| x <= 0.0 || y <= 0.0) {
        return None;
    }
    let logs: Vec<(f64, f64)> = points.iter().map(|(x, y)| (x.ln(), y.ln())).collect();
    let mean = |of: fn(&(f64, f64)) -> f64| logs.iter().map(of).sum::<f64>() / logs.len() as f64;
    let (x_mean, y_mean) = (mean(|point| point.0), mean(|point| point.1));
    let covariance: f64 = logs.iter().map(|(x, y)| (x - x_mean) * (y - y_mean)).sum();
    let variance: f64 = logs.iter().map(|(x, _)| (x - x_mean).powi(2)).sum();
    (variance > 0.0).then(|| covariance / variance)
}

/// Shuffles with a generator of its own, seeded by the clock: an order that repeats would be a bias.
pub(crate) fn shuffle<T>(items: &mut [T]) {
    let since = std::time::SystemTime::UNIX_EPOCH
        .elapsed()
        .unwrap_or_default();
    let mut x = since.as_nanos() as u64 | 1;
    for end in (1..items.len()).rev() {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        items.swap(end, (x % (end as u64 + 1)) as usize);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_and_quartiles_of_odd_even_and_no_values() {
        let of =
            |values: &[f64]| Summary::of(values.iter().copied()).map(|s| (s.low, s.median, s.high));
        assert_eq!(of(&[3.0, 1.0, 2.0]), Some((1.5, 2.0, 2.5)));
        assert_eq!(of(&[4.0, 1.0, 2.0, 3.0]), Some((1.75, 2.5, 3.25)));
        assert_eq!(of(&[7.0, f64::NAN]), Some((7.0, 7.0, 7.0)));
        assert_eq!(of(&[]), None);
    }

    #[test]
    fn percentiles_stay_within_the_values() {
        let values: Vec<u64> = (0..100).collect();
        assert_eq!(percentile(&values, 0.5), 50.0);
        assert_eq!(percentile(&values, 0.99), 99.0);
        assert_eq!(percentile(&values, 1.0), 99.0);
        assert!(percentile(&[], 0.5).is_nan());
    }

    #[test]
    fn the_exponent_of_a_power_law_is_found() {
        let square: Vec<_> = [1.0, 10.0, 1000.0].map(|x| (x, 3.0 * x * x)).into();
        assert!((exponent(&square).unwrap() - 2.0).abs() < 1e-9);
        let flat = [(1.0, 5.0), (2.0, 5.0), (4.0, 5.0)];
        assert_eq!(exponent(&flat), Some(0.0));
        assert_eq!(exponent(&[(1.0, 1.0), (2.0, 2.0)]), None);
        assert_eq!(exponent(&[(1.0, 1.0), (2.0, 0.0), (3.0, 1.0)]), None);
        assert_eq!(exponent(&[(2.0, 1.0), (2.0, 2.0), (2.0, 3.0)]), None);
    }

    #[test]
    fn a_shuffle_loses_nothing() {
        let mut items: Vec<u64> = (0..50).collect();
        shuffle(&mut items);
        items.sort_unstable();
        assert_eq!(items, (0..50).collect::<Vec<_>>());
    }
}

//! Order statistics of a sample.

/// The value at quantile `q` of 0..=1, by the nearest-rank method: always a value that was measured.
pub fn quantile(sample: &[f64], q: f64) -> f64 {
    let mut sorted = sample.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (q * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

/// The median.
pub fn median(sample: &[f64]) -> f64 {
    quantile(sample, 0.5)
}

//! How long something took, as a histogram: log-linear buckets with two significant digits.
//!
//! Durations up to 255 ns have a bucket each; above, every power of two is cut into 128 equal buckets. These are the
//! buckets of the HDR histograms that Redis uses (two digits, 1 ns to 1 s), so percentiles are the same numbers.

/// Buckets of one power of two.
const BUCKETS_PER_OCTAVE: u64 = 128;
/// Bits of a duration that choose a bucket.
const KEPT_BITS: u32 = BUCKETS_PER_OCTAVE.ilog2() + 1;
/// Longer durations count as this long.
const LONGEST_NS: u64 = 1_000_000_000;
/// The first step of [`Histogram::cumulative`].
const FIRST_STEP_NS: u64 = 1024;

/// A histogram of durations. It takes as much memory as the longest duration needs, 12 KiB at the most.
#[derive(Clone, Debug, Default)]
pub struct Histogram {
    counts: Vec<u32>,
    total: u64,
}

impl Histogram {
    /// Counts a duration.
    #[inline]
    pub fn record_us(&mut self, duration_us: u64) {
        let index = bucket_of(duration_us.saturating_mul(1000).clamp(1, LONGEST_NS));
        if index >= self.counts.len() {
            self.counts.resize(index + 1, 0);
        }
        self.counts[index] = self.counts[index].saturating_add(1);
        self.total += 1;
    }

    /// How many durations were counted.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The duration, in nanoseconds, that `percentile` percent do not exceed; zero if none were counted.
    pub fn percentile_ns(&self, percentile: f64) -> u64 {
        let wanted = ((percentile.clamp(0.0, 100.0) / 100.0 * self.total as f64 + 0.5) as u64).max(1);
        let mut seen = 0;
        for (index, &count) in self.counts.iter().enumerate() {
            seen += u64::from(count);
            if seen >= wanted {
                return highest_of(index);
            }
        }
        0
    }

    /// Durations in microseconds, each about twice the one before, with the number of durations up to it; steps that
    /// add nothing are left out.
    pub fn cumulative(&self) -> Vec<(u64, u64)> {
        let mut steps = Vec::new();
        let mut index = 0;
        let mut seen = 0;
        let mut step_ns = FIRST_STEP_NS;
        while index < self.counts.len() {
            let before = seen;
            let end = bucket_of(step_ns) + 1;
            for &count in self.counts.iter().take(end).skip(index) {
                seen += u64::from(count);
            }
            index = end;
            if seen > before {
                steps.push((highest_of(end - 1) / 1000, seen));
            }
            step_ns *= 2;
        }
        steps
    }
}

/// The bucket of a duration.
#[inline]
fn bucket_of(duration_ns: u64) -> usize {
    let bits = u64::BITS - duration_ns.leading_zeros();
    let shift = bits.saturating_sub(KEPT_BITS);
    (u64::from(shift) * BUCKETS_PER_OCTAVE + (duration_ns >> shift)) as usize
}

/// The longest duration of a bucket.
fn highest_of(index: usize) -> u64 {
    let index = index as u64;
    if index < 2 * BUCKETS_PER_OCTAVE {
        return index;
    }
    let shift = index / BUCKETS_PER_OCTAVE - 1;
    let kept = index - shift * BUCKETS_PER_OCTAVE;
    ((kept + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_follow_each_other() {
        let mut last = 0;
        for index in 1..3000 {
            let highest = highest_of(index);
            assert_eq!(bucket_of(highest), index);
            assert_eq!(bucket_of(last + 1), index);
            last = highest;
        }
    }

    /// The figures are those that redis-server 7.0.15 printed for single calls of so many microseconds.
    #[test]
    fn percentiles_are_those_of_redis() {
        for (duration_us, expected_ns) in
            [(5, 5023), (6, 6015), (7, 7007), (8, 8031), (25, 25_087), (27, 27_007), (36, 36_095)]
        {
            let mut histogram = Histogram::default();
            histogram.record_us(duration_us);
            assert_eq!(histogram.percentile_ns(50.0), expected_ns, "{duration_us} µs");
        }
        let mut histogram = Histogram::default();
        assert_eq!(histogram.percentile_ns(50.0), 0);
        (1..=100).for_each(|duration_us| histogram.record_us(duration_us));
        assert_eq!(histogram.percentile_ns(50.0) / 1000, 50);
        assert_eq!(histogram.percentile_ns(99.0) / 1000, 99);
        histogram.record_us(u64::MAX);
        assert!(histogram.percentile_ns(100.0) >= LONGEST_NS);
    }

    #[test]
    fn steps_double() {
        let mut histogram = Histogram::default();
        [1, 3, 3, 33, 40].iter().for_each(|&duration_us| histogram.record_us(duration_us));
        assert_eq!(histogram.cumulative(), [(1, 1), (4, 3), (33, 4), (66, 5)]);
    }
}

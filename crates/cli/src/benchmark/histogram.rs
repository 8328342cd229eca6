//! Latencies, counted in buckets of constant relative error: a High Dynamic Range histogram (Gil Tene) for values of 10 µs to
//! 3 s, with the bucket limits that `redis-benchmark` has, so that results compare.

/// The largest latency that is told apart, in microseconds; longer ones count as this.
pub(super) const LATENCY_US_MAX: u64 = 3_000_000;
/// Values below two to this power times a half are not told apart: the largest power of two not above 10 µs.
const UNIT_MAGNITUDE: u32 = 3;

/// A histogram.
#[derive(Clone, Debug)]
pub(super) struct Histogram {
    /// Buckets of the first, finest range; a power of two.
    sub_bucket_count: u64,
    counts: Vec<u64>,
    total: u64,
    minimum: u64,
    maximum: u64,
}

/// A line of a distribution.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Line {
    pub percentile: f64,
    /// The largest latency that falls below it.
    pub value_us: u64,
    pub cumulative_count: u64,
}

/// What a summary shows, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Summary {
    pub average: f64,
    pub minimum: f64,
    pub p50: f64,
    pub p95: f64,
    pub p99: f64,
    pub maximum: f64,
}

impl Histogram {
    /// An empty histogram whose values are right to this many significant digits, 1 to 5.
    pub(super) fn new(significant_digits: u32) -> Self {
        let largest_exact = 2 * 10u64.pow(significant_digits.clamp(1, 5));
        let sub_bucket_count = largest_exact.next_power_of_two();
        let mut ranges = 1;
        while (sub_bucket_count << UNIT_MAGNITUDE) << (ranges - 1) <= LATENCY_US_MAX {
            ranges += 1;
        }
        let length = (ranges + 1) * (sub_bucket_count / 2);
        Self { sub_bucket_count, counts: vec![0; length as usize], total: 0, minimum: u64::MAX, maximum: 0 }
    }

    /// Counts a latency `times` times.
    pub(super) fn record(&mut self, latency_us: u64, times: u64) {
        let value = latency_us.min(LATENCY_US_MAX);
        let index = self.index_of(value);
        self.counts[index] += times;
        self.total += times;
        self.minimum = self.minimum.min(value);
        self.maximum = self.maximum.max(value);
    }

    /// Adds what another histogram of the same precision has counted.
    pub(super) fn merge(&mut self, other: &Self) {
        self.counts.iter_mut().zip(&other.counts).for_each(|(count, more)| *count += more);
        self.total += other.total;
        self.minimum = self.minimum.min(other.minimum);
        self.maximum = self.maximum.max(other.maximum);
    }

    /// How many latencies were counted.
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// The usual figures.
    pub(super) fn summary(&self) -> Summary {
        let milliseconds = |microseconds: u64| microseconds as f64 / 1000.0;
        if self.total == 0 {
            return Summary { average: 0.0, minimum: 0.0, p50: 0.0, p95: 0.0, p99: 0.0, maximum: 0.0 };
        }
        let sum: f64 = (self.counts.iter().enumerate().filter(|(_, count)| **count > 0))
            .map(|(index, count)| {
                let (lowest, width) = self.bucket(index);
                (lowest + width / 2) as f64 * *count as f64
            })
            .sum();
        Summary {
            average: sum / self.total as f64 / 1000.0,
            minimum: milliseconds(self.bucket(self.index_of(self.minimum)).0),
            p50: milliseconds(self.at_percentile(50.0)),
            p95: milliseconds(self.at_percentile(95.0)),
            p99: milliseconds(self.at_percentile(99.0)),
            maximum: milliseconds(self.highest(self.index_of(self.maximum))),
        }
    }

    /// The latency that this share of the counted ones, in percent, does not exceed.
    pub(super) fn at_percentile(&self, percentile: f64) -> u64 {
        let wanted = ((percentile / 100.0 * self.total as f64 + 0.5) as u64).max(1);
        let mut cumulative_count = 0;
        for (index, count) in self.counts.iter().enumerate() {
            cumulative_count += count;
            if cumulative_count >= wanted {
                return self.highest(index);
            }
        }
        0
    }

    /// The distribution at 0 %, 50 %, 75 %, 87.5 % and so on; each step halves what is left.
    pub(super) fn percentiles(&self) -> Vec<Line> {
        let mut lines: Vec<Line> = Vec::new();
        let (mut percentile, mut cumulative_count) = (0.0f64, 0);
        for (index, count) in self.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            cumulative_count += count;
            let reached = 100.0 * cumulative_count as f64 / self.total as f64;
            let value_us = self.highest(index);
            let mut first = true;
            while percentile <= reached {
                if first {
                    lines.push(Line { percentile, value_us, cumulative_count });
                    first = false;
                }
                if cumulative_count == self.total {
                    break;
                }
                let halvings = (100.0 / (100.0 - percentile)).log2().floor() as i32 + 1;
                percentile += 100.0 / 2f64.powi(halvings);
            }
        }
        if let Some(last) = lines.last().copied() {
            lines.push(Line { percentile: 100.0, ..last });
        }
        lines
    }

    /// The distribution in steps of 0.1 ms up to 2 ms, then of 1 ms, without steps that add nothing.
    pub(super) fn cumulative(&self) -> Vec<Line> {
        const FINE_STEP_US: u64 = 100;
        const FINE_MAX_US: u64 = 2000;
        const COARSE_STEP_US: u64 = 1000;
        let mut lines: Vec<Line> = Vec::new();
        let (mut level, mut step, mut cumulative_count) = (FINE_STEP_US, FINE_STEP_US, 0);
        for (index, count) in self.counts.iter().enumerate() {
            cumulative_count += count;
            let (lowest, _) = self.bucket(index);
            while lowest >= self.bucket(self.index_of(level.min(LATENCY_US_MAX))).0 {
                let value_us = self.highest(index);
                let changed = lines.last().is_none_or(|line| line.cumulative_count != cumulative_count);
                if changed {
                    let percentile = 100.0 * cumulative_count as f64 / self.total as f64;
                    lines.push(Line { percentile, value_us, cumulative_count });
                }
                level += step;
                if value_us > FINE_MAX_US {
                    step = COARSE_STEP_US;
                }
                if cumulative_count == self.total || level > LATENCY_US_MAX {
                    break;
                }
            }
            let done = lines.last().is_some_and(|line| line.cumulative_count == self.total);
            if done || level > LATENCY_US_MAX {
                break;
            }
        }
        lines
    }

    fn index_of(&self, value: u64) -> usize {
        let finest = self.sub_bucket_count << UNIT_MAGNITUDE;
        let range = (64 - (value | (finest - 1)).leading_zeros()) - finest.trailing_zeros();
        let sub_bucket = value >> (range + UNIT_MAGNITUDE);
        // Every range but the first has only an upper half of its own.
        let index = u64::from(range) * (self.sub_bucket_count / 2) + sub_bucket;
        (index as usize).min(self.counts.len() - 1)
    }

    /// The lowest value of a bucket, and its width.
    fn bucket(&self, index: usize) -> (u64, u64) {
        let half = self.sub_bucket_count / 2;
        let index = index as u64;
        let range = (index / half).saturating_sub(1);
        let sub_bucket = index - range * half;
        (sub_bucket << (range as u32 + UNIT_MAGNITUDE), 1 << (range as u32 + UNIT_MAGNITUDE))
    }

    fn highest(&self, index: usize) -> u64 {
        let (lowest, width) = self.bucket(index);
        lowest + width - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_cover_all_values() {
        for digits in 1..=4 {
            let histogram = Histogram::new(digits);
            for value in (0..5000).chain((5000..LATENCY_US_MAX).step_by(997)).chain([LATENCY_US_MAX]) {
                let (lowest, width) = histogram.bucket(histogram.index_of(value));
                assert!((lowest..lowest + width).contains(&value), "{digits} {value} {lowest} {width}");
                let error = 10f64.powi(-(digits as i32));
                assert!(width <= 8 || (width as f64) <= value as f64 * error, "{digits} {value} {width}");
            }
        }
    }

    #[test]
    fn figures_are_those_of_the_buckets() {
        let mut histogram = Histogram::new(3);
        for value in [33, 100, 100, 200, 3000] {
            histogram.record(value, 1);
        }
        let summary = histogram.summary();
        assert_eq!((summary.minimum, summary.maximum), (0.032, 3.007));
        assert_eq!((summary.p50, summary.p99), (0.103, 3.007));
        histogram.record(9_000_000, 5);
        assert_eq!(
            histogram.summary().p99,
            histogram.highest(histogram.index_of(LATENCY_US_MAX)) as f64 / 1000.0
        );
    }

    #[test]
    fn distributions_end_at_everything() {
        let mut histogram = Histogram::new(3);
        for value in 0..1000 {
            histogram.record(30 + value, 1);
        }
        let lines = histogram.percentiles();
        assert_eq!(lines[0], Line { percentile: 0.0, value_us: 31, cumulative_count: 2 });
        assert_eq!(lines[1].percentile, 50.0);
        assert_eq!(lines[2].percentile, 75.0);
        assert_eq!(lines.last().map(|line| (line.percentile, line.cumulative_count)), Some((100.0, 1000)));
        let lines = histogram.cumulative();
        assert_eq!(lines[0], Line { percentile: 7.4, value_us: 103, cumulative_count: 74 });
        assert_eq!(lines[1].value_us, 207);
        assert_eq!(lines.last().map(|line| line.cumulative_count), Some(1000));
    }

    #[test]
    fn threads_are_merged() {
        let (mut left, mut right) = (Histogram::new(3), Histogram::new(3));
        left.record(100, 2);
        right.record(500, 3);
        left.merge(&right);
        assert_eq!((left.total(), left.minimum, left.maximum), (5, 100, 500));
    }
}

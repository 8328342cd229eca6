//! Time as an argument.

use std::ops::{Add, Sub};
use std::time::Duration;

/// A point on the process's monotonic clock, in microseconds since an arbitrary start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Monotonic(pub u64);

impl Monotonic {
    /// The point `milliseconds` after the clock's start.
    pub const fn from_ms(milliseconds: u64) -> Self {
        Self(milliseconds.saturating_mul(1000))
    }

    /// Whole milliseconds since the clock's start.
    pub const fn as_ms(self) -> u64 {
        self.0 / 1000
    }

    /// The time from `earlier` to this point; zero if `earlier` is later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    /// Milliseconds from `earlier` to this point; zero if `earlier` is later.
    pub const fn ms_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0) / 1000
    }

    /// This point moved by `milliseconds` into the future.
    pub const fn plus_ms(self, milliseconds: u64) -> Self {
        Self(self.0.saturating_add(milliseconds.saturating_mul(1000)))
    }
}

impl Add<Duration> for Monotonic {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)))
    }
}

impl Sub for Monotonic {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        self.since(earlier)
    }
}

/// The two clocks, read together once per turn of the shell's loop.
///
/// Intervals and deadlines use [`Now::monotonic`]; what users see and what is stored (expiry, `CLUSTER NODES`, log
/// lines) uses the wall clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// The monotonic clock.
    pub monotonic: Monotonic,
    /// Microseconds since 1970-01-01 UTC.
    pub unix_us: u64,
}

impl Now {
    /// Both clocks at once; for tests and the simulator.
    pub const fn new(monotonic: Monotonic, unix_us: u64) -> Self {
        Self { monotonic, unix_us }
    }

    /// Milliseconds since 1970-01-01 UTC.
    pub const fn unix_ms(&self) -> u64 {
        self.unix_us / 1000
    }

    /// Seconds since 1970-01-01 UTC.
    pub const fn unix_s(&self) -> u64 {
        self.unix_us / 1_000_000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn monotonic_arithmetic_saturates() {
        let early = Monotonic::from_ms(5);
        let late = early.plus_ms(7);
        assert_eq!(late.ms_since(early), 7);
        assert_eq!(early.ms_since(late), 0);
        assert_eq!(early - late, Duration::ZERO);
        assert_eq!(Monotonic(u64::MAX).plus_ms(1), Monotonic(u64::MAX));
        assert_eq!(early + Duration::from_micros(3), Monotonic(5003));
    }
}
